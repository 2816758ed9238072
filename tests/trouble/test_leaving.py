"""Clients that go away in the middle: nothing of them stays."""

import asyncio
import socket
import time
from pathlib import Path

import grpc
import psutil
from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow import run_service_pb2_grpc as stubs

from tests.api.caller import Caller, gated
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
