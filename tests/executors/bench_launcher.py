"""How long a trivial task takes, and whose CPU it costs: ``bench_launcher.py [fork|spawn] [tasks] [concurrency ...]``.

Real `a0` runs of a task from a code bundle, inputs and outputs in local files. Prints one line per concurrency:
attempts per second, the median time from submit to the first line of user code and to the observed end, and the CPU
milliseconds per attempt of the child, the launcher, the recorder and this process.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import hello

from alula.core.launch import Launch
from alula.executors.process import records
from alula.executors.process.executor import ProcessExecutor


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


async def measure(executor: ProcessExecutor, base: Path, archive: Path, count: int, width: int) -> None:
    link = executor._life._link
    assert link is not None
    launcher = link.process.pid
    (recorder,) = [int(pid) for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]
    slots, firsts, ends, children = asyncio.Semaphore(width), [], [], []

    async def one(name: str) -> None:
        async with slots:
            began = time.time_ns()
            command = hello.command(base / name, archive, "main")
            await executor.submit(Launch(name, command, hello.ENV))
            await executor._attempts[name].over.wait()
            ends.append((time.time_ns() - began) / 1e6)
            seen = await executor.observe(name)
            assert seen is not None
            assert seen.exit_code == 0, seen
            stamps = [line.at.timestamp() for lines in [executor.logs(name, follow=False)] async for batch in lines
                      for line in batch if line.text.startswith("hello")]  # fmt: skip
            firsts.append(stamps[0] * 1e3 - began / 1e6)
            end = json.loads((executor._home.attempt(name) / records.END).read_text())
            children.append(end["cpu"] * 1e3)
            await executor.release(name)

    before = cpu(launcher), cpu(recorder), time.process_time() * 1e3
    began = time.perf_counter()
    await asyncio.gather(*(one(f"n{width}.{number}") for number in range(count)))
    took = time.perf_counter() - began
    after = cpu(launcher), cpu(recorder), time.process_time() * 1e3
    own = [(b - a) / count for a, b in zip(before, after, strict=True)]
    print(
        f"concurrency {width}: {count / took:5.1f}/s  to user code {statistics.median(firsts):6.1f} ms"
        f" (min {min(firsts):.1f})  to end {statistics.median(ends):6.1f} ms (min {min(ends):.1f})   CPU ms: child"
        f" {statistics.median(children):.1f}, launcher {own[0]:.1f}, recorder {own[1]:.1f}, server {own[2]:.1f}"
    )


async def main(mode: str, count: int, widths: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        archive = hello.bundle(base / "bundles")

        async def fetch(uri: str) -> bytes:
            return Path(uri).read_bytes()

        async with ProcessExecutor(base / "home", mode="fork" if mode == "fork" else "spawn", fetch=fetch) as executor:
            await executor.submit(Launch("warm-up", hello.command(base / "warm-up", archive, "main"), hello.ENV))
            await executor._attempts["warm-up"].over.wait()
            for width in widths:
                await measure(executor, base, archive, count, width)


if __name__ == "__main__":
    mode, count, *widths = [*sys.argv[1:], *["fork", "40"][len(sys.argv) - 1 :]]
    asyncio.run(main(mode, int(count), [int(width) for width in widths] or [1, 2, 4]))
