"""Environments on disk: what counts as one, who may build it, and which of them go."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from alula.executors.process.environments.store import Store

SAID = {"python": "3.12.1", "sdk": "2.12.1", "env": [["A", "1"]], "workdir": "/app"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "environments")


def _make(store: Store, digest: str, *, used: float = 0.0, size: int = 40960) -> None:
    with store.building(digest) as lock:
        assert lock is not None
        place = store.clear(digest)
        (place / "file").write_bytes(os.urandom(size))
        _python(place)
        store.complete(digest, SAID)
    if used:
        os.utime(place / "used", (used, used))


def _python(place: Path) -> None:
    (place / "venv" / "bin").mkdir(parents=True)
    (place / "venv" / "bin" / "python").symlink_to(sys.executable)


def test_only_a_complete_one_is_found(store: Store) -> None:
    with store.building("d") as lock:
        assert lock is not None
        place = store.clear("d")
        (place / "root").mkdir()
        assert store.find("d") is None
        (place / "environment.json.part").write_text('{"half": ')
        assert store.find("d") is None
        _python(place)
        store.complete("d", SAID)
    found = store.find("d")
    assert found is not None
    assert (found.digest, found.python, found.pairs, found.workdir) == ("d", "3.12.1", (("A", "1"),), "/app")
    assert found.interpreter == store.folder / "d" / "venv" / "bin" / "python"


def test_a_build_that_died_is_begun_anew(store: Store) -> None:
    with store.building("d"):
        (store.clear("d") / "rubbish").touch()
    with store.building("d") as lock:
        assert lock is not None
        assert list(store.clear("d").iterdir()) == []


def test_what_a_crash_left_is_swept(store: Store) -> None:
    with store.building("d"):
        store.clear("d")
        assert store.shrink(1 << 40) == []
        assert store.place("d").exists(), "it is being built"
    store.shrink(1 << 40)
    assert not store.place("d").exists()


def _build_in_another_process(store: Store, pipe: Connection) -> None:
    with store.building("d"):
        store.clear("d")
        pipe.send("building")
        pipe.recv()
        os._exit(9)  # without a word: the lock is the kernel's


def test_one_builds_and_others_wait(store: Store) -> None:
    ours, theirs = multiprocessing.Pipe()
    builder = multiprocessing.get_context("fork").Process(target=_build_in_another_process, args=(store, theirs))
    builder.start()
    assert ours.recv() == "building"
    with store.building("d") as lock:
        assert lock is None
    ours.send("die")
    store.wait("d")
    builder.join()
    with store.building("d") as lock:
        assert lock is not None
    assert store.find("d") is None


def _attempt(tmp_path: Path, name: str) -> Path:
    return tmp_path / "attempts" / name


def test_the_least_recently_used_go_first(store: Store, tmp_path: Path) -> None:
    for used, digest in enumerate(("old", "older", "leased", "new"), 1000):
        _make(store, digest, used=used if digest != "older" else 1.0)
    attempt = _attempt(tmp_path, "a")
    assert store.lease("leased", attempt)
    os.utime(store.place("leased") / "used", (0, 0))
    (size,) = {one.size for one in store.kept()}
    assert [one.digest for one in store.shrink(2 * size)] == ["older", "old"]
    assert {one.digest for one in store.kept()} == {"leased", "new"}
    assert {one.digest for one in store.shrink(0)} == {"new"}, "one runs in the other"
    attempt.rmdir()
    assert {one.digest for one in store.shrink(0)} == {"leased"}
    assert not store.lease("leased", attempt)


def test_what_fits_stays(store: Store) -> None:
    _make(store, "a")
    _make(store, "b")
    assert store.shrink(sum(one.size for one in store.kept())) == []


@pytest.mark.parametrize(
    "ruin", [lambda path: path.write_text("{"), lambda path: path.unlink(), lambda path: path.write_text("")]
)
def test_a_broken_marker_is_none(store: Store, ruin: Callable[[Path], object]) -> None:
    _make(store, "a")
    ruin(store.place("a") / "environment.json")
    assert store.find("a") is None


def test_a_use_is_remembered(store: Store, tmp_path: Path) -> None:
    _make(store, "a", used=1.0)
    assert store.lease("a", _attempt(tmp_path, "x"))
    assert store.kept()[0].used > 1.0


def test_one_that_was_moved_is_none(store: Store) -> None:
    """Its scripts name the folder that it was built in."""
    _make(store, "a")
    other = store.folder.rename(store.folder.with_name("elsewhere"))
    assert Store(other).find("a") is None


def test_one_whose_python_is_gone_is_none(store: Store) -> None:
    _make(store, "a")
    python = store.place("a") / "venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python")
    assert store.find("a") is None
