"""What attempts used: measured while they run, kept beside their logs, and forgotten with them."""

import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from alula.core.launch import Amounts, Launch, Resources
from alula.core.usage import MOST, Device, Sample
from alula.executors.process import gpus, processes, usage
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.measurements import Measurements
from alula.executors.process.processes import Process
from alula.executors.process.shelf import Shelf
from alula.executors.process.usage import Curve

from .conftest import Bench

MIB = 1024 * 1024
Until = Callable[[Callable[[], bool]], Awaitable[None]]
HEAD = {"started_ns": 10**18, "limits": {"memory": 5, "cpu": 0.5, "disk": 7, "devices": ["a"]}, "exact": True}


async def test_a_short_attempt_has_a_sample_and_its_sums(lone: Bench) -> None:
    await lone.python("one", f"import time; x = b'x' * {50 * MIB}\nwhile time.process_time() < 0.3: pass")
    await lone.over("one")
    found = await Measurements(lone.home, "").usage("one")
    assert found is not None
    assert found.samples
    assert found.ended_at is not None
    assert 0.2 <= found.cpu < 2
    assert 50 * MIB <= found.peak < 200 * MIB
    assert found.samples[-1].at == pytest.approx((found.ended_at - found.started_at).total_seconds(), abs=0.01)


async def test_an_attempt_is_measured_while_it_runs(lone: Bench, tmp_path: Path, until: Until) -> None:
    code = f"""
import os, time
while not os.path.exists('{tmp_path}/eat'): time.sleep(0.01)
x = b'x' * {80 * MIB}
while not os.path.exists('{tmp_path}/end'): pass
"""
    asked = Resources(limits=Amounts(memory=500 * MIB))
    await lone.submit(Launch("one", (sys.executable, "-c", code), {}, resources=asked))
    path = lone.home / "usage" / "one.jsonl"
    await until(lambda: (seen := usage.read(path)) is not None and bool(seen.samples))
    (tmp_path / "eat").touch()
    await until(lambda: (seen := usage.read(path)) is not None and seen.peak >= 80 * MIB)
    live = usage.read(path)
    assert live is not None
    assert live.samples[0].memory < 80 * MIB
    assert (live.ended_at, live.limits) == (None, Amounts(memory=500 * MIB))
    (tmp_path / "end").touch()
    await lone.over("one")
    await lone.release("one")
    found = usage.read(path)
    assert found is not None
    assert found.ended_at is not None
    assert found.samples[: len(live.samples)] == live.samples
    assert found.samples[-1].cpu == pytest.approx(found.cpu, abs=0.01)


async def test_usage_is_forgotten_with_the_log(lone: Bench) -> None:
    await lone.python("one", "")
    await lone.python("two", "")
    for name in ("one", "two"):
        await lone.over(name)
        assert not await lone.executor.forget_log(name), "it was not released"
        await lone.release(name)
    usages, shelf = Measurements(lone.home.parent, "home"), Shelf(lone.home.parent, "home")
    assert await usages.usage("one") is not None
    assert await lone.executor.forget_log("one")
    assert await shelf.forget_log("two")
    assert [await usages.usage(name) for name in ("one", "two")] == [None, None]
    assert list((lone.home / "usage").iterdir()) == []


def test_only_named_attempts_are_kept(tmp_path: Path) -> None:
    for name in ("app.1", "app.2"):
        Curve(tmp_path / "usage" / f"{name}.jsonl", HEAD).end({"ended_ns": 10**18})
    usage.keep(tmp_path, ["app.2"])
    usage.keep(tmp_path / "nowhere", [])
    assert [path.name for path in (tmp_path / "usage").iterdir()] == ["app.2.jsonl"]


async def test_usage_is_found_in_any_replicas_home(tmp_path: Path) -> None:
    (tmp_path / "replicas" / "b" / "executor").mkdir(parents=True)
    curve = Curve(tmp_path / "replicas" / "b" / "executor" / "usage" / "one.jsonl", HEAD)
    curve.end({"ended_ns": 10**18 + 1})
    usages = Measurements(tmp_path, "executor")
    assert await usages.usage("one") is not None
    for name in ("two", "../one", ".one", ""):
        assert await usages.usage(name) is None
        assert not await usages.forget(name)


def test_a_curve_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "usage" / "one.jsonl"
    curve = Curve(path, HEAD)
    samples = [Sample(0.25, 0.1, 100), Sample(2.25, 1.5, 300, (Device("GPU-1", 0.35, 9),)), Sample(3.0, 2.0, 200)]
    for sample in samples:
        curve.add(sample)
    live = usage.read(path)
    assert live is not None
    assert (live.samples, live.cpu, live.peak, live.ended_at) == (samples, 2.0, 300, None)
    curve.end({"ended_ns": 10**18 + 4 * 10**9, "cpu": 2.5, "peak": 400, "timings_ns": {"boot": 250_000_000}})
    found = usage.read(path)
    assert found is not None
    assert (found.cpu, found.peak, found.timings) == (2.5, 400, {"boot": 0.25})
    assert found.limits == Amounts(0.5, 5, 1, 7)
    assert found.ended_at is not None
    assert (found.ended_at - found.started_at).total_seconds() == 4
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_day_fits_in_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    curve = Curve(path, HEAD)
    for number in range(1, 43_201):
        curve.add(Sample(number * 2.0, float(number), 1000 if number == 12_345 else 5))
    curve.end({"ended_ns": 10**18})
    found = usage.read(path)
    assert found is not None
    assert MOST / 3 < len(found.samples) < MOST
    assert path.stat().st_size < 100_000
    assert (found.samples[-1], found.peak) == (Sample(86_400.0, 43_200.0, 5), 1000)
    steps = [after.at - before.at for before, after in zip(found.samples, found.samples[1:], strict=False)]
    assert max(steps) <= 128
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "\n", "[1,2", '{"started_ns": 1', "no json\n", "[1, 2, 3]\n"])
def test_what_is_no_curve(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.jsonl").write_text(text)
    assert usage.read(tmp_path / "one.jsonl") is None
    assert usage.read(tmp_path / "nowhere.jsonl") is None


def test_a_disk_that_takes_nothing_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "usage").write_text("a file")
    curve = Curve(tmp_path / "usage" / "one.jsonl", HEAD)
    curve.add(Sample(1, 1, 1))
    curve.end({})
    assert curve.most == 1


