"""Garbage at every rpc of a running server, over both databases: no request is a fault of the server's, none hangs, the
connection lives on, the next caller does not notice, and the log stays clean.

A short version runs with the tests. `make garbage` is longer, and different each time: ``ALULA_GARBAGE`` is how many
requests there are for each rpc.
"""

import asyncio
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from alula.rpc.errors import Code
from alula.storage.address import PostgresServer
from tests.api.caller import DOMAIN, PROJECT, Caller, python
from tests.api.garbage import FRAMES, binaries, texts
from tests.api.served import Served
from tests.api.test_every_rpc import NOT_SERVED, installed
from tests.postgres import Cluster

COUNT = int(os.environ.get("ALULA_GARBAGE", "0"))
MEMORY = 400  # megabytes
PATIENCE = 20.0  # seconds for one answer
QUIET = 0.05  # seconds after which a stream has nothing more to say
FAULTS = {"unknown", "internal", "data_loss", "unimplemented"}
RPCS = {
    f"{name.removeprefix('flyteidl2.')}.{rpc.name}": rpc
    for name, service in installed().items()
    if name.removeprefix("flyteidl2.") not in NOT_SERVED
    for rpc in service.methods
}
LABELS = {0: "ok", **{code.number: code.label for code in Code}}
USER = "/flyteidl2.auth.IdentityService/UserInfo"
CONNECT_END, WEB_END = 0x02, 0x80  # flags of the last frame
thrown = settings(
    max_examples=COUNT or 5,
    derandomize=not COUNT,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink] if COUNT else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Configured(Served):
    """`alula serve`, on a database of one's own."""

    def __init__(self, home: Path, database: PostgresServer) -> None:
        super().__init__(home)
        self._config = home.with_name("alula.toml")
        self._config.write_text(
            f'[server]\nhome = "{home}"\nlisten = ["localhost:{self.port}"]\n'
            f'[database]\nurl = "{database.dsn}"\n[projects]\ncreate_missing = true\n'
        )

    @property
    def command(self) -> list[str]:
        return [super().command[0], "serve", "--config", str(self._config)]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("garbage") / "home"
    if request.param == "sqlite":
        server = Served(home)
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        server = Configured(home, cluster.fresh())
    with server:
        asyncio.run(_furnish(Caller(server.url)))
        yield server
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert server.memory() < MEMORY
    assert "Traceback" not in server.log
    assert " ERROR " not in server.log


async def _furnish(caller: Caller) -> None:
    """Something of most kinds, to ask about."""
    place = {"project": PROJECT, "domain": DOMAIN}
    action = await caller.start(python("pass"), name="seed")
    await caller.ended(action)
    async with httpx.AsyncClient(base_url=caller.url) as client:

        async def make(rpc: str, body: object) -> None:
            response = await client.post(f"/flyteidl2.{rpc}", json=body)
            assert response.status_code == 200, response.text

        task = {**place, "name": "probe", "version": "v1"}
        spec = {"taskTemplate": {"type": "container", "container": {"args": ["true"]}}}
        await make("task.TaskService/DeployTask", {"taskId": task, "spec": spec})
        trigger = {"name": {**place, "name": "nightly", "taskName": "probe"}}
        automation = {"type": "TYPE_SCHEDULE", "schedule": {"cron": {"expression": "0 3 * * *"}}}
        await make(
            "trigger.TriggerService/DeployTrigger",
            {**trigger, "spec": {"taskVersion": "v1", "active": True}, "automationSpec": automation},
        )
        tracked = {"runId": {**place, "name": "tracked"}, "taskSpec": spec}
        await make("workflow.TrackedRunService/CreateRun", tracked)
        secret = {"id": {**place, "name": "secret"}, "secretSpec": {"stringValue": "s"}}
        await make("secret.SecretService/CreateSecret", secret)


@pytest.fixture(params=["http1", "h2c"], scope="module")
def client(request: pytest.FixtureRequest, target: Served) -> Iterator[httpx.Client]:
    h2 = request.param == "h2c"
    if not COUNT and h2 is not isinstance(target, Configured):
        pytest.skip("the short version asks each database in one way")
    with httpx.Client(base_url=target.url, http1=not h2, http2=h2, timeout=PATIENCE) as made:
        yield made


@pytest.mark.parametrize("name", RPCS)
def test_messages(client: httpx.Client, name: str) -> None:
    rpc = RPCS[name]
    streams = rpc.client_streaming or rpc.server_streaming
    codecs = {"proto": binaries(rpc.input_type), "json": texts(rpc.input_type)}
    bodies = st.one_of(*(st.tuples(st.just(codec), drawn) for codec, drawn in codecs.items()))

    @thrown
    @given(body=bodies)
    def throw(body: tuple[str, bytes]) -> None:
        codec, content = body
        if streams:
            frame = b"\0" + struct.pack(">I", len(content)) + content
            code = _streamed(client, rpc, frame, f"application/connect+{codec}")
        else:
            code = _unary(client, rpc, content, f"application/{codec}")
        assert code not in FAULTS, code

    throw()
    _lives(client)


@pytest.mark.parametrize("name", ["workflow.RunService.WatchRuns", "workflow.InternalRunService.RecordActionStream"])
@pytest.mark.parametrize("kind", ["connect+proto", "connect+json", "grpc-web+proto", "grpc-web+json"])
def test_frames(client: httpx.Client, name: str, kind: str) -> None:
    """What specifications call internal is a frame that is no message, or is compressed without a word of it;
    unimplemented are too many or too few of them."""

    @thrown
    @given(body=FRAMES)
    def throw(body: bytes) -> None:
        code = _streamed(client, RPCS[name], body, f"application/{kind}")
        assert code not in {"unknown", "data_loss"}, code

    throw()
    _lives(client)


def _path(rpc: MethodDescriptor) -> str:
    return f"/{rpc.containing_service.full_name}/{rpc.name}"


def _lives(client: httpx.Client) -> None:
    assert client.post(USER, json={}).status_code == 200


def _unary(client: httpx.Client, rpc: MethodDescriptor, body: bytes, kind: str) -> str:
    response = client.post(_path(rpc), content=body, headers={"content-type": kind})
    again = client.post(USER, json={})
    assert _port(response) == _port(again), "the connection did not live on"
    if response.status_code == 200:
        return "ok"
    assert response.status_code < 500, response.text
    code: str = response.json()["code"]
    return code


def _port(response: httpx.Response) -> int:
    """The client's own."""
    port: int = response.extensions["network_stream"].get_extra_info("client_addr")[1]
    return port


def _streamed(client: httpx.Client, rpc: MethodDescriptor, body: bytes, kind: str) -> str:
    """How a stream ended; "ok" if it goes on."""
    said = b""
    quiet = httpx.Timeout(PATIENCE, read=QUIET)
    try:
        with client.stream("POST", _path(rpc), content=body, headers={"content-type": kind}, timeout=quiet) as response:
            assert response.status_code == 200
            for chunk in response.iter_raw():
                said += chunk
    except httpx.ReadTimeout:
        return "ok"
    *_, (flags, content) = _frames(said)
    if "grpc" in kind:
        assert flags == WEB_END
        trailers = dict(line.split(": ", 1) for line in content.decode().splitlines())
        return LABELS[int(trailers["grpc-status"])]
    assert flags == CONNECT_END
    code: str = json.loads(content).get("error", {}).get("code", "ok")
    return code


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        size = int.from_bytes(data[1:5], "big")
        yield data[0], data[5 : 5 + size]
        data = data[5 + size :]
