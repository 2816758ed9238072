"""Clients that go away in the middle: nothing of them stays."""

import asyncio
import socket
import time
from pathlib import Path

import grpc
import psutil
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow import run_service_pb2_grpc as stubs

from tests.api.caller import SUCCEEDED, Caller, gated, python
from tests.api.served import Served

MANY = 300


def request(path: str, message: bytes) -> bytes:
    body = bytes(1) + len(message).to_bytes(4, "big") + message
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/connect+proto\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def leave_by_http1(served: Served, data: bytes) -> None:
    """Open many watches, see that each has begun, and hang up."""
    connections = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(MANY)]
    for connection in connections:
        connection.sendall(data)
    for connection in connections:
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        connection.close()


async def leave_by_grpc(served: Served, message: rpc.WatchActionDetailsRequest) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        stub = stubs.RunServiceStub(channel)  # type: ignore[no-untyped-call]
        watches = [stub.WatchActionDetails(message) for _ in range(MANY)]
        await asyncio.gather(*(watch.read() for watch in watches))


def settled(process: psutil.Process, most: int) -> int:
    """How many files the server has open, once no more are closed than it takes."""
    deadline = time.monotonic() + 10
    while process.num_fds() > most and time.monotonic() < deadline:
        time.sleep(0.01)
    return process.num_fds()


async def test_watches_that_are_left_leave_nothing(served: Served, caller: Caller, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    action = await caller.start(gated(gate))
    await caller.says(action, "at the gate")
    message = rpc.WatchActionDetailsRequest(action_id=action)
    kinds = {
        "WatchActionDetails": message,
        "WatchActions": rpc.WatchActionsRequest(run_id=action.run),
        "WatchRuns": rpc.WatchRunsRequest(org="any"),
    }
    server = psutil.Process(served.pid)
    files, threads = server.num_fds(), server.num_threads()
    memory = 0.0
    for turn in range(3):
        for name, asked in kinds.items():
            data = request(f"/flyteidl2.workflow.RunService/{name}", asked.SerializeToString())
            await asyncio.to_thread(leave_by_http1, served, data)
        await leave_by_grpc(served, message)
        assert settled(server, files + 3) <= files + 3
        if turn == 0:
            memory = served.memory()
    assert served.memory() < memory + 15
    assert server.num_threads() <= threads + 2
    gate.touch()
    await caller.ended(action)


async def test_readers_that_do_not_read_cost_little(served: Served, caller: Caller) -> None:
    """Each has asked for a log of 30 MB, and takes none of it."""
    line = "x" * 999
    action = (await caller.finished(python(f"for _ in range(30): print('\\n'.join(['{line}'] * 1000))"))).id
    before = served.memory()
    message = data.TailLogsRequest(action_id=action, attempt=1).SerializeToString()
    asked = request("/flyteidl2.dataproxy.DataProxyService/TailLogs", message)
    readers = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(30)]
    try:
        for reader in readers:
            reader.sendall(asked)
        for reader in readers:
            assert await asyncio.to_thread(reader.recv, 100)
        assert (await caller.finished(python("print('quick')"))).status.phase == SUCCEEDED
        assert len(await caller.log(action)) == 30_000_000  # by then the others have had their time, too
        assert served.memory() < before + 100
    finally:
        for reader in readers:
            reader.close()
