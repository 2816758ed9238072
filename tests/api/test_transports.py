"""One run, told in every protocol over both versions of HTTP; deadlines; and how the server takes leave."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from connectrpc.code import Code
from connectrpc.compression.gzip import GzipCompression
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow import run_service_pb2_grpc as stubs
from flyteidl2.workflow.run_service_connect import RunServiceClient
from pyqwest import Client, HTTPTransport, HTTPVersion

from tests.api.caller import SUCCEEDED, Caller, creation, gated, python, refused, until
from tests.api.served import Served

BIG = "x" * 100_000  # worth compressing, both ways


def client(url: str, protocol: ProtocolType, *, h2: bool, zipped: bool = False) -> RunServiceClient:
    version = HTTPVersion.HTTP2 if h2 else HTTPVersion.HTTP1
    return RunServiceClient(
        url,
        protocol=protocol,
        send_compression=GzipCompression() if zipped else None,
        http_client=Client(HTTPTransport(http_version=version)),
    )


WAYS: dict[str, Callable[[str], RunServiceClient]] = {
    "connect-http1": lambda url: client(url, ProtocolType.CONNECT, h2=False),
    "connect-http1-gzip": lambda url: client(url, ProtocolType.CONNECT, h2=False, zipped=True),
    "connect-h2c": lambda url: client(url, ProtocolType.CONNECT, h2=True),
    "grpc-h2c": lambda url: client(url, ProtocolType.GRPC, h2=True),
    "grpc-h2c-gzip": lambda url: client(url, ProtocolType.GRPC, h2=True, zipped=True),
    "grpc-web-http1": lambda url: client(url, ProtocolType.GRPC_WEB, h2=False),
}


@pytest.fixture(params=WAYS)
def runs(request: pytest.FixtureRequest, served: Served) -> RunServiceClient:
    return WAYS[request.param](served.url)


async def test_a_run_in_every_protocol(runs: RunServiceClient) -> None:
    created = await runs.create_run(creation(python("pass", BIG)))
    action = created.run.action.id
    told = [m.details async for m in runs.watch_action_details(rpc.WatchActionDetailsRequest(action_id=action))]
    assert told[-1].status.phase == SUCCEEDED
    assert told[-1].task.task_template.container.args[-1] == BIG
    with refused(Code.NOT_FOUND, "no-such"):
        missing = {"project": "p", "domain": "development", "name": "no-such"}
        await runs.get_run_details(rpc.GetRunDetailsRequest(run_id=missing))


async def test_deadlines(runs: RunServiceClient, caller: Caller, tmp_path: Path) -> None:
    action = await caller.start(gated(tmp_path / "gate"))
    request = rpc.WatchActionDetailsRequest(action_id=action)
    with refused(Code.DEADLINE_EXCEEDED):
        async for _ in runs.watch_action_details(request, timeout_ms=200):
            pass
    (tmp_path / "gate").touch()


async def test_a_run_by_grpc(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        runs = stubs.RunServiceStub(channel)  # type: ignore[no-untyped-call]
        action = (await runs.CreateRun(creation(python("pass", BIG)))).run.action.id
        told = [m.details async for m in runs.WatchActionDetails(rpc.WatchActionDetailsRequest(action_id=action))]
        assert told[-1].status.phase == SUCCEEDED
        for compression in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
            request = rpc.GetActionDetailsRequest(action_id=action)
            details = (await runs.GetActionDetails(request, compression=compression)).details
            assert details.task.task_template.container.args[-1] == BIG


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"content-type": "application/connect+proto", "connect-timeout-ms": "200"}, b'"deadline_exceeded"'),
        ({"content-type": "application/grpc-web+proto", "grpc-timeout": "200m"}, b"grpc-status: 4\r\n"),
    ],
    ids=["connect", "grpc-web"],
)
async def test_the_servers_own_deadline(served: Served, headers: dict[str, str], told: bytes) -> None:
    """With a client that would wait longer than it says: it is the server who ends the call."""
    body = rpc.WatchRunsRequest(org="x").SerializeToString()
    for h2 in (False, True):
        async with httpx.AsyncClient(base_url=served.url, http1=not h2, http2=h2) as http:
            path = "/flyteidl2.workflow.RunService/WatchRuns"
            response = await http.post(path, content=bytes(1) + len(body).to_bytes(4, "big") + body, headers=headers)
        assert response.status_code == 200
        assert told in response.content


async def test_json_by_hand(served: Served) -> None:
    async with httpx.AsyncClient(base_url=f"{served.url}/flyteidl2.workflow.RunService") as http:
        request = {
            "runId": {"project": "flytesnacks", "domain": "development", "name": "by-hand"},
            "taskSpec": {"taskTemplate": {"container": {"image": "x", "args": ["true"]}}},
            "unknownField": 1,
        }
        created = await http.post("/CreateRun", json=request)
        assert created.json()["run"]["action"]["id"]["name"] == "a0"
        missing = await http.post("/GetRunDetails", json={"runId": {**request["runId"], "name": "no-such"}})  # type: ignore[dict-item]
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
        for body, kind in ((b"{", "json"), (b"[]", "json"), (b'{"runId": 5}', "json"), (b"\xff\xff", "proto")):
            garbage = await http.post("/CreateRun", content=body, headers={"content-type": f"application/{kind}"})
            assert (garbage.status_code, garbage.json()["code"]) == (400, "invalid_argument")
        assert (await http.post("/CreateRun", content=b"x", headers={"content-type": "text/plain"})).status_code == 415
        assert (await http.get("/CreateRun")).status_code == 405


@pytest.fixture
def leaving(tmp_path: Path) -> Served:
    return Served(tmp_path / "home")


async def test_shutdown_ends_watches_with_unavailable(leaving: Served, tmp_path: Path) -> None:
    """Case O27: cANCELED would end a parent's watch for good, and OK says that there is nothing more to come."""
    leaving.start()
    caller = Caller(leaving.url)
    action = await caller.start(gated(tmp_path / "never"))
    await caller.says(action, "at the gate")
    request = rpc.WatchActionDetailsRequest(action_id=action)
    opened: list[asyncio.Event] = []

    async def watch(stream: AsyncIterator[Any]) -> Code:
        first = asyncio.Event()
        opened.append(first)
        try:
            async for _ in stream:
                first.set()
        except ConnectError as error:
            return error.code
        raise AssertionError("the watch ended as if all were said")

    async def by_grpc() -> str:
        async with grpc.aio.insecure_channel(leaving.address) as channel:
            first = asyncio.Event()
            opened.append(first)
            try:
                stub = stubs.RunServiceStub(channel)  # type: ignore[no-untyped-call]
                async for _ in stub.WatchActionDetails(request):
                    first.set()
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
        raise AssertionError("the watch ended as if all were said")

    watching = [asyncio.create_task(watch(way(leaving.url).watch_action_details(request))) for way in WAYS.values()]
    watching_by_grpc = asyncio.create_task(by_grpc())
    await asyncio.sleep(0)  # each has put its event down
    async with asyncio.timeout(20):
        await asyncio.gather(*(first.wait() for first in opened))
        stopping = asyncio.get_running_loop().run_in_executor(None, leaving.stop, signal.SIGTERM)
        assert await asyncio.gather(*watching) == [Code.UNAVAILABLE] * len(WAYS)
        assert await watching_by_grpc == "UNAVAILABLE"
        assert await stopping == 0
    with pytest.raises(ConnectError) as caught:
        await until(caller.runs.watch_action_details(request))
    assert caught.value.code == Code.UNAVAILABLE
