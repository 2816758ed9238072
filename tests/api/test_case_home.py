"""Cases of a server that somebody starts for himself: whom it listens to, whom it speaks to, and what it is told."""

import asyncio
import ipaddress
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.api.caller import SUCCEEDED, Caller, python
from tests.api.served import ALULA, Served


@pytest.fixture
def proxy() -> Iterator[socket.socket]:
    """Where everything that wanted to leave this machine would go."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


async def _work(server: Served) -> None:
    details = await Caller(server.url).finished(python("print(1)"))
    assert details.status.phase == SUCCEEDED


def test_it_speaks_to_nobody(proxy: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases C39, O6 and O31: it sends nothing home, and its parts reach each other without the network."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    monkeypatch.delenv("FLYTE_DISABLE_TELEMETRY", raising=False)
    with Served(tmp_path / "home") as server:
        asyncio.run(_work(server))
        for connection in psutil.Process(server.pid).net_connections("inet"):
            if connection.raddr:
                assert connection.laddr.port == server.port, "it opened this one itself"
        for connection in (one for process in server.family() for one in process.net_connections("inet")):
            assert not connection.raddr or ipaddress.ip_address(connection.raddr.ip).is_loopback
    with pytest.raises(BlockingIOError):
        proxy.accept()


def test_it_listens_to_this_machine_alone(served: Served) -> None:
    """Case O5. What it keeps is its user's alone, too; its keys are its own."""
    heard = [one for p in served.family() for one in p.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    assert {one.laddr.port for one in heard} == {served.port}
    assert all(ipaddress.ip_address(one.laddr.ip).is_loopback for one in heard)
    kept = [path for path in served.home.rglob("*") if path.name in ("keys.json", "secret")]
    assert kept
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert served.home.stat().st_mode & 0o077 == 0


def test_what_it_is_told_and_does_not_know(tmp_path: Path) -> None:
    """Case O28."""
    config = tmp_path / "alula.toml"
    config.write_text("[server]\nlisten_on = ['localhost:1']\n[databse]\n")
    done = subprocess.run(
        [ALULA, "serve", "--config", config], capture_output=True, text=True, timeout=60, check=False, env=os.environ
    )
    assert done.returncode == 2
    assert "server.listen_on: there is no such key" in done.stderr
    assert "databse: there is no such key" in done.stderr
