"""`make bench`: medians, and each figure as a ratio to a baseline measured in the same run.

The machine is shared and noisy: compare ratios, and figures of one run with each other.
"""

import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop
from flyteidl2.workflow import run_service_pb2 as pb

sys.path.insert(0, str(Path(__file__).parent))
from client import Lean
from validation import GOAL, costs

from manager import measure, percentile, programs

BIN = Path(sys.executable).parent
RUNS = pb.DESCRIPTOR.services_by_name["RunService"].methods_by_name
PATIENCE = 300.0  # seconds for one figure
SIZE = int(os.environ.get("BENCH_FAN", "1000"))


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure. ``seconds`` is None for what is no time."""

    name: str
    value: str
    goal: str
    met: bool
    seconds: float | None = None


def main() -> None:
    baselines = {
        "python -c pass": _median(_python, 9),
        "an fsync": _median(_fsync, 31),
        "a bare fork": _median(_fork, 31),
    }
    print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ",
        end="",
    )
    print(f"load {os.getloadavg()[0]:.1f}")
    for name, seconds in baselines.items():
        print(f"  baseline  {name:16} {_text(seconds)}")
    with tempfile.TemporaryDirectory(prefix="alula-bench-") as folder:
        figures = [*_validation(), *_starts(Path(folder)), *_work(Path(folder)), *_manager()]
    _print(figures, baselines)


def _median(measure: Callable[[], float], repeats: int) -> float:
    return statistics.median(measure() for _ in range(repeats))


def _python() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def _fsync() -> float:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x" * 4096)
        file.flush()
        began = time.perf_counter()
        os.fsync(file.fileno())
        return time.perf_counter() - began


def _fork() -> float:
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return time.perf_counter() - began


class Server:
    """A server of its own, and what its client needs."""

    def __init__(self, folder: Path, name: str = "home") -> None:
        self.folder = folder
        self.home = folder / name
        self.port = _free_port()
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [BIN / "alula", "up", "--home", self.home, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=(folder / "server.log").open("a"),
            text=True,
        )
        assert self.process.stdout is not None
        while "alula is ready" not in (line := self.process.stdout.readline()):
            if not line:
                raise SystemExit(f"the server did not start: {(folder / 'server.log').read_text()}")
        self.ready = time.perf_counter() - began

    @property
    def memory(self) -> int:
        """RSS of the server itself; its launcher is counted apart."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def spent(self) -> tuple[float, float]:
        """Seconds of CPU: of the attempts that are over, and of the programs that start them."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        launcher = next(one for one in children if any("launcher import" in word for word in one.cmdline()))
        parents = [one for one in launcher.children() if any("parent import" in word for word in one.cmdline())]
        oldest = min(parents, key=lambda one: one.create_time())  # others are idle workers, or of bundles
        own = launcher.cpu_times()
        return own.children_user + own.children_system, own.user + own.system + sum(oldest.cpu_times()[:4])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def sdk(self, task: str, n: int, repeats: int = 1) -> list[dict[str, object]]:
        """Run a task of `programs.py` through the SDK; for each run, its output and how long it took."""
        program = (
            "import json, os, sys, time, flyte, programs\n"
            "flyte.init_from_config()\n"
            f"for _ in range({repeats}):\n"
            f"    run = flyte.run(programs.{task}, {n})\n"
            "    began = time.perf_counter(); run.wait(quiet=True)\n"
            "    d = run.action_details if hasattr(run, 'action_details') else None\n"
            "    print('RESULT', json.dumps({'name': run.name, 'output': run.outputs()[0]}), flush=True)\n"
            "os._exit(0)\n"
        )
        env = os.environ | {
            "FLYTECTL_CONFIG": str(self.home / "config.yaml"),
            "HOME": str(self.folder),
            "FLYTE_DISABLE_TELEMETRY": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=env,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        results = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if len(results) != repeats:
            raise SystemExit(f"{task} failed:\n{done.stdout}\n{done.stderr}")
        return results


@contextmanager
def _server(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()


def _validation() -> list[Figure]:
    return [
        Figure(f"validation of {name}", f"{each * 1e6:.0f} us", f"<= {GOAL * 1e6:.0f} us", each <= GOAL, each)
        for name, (each, _) in costs().items()
    ]


def _starts(folder: Path) -> list[Figure]:
    Server(folder).stop()  # the first start makes the home
    readies, memories = [], []
    for _ in range(5):
        server = Server(folder)
        time.sleep(2)  # idle is once the launcher has loaded the runtime
        readies.append(server.ready)
        memories.append(server.memory)
        server.stop()
    ready, memory = statistics.median(readies), statistics.median(memories) / 1e6
    return [
        Figure("alula up to ready", _text(ready), "<= 1 s", ready <= 1.0, ready),
        Figure("idle memory (RSS)", f"{memory:.0f} MB", "<= 120 MB", memory <= 120),
    ]


def _work(folder: Path) -> list[Figure]:
    with _server(folder) as server:
        server.sdk("nothing", 1)  # warm
        figures = [*_hello(server), *_awaits(server), _traces(server), _fan(server), *_shared(server)]
        asyncio.run(_occupy(server.port))
        return [*figures, *asyncio.run(_create(server.port)), asyncio.run(_watch(server.port))]


def _hello(server: Server) -> list[Figure]:
    took, repeats = [], 15
    before = server.spent()
    results = server.sdk("nothing", 1, repeats=repeats)
    attempt, forking = ((after - spent) / repeats for after, spent in zip(server.spent(), before, strict=True))
    for result in results:
        details = asyncio.run(_details(server.port, str(result["name"])))
        status = details.details.action.status
        took.append((status.end_time.ToNanoseconds() - status.start_time.ToNanoseconds()) / 1e9)
    p50 = statistics.median(took)
    return [
        Figure("hello run, accepted to SUCCEEDED, p50", _text(p50), "<= 300 ms", p50 <= 0.3, p50),
        Figure("CPU of a forked attempt", _text(attempt), "<= 20 ms", attempt <= 0.02, attempt),
        Figure("CPU of launcher and parents for it", _text(forking), "", True, forking),
    ]


async def _details(port: int, run: str) -> pb.GetRunDetailsResponse:
    request = pb.GetRunDetailsRequest()
    request.run_id.project, request.run_id.domain, request.run_id.name = "flytesnacks", "development", run
    async with Lean(port) as server:
        response: pb.GetRunDetailsResponse = await server.call(RUNS["GetRunDetails"], request)
        return response


def _awaits(server: Server) -> list[Figure]:
    server.sdk("awaits", 5)  # by now the parents are warm, and their workers wait
    took = sorted(server.sdk("awaits", 100)[0]["output"])  # type: ignore[call-overload]
    p50, p99 = _percentiles(took)
    return [
        Figure("await child(), warm, p50", _text(p50), "<= 20 ms", p50 <= 0.02, p50),
        Figure("await child(), warm, p99", _text(p99), "<= 80 ms", p99 <= 0.08, p99),
    ]


def _traces(server: Server) -> Figure:
    p50, _ = _percentiles(sorted(server.sdk("traces", 100)[0]["output"]))  # type: ignore[call-overload]
    return Figure("flyte.trace step, p50", _text(p50), "<= 5 ms", p50 <= 0.005, p50)


def _fan(server: Server) -> Figure:
    seconds = statistics.median(float(str(r["output"])) for r in server.sdk("fan", SIZE, repeats=1))
    rate = SIZE / seconds
    return Figure(f"fan-out of {SIZE}, children per second", f"{rate:.1f}/s", ">= 80/s", rate >= 80, 1 / rate)


def _shared(server: Server) -> list[Figure]:
    """Through reusable workers, which the first of these starts."""
    server.sdk("awaits_shared", 10)
    p50, p99 = _percentiles(sorted(server.sdk("awaits_shared", 200)[0]["output"]))  # type: ignore[call-overload]
    seconds = float(str(server.sdk("fans_shared", SIZE)[0]["output"]))
    rate = SIZE / seconds
    return [
        Figure("await child(), reusable worker, p50", _text(p50), "<= 10 ms", p50 <= 0.01, p50),
        Figure("await child(), reusable worker, p99", _text(p99), "", True, p99),
        Figure(f"fan-out of {SIZE}, reusable workers", f"{rate:.1f}/s", ">= 500/s", rate >= 500, 1 / rate),
    ]


def _creation(number: int, code: str = "pass") -> pb.CreateRunRequest:
    request = pb.CreateRunRequest()
    request.project_id.name, request.project_id.domain = "flytesnacks", "development"
    template = request.task_spec.task_template
    template.type, template.id.name = "container", "bench"
    template.container.args.extend(["python", "-c", code])
    # The SDK uploads inputs first, and names them here.
    request.offloaded_input_data.uri = f"s3://alula/inputs/bench/{number}"
    request.offloaded_input_data.inputs_hash = str(number)
    return request


async def _occupy(port: int) -> None:
    """Fill every slot, so that what is created afterwards waits and takes no CPU of its own."""
    async with Lean(port) as server:
        for number in range(max(16, 4 * (os.cpu_count() or 1))):
            await server.call(RUNS["CreateRun"], _creation(number, "import time; time.sleep(3600)"))
    await asyncio.sleep(3)


async def _create(port: int) -> list[Figure]:
    took: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(*(_create_many(port, took, 250) for _ in range(16)))
    rate = len(took) / (time.perf_counter() - began)
    p50, _ = _percentiles(sorted(took))
    return [
        Figure("CreateRun, 16 clients, p50", _text(p50), "<= 5 ms", p50 <= 0.005, p50),
        Figure("CreateRun, 16 clients, rate", f"{rate:.0f}/s", ">= 1000/s", rate >= 1000, 1 / rate),
    ]


async def _create_many(port: int, took: list[float], count: int) -> None:
    async with Lean(port) as server:
        for number in range(count):
            began = time.perf_counter()
            await server.call(RUNS["CreateRun"], _creation(number))
            took.append(time.perf_counter() - began)


async def _watch(port: int) -> Figure:
    """From the request for a change to the watch telling of it: an upper bound, as the commit is within."""
    from alula.cli.connect import Connect

    took = []
    async with Lean(port) as server, Connect(f"http://localhost:{port}") as watcher:
        for number in range(300):
            created = (await server.call(RUNS["CreateRun"], _creation(number))).run.action.id
            request = pb.WatchActionDetailsRequest(action_id=created)
            stream = watcher.stream(RUNS["WatchActionDetails"], request)
            await anext(stream)
            told = asyncio.ensure_future(_stamp(stream))
            began = time.perf_counter()
            await server.call(RUNS["AbortRun"], pb.AbortRunRequest(run_id=created.run))
            took.append(await told - began)
    _, p99 = _percentiles(sorted(took))
    return Figure("watch, request to commit to client, p99", _text(p99), "<= 20 ms", p99 <= 0.02, p99)


async def _stamp(stream: object) -> float:
    async for _ in stream:  # type: ignore[attr-defined]
        return time.perf_counter()
    raise RuntimeError("the watch ended without telling")


def _manager() -> list[Figure]:
    """The Manager of a cluster; what each part of it costs is said by `tools/bench/manager.py`."""
    if programs() is None:
        print("  the Manager is not measured: no kube-apiserver and etcd in $KUBEBUILDER_ASSETS")
        return []
    found = uvloop.run(measure(1000, 10_000, 200))
    pod, told, memory = percentile(found.created, 0.99), percentile(found.told, 0.99), found.memory / 1e6
    rate, writes = found.rate, found.all_writes
    return [
        Figure("Manager, actions per second", f"{rate:.0f}/s", ">= 100/s", rate >= 100, 1 / rate),
        Figure("Manager, TaskAction to pod, p99", _text(pod), "<= 100 ms", pod <= 0.1, pod),
        Figure("API writes per action", f"{writes:.2f}", "<= 6", writes <= 6),
        Figure("Manager, 10,000 live TaskActions", f"{memory:.0f} MB", "<= 400 MB", memory <= 400),
        Figure("pod finished to watcher told, p99", _text(told), "<= 300 ms", told <= 0.3, told),
    ]


def _percentiles(ordered: Sequence[float]) -> tuple[float, float]:
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _text(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"


def _print(figures: Sequence[Figure], baselines: dict[str, float]) -> None:
    heads = [f"x {name}" for name in baselines]
    print(f"\n{'figure':42} {'measured':>11} {'goal':>10}       " + " ".join(f"{h:>17}" for h in heads))
    for figure in figures:
        ratios = [f"{figure.seconds / b:.2f}" if figure.seconds is not None else "" for b in baselines.values()]
        met = "ok " if figure.met else "NOT"
        print(f"{figure.name:42} {figure.value:>11} {figure.goal:>10} {met}   " + " ".join(f"{r:>17}" for r in ratios))


if __name__ == "__main__":
    main()
