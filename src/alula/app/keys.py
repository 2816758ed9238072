"""The keys of the embedded object store, and the URLs signed with them."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from alula.api.dataproxy_service import SignFor
from alula.base.clock import system_clock
from alula.base.settings import Settings
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
    with _turn(path.parent):
        _make(path)
    try:
        return Credentials(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise Conflict(
            f"{path} does not hold this server's keys: put it back, or name another folder with --home"
        ) from None


def _make(path: Path) -> None:
    if not path.exists():
        keys = {"key_id": secrets.token_hex(10), "secret": secrets.token_urlsafe(30)}
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(keys, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Several replicas may start at once: the first makes the keys."""
    with (folder / ".keys.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cipher(folder: Path, given: str) -> Cipher:
    """What secrets are encrypted with: the keys that are given, then those in ``ALULA_SECRET_KEY``, then those kept.

    Raises:
        Conflict: one of them is no key.
    """
    with _turn(folder):
        return Cipher(keys(folder / "keys" / "secret", f"{given} {os.environ.get('ALULA_SECRET_KEY', '')}"))


def signer(blobs: Blobs, keys: Credentials, settings: Settings) -> SignFor:
    """URLs of objects. Those of the embedded store lead to the host that their caller has reached."""
    public = urlsplit(settings.server.public_url)

    def sign_for(host: str) -> Sign:
        scheme = public.scheme if host == public.netloc else "http"
        base = settings.objects.endpoint or f"{scheme}://{host}"

        def sign(method: str, uri: str, expires: timedelta, headers: dict[str, str]) -> str:
            url = object_url(base, blobs.bucket, parse(uri, blobs.bucket))
            seconds = int(expires.total_seconds())
            return presign(method, url, keys, expires=seconds, now=system_clock(), headers=headers)

        return sign

    return sign_for


def surroundings(settings: Settings, keys: Credentials) -> Mapping[str, str]:
    """How a task reaches an api and the objects (sdk-contract.md 1.6, 4.3). It sends no telemetry."""
    api = settings.executor.endpoint or f"http://localhost:{settings.server.port}"
    objects = settings.objects.endpoint or api
    return {
        "_U_EP_OVERRIDE": urlsplit(api).netloc,
        "_U_INSECURE": "true" if api.startswith("http://") else "false",
        "_U_USE_ACTIONS": "1",
        "FLYTE_AWS_ENDPOINT": objects,
        "FLYTE_AWS_ACCESS_KEY_ID": keys.key_id,
        "FLYTE_AWS_SECRET_ACCESS_KEY": keys.secret,
        "AWS_REGION": keys.region,
        "AWS_ENDPOINT_URL": objects,
        "AWS_ACCESS_KEY_ID": keys.key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret,
        "FLYTE_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
