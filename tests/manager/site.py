"""A whole site: a control plane (`alula serve`), a cluster with simulated nodes, and runs whose fates are known."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
from flyteidl2.workflow import run_service_pb2 as pb

from alula.cli.connect import CallFailed, Connect
from alula.core.phase import Phase
from alula.kube.objects import PODS, Object, Selection, labels_of
from alula.manager.crds import taskactions
from alula.manager.world import ACTIONS
from tests.kube.cluster import Cluster
from tests.kube.fates import End, Fate

T = TypeVar("T")
RUNS = pb.DESCRIPTOR.services_by_name["RunService"].methods_by_name
PATIENCE = 60.0
_AGAIN = ("unavailable", "internal", "unknown")  # what a server that is killed, or comes up, makes of a call


@dataclass(frozen=True, slots=True)
class Story:
    """What becomes of a run: its pods' fates one after the other, the last for all that follow; and how it ends.

    ``attempts``: how many there are if nothing else goes wrong. ``pods``: how many of those have containers that start.
    """

    fates: Sequence[Fate]
    phase: Phase = Phase.SUCCEEDED
    attempts: int = 1
    pods: int = 1
    retries: int = 0
    timeout: int = 0  # seconds
    abort: bool = False
    code: str = ""


_FAILED, _GOOD, _NEVER = Fate(End.FAILED, after=0.05), Fate(), Fate(End.NEVER)
STORIES: Mapping[str, Story] = {
    "success": Story([_GOOD]),
    "slow": Story([Fate(after=0.3)]),
    "again": Story([_FAILED, _GOOD], attempts=2, pods=2, retries=2),
    "error": Story([_FAILED], Phase.FAILED, attempts=2, pods=2, retries=1, code="ContainerFailed"),
    "oom": Story([Fate(End.OOM, after=0.05)], Phase.FAILED, code="OOMKilled"),
    "evicted": Story([Fate(End.EVICTED, after=0.05), _GOOD], attempts=2, pods=2),
    "preempted": Story([Fate(End.PREEMPTED, after=0.05), _GOOD], attempts=2, pods=2),
    "node": Story([Fate(End.NODE_LOST, after=0.05), _GOOD], attempts=2, pods=2),
    "image": Story([Fate(End.BAD_IMAGE)], Phase.FAILED, pods=0, code="ContainersNotReady|ImagePullBackOff"),
    "timeout": Story([_NEVER], Phase.TIMED_OUT, timeout=1, code="MAX_RUNTIME_EXCEEDED"),
    "abort": Story([_NEVER], Phase.ABORTED, abort=True),
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    name: str
    story: str
    phase: Phase
    attempts: int
    code: str

    @property
    def right(self) -> bool:
        """Whether it is as its story says, if other attempts may have been lost."""
        meant = STORIES[self.story]
        return (self.phase, self.code) == (meant.phase, meant.code) and self.attempts >= meant.attempts


class Server:
    """A control plane: a process with a home, which may be killed and started again."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str) -> None:
        self.home, self.log = folder / "home", folder / "server.log"
        self.home.mkdir(mode=0o700)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._file = folder / "alula.toml"
        self._file.write_text(
            f'[server]\nhome = "{self.home}"\nlisten = ["127.0.0.1:{self.port}"]\n'
            f'[clusters.here]\nkubeconfig = "{kubeconfig}"\nnamespace = "{namespace}"\ndefault = true\n'
            '[executor]\nmode = "spawn"\n'
        )
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Return once it is ready."""
        words = ["serve", "--config", str(self._file)]
        with self.log.open("a") as errors:
            self.process = await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name("alula"), *words, stdout=asyncio.subprocess.PIPE, stderr=errors
            )
        assert self.process.stdout is not None
        while b"is ready" not in (line := await self.process.stdout.readline()):
            assert line, self.log.read_text()[-4000:]

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """End it well; its exit code."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    def left(self) -> list[list[str]]:
        """Processes that know its home."""
        found = []
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if str(self.home) in " ".join(command := one.cmdline()) and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(command)
        return found


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    """It has to end well, and nothing may be left of it."""
    await server.start()
    try:
        yield server
        assert await server.stop() == 0, server.log.read_text()[-4000:]
        assert "Traceback" not in (said := server.log.read_text()), said[-8000:]
        assert not server.left()
    finally:
        if server.process is not None and server.process.returncode is None:
            await server.kill()


