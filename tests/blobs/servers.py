"""Object stores that tests talk to over HTTP: the embedded one, and foreign ones where they are found on this machine.

The programs are looked for in a variable and on the PATH: `rclone` (1.76 or newer; $ALULA_TEST_RCLONE;
`go install github.com/rclone/rclone@latest`), `versitygw` ($ALULA_TEST_VERSITYGW;
`go install github.com/versity/versitygw/cmd/versitygw@latest`), `azurite-blob` ($ALULA_TEST_AZURITE;
`npm install azurite`).
"""

import base64
import email.utils
import hmac
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from alula.api.objects import ObjectsDoor
from alula.blobs.account import Account, store
from alula.blobs.cloud import Cloud
from alula.blobs.folder import Folder
from alula.blobs.sigv4 import Credentials, presign
from alula.blobs.store import Blobs
from tests.blobs.google import Google

KEY_ID, SECRET = "the-key-id-of-the-tests", "the-secret-of-the-tests"
_AZURE = "devstoreaccount1"
_AZURE_KEY = base64.b64encode(b"the key of the tests, of 32 byte" * 2).decode()
_PATIENCE = 30.0  # seconds in which a server has to answer


@dataclass(slots=True)
class Running:
    """A store that answers. ``files``: it keeps objects as files, so that none can be where another has a folder."""

    bucket: str
    account: Account
    again: Callable[[], None]  # starts it after `stop`, at the same address
    stop: Callable[[], None]
    files: bool = False
    features: frozenset[str] = field(default=frozenset())

    @property
    def blobs(self) -> Blobs:
        return Blobs(Cloud(store(self.bucket, self.account)), self.bucket)


@contextmanager
def embedded(folder: Path, before: Callable[[Any], Any] = lambda app: app) -> Iterator[Running]:
    """The server's own, with something before it."""
    door = ObjectsDoor(Folder(folder), Credentials(KEY_ID, SECRET), lambda: datetime.now(UTC))
    with _served(before(door)) as (url, again, stop):
        features = frozenset({"conditions", "md5"})
        yield Running("s3://alula", Account(url, key_id=KEY_ID, secret=SECRET), again, stop, features=features)


@contextmanager
def google(folder: Path) -> Iterator[Running]:
    """The XML API of Google Cloud Storage, which the embedded store speaks but for its signatures."""
    keys = Credentials(KEY_ID, SECRET)
    app = Google(ObjectsDoor(Folder(folder), keys, lambda: datetime.now(UTC)), keys)
    with _served(app) as (url, again, stop):
        features = frozenset({"md5"})
        yield Running("gs://alula", Account(url, secret=app.key), again, stop, features=features)


@contextmanager
def rclone(folder: Path) -> Iterator[Running]:
    """`rclone serve s3` of a folder."""
    program = _program("rclone")
    (folder / "alula").mkdir()
    port = _free_port()
    command = [program, "serve", "s3", "--auth-key", f"{KEY_ID},{SECRET}", "--addr", f"127.0.0.1:{port}", str(folder)]
    with _started(command, folder, port) as (again, stop):
        account = Account(f"http://127.0.0.1:{port}", key_id=KEY_ID, secret=SECRET)
        yield Running("s3://alula", account, again, stop, files=True)


@contextmanager
def versitygw(folder: Path) -> Iterator[Running]:
    """Versity's gateway: S3 in front of a folder."""
    (folder / "data").mkdir()
    (folder / "about").mkdir()
    program, port = _program("versitygw"), _free_port()
    options = ["--port", f"127.0.0.1:{port}", "--quiet", "posix", "--sidecar", str(folder / "about")]
    keys = {"ROOT_ACCESS_KEY": KEY_ID, "ROOT_SECRET_KEY": SECRET}
    with _started([program, *options, str(folder / "data")], folder, port, **keys) as (again, stop):
        account = Account(f"http://127.0.0.1:{port}", key_id=KEY_ID, secret=SECRET)
        where = Credentials(KEY_ID, SECRET)
        url = presign("PUT", f"{account.endpoint}/alula", where, expires=60, now=datetime.now(UTC))
        assert httpx.put(url).status_code == 200
        features = frozenset({"conditions", "md5"})
        yield Running("s3://alula", account, again, stop, files=True, features=features)


