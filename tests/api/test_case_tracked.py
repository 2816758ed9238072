"""Case C40, its part on TrackedRunService: runs that are orchestrated elsewhere, and told of here."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from connectrpc.code import Code
from flyteidl2.common import identifier_pb2
from flyteidl2.core import execution_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as dataproxy
from flyteidl2.task import task_definition_pb2
from flyteidl2.workflow import run_definition_pb2 as definition
from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow import tracked_run_service_pb2 as pb
from flyteidl2.workflow.tracked_run_service_connect import TrackedRunServiceClient

from tests.api.caller import (
    ABORTED,
    DOMAIN,
    FAILED,
    PROJECT,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    Caller,
    action_id,
    python,
    refused,
    run_id,
    spec,
    until,
)
from tests.api.served import Served

BEGAN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
OK, INVALID, CONFLICT, ABORTED_CODE = 0, 3, 9, 10
Run = identifier_pb2.RunIdentifier


class Reporter:
    """A client that orchestrates a run of its own."""

    def __init__(self, url: str) -> None:
        self.client = TrackedRunServiceClient(url)

    async def create(self, name: str = "", **fields: Any) -> definition.Run:
        request = pb.CreateTrackedRunRequest(task_spec=spec(name="told"), **fields)
        request.run_start_time.FromDatetime(BEGAN)
        if name:
            request.run_id.CopyFrom(run_id(name))
        else:
            request.project_id.name, request.project_id.domain = PROJECT, DOMAIN
        return (await self.client.create_run(request)).run

    async def report(self, run: Run, *updates: pb.TrackedActionUpdate) -> list[int]:
        """The codes of the answers."""
        response = await self.client.report_actions(pb.ReportTrackedActionsRequest(run_id=run, updates=updates))
        return [status.code for status in response.statuses]

    async def details(self, run: Run, action: str = "a0") -> definition.ActionDetails:
        request = rpc.GetActionDetailsRequest(action_id=action_id(run, action))
        return (await self.client.get_action_details(request)).details

    async def actions(self, run: Run) -> dict[str, definition.Action]:
        found = await self.client.list_actions(rpc.ListActionsRequest(run_id=run))
        return {action.id.name: action for action in found.actions}

    async def names(self, **request: Any) -> list[str]:
        place = identifier_pb2.ProjectIdentifier(name=PROJECT, domain=DOMAIN)
        found = await self.client.list_runs(rpc.ListRunsRequest(project_id=place, request={"limit": 200, **request}))
        return [run.action.id.run.name for run in found.runs]


def told(
    run: Run, action: str, phase: int, version: int = 0, attempt: int = 1, seconds: float = 0, **fields: Any
) -> pb.TrackedActionUpdate:
    """A report. ``event_*`` are fields of the event."""
    update = pb.TrackedActionUpdate(**{k: v for k, v in fields.items() if not k.startswith("event_")})
    event = {k.removeprefix("event_"): v for k, v in fields.items() if k.startswith("event_")}
    update.event.CopyFrom(definition.ActionEvent(id=action_id(run, action), attempt=attempt, version=version, **event))
    update.event.phase = phase  # type: ignore[assignment]
    update.event.updated_time.FromDatetime(BEGAN + timedelta(seconds=seconds))
    return update


@pytest.fixture
def reporter(served: Served) -> Reporter:
    return Reporter(served.url)


async def test_create_is_idempotent_and_names_what_has_no_name(reporter: Reporter, caller: Caller) -> None:
    first = await reporter.create("local-one", labels={"team": "a"})
    assert await reporter.create("local-one", labels={"team": "a"}) == first
    with refused(Code.ALREADY_EXISTS, "local-one"):
        await reporter.create("local-one", labels={"team": "b"})
    assert first.labels == {"team": "a"}
    assert first.action.metadata.source == definition.RUN_SOURCE_TRACKED
    assert (first.action.status.phase, first.action.status.start_time.ToDatetime(UTC)) == (QUEUED, BEGAN)
    invented = (await reporter.create()).action.id
    assert invented.name == "a0"
    assert invented.run.name.startswith("local-")
    assert invented.run.name != (await reporter.create()).action.id.run.name
    await caller.start(python("pass"), name="hosted-one")
    with refused(Code.ALREADY_EXISTS, "hosted-one"):
        await reporter.create("hosted-one")


async def test_a_run_from_beginning_to_end(reporter: Reporter) -> None:
    run = (await reporter.create("local-whole")).action.id.run
    logs = execution_pb2.LogContext(primary_pod_name="laptop")
    logs.pods.add(pod_name="laptop", namespace="home", primary_container_name="python")
    link = execution_pb2.TaskLog(name="log", uri="https://logs", message_format=execution_pb2.TaskLog.JSON)
    note = definition.ClusterEvent(message="pulled", reason="Pulled", count=3)
    task = definition.TaskAction(spec=spec(name="step"))
    trace = definition.TraceAction(name="traced", spec=task_definition_pb2.TraceSpec())
    codes = await reporter.report(
        run,
        told(run, "a0", RUNNING),
        told(run, "x", RUNNING, parent_name="a0", group="g", task=task, event_log_info=[link], event_cluster="lab",
             event_log_context=logs, event_cluster_events=[note], seconds=1),
        told(run, "t", SUCCEEDED, parent_name="x", trace=trace, seconds=2,
             event_outputs={"output_uri": "s3://alula/traced"}),
        told(run, "x", SUCCEEDED, 1, parent_name="other", group="h", seconds=3,
             event_outputs={"output_uri": "s3://alula/x/outputs.pb", "report_uri": "s3://alula/x/report.html"}),
        told(run, "a0", SUCCEEDED, 1, seconds=4),
    )  # fmt: skip
    assert codes == [OK] * 5
    x = await reporter.details(run, "x")
    assert (x.metadata.parent, x.metadata.group, x.metadata.task.short_name) == ("a0", "g", "step")
    (attempt,) = x.attempts
    assert (attempt.phase, attempt.cluster, attempt.logs_available) == (SUCCEEDED, "lab", True)
    assert (list(attempt.log_info), attempt.log_context, list(attempt.cluster_events)) == ([link], logs, [note])
    assert attempt.outputs.output_uri == "s3://alula/x/outputs.pb"
    assert attempt.outputs.report_uri == "s3://alula/x/report.html"
    assert (await reporter.details(run, "t")).metadata.trace.name == "traced"
    run_details = await reporter.client.get_run_details(rpc.GetRunDetailsRequest(run_id=run))
    status = run_details.details.action.status
    assert (status.phase, status.duration_ms) == (SUCCEEDED, 4000)
    assert {name: a.status.phase for name, a in (await reporter.actions(run)).items()} == {
        "a0": SUCCEEDED, "x": SUCCEEDED, "t": SUCCEEDED,
    }  # fmt: skip


async def test_reports_come_twice_and_out_of_order(reporter: Reporter) -> None:
    run = (await reporter.create("local-twice")).action.id.run
    child = told(run, "child", RUNNING, parent_name="parent", seconds=1)
    parent = told(run, "parent", RUNNING, parent_name="a0", seconds=2)
    assert await reporter.report(run, child, child, parent, parent) == [OK] * 4
    later = told(run, "child", RUNNING, 0, seconds=30)
    assert await reporter.report(run, later) == [OK], "(attempt, version, phase) tell reports apart"
    watch = reporter.client.watch_actions(rpc.WatchActionsRequest(run_id=run))
    below: dict[str, dict[int, int]] = {}

    def whole(message: rpc.WatchActionsResponse) -> bool:
        below.update({e.action.id.name: dict(e.children_phase_counts) for e in message.enriched_actions})
        return below.get("a0") == {RUNNING: 2}

    await until(watch, whole)
    assert below["parent"] == {RUNNING: 1}
    assert len((await reporter.details(run, "child")).attempts[0].phase_transitions) == 1


async def test_attempts(reporter: Reporter) -> None:
    run = (await reporter.create("local-tries")).action.id.run
    error = definition.ErrorInfo(message="no", kind=definition.ErrorInfo.KIND_USER)
    codes = await reporter.report(
        run,
        told(run, "x", RUNNING),
        told(run, "x", FAILED, 1, seconds=1, event_error_info=error),
        told(run, "x", RUNNING, 0, 2, seconds=2),
        told(run, "x", SUCCEEDED, 1, 2, seconds=3),
        told(run, "x", RUNNING, 0, 3, seconds=4),
        told(run, "x", RUNNING, 7, 1, seconds=5),
    )
    assert codes == [OK, OK, OK, OK, CONFLICT, CONFLICT]
    first, second = (await reporter.details(run, "x")).attempts
    assert (first.phase, first.error_info.message, second.phase) == (FAILED, "no", SUCCEEDED)


async def test_what_is_wrong_with_one_report_harms_no_other(reporter: Reporter) -> None:
    run = (await reporter.create("local-mixed")).action.id.run
    other = run_id("local-other")
    outside = {"output_uri": "s3://elsewhere/outputs.pb"}
    codes = await reporter.report(
        run,
        told(other, "x", RUNNING),
        told(run, "y", 55),
        told(run, "z", SUCCEEDED, event_outputs=outside),
        told(run, "w", RUNNING),
    )
    assert codes == [INVALID, INVALID, INVALID, OK]
    assert set(await reporter.actions(run)) == {"a0", "w"}
    with refused(Code.NOT_FOUND, "local-none"):
        await reporter.report(run_id("local-none"), told(run_id("local-none"), "x", RUNNING))
    with refused(Code.INVALID_ARGUMENT, "updates"):
        await reporter.report(run)


async def test_abort(reporter: Reporter) -> None:
    run = (await reporter.create("local-abort")).action.id.run
    many = [told(run, f"n{n}", RUNNING, parent_name="unheard-of") for n in range(230)]
    await reporter.report(run, told(run, "a0", RUNNING), told(run, "done", SUCCEEDED), *many)
    watching = asyncio.ensure_future(_last(reporter, run))
    await reporter.client.abort_run(rpc.AbortRunRequest(run_id=run, reason="enough"))
    last = await watching
    assert (last.status.phase, last.abort_info.reason) == (ABORTED, "enough")
    counted = await _phases(reporter, run)
    assert counted == {ABORTED: 231, SUCCEEDED: 1}
    codes = await reporter.report(
        run, told(run, "a0", SUCCEEDED, 1), told(run, "n7", SUCCEEDED, 1), told(run, "new", RUNNING), many[7]
    )
    assert codes == [ABORTED_CODE, ABORTED_CODE, ABORTED_CODE, OK], "what was taken before is right again"
    assert await _phases(reporter, run) == counted


async def _last(reporter: Reporter, run: Run) -> definition.ActionDetails:
    last = definition.ActionDetails()
    async with asyncio.timeout(20):
        async for message in reporter.client.watch_run_details(rpc.WatchRunDetailsRequest(run_id=run)):
            last = message.details.action
    return last


async def _phases(reporter: Reporter, run: Run) -> dict[int, int]:
    counts: dict[int, int] = {}
    token = ""
    while True:
        request = rpc.ListActionsRequest(run_id=run, request={"limit": 200, "token": token})
        found = await reporter.client.list_actions(request)
        for action in found.actions:
            counts[action.status.phase] = counts.get(action.status.phase, 0) + 1
        if not (token := found.token):
            return counts


async def test_abort_of_what_has_ended_changes_nothing(reporter: Reporter) -> None:
    run = (await reporter.create("local-over")).action.id.run
    await reporter.report(run, told(run, "x", RUNNING), told(run, "a0", SUCCEEDED, 1))
    before = await reporter.details(run)
    await reporter.client.abort_run(rpc.AbortRunRequest(run_id=run))
    assert await reporter.details(run) == before
    assert (await reporter.details(run, "x")).status.phase == RUNNING
    assert await reporter.report(run, told(run, "x", SUCCEEDED, 1)) == [OK]


async def test_neither_kind_is_listed_among_the_other(reporter: Reporter, caller: Caller) -> None:
    seen: list[Sequence[str]] = []
    place = identifier_pb2.ProjectIdentifier(name=PROJECT, domain=DOMAIN)
    stream = reporter.client.watch_runs(rpc.WatchRunsRequest(project_id=place))

    def new(message: rpc.WatchRunsResponse) -> bool:
        seen.append([run.action.id.run.name for run in message.runs])
        return "local-listed" in seen[-1]

    watching = asyncio.ensure_future(until(stream, new))
    await caller.finished(python("pass"), name="hosted-listed")
    await reporter.create("local-listed")
    await watching
    assert not any("hosted-listed" in names for names in seen)
    assert "local-listed" in await reporter.names()
    assert "hosted-listed" not in await reporter.names()
    hosted = await caller.runs.list_runs(rpc.ListRunsRequest(project_id=place, request={"limit": 200}))
    assert "local-listed" not in [run.action.id.run.name for run in hosted.runs]
    assert "hosted-listed" in [run.action.id.run.name for run in hosted.runs]
    with refused(Code.NOT_FOUND, "hosted-listed", "RunService"):
        await reporter.details(run_id("hosted-listed"))
    with refused(Code.NOT_FOUND, "hosted-listed"):
        await reporter.client.abort_run(rpc.AbortRunRequest(run_id=run_id("hosted-listed")))


async def test_its_data_lies_where_the_sdk_puts_it(reporter: Reporter, caller: Caller) -> None:
    run = (await reporter.create("local-data")).action.id.run
    await reporter.report(run, told(run, "x", RUNNING))
    uris = await caller.runs.get_action_data_u_r_is(rpc.GetActionDataURIsRequest(action_id=action_id(run, "x")))
    request = dataproxy.CreateUploadLocationRequest(
        project=PROJECT, domain=DOMAIN, filename_root="tracked-runs/local-data/x", filename="inputs.pb",
        content_md5=b"0" * 16, expires_in={"seconds": 60},
    )  # fmt: skip
    assert (await caller.data.create_upload_location(request)).native_url == uris.inputs_uri
