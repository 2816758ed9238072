"""The keys of the embedded object store, and the URLs signed with them."""

import json
import os
import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from alula.api.dataproxy_service import SignFor
from alula.base.clock import system_clock
from alula.blobs.sigv4 import Credentials, object_url, presign
from alula.blobs.store import Blobs
from alula.blobs.uri import parse
from alula.control.data import Sign
from alula.core.errors import Conflict
from alula.secrets.cipher import Cipher, keys


def credentials(path: Path) -> Credentials:
    """The keys of the embedded store: made once, readable by their owner only.

    Raises:
        Conflict: the file holds something else.
    """
    if not path.exists():
        keys = {"key_id": secrets.token_hex(10), "secret": secrets.token_urlsafe(30)}
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(keys, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    try:
        return Credentials(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise Conflict(
            f"{path} does not hold this server's keys: put it back, or name another folder with --home"
        ) from None


def cipher(home: Path) -> Cipher:
    """What secrets are encrypted with: the keys in ``ALULA_SECRET_KEY``, then those kept in the home.

    Raises:
        Conflict: one of them is no key.
    """
    return Cipher(keys(home / "keys" / "secret", os.environ.get("ALULA_SECRET_KEY", "")))


def signer(blobs: Blobs, keys: Credentials) -> SignFor:
    """URLs of the embedded store, on the host that their caller has reached."""

    def sign_for(host: str) -> Sign:
        def sign(method: str, uri: str, expires: timedelta, headers: dict[str, str]) -> str:
            url = object_url(f"http://{host}", blobs.bucket, parse(uri, blobs.bucket))
            seconds = int(expires.total_seconds())
            return presign(method, url, keys, expires=seconds, now=system_clock(), headers=headers)

        return sign

    return sign_for


def surroundings(port: int, keys: Credentials) -> Mapping[str, str]:
    """How a task reaches this server (sdk-contract.md 1.6, 4.3). Tasks of this server send no telemetry."""
    endpoint = f"localhost:{port}"
    return {
        "_U_EP_OVERRIDE": endpoint,
        "_U_INSECURE": "true",
        "_U_USE_ACTIONS": "1",
        "FLYTE_AWS_ENDPOINT": f"http://{endpoint}",
        "FLYTE_AWS_ACCESS_KEY_ID": keys.key_id,
        "FLYTE_AWS_SECRET_ACCESS_KEY": keys.secret,
        "AWS_REGION": keys.region,
        "AWS_ENDPOINT_URL": f"http://{endpoint}",
        "AWS_ACCESS_KEY_ID": keys.key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret,
        "FLYTE_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
