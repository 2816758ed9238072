"""The keys of the embedded object store, how objects are reached by those who ask for them, and signed URLs."""

import asyncio
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
from alula.blobs.account import Account, variables
from alula.blobs.signing import sign
from alula.blobs.sigv4 import Credentials
from alula.blobs.store import Blobs
from alula.blobs.uri import parse
from alula.control.data import Sign
from alula.core.errors import Conflict
from alula.executors.process import near
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


def signer(blobs: Blobs, account: Account, settings: Settings) -> SignFor:
    """URLs of objects that lead where their caller reaches them, which is told by the host that they have used."""
    known = ends(settings)
    objects = settings.objects
    other = objects.public_endpoint or objects.endpoint

    def sign_for(host: str) -> Sign:
        at = account.at(known.get(_bare(host), other if objects.remote else f"http://{host}"))

        async def signed(method: str, uri: str, expires: timedelta, headers: dict[str, str]) -> str:
            where, now = parse(uri, blobs.buckets), system_clock()
            return await asyncio.to_thread(sign, method, where, at, expires, headers, now)  # it may ask the provider

        return signed

    return sign_for


def ends(settings: Settings) -> Mapping[str, str]:
    """The URL of the objects for those who have reached this server by a host: as tasks do, or as people do.

    Any other host is that of somebody outside. A folder is reached by the URL that the server itself is; "" is the
    provider's own.
    """
    objects, found = settings.objects, dict[str, str]()
    for api, url in (
        *((cluster.endpoint, cluster.objects) for cluster in settings.clusters.values()),
        (settings.executor.endpoint, ""),
    ):
        if api:
            found.setdefault(_place(api), url or (objects.endpoint if objects.remote else api))
    if public := settings.server.public_url:
        found[_place(public)] = (objects.public_endpoint or objects.endpoint) if objects.remote else public
    return found


def _place(url: str) -> str:
    return _bare(urlsplit(url).netloc)


def _bare(host: str) -> str:
    """A host without the port that goes without saying."""
    return host.lower().removesuffix(":80").removesuffix(":443")


def surroundings(settings: Settings, account: Account) -> Mapping[str, str]:
    """How a task reaches an api and the objects (sdk-contract.md 1.6, 4.3). It sends no telemetry."""
    api = settings.executor.endpoint or f"http://localhost:{settings.server.port}"
    reached = account if settings.objects.remote else account.at(api)
    folder = settings.objects.folder or settings.home / "objects"
    at_hand = {} if settings.objects.remote else {near.FOLDER: str(folder.absolute() / settings.objects.bucket)}
    return {
        "_U_EP_OVERRIDE": urlsplit(api).netloc,
        "_U_INSECURE": "true" if api.startswith("http://") else "false",
        "_U_USE_ACTIONS": "1",
        **variables(settings.objects.uri, reached),
        "FLYTE_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        **at_hand,
    }
