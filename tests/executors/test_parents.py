"""Warm parents: what they load, what becomes of attempts when they or their workers die, and when they end."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from alula.core.launch import Launch
from alula.executors.process import tree
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.runtime import Runtime

from . import hello
from .conftest import Bench
from .test_runtime import how

Until = Callable[[Callable[[], bool]], Awaitable[None]]

NUMERIC = """
import sys
before = "numpy" in sys.modules
import numpy.random
import flyte

env = flyte.TaskEnvironment(name="numeric")
calls = 0

@env.task
async def main() -> int:
    global calls
    calls += 1
    product = numpy.ones((50, 50)).dot(numpy.ones(50)).sum()
    print("loaded" if before else "imported", calls, numpy.random.random(), product)
    return calls
"""


def programs(bench: Bench, word: str) -> list[int]:
    """The processes of a home whose command line says so."""
    identity = (bench.home / "id").read_text().strip()
    found = []
    for pid in tree.processes():
        with suppress(OSError):
            if tree.mark(pid).startswith(identity) and word in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(pid)
    return [pid for pid in found if tree.alive(pid)]


def bundle(folder: Path, source: str) -> Path:
    """An archive with one module."""
    before, hello.SOURCE = hello.SOURCE, source
    try:
        return hello.bundle(folder)
    finally:
        hello.SOURCE = before


async def attempt(bench: Bench, name: str, task: str = "main", uri: str = "s3://mine/fast0123.tar.gz") -> str:
    base = bench.home.parent / name
    await bench.submit(Launch(name, hello.command(base, uri, task), hello.ENV))
    said = await bench.said(name)
    seen = await bench.over(name)
    assert seen.exit_code == 0, said
    assert (base / "out" / "outputs.pb").exists(), said
    return said


async def test_a_bundles_modules_are_loaded_once_and_its_own_code_every_time(tmp_path: Path) -> None:
    """The first attempt shows what its code imports; NumPy has threads, and ends them around each fork."""
    archive = bundle(tmp_path / "bundles", NUMERIC).read_bytes()

    async def fetch(uri: str) -> bytes:
        return archive

    async with ProcessExecutor(tmp_path / "home", fetch=fetch) as executor:
        bench = Bench(executor, tmp_path / "home", "fork")
        said = [(await attempt(bench, "a0")).split()]
        async with asyncio.timeout(30):
            while "loaded" not in said[-1]:
                said.append((await attempt(bench, f"a{len(said)}")).split())
        said.append((await attempt(bench, "last")).split())
        lines = [words[words.index("imported" if "imported" in words else "loaded") :] for words in said]
        assert lines[0][0] == "imported"
        assert lines[-1][0] == "loaded"
        assert {line[1] for line in lines} == {"1"}, "each has the module's state for itself"
        assert len({line[2] for line in lines}) == len(lines), "each has random numbers of its own"
        assert {line[3] for line in lines} == {"2500.0"}
        assert await how(bench, "last") == "forked"


async def test_a_parent_that_dies_is_replaced(tmp_path: Path, until: Until) -> None:
    async with ProcessExecutor(tmp_path / "home") as executor:
        bench = Bench(executor, tmp_path / "home", "fork")
        archive = str(hello.bundle(tmp_path / "bundles"))
        await attempt(bench, "one", uri=archive)
        before = sorted(programs(bench, "parent import"), key=tree.started)  # and its workers, which look alike
        os.kill(before[0], signal.SIGKILL)
        await attempt(bench, "two", uri=archive)
        assert await how(bench, "two") == "forked"
        await until(lambda: not any(map(tree.alive, before)))


async def test_a_worker_that_dies_while_it_is_idle_is_missed_by_nobody(tmp_path: Path, until: Until) -> None:
    async with ProcessExecutor(tmp_path / "home") as executor:
        bench = Bench(executor, tmp_path / "home", "fork")
        archive = str(hello.bundle(tmp_path / "bundles"))
        await attempt(bench, "one", uri=archive)
        await until(lambda: len(programs(bench, "idle worker")) > 1)
        [parent], workers = programs(bench, "parent import"), programs(bench, "idle worker")
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(map(tree.alive, workers)))
        await attempt(bench, "two", uri=archive)
        assert tree.alive(parent)
        assert await how(bench, "two") == "forked"


async def test_nothing_is_left_when_the_executor_ends(tmp_path: Path, until: Until) -> None:
    async with ProcessExecutor(tmp_path / "home") as executor:
        bench = Bench(executor, tmp_path / "home", "fork")
        await attempt(bench, "one", uri=str(hello.bundle(tmp_path / "bundles")))
        pids = programs(bench, "")
        assert len(pids) >= 2
    await until(lambda: not any(map(tree.alive, pids)))


async def test_the_environments_own_alula_is_found_or_none(tmp_path: Path) -> None:
    """Workers are made of alula's code; an attempt does not find it loaded."""
    source = """
import sys, flyte
env = flyte.TaskEnvironment(name="plain")

@env.task
async def main() -> int:
    print("ours", [name for name in sys.modules if name.split(".")[0] == "alula"])
    return 1
"""
    async with ProcessExecutor(tmp_path / "home") as executor:
        bench = Bench(executor, tmp_path / "home", "fork")
        assert "ours []\n" in await attempt(bench, "one", uri=str(bundle(tmp_path / "bundles", source)))


def test_what_was_loaded_is_out_of_date_once_a_folder_of_modules_changed(tmp_path: Path) -> None:
    runtime = Runtime("a0", {}, {}, {str(tmp_path): tmp_path.stat().st_mtime_ns})
    assert runtime.current()
    assert Runtime.told(runtime.tell()).current()
    os.utime(tmp_path, ns=(1, 1))
    assert not runtime.current()