P = Process


@pytest.mark.parametrize(
    ("found", "roots", "families"),
    [
        ({}, {5}, {5: []}),
        ({5: P(1, 5, 0, 0), 6: P(5, 5, 0, 0), 7: P(6, 7, 0, 0), 8: P(1, 8, 0, 0)}, {5}, {5: [5, 6, 7]}),
        ({5: P(2, 5, 0, 0), 6: P(2, 5, 0, 0), 7: P(6, 9, 0, 0)}, {5}, {5: [5, 6, 7]}),
        ({2: P(1, 2, 0, 0), 5: P(2, 5, 0, 0), 6: P(2, 6, 0, 0), 7: P(6, 6, 0, 0)}, {5, 6}, {5: [5], 6: [6, 7]}),
        ({5: P(6, 9, 0, 0), 6: P(5, 9, 0, 0)}, {7}, {7: []}),
    ],
    ids=["nobody", "below", "an orphan of its session, and what is below it", "two", "a circle"],
)
def test_whose_processes_they_are(found: dict[int, Process], roots: set[int], families: dict[int, list[int]]) -> None:
    assert processes.families(found, roots) == families


def test_a_process_as_the_kernel_tells() -> None:
    fields = "S 7 8 9 0 -1 0 0 0 0 0 100 50 25 25 20 0 1 0 12345 1000000 2000 0"
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert processes.parse(f"1 (a (b) c) {fields}") == Process(7, 9, 200 / tick, 2000 * page)
    assert processes.parse("") is None
    me = processes.every()[os.getpid()]
    assert me.parent == os.getppid()
    assert me.resident > MIB


def test_shared_memory_is_divided_among_those_who_share_it() -> None:
    code = f"import os, time; x = b'x' * {64 * MIB}; os.fork(); os.write(1, b'.'); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(2) == b".."
            found = processes.every()
            family = processes.families(found, {process.pid})[process.pid]
            assert len(family) == 2
            assert sum(found[pid].resident for pid in family) > 128 * MIB
            assert 64 * MIB < processes.shared_out(family) < 110 * MIB
        finally:
            os.killpg(process.pid, 9)


GPUS = "0, GPU-1, 35, 1024\n1, GPU-2, [N/A], [N/A]\nno GPU\n"


def test_gpus_by_number_and_by_name() -> None:
    first, second = Device("GPU-1", 0.35, 1024 * MIB), Device("GPU-2", 0.0, 0)
    assert gpus.parse(GPUS) == {"0": first, "GPU-1": first, "1": second, "GPU-2": second}


async def test_the_curve_of_an_attempt_with_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a driver's tool that is played, for others than who asked for one it is not called."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho >> {tmp_path}/calls\nprintf '{GPUS}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    sleep = (sys.executable, "-c", "import time; time.sleep(1)")
    async with ProcessExecutor(tmp_path / "home", mode="spawn") as executor:
        bench = Bench(executor, tmp_path / "home", "spawn")
        await bench.submit(Launch("without", sleep, {}))
        await bench.over("without")
        assert not (tmp_path / "calls").exists()
        await bench.submit(Launch("with", sleep, {}, devices=("GPU-1",)))
        await bench.over("with")
    found = usage.read(tmp_path / "home" / "usage" / "with.jsonl")
    assert found is not None
    assert found.samples[0].devices == (Device("GPU-1", 0.35, 1024 * MIB),)


async def test_a_hundred_attempts_cost_little_to_measure(tmp_path: Path) -> None:
    """Less than 2 % of a core. Each is measured 5 times; what that takes is told by the recorder's CPU clock."""
    from alula.executors.process.meter import Meter

    meter = Meter(tmp_path)
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(100)]
    told: dict[str, Any] = {
        "group": None,
        "watched": False,
        "limits": {"memory": 0, "cpu": 0, "disk": 0, "devices": []},
    }
    for number, one in enumerate(sleepers):
        meter.open(f"a{number}", {"pid": one.pid, "started": 0}, tmp_path, told)
    before = time.process_time()
    for turn in range(5):
        meter.measure(time.monotonic() + 3600.0 * (turn + 1))
    spent = (time.process_time() - before) / 5
    for number, one in enumerate(sleepers):
        one.kill()
        one.wait()
        meter.end(f"a{number}", {"ended_ns": time.time_ns()}, "")
    assert (tmp_path / "a99.jsonl").read_text().count("\n") == 8
    assert spent / 2.0 < 0.02, "every two seconds"
