"""The Manager, against a real API server whose pods finish as soon as they are created.

How many actions a second, what each costs whom, how long from a TaskAction to its pod, how much memory many live
TaskActions take, and how long from the end of a pod until the watcher of its run is told. The load, the kubelet, etcd
and the API server share the machine with it: what they cost stands beside.

`KUBEBUILDER_ASSETS=... python tools/bench/manager.py [actions] [live] [told]`
"""

import asyncio
import itertools
import os
import random
import re
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import uvloop
from flyteidl2.workflow import run_service_pb2 as pb

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.kube.fates import Fate, ended
from tests.kube.real import programs, real_server
from tests.manager.managed import request
from tests.manager.site import RUNS, Server, managed, serving

from alula.cli.connect import Connect
from alula.core.phase import Phase
from alula.core.taskspec import manifest
from alula.kube.client import Kube
from alula.kube.mirror import Mirror
from alula.kube.objects import NAMESPACES, PODS, Name, Object, Selection, labels_of
from alula.manager.crds import install
from alula.manager.world import ACTIONS

SPACE, TOLD = "bench", "told"  # the namespaces
PACE = 10.0  # runs a second, where their watchers are told: every run has a watch of its own
READS = ("get", "list", "watch", "logs")
_CALLS = re.compile(r'alula_manager_kube_seconds_count\{code="(\d+)",kind="(\w+)",verb="(\w+)"\} (\S+)')


@dataclass
class Measured:
    """What there is to say. Times are seconds in their order, ``memory`` is bytes, ``cpu`` seconds per action."""

    rate: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)  # by who has taken it
    writes: dict[str, float] = field(default_factory=dict)  # of the Manager, per action
    others: float = 0.0  # cores that everybody else on this machine has taken meanwhile
    half: float = 0.0  # actions a second of the next two
    others_at_half: float = 0.0
    created: list[float] = field(default_factory=list)  # from asking for a TaskAction to its pod being seen
    finished: list[float] = field(default_factory=list)  # from asking for a pod's end to the TaskAction saying so
    empty: int = 0
    memory: int = 0
    live: int = 0
    told: list[float] = field(default_factory=list)  # from asking for a pod's end to the watcher of its run

    @property
    def all_writes(self) -> float:
        """With the control plane's two: the TaskAction is created, and deleted."""
        return sum(self.writes.values()) + 2


