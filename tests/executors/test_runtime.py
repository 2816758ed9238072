"""Real `a0` runs of the installed SDK: the same in both modes, and a fork that looks freshly started."""

import asyncio
from pathlib import Path

import pytest
from flyteidl2.core import execution_pb2
from flyteidl2.task import common_pb2

from alula.core.launch import Launch, Observation, Originator
from alula.executors.process import tree
from alula.executors.process.executor import ProcessExecutor

from . import hello
from .bench_launcher import storage
from .conftest import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def run(bench: Bench, task: str, name: str = "", **env: str) -> tuple[Observation, str, Path]:
    base = bench.home.parent / (name or task)
    archive = hello.bundle(bench.home.parent / "bundles")
    launch = Launch(name or task, hello.command(base, archive, task), {**hello.ENV, **env})
    await bench.submit(launch)
    said = await bench.said(launch.name)
    return await bench.over(launch.name), said, base / "out"


async def how(bench: Bench, name: str) -> str:
    return next(line.text.split()[0] for line in await bench.lines(name) if line.originator is Originator.SYSTEM)


async def test_task_succeeds(bench: Bench) -> None:
    seen, said, out = await run(bench, "main")
    assert seen.exit_code == 0, said
    assert "hello 3\n" in said
    outputs = common_pb2.Outputs.FromString((out / "outputs.pb").read_bytes())
    assert outputs.literals[0].value.scalar.primitive.integer == 4
    assert await how(bench, "main") == ("forked" if bench.mode == "fork" else "started")


async def test_user_error_is_the_users(bench: Bench) -> None:
    seen, said, out = await run(bench, "fails")
    assert seen.exit_code == 0
    assert execution_pb2.ErrorDocument.FromString((out / "error.pb").read_bytes()).error.code == "ValueError"
    assert "ValueError: as asked" in said


async def test_task_that_is_not_there(bench: Bench) -> None:
    seen, said, out = await run(bench, "nowhere")
    assert seen.exit_code == 1
    assert (out / "error.pb").exists()
    assert "AttributeError" in said


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--nonsense",), 2), (("--help",), 0)])
async def test_command_line(bench: Bench, arguments: tuple[str, ...], code: int) -> None:
    await bench.start("one", "a0", *arguments)
    assert (await bench.over("one")).exit_code == code
    assert "Usage: a0 [OPTIONS]" in await bench.said("one")


async def test_looks_freshly_started(bench: Bench) -> None:
    (first, said, _), (second, again, _) = await asyncio.gather(run(bench, "facts"), run(bench, "facts", "facts2"))
    assert (first.exit_code, second.exit_code) == (0, 0), said
    facts, others = (dict(line.split(" ", 1) for line in text.splitlines() if " " in line) for text in (said, again))
    assert all(a != b for a, b in zip(facts["random"].split()[:2], others["random"].split()[:2], strict=True))
    assert facts["argv"].endswith("/a0 --inputs main " + facts["argv"].split()[0])
    script = facts["argv"].split()[0]
    assert facts["cmdline"] == f"{[str(Path(script).parent / 'python'), script, '--inputs']} a0"
    cold = bench.mode == "spawn"  # a fork's controller is made once the task starts another
    threads = [*(["ControllerThread"] if cold else []), "MainThread", "flyte_syncify"]
    assert facts["threads"] == str(threads)
    # standard streams; an event loop (an epoll, a pair of sockets) for each of the threads; Rust pools' wake-ups
    assert facts["fds"].count("socket") == (6 if cold else 4)
    assert facts["fds"].count("pipe") == 2
    assert facts["fds"].count("anon_inode") <= (6 if cold else 3)
    assert "memfd" not in facts["fds"]


@pytest.mark.parametrize(("task", "says"), [("pool", "pool 28\n"), ("leaves", "late thread\nexit handler\n")])
async def test_processes_threads_and_exit_handlers(bench: Bench, task: str, says: str) -> None:
    seen, said, _ = await run(bench, task)
    assert seen.exit_code == 0, said
    assert says in said


async def test_daemon_forked_by_a_task_ends_with_it(bench: Bench) -> None:
    """Its environment is memory it shares with the launcher; the mark in it is its own."""
    seen, said, _ = await run(bench, "daemon")
    assert seen.exit_code == 0, said
    (pid,) = [int(line.split()[1]) for line in said.splitlines() if line.startswith("daemon")]
    assert not tree.alive(pid)


async def test_objects_behind_s3(bench: Bench) -> None:
    """The Rust object store and HTTP client must not have been used before the fork."""
    folder = bench.home.parent / f"s3{bench.suffix}"
    async with storage(folder, "s3") as store:
        await bench.submit(store.launch("one"))
        said = await bench.said("one")
        assert (await bench.over("one")).exit_code == 0, said
        assert store.get("/b/one/out/outputs.pb")


async def test_task_that_exits(bench: Bench) -> None:
    seen, _, out = await run(bench, "exits")
    assert seen.exit_code == 9
    assert not out.exists()


@pytest.mark.parametrize(
    ("env", "first"),
    [
        ({"LOG_LEVEL": "10"}, "started"),  # decides at import which functions are wrapped
        ({"FLYTE_IO_BATCH_SIZE": "2"}, "started"),
        ({"PYTHONHASHSEED": "1"}, "started"),
        ({"LC_ALL": "C"}, "started"),
        ({"LOG_LEVEL": "warning", "OTHER": "x", "TZ": "Asia/Tokyo"}, "forked"),
    ],
)
async def test_variables_read_at_import_start_cold(tmp_path: Path, env: dict[str, str], first: str) -> None:
    async with ProcessExecutor(tmp_path / "home") as executor:
        bench = Bench(executor, tmp_path / "home", "fork")
        await executor.submit(Launch("one", ("a0", "--help"), env))
        assert (await bench.over("one")).exit_code == 0
        assert await how(bench, "one") == first


async def test_bundle_is_copied_in_and_not_shared(tmp_path: Path) -> None:
    fetched: list[str] = []

    async def fetch(uri: str) -> bytes | None:
        fetched.append(uri)
        return hello.bundle(tmp_path / "bundles").read_bytes() if uri.startswith("s3://mine/") else None

    async with ProcessExecutor(tmp_path / "home", fetch=fetch) as executor:
        for name in ("one", "two"):
            command = hello.command(tmp_path / name, "s3://mine/fast0123.tar.gz", "facts")
            await executor.submit(Launch(name, command, hello.ENV))
        bench = Bench(executor, tmp_path / "home", "fork")
        for name in ("one", "two"):
            said = await bench.said(name)
            assert (await bench.over(name)).exit_code == 0, said
            assert "['.fast0123.tar.gz.extracted', '__pycache__', 'fast0123.tar.gz', 'hello.py', 'package']" in said
        assert fetched == ["s3://mine/fast0123.tar.gz"]
        files = [next((tmp_path / "home").glob(f"{place}/*/*/hello.py")).stat() for place in ("attempts", "bundles")]
        assert files[0].st_ino != files[1].st_ino
        assert files[0].st_nlink == 1


async def test_bundle_that_cannot_be_prepared_is_left_to_the_attempt(tmp_path: Path) -> None:
    async def fetch(uri: str) -> bytes | None:
        return b"not an archive"

    async with ProcessExecutor(tmp_path / "home", fetch=fetch) as executor:
        bench = Bench(executor, tmp_path / "home", "fork")
        seen, said, _ = await run(bench, "main")  # its own download works
        assert seen.exit_code == 0, said
    assert list((tmp_path / "home" / "bundles").iterdir()) == []