@contextmanager
def azurite(folder: Path) -> Iterator[Running]:
    """`azurite-blob`, Microsoft's emulator of Azure's Blob Storage."""
    program, port = _program("azurite"), _free_port()
    options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", str(folder)]
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *options]
    with _started(command, folder, port, AZURITE_ACCOUNTS=f"{_AZURE}:{_AZURE_KEY}") as (again, stop):
        url = f"http://127.0.0.1:{port}/{_AZURE}"
        _make_container(url)
        account = Account(url, name=_AZURE, secret=_AZURE_KEY)
        yield Running("abfs://alula", account, again, stop, features=frozenset({"md5"}))


_PROGRAMS = {
    "rclone": ("ALULA_TEST_RCLONE", "rclone"),
    "versitygw": ("ALULA_TEST_VERSITYGW", "versitygw"),
    "azurite": ("ALULA_TEST_AZURITE", "azurite-blob"),
}
STORES = {"embedded": embedded, "rclone": rclone, "versitygw": versitygw, "azurite": azurite, "google": google}


def _program(name: str) -> str:
    variable, program = _PROGRAMS[name]
    return os.environ.get(variable) or shutil.which(program) or ""


def absent(name: str) -> str:
    """Why a store cannot be tested here; "" if it can."""
    if name not in _PROGRAMS:
        return ""
    variable, program = _PROGRAMS[name]
    found = _program(name)
    if not found:
        return f"no {program} on the PATH or in ${variable}"
    if name == "rclone":  # older ones answer requests for a range with 200, and tasks cannot read
        version = re.match(
            r"rclone v1\.(\d+)", subprocess.run([found, "version"], capture_output=True, text=True).stdout
        )
        if version is None or int(version[1]) < 76:
            return f"{found} is older than 1.76"
    return ""


@contextmanager
def _served(app: Any) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    port = _free_port()
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def again() -> None:
        config = uvicorn.Config(
            app, port=port, interface="asgi3", http="httptools", lifespan="off", log_level="warning"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        servers.append((server, thread))
        _wait(port, thread.is_alive)

    def stop() -> None:
        server, thread = servers.pop()
        server.should_exit = True
        thread.join()

    again()
    try:
        yield f"http://127.0.0.1:{port}", again, stop
    finally:
        if servers:
            stop()


@contextmanager
def _started(
    command: list[str], folder: Path, port: int, **env: str
) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    running: list[subprocess.Popen[bytes]] = []

    def again() -> None:
        with (folder.parent / f"{folder.name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **env})
        running.append(process)
        _wait(port, lambda: process.poll() is None)

    def stop() -> None:
        process = running.pop()
        process.kill()
        process.wait()

    again()
    try:
        yield again, stop
    finally:
        if running:
            stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def _wait(port: int, alive: Callable[[], bool]) -> None:
    """Wait until somebody listens there."""
    until = time.monotonic() + _PATIENCE
    while alive() and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nobody answers at port {port}")


def _make_container(url: str) -> None:
    """obstore makes none."""
    about = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2022-11-02"}
    told = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in about.items())]
    told += [f"/{_AZURE}/{_AZURE}/alula", "restype:container"]
    digest = hmac.digest(base64.b64decode(_AZURE_KEY), "\n".join(told).encode(), "sha256")
    who = f"SharedKey {_AZURE}:{base64.b64encode(digest).decode()}"
    reply = httpx.put(f"{url}/alula", params={"restype": "container"}, headers={**about, "Authorization": who})
    assert reply.status_code == 201, reply.text


HERE = [name for name in STORES if not absent(name)]
