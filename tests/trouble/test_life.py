"""Starting, stopping and dying: a clear word for whoever cannot start, and nothing lost for who comes back."""

import asyncio
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.workflow import run_service_pb2 as rpc

from tests.api.caller import FAILED, SUCCEEDED, Caller, gated, python, until
from tests.api.served import ALULA, Served, free_port


def refused_to_start(home: Path, port: int) -> str:
    """Try to start a server; what it says about why it cannot."""
    tried = subprocess.run(
        [ALULA, "up", "--home", str(home), "--port", str(port)], capture_output=True, text=True, timeout=30
    )
    assert tried.returncode == 1
    assert "Traceback" not in tried.stderr
    errors = [line for line in tried.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    return errors[0]


def test_a_home_has_one_server(served: Served) -> None:
    error = refused_to_start(served.home, free_port())
    assert str(served.home) in error
    assert f"process {served.pid}" in error
    assert "--home" in error
    assert httpx.get(f"{served.url}/readyz").status_code == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_busy_port(tmp_path: Path, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as holder:
        port = holder.getsockname()[1]
        error = refused_to_start(tmp_path / "home", port)
    assert f"port {port} is in use" in error
    assert "--port" in error


def _file(home: Path) -> Path:
    home.write_text("in the way")
    return home / "below"


def _no_database(home: Path) -> Path:
    home.mkdir()
    (home / "alula.db").write_bytes(b"something else" * 1000)
    return home


def _no_keys(home: Path) -> Path:
    home.mkdir()
    (home / "keys.json").write_text("{}")
    return home


@pytest.mark.parametrize("spoil", [_file, _no_database, _no_keys])
def test_a_home_that_cannot_be_used(tmp_path: Path, spoil: Callable[[Path], Path]) -> None:
    home = spoil(tmp_path / "home")
    assert "--home" in refused_to_start(home, free_port())


async def test_sigterm_stops_cleanly(own: Served, tmp_path: Path) -> None:
    own.start()
    caller = Caller(own.url)
    actions = [await caller.start(gated(tmp_path / "never")) for _ in range(3)]
    for action in actions:
        await caller.says(action, "at the gate")
    stubborn = await caller.start(
        python("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(600)")
    )
    await caller.says(stubborn, "deaf")
    family = own.family()
    assert len(family) >= 1 + len(actions)

    async def watch(number: int) -> Code:
        request = rpc.WatchActionDetailsRequest(action_id=actions[number % len(actions)])
        try:
            await until(caller.runs.watch_action_details(request), lambda _: False)
        except ConnectError as error:
            return error.code
        raise AssertionError

    watching = [asyncio.create_task(watch(number)) for number in range(50)]
    snapshot = rpc.WatchRunsRequest(org="any")
    assert (await until(caller.runs.watch_runs(snapshot))).runs
    started = time.monotonic()
    assert await asyncio.to_thread(own.stop, signal.SIGTERM) == 0
    assert time.monotonic() - started < 10
    assert set(await asyncio.gather(*watching)) == {Code.UNAVAILABLE}
    _, left = psutil.wait_procs(family, timeout=1)
    assert not _alive(left)
    assert "Traceback" not in own.log


async def test_killed_and_started_again_runs_go_on(own: Served, tmp_path: Path) -> None:
    """Case C1, case O19."""
    own.start()
    caller = Caller(own.url)
    gate = tmp_path / "gate"
    waiting = await caller.start(gated(gate, after="print('done')"), name="waiting")
    await caller.says(waiting, "at the gate")
    failing = await caller.start(gated(gate, after="raise SystemExit(7)"), name="failing")
    await caller.says(failing, "at the gate")
    before = await caller.finished(python("print('before')"), name="before")
    family = own.family()
    assert await asyncio.to_thread(own.stop, signal.SIGKILL) == -signal.SIGKILL
    _, left = psutil.wait_procs(family, timeout=0.5)
    assert _alive(left), "attempts ended with their server"

    own.start()
    assert await caller.details(before.id) == before
    assert await caller.log(before.id) == "before\n"
    gate.touch()
    succeeded, failed = await caller.ended(waiting), await caller.ended(failing)
    assert (succeeded.status.phase, succeeded.status.attempts) == (SUCCEEDED, 1)
    assert await caller.log(waiting) == "at the gate\ndone\n"
    assert failed.status.phase == FAILED
    assert "code 7" in failed.error_info.message
    again = await caller.runs.list_runs(rpc.ListRunsRequest(org="any"))
    assert {run.action.id.run.name for run in again.runs} == {"waiting", "failing", "before"}


def _alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Who still runs; a zombie only waits for its parent, which may be none of ours, to hear of its end."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
