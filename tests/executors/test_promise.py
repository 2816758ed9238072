"""The promise of `executors/base.py`, kept by processes of this machine and by a cluster alike.

What is a process's alone (its descriptors, its signals, its tree) is in `test_contract.py`.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from flyteidl2.core import tasks_pb2

from alula.app.clusters import archiving
from alula.blobs.store import Blobs
from alula.control.archive import Archive
from alula.core.errors import LaunchRefused
from alula.core.launch import Launch, Observation, Originator, Presence
from alula.core.taskaction import Request
from alula.executors.base import Executor
from alula.executors.cluster.executor import ClusterExecutor, Keeping, Share
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.shelf import Shelf
from alula.manager.crds import taskactions
from tests.kube.cluster import beginning, real_kubeconfig
from tests.kube.node import Node
from tests.manager.managed import managing

__all__ = ["real_kubeconfig"]
PATIENCE = 60.0  # seconds for anything to happen
OVER = (Presence.EXITED, Presence.LOST)


class Bench:
    """An executor, and where its logs are found."""

    def __init__(self, executor: Executor, shelf: Shelf) -> None:
        self.executor, self._shelf = executor, shelf

    async def start(self, name: str, *command: str, **env: str) -> Launch:
        container = tasks_pb2.Container(image="image", command=command)
        template = tasks_pb2.TaskTemplate(type="container", container=container).SerializeToString()
        asked = Request(name, "p", "development", name, "a0", 1, "container", template, env=env, grace=0.5, run_key=1)
        ready = Launch(name, command, env, grace=0.5, request=asked)
        await self.executor.submit(ready)
        return ready

    async def python(self, name: str, code: str, **env: str) -> Launch:
        return await self.start(name, "python", "-c", code, **env)

    async def over(self, name: str) -> Observation:
        async with asyncio.timeout(PATIENCE):
            changes = self.executor.changes()
            while (seen := await self.executor.observe(name)) is None or seen.presence not in OVER:
                await anext(changes)
        return seen

    async def said(self, name: str, *, until: str = "") -> str:
        """What its process printed, to the end, or until that was printed."""
        said = ""
        async with asyncio.timeout(PATIENCE):
            async for batch in self._shelf.logs(name, follow=True):
                said += "".join(line.text for line in batch if line.originator is Originator.USER)
                if until and until in said:
                    break
        return said


@asynccontextmanager
async def there(folder: Path, archive: Archive, real: Path | None) -> AsyncIterator[Executor]:
    """A cluster with its Manager, and a node that runs containers as processes."""

    async def put(uri: str, data: bytes) -> None:
        raise AssertionError("no template here is large")

    async with beginning(folder, real) as cluster:
        await cluster.install(taskactions())
        await cluster.kubelet.__aexit__()
        share, dice = Share("me"), random.Random(0).random
        async with (
            Node(cluster.kube, cluster.namespace, cluster.kubelet.logs, folder / "pods"),
            managing(cluster.kubeconfig, cluster.namespace),
            ClusterExecutor("east", cluster.kube, Keeping(archiving(archive), put), share, dice) as executor,
        ):
            yield executor


@pytest_asyncio.fixture(params=["processes", "memory", "real"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    archive = Archive(Blobs(tmp_path / "objects"))
    if request.param == "processes":
        async with ProcessExecutor(tmp_path / "executor", mode="spawn") as processes:
            yield Bench(processes, Shelf(tmp_path, "executor", processes, archive=archive))
        return
    real = request.getfixturevalue("real_kubeconfig") if request.param == "real" else None
    async with there(tmp_path, archive, real) as executor:
        yield Bench(executor, Shelf(tmp_path, "executor", executor, archive=archive))


@pytest.mark.parametrize("code", [0, 3])
async def test_how_it_ended(bench: Bench, code: int) -> None:
    await bench.python("one", f"raise SystemExit({code})")
    seen = await bench.over("one")
    assert (seen.presence, seen.exit_code) == (Presence.EXITED, code)
    assert seen.started_at is not None
    assert seen.ended_at is not None
    assert seen.started_at <= seen.ended_at
    assert await bench.executor.names() == ["one"]


async def test_what_it_says_is_read_while_it_runs_and_after_it_is_gone(bench: Bench) -> None:
    code = "import time\nfor i in range(100): print(i)\nprint('here', flush=True)\nwhile True: time.sleep(60)"
    await bench.python("one", code)
    expected = "".join(f"{number}\n" for number in range(100)) + "here\n"
    assert await bench.said("one", until="here\n") == expected
    seen = await bench.executor.observe("one")
    assert seen is not None
    assert seen.presence in (Presence.STARTING, Presence.RUNNING)
    await bench.executor.release("one")
    assert await bench.executor.observe("one") is None
    assert await bench.executor.names() == []
    assert await bench.said("one") == expected


async def test_its_environment(bench: Bench) -> None:
    await bench.python("one", "import os; print(os.environ['GIVEN'], os.environ.get('SERVER'))", GIVEN="a b")
    assert await bench.said("one") == "a b None\n"


async def test_the_same_name_starts_one(bench: Bench) -> None:
    code = "open('runs', 'a').write('x'); print(open('runs').read())"
    ready = await bench.python("one", code)
    await asyncio.gather(*(bench.executor.submit(ready) for _ in range(5)))
    await bench.over("one")
    await bench.executor.submit(ready)
    assert await bench.said("one") == "x\n"
    await bench.executor.release("one")
    await bench.executor.release("one")
    await bench.executor.release("never-heard-of")
    assert await bench.executor.names() == []


@pytest.mark.parametrize("name", ["../escape", "UPPER", "a_b", "x" * 254])
async def test_a_name_that_is_none(bench: Bench, name: str) -> None:
    ready = await bench.python("one", "pass")
    assert ready.request is not None
    with pytest.raises(LaunchRefused):
        await bench.executor.submit(replace(ready, name=name, request=replace(ready.request, name=name)))
    assert await bench.executor.names() == ["one"]


async def test_many_at_once(bench: Bench) -> None:
    names = [f"n{number}" for number in range(12)]
    await asyncio.gather(*(bench.start(name, "sh", "-c", f"echo {name}; exit 7") for name in names))
    assert {(await bench.over(name)).exit_code for name in names} == {7}
    assert [await bench.said(name) for name in names] == [f"{name}\n" for name in names]
    await asyncio.gather(*map(bench.executor.release, names))
    assert await bench.executor.names() == []
    assert [await bench.said(name) for name in names] == [f"{name}\n" for name in names]
