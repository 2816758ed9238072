"""Google Cloud Storage as far as the tests need it: its XML API, who calls checked by the key of a service account.

The XML API is S3's but for who signs how, so the embedded store answers: what is asked is signed anew for it.
"""

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from alula.api.objects import ObjectsDoor
from alula.blobs.sigv4 import Credentials, presign

_TIME = "%Y%m%dT%H%M%SZ"


def google_key() -> tuple[rsa.RSAPrivateKey, str]:
    """A new key, and the JSON of a service account that has it."""
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, json.dumps({"private_key": pem, "private_key_id": "1", "client_email": "alula@example.com"})


class Google:
    """An ASGI application. ``key`` is the JSON of its service account."""

    def __init__(self, door: ObjectsDoor, credentials: Credentials) -> None:
        self._door, self._credentials = door, credentials
        private, self.key = google_key()
        self._public = private.public_key()

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        path = scope["raw_path"].decode().partition("?")[0]
        try:
            self._check(scope["method"], path, query, headers)
        except (InvalidSignature, KeyError, ValueError) as error:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": f"<Error>{error!r}</Error>".encode()})
            return
        rest = urlencode({name: value for name, value in query.items() if not name.lower().startswith("x-goog-")})
        plain = quote(unquote(path), "/-_.~")
        url = presign(
            scope["method"],
            f"http://{headers['host']}{plain}?{rest}",
            self._credentials,
            expires=60,
            now=datetime.now(UTC),
        )
        kept = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        signed = url.partition("?")[2].encode()
        path = plain.encode()
        await self._door(
            {**scope, "path": unquote(plain), "raw_path": path, "query_string": signed, "headers": kept}, receive, send
        )

    def _check(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        if "X-Goog-Signature" not in query:
            told, _, signature = headers["authorization"].removeprefix("Bearer ").rpartition(".")
            self._verify(base64.urlsafe_b64decode(signature + "=="), told)
            return
        began = datetime.strptime(query["X-Goog-Date"], _TIME).replace(tzinfo=UTC)
        if (datetime.now(UTC) - began).total_seconds() > int(query["X-Goog-Expires"]):
            raise ValueError("the URL has expired")
        names = query["X-Goog-SignedHeaders"].split(";")
        pairs = sorted((quote(k, ""), quote(v, "")) for k, v in query.items() if k != "X-Goog-Signature")
        canonical = "\n".join(
            [
                method,
                path,
                "&".join("=".join(pair) for pair in pairs),
                *(f"{name}:{headers[name]}" for name in names),
                "",
                ";".join(names),
                "UNSIGNED-PAYLOAD",
            ]
        )
        scope = query["X-Goog-Credential"].partition("/")[2]
        digest = sha256(canonical.encode()).hexdigest()
        told = "\n".join((query["X-Goog-Algorithm"], query["X-Goog-Date"], scope, digest))
        if not re.fullmatch("([0-9a-f]{2})+", query["X-Goog-Signature"]):
            raise ValueError("no signature")
        self._verify(bytes.fromhex(query["X-Goog-Signature"]), told)

    def _verify(self, signature: bytes, told: str) -> None:
        self._public.verify(signature, told.encode(), padding.PKCS1v15(), hashes.SHA256())