@asynccontextmanager
async def managed(
    kubeconfig: Path, namespace: str, folder: Path, control_plane: str = "", env: Mapping[str, str] | None = None
) -> AsyncIterator[psutil.Process]:
    """`alula manager` as people start it, with more variables. It has to end well."""
    file, log = folder / "manager.toml", folder / "manager.log"
    file.write_text(
        f'[manager]\nkubeconfig = "{kubeconfig}"\nnamespace = "{namespace}"\nlisten = ""\n'
        f'control_plane = "{control_plane}"\ngroups = 1\n[manager.pods]\nimage_pull_grace = 1\n'
    )
    command = [str(Path(sys.executable).with_name("alula")), "manager", "--config", str(file)]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=output, env={**os.environ, **(env or {})}
        )
    assert process.stdout is not None
    try:
        while b"is ready" not in (line := await process.stdout.readline()):
            assert line, log.read_text()
        yield psutil.Process(process.pid)
        process.terminate()
        assert await process.wait() == 0, log.read_text()[-4000:]
        assert "Traceback" not in (said := log.read_text()), said[-4000:]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is a server that answers. Whoever kills servers has an eye on the time."""
    while True:
        try:
            return await ask()
        except CallFailed as failed:
            if failed.code not in _AGAIN:
                raise
        await asyncio.sleep(0.1)


@dataclass
class Load:
    """Runs of a control plane, each of which goes through a story. ``secret``: what their tasks ask for."""

    url: str
    dice: random.Random
    secret: str = ""
    pods: dict[str, list[str]] = field(default_factory=dict)  # by run, in their order
    stories: dict[str, str] = field(default_factory=dict)  # by run
    ended: list[Ended] = field(default_factory=list)

    def fate(self, pod: Object) -> Fate:
        """The script for a kubelet."""
        run, name = labels_of(pod)["flyte.org/run"], pod["metadata"]["name"]
        there = self.pods.setdefault(run, [])
        if name not in there:
            there.append(name)
        fates = STORIES[self.stories[run]].fates
        return fates[min(there.index(name), len(fates) - 1)]

    async def run(self, count: int, at_once: int) -> None:
        """So many runs, of which the stories take turns."""
        names = [*STORIES]
        told = [names[place % len(names)] for place in range(count)]
        self.dice.shuffle(told)
        waiting = iter(enumerate(told))

        async def work() -> None:
            async with Connect(self.url) as server:
                for number, story in waiting:
                    await self._go_through(server, f"r{number}", story)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(work())

    async def _go_through(self, server: Connect, run: str, story: str) -> None:
        self.stories[run] = story
        await insist(partial(self._create, server, run, STORIES[story]))
        if STORIES[story].abort:
            await insist(partial(self._watch, server, run, lambda phase: phase is Phase.RUNNING or phase.terminal))
            request = pb.AbortRunRequest(reason="as its story says")
            _identify(request, run)
            await insist(lambda: server.call(RUNS["AbortRun"], request))
        action = await insist(partial(self._watch, server, run, lambda phase: phase.terminal))
        phase, code = Phase(action.status.phase), action.error_info.code
        self.ended.append(Ended(run, story, phase, action.status.attempts, code))

    async def _create(self, server: Connect, run: str, story: Story) -> None:
        request = pb.CreateRunRequest()
        _identify(request, run)
        template = request.task_spec.task_template
        template.type, template.id.name = "container", "work"
        template.metadata.retries.retries = story.retries
        template.metadata.timeout.FromSeconds(story.timeout)
        template.container.image = "busybox"
        template.container.args.append("true")
        if self.secret:
            template.security_context.secrets.add(key=self.secret)
        try:
            await server.call(RUNS["CreateRun"], request)
        except CallFailed as failed:  # what was asked for before had no answer, but was done
            if failed.code != "already_exists":
                raise

    async def _watch(self, server: Connect, run: str, fits: Callable[[Phase], bool]) -> Any:
        """A run's first action, once its phase fits."""
        request = pb.WatchRunDetailsRequest()
        _identify(request, run)
        async for response in server.stream(RUNS["WatchRunDetails"], request):
            if fits(Phase(response.details.action.status.phase)):
                return response.details.action
        raise CallFailed("unavailable", "the stream ended early")

    def wrong(self) -> list[Ended]:
        """Runs that did not end as they should have."""
        return [one for one in self.ended if not one.right]

    def open(self) -> dict[str, str]:
        """Runs that have not ended, and their stories."""
        return {run: story for run, story in self.stories.items() if run not in {one.name for one in self.ended}}

    def lost(self) -> int:
        """Attempts that there would not be if nothing else had gone wrong."""
        return sum(one.attempts - STORIES[one.story].attempts for one in self.ended)

    async def now(self) -> dict[str, Phase]:
        """How the runs that have ended are shown now."""
        found = {}
        async with Connect(self.url) as server:
            for one in self.ended:
                request = pb.GetRunDetailsRequest()
                _identify(request, one.name)
                told = await server.call(RUNS["GetRunDetails"], request)
                found[one.name] = Phase(told.details.action.status.phase)
        return found

    def counts(self) -> Counter[str]:
        """How many runs ended how, by story."""
        return Counter(f"{one.story}: {one.phase.name}" for one in self.ended)


def _identify(request: Any, run: str) -> None:
    request.run_id.project, request.run_id.domain, request.run_id.name = "flytesnacks", "development", run


async def prepare(cluster: Cluster) -> None:
    """Have a cluster know TaskActions, and collect what they own."""
    await cluster.install(taskactions())


async def left(cluster: Cluster) -> list[str]:
    """The names of the TaskActions and pods that are there."""
    names = []
    for kind in (ACTIONS, PODS):
        found, _ = await cluster.kube.select(Selection(kind, cluster.namespace))
        names += [f"{kind.plural}/{one['metadata']['name']}" for one in found]
    return names


async def until_nothing_is_left(cluster: Cluster) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while await left(cluster):
                await asyncio.sleep(0.1)  # the collector is a client like any other: nobody tells when it is done
    except TimeoutError:
        raise AssertionError(f"this is left: {await left(cluster)}") from None


def twice(cluster: Cluster) -> list[str]:
    """Pods whose containers were started more than once, or that were created so."""
    found = [name for name, count in cluster.kubelet.started.items() if count > 1]
    if cluster.server is not None:
        found += [name for (plural, _, name), count in cluster.server.created.items() if plural == "pods" and count > 1]
    return found
