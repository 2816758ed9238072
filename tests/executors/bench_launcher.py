"""How long a trivial task takes, and whose CPU it costs.

    python -m tests.executors.bench_launcher [fork|spawn] [file|s3] [tasks] [concurrency ...]

Real `a0` runs of a task from a code bundle; inputs, bundle and outputs in local files or behind an S3 endpoint. Prints
one line per concurrency: attempts per second, the time from submit to the first line of user code and to the observed
end, and the CPU milliseconds per attempt of the child, the launcher, the recorder and this process.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alula.core.launch import Launch
from alula.executors.process import records, tree
from alula.executors.process.executor import ProcessExecutor

from . import hello


def cpu(pid: int, *, children: bool = False) -> float:
    """Milliseconds; with those of the children that it has waited for, if asked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if children else 13])) * 1000 / os.sysconf("SC_CLK_TCK")


class Storage:
    """Where inputs and outputs are: a folder, or a bucket of the endpoint at ``port``."""

    def __init__(self, folder: Path, port: int | None) -> None:
        self.folder, self.port = folder, port
        archive = hello.bundle(folder / "bundles")
        self.archive = archive.read_bytes()
        self.uri = str(archive) if port is None else f"s3://b/{archive.name}"
        self.env = dict(hello.ENV)
        if port is not None:
            self.put(f"/b/{archive.name}", self.archive)
            self.env |= {
                "FLYTE_AWS_ENDPOINT": f"http://127.0.0.1:{port}", "FLYTE_AWS_ACCESS_KEY_ID": "k",
                "FLYTE_AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1",
            }  # fmt: skip

    def put(self, path: str, content: bytes) -> None:
        url = f"http://127.0.0.1:{self.port}{path}"
        urllib.request.urlopen(urllib.request.Request(url, content, method="PUT")).close()

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            return bytes(answer.read())

    async def fetch(self, uri: str) -> bytes:
        return self.archive

    def launch(self, name: str) -> Launch:
        local = self.folder / name
        command = hello.command(local, self.uri, "main")
        if self.port is not None:
            self.put(f"/b/{name}/inputs.pb", b"")
            command = tuple(part.replace(str(local), f"s3://b/{name}") for part in command)
        return Launch(name, command, self.env)


@asynccontextmanager
async def storage(folder: Path, kind: str) -> AsyncIterator[Storage]:
    if kind == "file":
        yield Storage(folder, None)
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, Path(__file__).with_name("objects.py"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield Storage(folder, int(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


async def measure(executor: ProcessExecutor, store: Storage, count: int, width: int) -> None:
    link = executor._life._link
    assert link is not None
    assert link.process is not None
    launcher = int(link.process.pid)
    recorder, parent = (
        next(pid for pid in tree.children(launcher) if word in Path(f"/proc/{pid}/cmdline").read_text())
        for word in ("recorder import", "parent import")
    )
    slots = asyncio.Semaphore(width)
    firsts: list[float] = []
    ends: list[float] = []
    children: list[float] = []
    steps: dict[str, list[float]] = {}

    async def one(launch: Launch) -> None:
        async with slots:
            began = time.time_ns() / 1e6
            await executor.submit(launch)
            await executor._attempts[launch.name].over.wait()
            ends.append(time.time_ns() / 1e6 - began)
            seen = await executor.observe(launch.name)
            assert seen is not None
            assert seen.exit_code == 0, seen
            lines = [line async for batch in executor.logs(launch.name, follow=False) for line in batch]
            firsts.extend(line.at.timestamp() * 1e3 - began for line in lines if line.text.startswith("hello"))
            end = json.loads((executor._home.attempt(launch.name) / records.END).read_text())
            children.append(end["cpu"] * 1e3)
            for step, spent in end["timings_ns"].items():
                steps.setdefault(step, []).append(spent / 1e6)
            await executor.release(launch.name)

    launches = [store.launch(f"n{width}.{number}") for number in range(count)]
    before = cpu(launcher), cpu(parent, children=True), cpu(recorder), time.process_time() * 1e3
    began = time.perf_counter()
    await asyncio.gather(*map(one, launches))
    took = time.perf_counter() - began
    after = cpu(launcher), cpu(parent, children=True), cpu(recorder), time.process_time() * 1e3
    own = [(b - a) / count for a, b in zip(before, after, strict=True)]
    print(
        f"concurrency {width}: {count / took:5.1f}/s  to user code {statistics.median(firsts):6.1f} ms"
        f" (min {min(firsts):.1f})  to end {statistics.median(ends):6.1f} ms (min {min(ends):.1f})   CPU ms: child"
        f" {statistics.median(children):.1f}, launcher {own[0]:.1f}, parent {own[1]:.1f}, recorder {own[2]:.1f},"
        f" server {own[3]:.1f}"
    )
    print("  ms: " + ", ".join(f"{step} {statistics.median(spent):.1f}" for step, spent in steps.items()))


async def main(mode: str, kind: str, count: int, widths: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            storage(Path(folder), kind) as store,
            ProcessExecutor(
                Path(folder) / "home", mode="fork" if mode == "fork" else "spawn", fetch=store.fetch
            ) as executor,
        ):
            await executor.submit(store.launch("warm-up"))
            await executor._attempts["warm-up"].over.wait()
            for width in widths:
                await measure(executor, store, count, width)


if __name__ == "__main__":
    mode, kind, count, *widths = [*sys.argv[1:], *["fork", "file", "40"][len(sys.argv) - 1 :]]
    asyncio.run(main(mode, kind, int(count), [int(width) for width in widths] or [1, 2, 4]))
