"""A thousand watchers of one busy run, and the first page of a huge one: `python tools/bench/watchers.py [watchers]`.

The runs are tracked ones: what is measured is the control plane alone, without processes.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from flyteidl2.workflow import run_service_pb2 as pb
from flyteidl2.workflow import tracked_run_service_pb2 as tracked

sys.path.insert(0, str(Path(__file__).parent))
from client import Lean, Stream

WATCHERS, ACTIONS, HUGE = 1000, 1000, 50_000
QUEUED, RUNNING, SUCCEEDED = 1, 4, 5
METHODS = tracked.DESCRIPTOR.services_by_name["TrackedRunService"].methods_by_name
WHERE = {"project": "flytesnacks", "domain": "development"}


@contextmanager
def serving() -> Iterator[tuple[int, psutil.Process]]:
    """A server of its own: its port and its process."""
    with tempfile.TemporaryDirectory(prefix="alula-watchers-") as folder:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        command = [Path(sys.executable).parent / "alula", "up", "--home", f"{folder}/home", "--port", str(port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while "is ready" not in process.stdout.readline():
                assert process.poll() is None
            yield port, psutil.Process(process.pid)
            process.terminate()
            process.wait(30)


async def create(port: int, name: str) -> dict[str, str]:
    request = tracked.CreateTrackedRunRequest(run_id={**WHERE, "name": name})
    request.task_spec.task_template.id.name = "bench"
    async with Lean(port) as server:
        await server.call(METHODS["CreateRun"], request)
    return {**WHERE, "name": name}


async def report(port: int, run: dict[str, str], numbers: range, phase: int, version: int, size: int = 500) -> None:
    """Tell of actions, some at a time; every 50th is the parent of those that follow it."""
    async with Lean(port) as server:
        for start in range(numbers.start, numbers.stop, size):
            request = tracked.ReportTrackedActionsRequest(run_id=run)
            for n in range(start, min(start + size, numbers.stop)):
                update = request.updates.add(parent_name=f"n{n - n % 50}" if n % 50 else "a0")
                update.event.id.run.CopyFrom(request.run_id)
                update.event.id.name = f"n{n}"
                update.event.attempt, update.event.version = 1, version
                update.event.phase = phase  # type: ignore[assignment]
                update.event.updated_time.GetCurrentTime()
            answer = await server.call(METHODS["ReportActions"], request)
            assert not any(status.code for status in answer.statuses), answer


async def watch(port: int, run: dict[str, str], actions: int, ready: asyncio.Semaphore) -> int:
    """Watch until every action has succeeded; how many actions were told of."""
    phases: dict[str, int] = {}
    below: dict[int, int] = {}
    told = 0
    async with Stream(port, METHODS["WatchActions"], pb.WatchActionsRequest(run_id=run)) as stream:
        while sum(phase == SUCCEEDED for phase in phases.values()) < actions or below != {SUCCEEDED: actions}:
            message = pb.WatchActionsResponse.FromString(await stream.next())
            told += len(message.enriched_actions)
            for enriched in message.enriched_actions:
                phases[enriched.action.id.name] = enriched.action.status.phase
                if enriched.action.id.name == "a0":
                    below = dict(enriched.children_phase_counts)
            if len(phases) == actions + 1:
                ready.release()
    return told


async def many(port: int, server: psutil.Process, watchers: int) -> None:
    run = await create(port, "local-busy")
    await report(port, run, range(ACTIONS), QUEUED, 0)
    before = server.memory_info().rss
    ready = asyncio.Semaphore(0)
    began = time.perf_counter()
    watching = [asyncio.create_task(watch(port, run, ACTIONS, ready)) for _ in range(watchers)]
    for _ in range(watchers):
        await ready.acquire()
    snapshots = time.perf_counter() - began
    peak = Peak(server)
    async with peak:
        began = time.perf_counter()
        for phase, version in ((RUNNING, 1), (SUCCEEDED, 2)):
            await report(port, run, range(ACTIONS), phase, version, size=20)
        reported = time.perf_counter() - began
        told = await asyncio.gather(*watching)
        took = time.perf_counter() - began
    print(f"{watchers} watchers of {ACTIONS} actions: all have the snapshot after {snapshots:.1f} s")
    print(f"  {2 * ACTIONS} updates reported in {reported:.1f} s; every watcher knows every end after {took:.1f} s")
    memory = f"{before / 1e6:.0f} MB before, {peak.most / 1e6:.0f} MB at most"
    print(f"  told of {sum(told) / watchers:.0f} actions each; memory {memory}")


class Peak:
    """The most memory that a process had meanwhile, in bytes."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.most = 0

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._look())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _look(self) -> None:
        while True:
            self.most = max(self.most, self._process.memory_info().rss)
            await asyncio.sleep(0.05)


async def huge(port: int, server: psutil.Process) -> None:
    run = await create(port, "local-huge")
    began = time.perf_counter()
    await report(port, run, range(HUGE), RUNNING, 0)
    print(f"{HUGE} actions reported in {time.perf_counter() - began:.1f} s")
    for what in ("first watcher", "second watcher at its side"):
        names: set[str] = set()
        began, first = time.perf_counter(), 0.0
        stream: Any = Stream(port, METHODS["WatchActions"], pb.WatchActionsRequest(run_id=run))
        await stream.__aenter__()
        while len(names) < HUGE + 1:
            message = pb.WatchActionsResponse.FromString(await stream.next())
            first = first or time.perf_counter() - began
            names.update(enriched.action.id.name for enriched in message.enriched_actions)
        print(f"  {what}: first page after {first * 1000:.0f} ms, whole tree after {time.perf_counter() - began:.1f} s")
    print(f"  memory {server.memory_info().rss / 1e6:.0f} MB")


async def main(watchers: int) -> None:
    with serving() as (port, server):
        await many(port, server, watchers)
    with serving() as (port, server):
        await huge(port, server)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else WATCHERS))
