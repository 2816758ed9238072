"""Runs that end the same wherever their tasks run: on this machine, or in a cluster. The argument is a folder."""

import asyncio
import os
import signal
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import flyte
import flyte.errors
from flyte.io import Dir, File
from telling import children, end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="everywhere")
greedy = flyte.TaskEnvironment(name="greedy", resources=flyte.Resources(memory="300Mi"))
reusable = flyte.TaskEnvironment(name="reusable", reusable=flyte.ReusePolicy(replicas=1, idle_ttl=30))
both = flyte.TaskEnvironment(name="both", depends_on=[env, greedy])


def note(path: str, text: str) -> int:
    """Count an execution where nothing of the server's can hide it; how many there were before."""
    before = len(Path(path).read_text().splitlines())
    with Path(path).open("a") as file:
        file.write(text + "\n")
    return before


async def noted(path: str, text: str) -> None:
    """Wait until somebody notes that."""
    async with asyncio.timeout(60):
        while text not in Path(path).read_text():
            await asyncio.sleep(0.02)


@env.task
async def hello(name: str = "world") -> str:
    return f"hello, {name}"


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
def add(x: int, y: int) -> int:
    return x + y


@env.task
async def fan() -> list[int]:
    return list(await asyncio.gather(*(square(x) for x in range(10))))


@env.task
def mapped() -> list[int]:
    return [x for x in flyte.map(add, range(6), [10] * 6) if isinstance(x, int)]


@env.task
async def files(file: File) -> tuple[File, Dir]:
    """The text of a file, in another file and in one of a folder."""
    async with file.open("rb") as opened:
        text = bytes(await opened.read()).decode()
    out: File = File.new_remote("out.txt")
    async with out.open("wb") as opened:
        await opened.write(text.upper().encode())
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "below").mkdir()
        (Path(folder) / "below" / "copy.txt").write_text(text)
        return out, await Dir.from_local(folder)


@env.task(retries=2)
async def flaky(path: str) -> File:
    """Succeeds when it is tried again. What it returns lies below its attempt's own prefix."""
    attempt = note(path, "flaky")
    print(f"this is attempt {attempt} of {os.environ['FLYTE_ATTEMPT_NUMBER']}")
    if attempt == 0:
        raise ValueError("too early")
    out: File = File.new_remote("out.txt")
    async with out.open("wb") as opened:
        await opened.write(str(attempt).encode())
    return out


@env.task
async def killed_once(path: str) -> str:
    """No retry is its own, and none is needed."""
    if note(path, "killed") == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.environ["FLYTE_ATTEMPT_NUMBER"]


@env.task
async def exits() -> None:
    print("leaving with 3", flush=True)
    os._exit(3)


@greedy.task
async def eats(size: int) -> int:
    return len(bytearray(size * 1024 * 1024))


@env.task(timeout=timedelta(seconds=1))
async def too_long() -> int:
    await asyncio.sleep(600)
    return 1


@flyte.trace
async def triple(x: int) -> int:
    return 3 * x


@flyte.trace
async def breaks() -> int:
    raise ValueError("in a trace")


@both.task
async def catches() -> list[str]:
    """What a parent hears of its children and of its traces."""
    told = []
    for call in (lambda: eats(10), lambda: eats(1000), too_long, exits, lambda: triple(4), breaks):
        try:
            told.append(f"{await call()}")
        except flyte.errors.BaseRuntimeError as error:
            told.append(f"{type(error).__name__} {error.code}")
        except ValueError as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


@env.task
async def sleeps(path: str) -> str:
    """Notes when it is told to end."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: (note(path, "told to end"), os._exit(0)))
    note(path, f"sleeps {os.getpid()}")
    await asyncio.sleep(600)
    return "slept"


@env.task
async def waits(path: str) -> str:
    try:
        return await sleeps(path)
    except flyte.errors.ActionAbortedError as error:
        return error.code


@reusable.task
async def reused(x: int) -> int:
    return x + 1


@env.task
async def unknown() -> int:
    return 1


unknown.task_type = "no-such-type"


def aborted(path: str) -> dict[str, Any]:
    """A child that works is aborted; its parent goes on."""
    run = flyte.run(waits, path=path)
    asyncio.run(noted(path, "sleeps"))
    (found,) = list(flyte.remote.Action.listall(for_run_name=run.name, parent_name="a0"))
    found.abort(reason="not needed any more")
    return {**end(run), "children": children(run)}


if __name__ == "__main__":
    flyte.init_from_config()
    folder = Path(sys.argv[1])
    paths = {key: str(folder / key) for key in ("flaky", "killed", "aborted")}
    for path in paths.values():
        Path(path).touch()
    (folder / "in.txt").write_text("text of the client")
    runs = {
        "catches": flyte.run(catches),
        "fan": flyte.run(fan),
        "mapped": flyte.run(mapped),
        "hello": flyte.run(hello, name="pod"),
        "files": flyte.run(files, file=File.from_local_sync(str(folder / "in.txt"))),
        "flaky": flyte.run(flaky, path=paths["flaky"]),
        "killed": flyte.run(killed_once, path=paths["killed"]),
        "reused": flyte.run(reused, x=4),
        "unknown": flyte.run(unknown),
    }
    told = {"aborted": aborted(paths["aborted"])} | {key: end(run) for key, run in runs.items()}
    for key in ("catches", "fan", "mapped"):
        told[key]["children"] = children(runs[key])
    file, made = told["files"]["outputs"]
    made.download_sync(str(folder / "made"))
    there = {path.name: path.read_text() for path in (folder / "made").rglob("*.txt")}
    told["files"]["outputs"] = [Path(file.download_sync(str(folder / "out.txt"))).read_text(), there]
    (file,) = told["flaky"]["outputs"]
    told["flaky"]["outputs"] = [file.path, Path(file.download_sync(str(folder / "second.txt"))).read_text()]
    told["flaky"]["logs"] = ["".join(runs["flaky"].get_logs(attempt=n, filter_system=True)) for n in (1, 2)]
    for key, path in paths.items():
        told[key]["executions"] = Path(path).read_text().splitlines()
    tell(**told)