class Load:
    """A control plane that submits and releases, and a kubelet that ends pods (while ``ends``) as soon as they come."""

    def __init__(self, kube: Kube) -> None:
        self.kube, self.ends = kube, True
        self.submitted: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self.finished: dict[str, float] = {}
        self.completed: dict[str, float] = {}
        self.over = asyncio.Queue[str]()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        dice = random.Random(0).random
        self.mirrors = [Mirror(kube, Selection(kind, SPACE), dice=dice) for kind in (ACTIONS, PODS)]
        self.mirrors[0].subscribe(self._action)
        self.mirrors[1].subscribe(self._pod)

    def forget(self) -> None:
        """Begin to measure anew."""
        for times in (self.submitted, self.started, self.finished, self.completed):
            times.clear()

    async def submit(self) -> None:
        asked = request(next(self._numbers))
        self.submitted[asked.name] = time.perf_counter()
        await self.kube.create(ACTIONS, manifest(asked, SPACE))

    def _action(self, name: Name, old: Object | None, new: Object | None) -> None:
        phase = ((new or {}).get("status") or {}).get("pluginPhase")
        if phase == "Completed" and ((old or {}).get("status") or {}).get("pluginPhase") != phase:
            self.completed[name.name] = time.perf_counter()
            self.over.put_nowait(name.name)
            self._soon(self._release(name))

    def _pod(self, name: Name, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None:
            self.started[name.name] = time.perf_counter()
            if self.ends:
                self._soon(self._end(name, new))

    async def _end(self, name: Name, pod: Object) -> None:
        now = datetime.now(UTC)
        self.finished[name.name] = time.perf_counter()
        await self.kube.patch(PODS, name, {"status": ended(pod, Fate(), now, now)}, status=True)

    async def _release(self, name: Name) -> None:
        await self.kube.delete(ACTIONS, name)

    def _soon(self, doing: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def ended(self, count: int) -> None:
        """So many have ended, and all of them are gone."""
        for _ in range(count):
            await self.over.get()
        while len(self.mirrors[0]):
            await asyncio.sleep(0.01)


def between(began: dict[str, float], ended: dict[str, float]) -> list[float]:
    """How long it took, in order."""
    return sorted(ended[name] - at for name, at in began.items() if name in ended)


@asynccontextmanager
async def manager(kubeconfig: Path, log: Path) -> AsyncIterator[tuple[psutil.Process, str]]:
    """`alula manager`, and the address of its metrics."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    words = ["manager", "--kubeconfig", str(kubeconfig), "--namespace", SPACE, "--listen", listen]
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("alula"), *words, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
        assert process.stdout is not None
        while b"is ready" not in (line := await process.stdout.readline()):
            assert line, log.read_text()
        try:
            yield psutil.Process(process.pid), f"http://{listen}/metrics"
        finally:
            process.terminate()
            await process.wait()


async def writes(metrics: str) -> Counter[str]:
    """What the Manager has asked the API server to write so far, without its Leases."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(metrics)).text
    counts: Counter[str] = Counter()
    for code, kind, verb, number in _CALLS.findall(text):
        if verb not in READS and kind != "leases" and code[0] == "2":
            counts[f"{verb} {kind}"] += int(float(number))
    return counts


async def measure(actions: int, live: int, told: int) -> Measured:
    """All of it, with a cluster of its own."""
    os.environ.setdefault("GOGC", "400")  # its API server collects garbage for a fifth of its time otherwise
    folder = programs()
    assert folder is not None, "there is no kube-apiserver: name its folder in KUBEBUILDER_ASSETS"
    found = Measured(live=live)
    with tempfile.TemporaryDirectory(prefix="alula-bench-") as scratch, real_server(folder) as kubeconfig:
        async with Kube.connect(kubeconfig, namespace=SPACE) as kube:
            await install(kube)
            for space in (SPACE, TOLD):
                await kube.create(NAMESPACES, {"metadata": {"name": space}})
            if told:
                found.told = await until_told(kube, kubeconfig, Path(scratch), told)
            async with manager(kubeconfig, Path(scratch, "log")) as (process, metrics):
                await alone(kube, process, metrics, actions, found)
    return found


async def alone(kube: Kube, process: psutil.Process, metrics: str, actions: int, found: Measured) -> None:
    """The Manager without a control plane."""
    load = Load(kube)
    following = [asyncio.create_task(mirror.run()) for mirror in load.mirrors]
    for mirror in load.mirrors:
        await mirror.ready.wait()
    await flood(load, 50)  # until it has its share of the work, and everybody is warm
    found.empty = process.memory_info().rss
    counted, before = await writes(metrics), spent(process)
    await flood(load, actions)
    used = since(before, spent(process))
    found.rate, found.others = actions / used["clock"], others(used)
    found.cpu = {name: used[name] / actions for name in ("Manager", "load", "kube-apiserver", "etcd")}
    found.writes = {what: count / actions for what, count in sorted((await writes(metrics) - counted).items())}
    found.half, before = found.rate / 2, spent(process)
    await steady(load, actions, found.half)
    found.others_at_half = others(since(before, spent(process)))
    found.created = between(load.submitted, load.started)
    found.finished = between(load.finished, load.completed)
    load.ends = False
    there = len(load.mirrors[1])
    for first in range(0, found.live, 50):
        await asyncio.gather(*(load.submit() for _ in range(min(50, found.live - first))))
    while len(load.mirrors[1]) < there + found.live:
        await asyncio.sleep(0.5)
    found.memory = process.memory_info().rss
    for task in following:
        task.cancel()


def spent(process: psutil.Process) -> dict[str, float]:
    """Seconds so far: of CPU of each who takes part, and of the whole machine; and on the clock."""
    found = {"Manager": process, "load": psutil.Process()}
    for one in psutil.Process().children(recursive=True):
        if one.name() in ("kube-apiserver", "etcd"):
            found[one.name()] = one
    machine, seconds = psutil.cpu_times(), {name: sum(one.cpu_times()[:2]) for name, one in found.items()}
    busy = machine.user + machine.system + machine.nice + machine.irq + machine.softirq + machine.steal
    return {"clock": time.perf_counter(), "machine": busy, **seconds}


def since(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in after}


def others(used: dict[str, float]) -> float:
    """Cores that everybody else has taken."""
    ours = sum(seconds for name, seconds in used.items() if name not in ("clock", "machine"))
    return max(0.0, used["machine"] - ours) / used["clock"]


async def flood(load: Load, actions: int) -> None:
    """As many at once as the API server takes."""
    room = asyncio.Semaphore(32)

    async def submit() -> None:
        async with room:
            await load.submit()

    await asyncio.gather(load.ended(actions), *(submit() for _ in range(actions)))


async def steady(load: Load, actions: int, rate: float) -> None:
    """So many a second, evenly."""
    load.forget()
    began = time.perf_counter()

    async def submit(place: int) -> None:
        await asyncio.sleep(max(0.0, began + place / rate - time.perf_counter()))
        await load.submit()

    await asyncio.gather(load.ended(actions), *(submit(place) for place in range(actions)))


class Told:
    """A control plane's runs: each has a watcher, who is told of its end once its pod has ended."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.took: list[float] = []
        self._come: dict[str, asyncio.Future[tuple[Name, Object]]] = {}
        self.pods = Mirror(kube, Selection(PODS, TOLD), dice=random.Random(0).random)
        self.pods.subscribe(self._pod)

    def _pod(self, name: Name, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None:
            self._come[labels_of(new)["flyte.org/run"]].set_result((name, new))

    async def run(self, server: Connect, run: str) -> None:
        """One run; its pod ends once somebody watches."""
        self._come[run] = asyncio.get_running_loop().create_future()
        asked = pb.CreateRunRequest()
        asked.run_id.project, asked.run_id.domain, asked.run_id.name = "flytesnacks", "development", run
        asked.task_spec.task_template.type = "container"
        asked.task_spec.task_template.id.name = "work"
        asked.task_spec.task_template.container.image = "busybox"
        asked.task_spec.task_template.container.args.append("true")
        await server.call(RUNS["CreateRun"], asked)
        watch = server.stream(RUNS["WatchRunDetails"], pb.WatchRunDetailsRequest(run_id=asked.run_id))
        await anext(watch)
        name, pod = await self._come[run]
        now, began = datetime.now(UTC), time.perf_counter()
        ending = asyncio.create_task(self.kube.patch(PODS, name, {"status": ended(pod, Fate(), now, now)}, status=True))
        async for response in watch:
            if Phase(response.details.action.status.phase).terminal:
                break
        self.took.append(time.perf_counter() - began)
        await ending


async def until_told(kube: Kube, kubeconfig: Path, folder: Path, count: int) -> list[float]:
    """With a control plane, `PACE` runs a second: from asking for a pod's end until the watcher of its run has it."""
    server, told = Server(folder, kubeconfig, TOLD), Told(kube)
    async with serving(server), managed(kubeconfig, TOLD, folder, server.url), Connect(server.url) as client:
        following = asyncio.create_task(told.pods.run())
        await told.pods.ready.wait()
        for number in range(20):  # until everybody is warm
            await told.run(client, f"w{number}")
        told.took.clear()
        began = time.perf_counter()

        async def one(number: int) -> None:
            await asyncio.sleep(max(0.0, began + number / PACE - time.perf_counter()))
            await told.run(client, f"r{number}")

        await asyncio.gather(*(one(number) for number in range(count)))
        following.cancel()
    return sorted(told.took)


def percentile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def text(ordered: Sequence[float]) -> str:
    return f"median {1000 * statistics.median(ordered):.0f} ms, p99 {1000 * percentile(ordered, 0.99):.0f} ms"


def main(actions: int = 1000, live: int = 10_000, told: int = 200) -> None:
    print(f"load before {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    found = uvloop.run(measure(actions, live, told))
    print(f"{found.rate:.0f} actions/s, while others took {found.others:.2f} cores")
    print("ms of CPU per action:", ", ".join(f"{name} {1000 * cpu:.1f}" for name, cpu in found.cpu.items()))
    each = ", ".join(f"{what} {count:.2f}" for what, count in found.writes.items())
    print(f"writes of the Manager per action: {each}; with the control plane's two: {found.all_writes:.2f}")
    print(f"at {found.half:.0f} actions/s, while others took {found.others_at_half:.2f} cores:")
    print(f"  from TaskAction to pod: {text(found.created)}")
    print(f"  from the pod's end to its TaskAction: {text(found.finished)}")
    print(f"memory: {found.empty >> 20} MiB before, {found.memory >> 20} MiB with {live} live TaskActions")
    if found.told:
        print(f"at {PACE:.0f} runs/s, from the pod's end to the watcher of its run: {text(found.told)}")
    print(f"load after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
