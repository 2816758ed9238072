"""A fork never inherits: what an attempt finds in its process is what it finds after a cold start, or its own.

Attempts of one executor that forks are compared with each other and with one of an executor that does not. Parents are
warm by then: the attempts that count come after others.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from alula.core.launch import Launch
from alula.executors.process.executor import ProcessExecutor

from .bench_launcher import Storage, storage
from .conftest import Bench
from .test_parents import bundle
from .test_runtime import how

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = '''
import asyncio, ctypes, gc, json, locale, logging, os, random, resource, secrets, signal, sys, tempfile, threading, time
import uuid, warnings
import flyte

env = flyte.TaskEnvironment(name="hello")

def holds(dicts, kinds):
    for each in dicts:
        for name, lock in list(each.items()) if type(each) is dict else []:
            if isinstance(lock, kinds) and name != "_tstate_lock":  # held as long as a thread runs
                yield name, lock

def locks():
    """Locks that somebody holds, wherever an object or a module has one."""
    kinds = (type(threading.Lock()), type(threading.RLock()))
    gc.unfreeze()
    dicts = []
    for one in gc.get_objects():
        try:
            dicts.append(one if type(one) is dict else object.__getattribute__(one, "__dict__"))
        except (AttributeError, TypeError):
            pass
    found = {id(lock): (name, lock) for name, lock in holds(dicts, kinds)}
    held = []
    for name, lock in found.values():
        if not lock.acquire(blocking=False):
            held.append(str(name))
        else:
            lock.release()
    return len(found) > 50, sorted(held)

def descriptors():
    kinds = []
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):
        try:
            kinds.append(os.readlink(f"/proc/self/fd/{number}").split(":")[0])
        except OSError:
            pass
    return [kind for kind in kinds if kind not in ("socket", "anon_inode")]

def caches():
    """What file systems and clients know: whose credentials."""
    import fsspec
    found = []
    for one in fsspec.AbstractFileSystem.__subclasses__() + list(fsspec.registry.values()):
        found += [fs.storage_options["config"]["access_key_id"] for fs in one._cache.values()]
    return sorted(found)

def limits():
    names = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
    return {name: resource.getrlimit(getattr(resource, name)) for name in names}

@env.task
async def facts() -> str:
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    numbers = [number for number in signal.valid_signals() if isinstance(number, signal.Signals)]
    handlers = {number.name: str(signal.getsignal(number)).partition(" object at ")[0] for number in numbers}
    own = {
        "random": random.random(), "uuid1": uuid.uuid1().hex, "uuid4": uuid.uuid4().hex, "secret": secrets.token_hex(),
        "name": next(tempfile._get_candidate_names()), "system": random.SystemRandom().random(), "pid": os.getpid(),
    }
    if "numpy" in sys.modules:
        own["numpy"] = sys.modules["numpy"].random.random()
    alike = {
        "handlers": handlers,
        "mask": str(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "ignored": open("/proc/self/status").read().split("SigIgn:")[1].split()[0],
        "wakeup": signal.set_wakeup_fd(-1),
        "umask": os.umask(0o22),
        "held": locks(),
        "descriptors": descriptors(),
        "limits": limits(),
        "leads": os.getsid(0) == os.getpid() == os.getpgid(0),
        "nice": os.nice(0),
        "folder": os.path.basename(os.getcwd()),
        "listed": sorted(os.listdir(".")),
        "temporary": tempfile.gettempdir() == os.environ["TMPDIR"],
        "variables": sorted(os.environ),
        "variables of C": [one for one in os.environ if (libc.getenv(one.encode()) or b"").decode() != os.environ[one]],
        "asked": os.environ["ASKED"],
        "path": [part.replace(os.getcwd(), "CWD") for part in sys.path],
        "argv": sys.argv[0],
        "main": sys.modules["__main__"].__file__,
        "flags": str(sys.flags),
        "zone": time.tzname,
        "locale": locale.setlocale(locale.LC_ALL),
        "streams": [sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering, sys.getfilesystemencoding()],
        "filters": len(warnings.filters),
        "collector": [gc.get_threshold(), gc.isenabled()],
        "interpreter": [sys.getrecursionlimit(), sys.getswitchinterval(), str(sys.gettrace())],
        "excepthook": sys.excepthook is sys.__excepthook__,
        "environments": [one.name for one in sys.modules["flyte._environment"].list_loaded_environments()],
        "loops": [type(asyncio.get_event_loop_policy()).__name__, type(asyncio.get_running_loop()).__name__],
        "loggers": [str(type(one)) for one in logging.getLogger("flyte").handlers + logging.root.handlers],
        "level": logging.getLogger("flyte").level,
        "caches": caches(),
        "ours": [name for name in sys.modules if name.split(".")[0] == "alula"],
    }
    print("FACTS", json.dumps([own, alike], default=str))
    return "ok"
'''


class Facts:
    """Of three attempts, one after the other, each with credentials of its own; the last two count."""

    def __init__(self, found: list[tuple[dict[str, Any], dict[str, Any]]], store: Storage) -> None:
        self.own = [own for own, _ in found]
        self.alike = [alike for _, alike in found]
        self.signed = [store.get(f"/b/n{number}/out/outputs.pb.by").decode() for number in range(len(found))]


async def _facts(folder: Path, mode: Any) -> Facts:
    archive = bundle(folder / "bundles", SOURCE).read_bytes()

    async def fetch(uri: str) -> bytes:
        return archive

    async with storage(folder, "s3") as store, ProcessExecutor(folder / "home", mode=mode, fetch=fetch) as executor:
        store.put("/b/fast0123.tar.gz", archive)
        bench, found = Bench(executor, folder / "home", mode), []
        for number in range(3):
            given = store.launch(f"n{number}")
            command = (*given.command[:-1], "facts")
            env = {**given.env, "FLYTE_AWS_ACCESS_KEY_ID": f"key{number}", "ASKED": str(number)}
            await executor.submit(Launch(f"n{number}", command, {**env, f"ONLY_{number}": "x"}))
            said = await bench.said(f"n{number}")
            assert "FACTS" in said, said
            found.append(json.loads(said.partition("FACTS ")[2].splitlines()[0]))
            assert (await bench.over(f"n{number}")).exit_code == 0, said
            assert await how(bench, f"n{number}") == ("forked" if mode == "fork" else "started")
        return Facts(found, store)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forked(tmp_path_factory: Any) -> AsyncIterator[Facts]:
    yield await _facts(tmp_path_factory.mktemp("forked"), "fork")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cold(tmp_path_factory: Any) -> AsyncIterator[Facts]:
    yield await _facts(tmp_path_factory.mktemp("cold"), "spawn")


async def test_random_state_is_each_attempts_own(forked: Facts) -> None:
    for name in forked.own[0]:
        assert len({str(own[name]) for own in forked.own}) == len(forked.own), name


async def test_the_rest_is_as_after_a_cold_start(forked: Facts, cold: Facts) -> None:
    """Handlers, masks, limits, folder, variables (Python's and C's), path, locale, descriptors, held locks."""
    assert forked.alike[2].keys() == cold.alike[2].keys()
    different = {name: (forked.alike[2][name], value) for name, value in cold.alike[2].items()}
    assert {name: both for name, both in different.items() if both[0] != both[1]} == {}
    assert forked.alike[2]["held"] == [True, []]
    assert forked.alike[2]["variables of C"] == []


async def test_variables_are_of_the_attempt_alone(forked: Facts) -> None:
    for number, alike in enumerate(forked.alike):
        assert alike["asked"] == str(number)
        assert [name for name in alike["variables"] if name.startswith("ONLY_")] == [f"ONLY_{number}"]


async def test_credentials_are_of_the_attempt_alone(forked: Facts) -> None:
    """What signs its requests is its own key; no file system is cached that knows another's."""
    for number, (signed, alike) in enumerate(zip(forked.signed, forked.alike, strict=True)):
        assert f"Credential=key{number}/" in signed
        assert set(alike["caches"]) == {f"key{number}"}
