"""Garbage at every rpc of a running server, over both databases: no request is a fault of the server's, none hangs, the
connection lives on, the next caller does not notice, and the log stays clean.

A short version runs with the tests. `make garbage` is longer, and different each time: ``ALULA_GARBAGE`` is how many
requests there are for each rpc.
"""

import asyncio
import json
import os
import socket
import struct
from collections.abc import Iterator
from typing import Self

import httpx
import pytest
from google.protobuf.descriptor import MethodDescriptor
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, StreamEnded, StreamReset
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from alula.rpc.errors import Code
from tests.api.caller import DOMAIN, PROJECT, Caller, python
from tests.api.garbage import FRAMES, binaries, texts
from tests.api.served import Configured, Served
from tests.api.test_every_rpc import NOT_SERVED, installed
from tests.postgres import Cluster

COUNT = int(os.environ.get("ALULA_GARBAGE", "0"))
MEMORY = 400  # megabytes
PATIENCE = 20.0  # seconds for one answer
FLOOD = 30_000_000  # bytes of one stream
QUIET = 0.05  # seconds after which a stream has nothing more to say
FAULTS = {"unknown", "internal", "data_loss", "unimplemented"}
RPCS = {
    f"{name.removeprefix('flyteidl2.')}.{rpc.name}": rpc
    for name, service in installed().items()
    if name.removeprefix("flyteidl2.") not in NOT_SERVED
    for rpc in service.methods
}
LAST = sorted(
    RPCS, key=lambda name: name.rpartition(".")[2].startswith(("Abort", "Delete"))
)  # as they take things away
LABELS = {0: "ok", **{code.number: code.label for code in Code}}
USER = "/flyteidl2.auth.IdentityService/UserInfo"
WAYS = [("sqlite", "http1"), ("postgres", "h2c")]
if COUNT:
    WAYS += [("sqlite", "h2c"), ("postgres", "http1")]
CONNECT_END, WEB_END = 0x02, 0x80  # flags of the last frame
thrown = settings(
    max_examples=COUNT or 5,
    derandomize=not COUNT,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink] if COUNT else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    database, protocol = request.param
    home = tmp_path_factory.mktemp("garbage") / "home"
    if database == "sqlite":
        server = Served(home)
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        server = Configured(home, cluster.fresh().dsn)
    h2 = protocol == "h2c"
    with server, httpx.Client(base_url=server.url, http1=not h2, http2=h2, timeout=PATIENCE) as made:
        asyncio.run(_furnish(Caller(server.url)))
        yield made
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert server.memory() < MEMORY
    assert "Traceback" not in server.log
    assert " ERROR " not in server.log


async def _furnish(caller: Caller) -> None:
    """Something of most kinds, to ask about."""
    place = {"project": PROJECT, "domain": DOMAIN}
    await caller.ended(await caller.start(python("pass"), name="seed"))
    await caller.start(python("import time; time.sleep(3600)"), name="open")
    asked = {"actionId": {"run": {**place, "name": "open"}, "name": "asked"}, "parentActionName": "a0"}
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
        condition = {"name": "asked", "type": {"simple": "BOOLEAN"}}
        uris = {"inputUri": "s3://alula/x", "runOutputBase": "s3://alula/x"}
        await make("workflow.QueueService/EnqueueAction", {**asked, **uris, "condition": condition})
        await make("secret.SecretService/CreateSecret", secret)


@pytest.mark.parametrize("name", LAST)
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
                assert len(said) < FLOOD, "it never stops"
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


def test_streams_of_http2(client: httpx.Client) -> None:
    """gRPC as no client would speak it: frames of nonsense, streams reset in the middle, all over one connection."""
    with Raw(client.base_url.port or 0) as raw:

        @settings(thrown, max_examples=10 * thrown.max_examples)
        @given(
            name=st.sampled_from(sorted(RPCS)),
            kind=st.sampled_from(["application/grpc", "application/grpc+json", "application/grpc+x", "text/plain", ""]),
            encoding=st.sampled_from(["", "gzip", "br", "identity", "\xff"]),
            body=FRAMES,
            cut=st.booleans(),
        )
        def throw(name: str, kind: str, encoding: str, body: bytes, *, cut: bool) -> None:
            head = [("content-type", kind), ("te", "trailers")] + [("grpc-encoding", encoding)] * bool(encoding)
            told = raw.ask(_path(RPCS[name]), head, body, cut=cut)
            assert told is None or LABELS[int(told)] not in ("unknown", "data_loss")

        throw()
        user = [("content-type", "application/grpc"), ("te", "trailers")]
        assert raw.ask(USER, user, b"\0" * 5, cut=False) == "0"


class Raw:
    """One HTTP/2 connection, with nothing between."""

    def __init__(self, port: int) -> None:
        self._authority = f"localhost:{port}"
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._h2 = H2Connection(H2Configuration(client_side=True))

    def __enter__(self) -> Self:
        self._h2.initiate_connection()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, path: str, headers: list[tuple[str, str]], body: bytes, *, cut: bool) -> str | None:
        """Its grpc-status; ``None`` for what is no gRPC, or ended by a reset: with ``cut``, by ours."""
        stream = self._h2.get_next_available_stream_id()
        pseudo = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", self._authority)]
        self._h2.send_headers(stream, [*pseudo, *headers])
        self._h2.send_data(stream, body, end_stream=not cut)
        if cut:
            self._h2.reset_stream(stream)
            self._socket.sendall(self._h2.data_to_send())
            return None
        while True:
            self._socket.sendall(self._h2.data_to_send())
            for event in self._events():
                if getattr(event, "stream_id", None) != stream:
                    continue
                status = dict(getattr(event, "headers", None) or []).get(b"grpc-status")
                if status is not None:
                    return str(status, "ascii")
                if isinstance(event, StreamEnded | StreamReset):
                    return None

    def _events(self) -> list[Event]:
        data = self._socket.recv(65536)
        assert data, "the connection did not live on"
        events = self._h2.receive_data(data)
        taken = sum(event.flow_controlled_length for event in events if isinstance(event, DataReceived))
        if taken:
            self._h2.increment_flow_control_window(taken)
        return events
