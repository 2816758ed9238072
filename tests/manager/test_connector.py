"""Connectors over gRPC, against real servers: the SDK's own, and one that answers as a table says."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from flyte.connectors import AsyncConnector, ConnectorRegistry, Resource, ResourceMeta
from flyte.connectors._server import AsyncConnectorService, ConnectorMetadataService
from flyteidl2.connector import connector_pb2, service_pb2_grpc
from flyteidl2.core import execution_pb2
from flyteidl2.core.execution_pb2 import TaskExecution
from flyteidl2.task import common_pb2

from alula.blobs.store import Blobs
from alula.core.errors import Unavailable
from alula.core.taskaction import Link, Stage
from alula.manager.plugins.base import BadTask, Failed, Offers, Task, Unsure
from alula.manager.plugins.connector import ConnectorPlugin
from alula.manager.podspec.settings import PodSettings
from alula.manager.remote.calls import Endpoint, Wire
from alula.manager.remote.directory import Directory
from alula.manager.remote.pace import pause

from .cases import REQUEST, task_template
from .statuses import NOW

P = TaskExecution
SECRETS = {"TOKEN": "hush"}
OUTPUTS = "s3://alula/r1/a0/1/outputs.pb"


@dataclass
class JobMeta(ResourceMeta):
    job: str


class QueryConnector(AsyncConnector[JobMeta]):
    """A connector as the authors of plugins write them."""

    name = "Query Connector"
    task_type_name = "query"
    metadata_type = JobMeta

    def __init__(self) -> None:
        self.phases = [P.RUNNING, P.SUCCEEDED]
        self.seen: list[tuple[str, Any]] = []

    async def create(
        self,
        task_template: Any,
        output_prefix: str,
        inputs: dict[str, Any] | None = None,
        task_execution_metadata: Any = None,
        **kwargs: Any,
    ) -> JobMeta:
        told = (task_template.id.name, output_prefix, inputs, kwargs["token"], kwargs["host"])
        self.seen.append(("create", told))
        return JobMeta(job="j7")

    async def get(self, resource_meta: JobMeta, **more: Any) -> Resource:
        self.seen.append(("get", (resource_meta.job, more["token"])))
        phase = self.phases.pop(0)
        link = execution_pb2.TaskLog(name="Query Console", uri="https://query.example.org/j7")
        return Resource(phase=phase, message=f"it is {phase}", log_links=[link], outputs={"o0": 42})

    async def delete(self, resource_meta: JobMeta, **more: Any) -> None:
        self.seen.append(("delete", (resource_meta.job, more["token"])))


@dataclass
class Scripted(service_pb2_grpc.AsyncConnectorServiceServicer, service_pb2_grpc.ConnectorMetadataServiceServicer):
    """A connector that answers as it is told to."""

    code: grpc.StatusCode | None = None
    slow: bool = False
    dies: grpc.aio.Server | None = None
    dying: asyncio.Task[None] | None = None
    resource: connector_pb2.Resource = field(default_factory=lambda: connector_pb2.Resource(phase=P.RUNNING))
    types: list[str] = field(default_factory=lambda: ["query"])
    listed: int = 0
    got: int = 0
    deleted: int = 0
    pages: Mapping[str, list[connector_pb2.GetTaskLogsResponse]] = field(default_factory=dict)

    async def _misbehave(self, context: Any) -> None:
        if self.slow:
            await asyncio.Event().wait()
        if self.dies is not None:
            self.dying = asyncio.create_task(self.dies.stop(None))
            await asyncio.Event().wait()
        if self.code is not None:
            await context.abort(self.code, "as it was told")

    async def CreateTask(self, request: Any, context: Any) -> connector_pb2.CreateTaskResponse:  # noqa: N802
        await self._misbehave(context)
        return connector_pb2.CreateTaskResponse(resource_meta=b"\x00\xff")

    async def GetTask(self, request: Any, context: Any) -> connector_pb2.GetTaskResponse:  # noqa: N802
        self.got += 1
        await self._misbehave(context)
        assert request.resource_meta == b"\x00\xff"
        return connector_pb2.GetTaskResponse(resource=self.resource)

    async def DeleteTask(self, request: Any, context: Any) -> connector_pb2.DeleteTaskResponse:  # noqa: N802
        self.deleted += 1
        await self._misbehave(context)
        return connector_pb2.DeleteTaskResponse()

    async def GetTaskLogs(self, request: Any, context: Any) -> AsyncIterator[connector_pb2.GetTaskLogsResponse]:  # noqa: N802
        await self._misbehave(context)
        for answer in self.pages[request.token]:
            yield answer

    async def GetTaskMetrics(self, request: Any, context: Any) -> connector_pb2.GetTaskMetricsResponse:  # noqa: N802
        await self._misbehave(context)
        results = [{"metric": query} for query in request.queries]
        return connector_pb2.GetTaskMetricsResponse(results=results)

    async def ListConnectors(self, request: Any, context: Any) -> connector_pb2.ListConnectorsResponse:  # noqa: N802
        self.listed += 1
        categories = [connector_pb2.TaskCategory(name=name) for name in self.types]
        connector = connector_pb2.Connector(name="scripted", supported_task_categories=categories)
        return connector_pb2.ListConnectorsResponse(connectors=[connector])


class Time:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Setup:
    plugin: ConnectorPlugin
    store: Blobs
    server: grpc.aio.Server
    url: str


async def serve(jobs: Any, metadata: Any) -> tuple[grpc.aio.Server, str]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_AsyncConnectorServiceServicer_to_server(jobs, server)  # type: ignore[no-untyped-call]
    service_pb2_grpc.add_ConnectorMetadataServiceServicer_to_server(metadata, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"http://127.0.0.1:{port}"


async def secrets(namespace: str, name: str) -> Mapping[str, str]:
    assert (namespace, name) == ("work", "r1-secrets")
    return SECRETS


def plugin(store: Blobs, *endpoints: Endpoint, time: Time | None = None) -> ConnectorPlugin:
    passes = time or Time()
    wire = Wire(passes)
    return ConnectorPlugin(wire, Directory(wire, endpoints, passes), Offers(store, secrets, passes))


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
async def setup(scripted: Scripted, tmp_path: Path) -> AsyncIterator[Setup]:
    store = Blobs(tmp_path)
    server, url = await serve(scripted, scripted)
    yield Setup(plugin(store, Endpoint(url, timeout=1.0)), store, server, url)
    await server.stop(None)


def task(kind: str = "query", **template: Any) -> Task:
    request = replace(
        REQUEST,
        task_type=kind,
        input_uri="s3://alula/r1/a0/inputs.pb",
        output_uri="s3://alula/r1/a0/1",
        secret="r1-secrets",
        secret_env=["TOKEN"],
    )
    return Task(request, task_template({"type": kind, **template}), "work", PodSettings())


async def test_a_task_of_a_connector_of_the_sdk(tmp_path: Path) -> None:
    connector, store = QueryConnector(), Blobs(tmp_path)
    ConnectorRegistry.register(connector, override=True)
    server, url = await serve(AsyncConnectorService(), ConnectorMetadataService())
    query = task(
        custom={"secrets": {"token": "TOKEN"}, "configs": {"host": "db.example.org"}, "statement": "select 42"},
        interface={
            "inputs": {"variables": [{"key": "limit", "value": {"type": {"simple": "INTEGER"}}}]},
            "outputs": {"variables": [{"key": "o0", "value": {"type": {"simple": "INTEGER"}}}]},
        },
    )
    limit = common_pb2.NamedLiteral(name="limit", value={"scalar": {"primitive": {"integer": 7}}})
    await store.put(query.request.input_uri, common_pb2.Inputs(literals=[limit]).SerializeToString())
    remote = plugin(store, Endpoint(url))
    try:
        assert await remote.knows(query)
        handle = await remote.create(query, NOW)
        assert b"hush" not in handle
        first = await remote.get(query, handle, NOW)
        assert (first.state.stage, first.look_again) == (Stage.RUNNING, NOW + pause(query.request.name, timedelta()))
        assert first.state.links == (Link("Query Console", "https://query.example.org/j7"),)
        last = await remote.get(query, handle, NOW + timedelta(minutes=5))
        assert (last.state.stage, last.look_again) == (Stage.SUCCEEDED, None)
        left = common_pb2.Outputs.FromString(await store.get(OUTPUTS))
        assert [(one.name, one.value.scalar.primitive.integer) for one in left.literals] == [("o0", 42)]
        await remote.delete(query, handle, NOW)
    finally:
        await server.stop(None)
    assert connector.seen == [
        ("create", ("shop.main", "s3://alula/r1/a0/1", {"limit": 7}, "hush", "db.example.org")),
        ("get", ("j7", "hush")),
        ("get", ("j7", "hush")),
        ("delete", ("j7", "hush")),
    ]


S = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "raised", "recoverable"),
    [
        (S.UNAVAILABLE, Unsure, None),
        (S.RESOURCE_EXHAUSTED, Unavailable, None),
        (S.ABORTED, Unavailable, None),
        (S.DEADLINE_EXCEEDED, Unsure, None),
        (S.CANCELLED, Unsure, None),
        (S.INVALID_ARGUMENT, Failed, False),
        (S.PERMISSION_DENIED, Failed, False),
        (S.UNAUTHENTICATED, Failed, False),
        (S.UNIMPLEMENTED, Failed, False),
        (S.NOT_FOUND, Failed, False),
        (S.INTERNAL, Failed, True),
        (S.UNKNOWN, Failed, True),
    ],
)
async def test_what_a_refusal_means(
    setup: Setup, scripted: Scripted, code: grpc.StatusCode, raised: type[Exception], recoverable: bool | None
) -> None:
    scripted.code = code
    with pytest.raises(raised, match="as it was told") as refused:
        await setup.plugin.create(task(), NOW)
    if isinstance(refused.value, Failed):
        assert (refused.value.cause.recoverable, refused.value.cause.system) == (recoverable, False)


async def test_a_connector_that_is_not_reached_has_not_begun(setup: Setup) -> None:
    assert await setup.plugin.knows(task())
    await setup.server.stop(None)
    with pytest.raises(Unavailable):
        await setup.plugin.create(task(), NOW)


async def test_a_connector_that_does_not_answer_may_have_begun(setup: Setup, scripted: Scripted) -> None:
    scripted.slow = True
    with pytest.raises(Unsure, match="does not answer"):
        await setup.plugin.create(task(), NOW)


async def test_a_connector_that_hangs_up_may_have_begun(setup: Setup) -> None:
    assert await setup.plugin.knows(task())
    await setup.server.stop(None)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)  # the preface of HTTP/2
        writer.close()

    other = await asyncio.start_server(hang_up, "127.0.0.1", int(setup.url.rpartition(":")[2]))
    async with other:
        with pytest.raises(Unsure):
            await setup.plugin.create(task(), NOW)


async def test_a_connector_that_dies_meanwhile_may_have_begun(setup: Setup, scripted: Scripted) -> None:
    scripted.dies = setup.server
    with pytest.raises(Unsure):
        await setup.plugin.create(task(), NOW)


@pytest.mark.parametrize(
    ("phase", "stage", "code", "recoverable"),
    [
        (P.UNDEFINED, Stage.INITIALIZING, "", True),
        (P.QUEUED, Stage.QUEUED, "", True),
        (P.WAITING_FOR_RESOURCES, Stage.WAITING, "", True),
        (P.INITIALIZING, Stage.INITIALIZING, "", True),
        (P.RUNNING, Stage.RUNNING, "", True),
        (P.SUCCEEDED, Stage.SUCCEEDED, "", True),
        (P.ABORTED, Stage.FAILED, "RemoteJobAborted", False),
        (P.FAILED, Stage.FAILED, "TaskFailedWithError", False),
        (P.RETRYABLE_FAILED, Stage.FAILED, "TaskFailedWithError", True),
    ],
)
async def test_what_is_seen(
    setup: Setup, scripted: Scripted, phase: Any, stage: Stage, code: str, recoverable: bool
) -> None:
    handle = await setup.plugin.create(task(), NOW)
    scripted.resource = connector_pb2.Resource(phase=phase, message="so it is")
    seen = await setup.plugin.get(task(), handle, NOW + timedelta(seconds=100))
    assert (seen.state.stage, seen.state.reason) == (stage, "so it is")
    assert (seen.look_again is None, seen.state.ended_at is not None) == (stage.over, stage.over)
    later = NOW + timedelta(seconds=100) + pause(REQUEST.name, timedelta(seconds=100))
    assert seen.look_again is None or seen.look_again == later
    assert (seen.state.cause.code if seen.state.cause else "") == code
    assert seen.state.cause is None or (seen.state.cause.recoverable, seen.state.cause.system) == (recoverable, False)


@pytest.mark.parametrize("code", [S.UNAVAILABLE, S.INTERNAL, S.NOT_FOUND, S.PERMISSION_DENIED])
async def test_who_says_nothing_of_a_job_is_asked_again(
    setup: Setup, scripted: Scripted, code: grpc.StatusCode
) -> None:
    handle = await setup.plugin.create(task(), NOW)
    scripted.code = code
    for _ in range(3):
        with pytest.raises(Unavailable, match="as it was told"):
            await setup.plugin.get(task(), handle, NOW + timedelta(days=3))
    scripted.code = None
    assert (await setup.plugin.get(task(), handle, NOW + timedelta(days=3))).state.stage is Stage.RUNNING


async def test_who_does_not_answer_is_left_in_peace_for_a_while(
    setup: Setup, scripted: Scripted, tmp_path: Path
) -> None:
    time = Time()
    remote = plugin(Blobs(tmp_path), Endpoint(setup.url, timeout=0.2), time=time)
    handle = await remote.create(task(), NOW)
    scripted.slow, asked = True, scripted.got
    with pytest.raises(Unavailable, match=f"the connector at {setup.url} does not answer"):
        await remote.get(task(), handle, NOW)
    assert scripted.got == asked + 1
    for call in (remote.knows(task()), remote.create(task(), NOW), remote.get(task(), handle, NOW)):
        with pytest.raises(Unavailable, match="does not answer"):
            await call
    assert scripted.got == asked + 1
    time.now, scripted.slow = 1.1, False
    assert (await remote.get(task(), handle, NOW)).state.stage is Stage.RUNNING
    assert await remote.knows(task())


def test_jobs_are_not_all_looked_at_at_once() -> None:
    ages = [timedelta(seconds=seconds) for seconds in (0, 60, 6000)]
    pauses = [sorted(pause(f"r{number}", age) / timedelta(seconds=1) for number in range(50)) for age in ages]
    assert all(
        one[0] / middle >= 0.9 and one[-1] / middle <= 1.1 for one, middle in zip(pauses, (1, 6, 30), strict=True)
    )
    assert all(one[-1] - one[0] > 0.1 * one[0] for one in pauses)


async def test_a_job_that_cannot_be_deleted_for_now_is_not_given_up(setup: Setup, scripted: Scripted) -> None:
    handle = await setup.plugin.create(task(), NOW)
    scripted.code = S.UNAVAILABLE
    with pytest.raises(Unavailable):
        await setup.plugin.delete(task(), handle, NOW + timedelta(days=3))


async def test_of_a_job_without_a_name_nothing_can_be_ended(setup: Setup) -> None:
    with pytest.raises(BadTask, match="may have begun"):
        await setup.plugin.delete(task(), b"", NOW)


async def test_a_job_that_is_gone_is_deleted(setup: Setup, scripted: Scripted) -> None:
    handle = await setup.plugin.create(task(), NOW)
    scripted.code = S.NOT_FOUND
    await setup.plugin.delete(task(), handle, NOW)
    assert scripted.deleted == 1


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ({"secrets": {"token": "OTHER"}}, "needs the secret 'OTHER'"),
        ({"secrets": "TOKEN"}, "are no map"),
        ({"configs": ["a"]}, "are no map"),
    ],
)
async def test_a_connection_that_cannot_be_is_refused(setup: Setup, custom: dict[str, Any], message: str) -> None:
    with pytest.raises(BadTask, match=message) as refused:
        await setup.plugin.create(task(custom=custom), NOW)
    assert "hush" not in str(refused.value)


async def test_logs_come_page_by_page(setup: Setup, scripted: Scripted) -> None:
    def page(*lines: str, token: str = "") -> list[connector_pb2.GetTaskLogsResponse]:
        body = connector_pb2.GetTaskLogsResponseBody(results=lines)
        header = connector_pb2.GetTaskLogsResponseHeader(token=token)
        return [connector_pb2.GetTaskLogsResponse(body=body), connector_pb2.GetTaskLogsResponse(header=header)]

    scripted.pages = {"": page("a", "b", token="t1"), "t1": page("c", token="t2"), "t2": page("d", token="t2")}
    handle = await setup.plugin.create(task(), NOW)
    lines = [line async for body in setup.plugin.logs(task(), handle) for line in body.results]
    assert lines == ["a", "b", "c", "d"]
    scripted.code = S.UNIMPLEMENTED
    with pytest.raises(Unavailable, match="UNIMPLEMENTED"):
        assert [body async for body in setup.plugin.logs(task(), handle)] == []


async def test_metrics_are_those_of_the_job(setup: Setup) -> None:
    handle = await setup.plugin.create(task(), NOW)
    request = connector_pb2.GetTaskMetricsRequest(queries=["cpu", "memory"])
    found = await setup.plugin.metrics(task(), handle, request)
    assert [result.metric for result in found.results] == ["cpu", "memory"]
    assert not request.resource_meta


async def test_types_are_found_by_what_connectors_say(scripted: Scripted, setup: Setup, tmp_path: Path) -> None:
    time = Time()
    remote = plugin(Blobs(tmp_path), Endpoint(setup.url), time=time)
    assert [await remote.knows(task(kind)) for kind in ("query", "other", "query")] == [True, False, True]
    assert scripted.listed == 1
    scripted.types.append("other")
    assert not await remote.knows(task("other"))
    time.now = 6.0
    assert await remote.knows(task("other"))
    assert not await remote.knows(task("query", taskTypeVersion=1))
    assert scripted.listed == 2
    scripted.types.clear()
    time.now = 67.0
    assert not await remote.knows(task("query"))


async def test_a_connector_that_stops_to_answer_is_still_the_one(setup: Setup, tmp_path: Path) -> None:
    time = Time()
    remote = plugin(Blobs(tmp_path), Endpoint(setup.url), time=time)
    assert await remote.knows(task())
    await setup.server.stop(None)
    time.now = 61.0
    with pytest.raises(Unavailable, match="does not answer"):
        await remote.knows(task())
    time.now = 63.0
    assert await remote.knows(task())
    with pytest.raises(Unavailable, match="'other' may be among it"):
        await remote.knows(task("other"))


async def test_the_connector_for_a_project_goes_before_that_for_all(
    setup: Setup, scripted: Scripted, tmp_path: Path
) -> None:
    own = Scripted()
    server, url = await serve(own, own)
    store = Blobs(tmp_path)
    ours = Endpoint(url, project="shop", domain="development")
    try:
        mine = plugin(store, Endpoint(setup.url), Endpoint(setup.url, domain="development"), ours)
        scripted.code, own.code = S.INTERNAL, None
        assert json.loads(await mine.create(task(), NOW))["meta"]
        other = task()
        other = replace(other, request=replace(other.request, project="bank"))
        with pytest.raises(Failed):
            await mine.create(other, NOW)
    finally:
        await server.stop(None)
