"""The Manager alone, against a real API server whose pods finish as soon as they are created.

How many actions a second, how long from a TaskAction to its pod, how many writes of the API an action costs, and how
much memory many live TaskActions take. The load, the kubelet and the API server share the machine with it.

`KUBEBUILDER_ASSETS=... python tools/bench/manager.py [actions] [live]`
"""

import asyncio
import itertools
import random
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.kube.fates import Fate, ended
from tests.kube.real import programs, real_server
from tests.manager.managed import request

from alula.core.taskspec import manifest
from alula.kube.client import Kube
from alula.kube.mirror import Mirror
from alula.kube.objects import NAMESPACES, PODS, Name, Object, Selection
from alula.manager.crds import install
from alula.manager.world import ACTIONS

SPACE = "bench"
READS = ("get", "list", "watch", "logs")
_CALLS = re.compile(r'alula_manager_kube_seconds_count\{code="(\d+)",kind="(\w+)",verb="(\w+)"\} (\S+)')


class Load:
    """A control plane that submits and releases, and a kubelet that ends pods (while ``ends``) as soon as they come."""

    def __init__(self, kube: Kube) -> None:
        self.kube, self.ends = kube, True
        self.submitted: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self.over = asyncio.Queue[str]()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        dice = random.Random(0).random
        self.mirrors = [Mirror(kube, Selection(kind, SPACE), dice=dice) for kind in (ACTIONS, PODS)]
        self.mirrors[0].subscribe(self._action)
        self.mirrors[1].subscribe(self._pod)

    async def submit(self) -> None:
        asked = request(next(self._numbers))
        self.submitted[asked.name] = time.perf_counter()
        await self.kube.create(ACTIONS, manifest(asked, SPACE))

    def _action(self, name: Name, old: Object | None, new: Object | None) -> None:
        phase = ((new or {}).get("status") or {}).get("pluginPhase")
        if phase == "Completed" and ((old or {}).get("status") or {}).get("pluginPhase") != phase:
            self.over.put_nowait(name.name)
            self._soon(self._release(name))

    def _pod(self, name: Name, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None:
            self.started[name.name] = time.perf_counter()
            if self.ends:
                self._soon(self._end(name, new))

    async def _end(self, name: Name, pod: Object) -> None:
        now = datetime.now(UTC)
        await self.kube.patch(PODS, name, {"status": ended(pod, Fate(), now, now)}, status=True)

    async def _release(self, name: Name) -> None:
        await self.kube.delete(ACTIONS, name)

    def _soon(self, doing: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def ended(self, count: int) -> None:
        for _ in range(count):
            await self.over.get()

    def latencies(self) -> list[float]:
        return sorted(self.started[name] - at for name, at in self.submitted.items() if name in self.started)


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


async def main(actions: int, live: int) -> None:
    folder = programs()
    assert folder is not None, "there is no kube-apiserver: name its folder in KUBEBUILDER_ASSETS"
    with tempfile.TemporaryDirectory(prefix="alula-bench-") as scratch, real_server(folder) as kubeconfig:
        async with Kube.connect(kubeconfig, namespace=SPACE) as kube:
            await install(kube)
            await kube.create(NAMESPACES, {"metadata": {"name": SPACE}})
            async with manager(kubeconfig, Path(scratch, "log")) as (process, metrics):
                await measure(kube, process, metrics, actions, live)


async def measure(kube: Kube, process: psutil.Process, metrics: str, actions: int, live: int) -> None:
    load = Load(kube)
    following = [asyncio.create_task(mirror.run()) for mirror in load.mirrors]
    for mirror in load.mirrors:
        await mirror.ready.wait()
    rate = await flood(load, process, actions)
    counts = await writes(metrics)
    each = {what: round(count / actions, 2) for what, count in sorted(counts.items())}
    print(f"writes of the Manager per action: {each}; with the control plane's two: {sum(each.values()) + 2:.2f}")
    await steady(load, actions, rate / 2)
    load.ends = False
    before = process.memory_info().rss
    for first in range(0, live, 50):
        await asyncio.gather(*(load.submit() for _ in range(min(50, live - first))))
    while len(load.mirrors[1]) < live:
        await asyncio.sleep(1)
    after = process.memory_info().rss
    print(f"memory: {before >> 20} MiB before, {after >> 20} MiB with {live} live TaskActions")
    for task in following:
        task.cancel()


async def flood(load: Load, process: psutil.Process, actions: int) -> float:
    """As many at once as the API server takes."""
    cpu, began = sum(process.cpu_times()[:2]), time.perf_counter()
    room = asyncio.Semaphore(32)

    async def submit() -> None:
        async with room:
            await load.submit()

    await asyncio.gather(load.ended(actions), *(submit() for _ in range(actions)))
    took, cpu = time.perf_counter() - began, sum(process.cpu_times()[:2]) - cpu
    print(f"{actions / took:.0f} actions/s; CPU of the Manager {1000 * cpu / actions:.2f} ms per action")
    return actions / took


async def steady(load: Load, actions: int, rate: float) -> None:
    """At half of that rate: how long until there is a pod."""
    load.submitted.clear()
    load.started.clear()
    began = time.perf_counter()

    async def submit(place: int) -> None:
        await asyncio.sleep(max(0.0, began + place / rate - time.perf_counter()))
        await load.submit()

    await asyncio.gather(load.ended(actions), *(submit(place) for place in range(actions)))
    found = load.latencies()
    half, most = found[len(found) // 2], found[int(len(found) * 0.99)]
    print(f"at {rate:.0f} actions/s, from TaskAction to pod: median {1000 * half:.0f} ms, p99 {1000 * most:.0f} ms")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    asyncio.run(main(*(given + [1000, 10_000][len(given) :])))
