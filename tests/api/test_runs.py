"""RunService: looking at runs, lists of them, and their ends."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from connectrpc.code import Code
from flyteidl2.common import identifier_pb2, list_pb2
from flyteidl2.workflow import run_service_pb2 as rpc

from tests.api.caller import FAILED, SUCCEEDED, Caller, creation, python, refused, run_id
from tests.api.served import Served

LISTED = "listed"  # a project of their own
COUNT = 7
Filter = list_pb2.Filter


@pytest.fixture(scope="module")
def listed(served: Served) -> None:
    """Seven runs: six that succeed and one that fails."""

    async def make() -> None:
        caller = Caller(served.url)
        for number in range(COUNT):
            code = "raise SystemExit(3)" if number == 3 else f"print({number})"
            await caller.finished(python(code), name=f"run-{number}", project=LISTED)

    asyncio.run(make())


def asked(**fields: Any) -> rpc.ListRunsRequest:
    project = identifier_pb2.ProjectIdentifier(name=LISTED, domain="development")
    return rpc.ListRunsRequest(project_id=project, request=list_pb2.ListRequest(**fields))


async def names(caller: Caller, **fields: Any) -> list[str]:
    return [run.action.id.run.name for run in (await caller.runs.list_runs(asked(**fields))).runs]


NEWEST = [f"run-{number}" for number in reversed(range(COUNT))]


@pytest.mark.usefixtures("listed")
class TestLists:
    async def test_limits(self, caller: Caller) -> None:
        """Case C22."""
        for limit in (0, 200):
            assert await names(caller, limit=limit) == NEWEST
        with refused(Code.INVALID_ARGUMENT, "request.limit", "201"):
            await names(caller, limit=201)

    async def test_pages_make_up_the_whole(self, caller: Caller) -> None:
        """Case C21."""
        seen, token, pages = [], "", 0
        while True:
            page = await caller.runs.list_runs(asked(limit=3, token=token))
            seen += [run.action.id.run.name for run in page.runs]
            token, pages = page.token, pages + 1
            if pages == 1:  # what comes in between is on no page that is still to come
                await caller.start(python("pass"), name="late", project="listed-later")
            if not token:
                break
        assert seen == NEWEST
        assert pages == 3

    async def test_a_full_last_page_has_no_token(self, caller: Caller) -> None:
        assert (await caller.runs.list_runs(asked(limit=COUNT))).token == ""

    @pytest.mark.parametrize(
        "token", ["garbage", "-1", "é", "W10=", base64.urlsafe_b64encode(b'{"a": 1}').decode(), "x" * 10_000]
    )
    async def test_what_is_no_token(self, caller: Caller, token: str) -> None:
        """Case C22."""
        with refused(Code.INVALID_ARGUMENT, "request.token"):
            await names(caller, token=token)

    @pytest.mark.parametrize(
        "text",
        ["[" * 100_000, json.dumps([10**30, "x", "y"]), '["\\ud800", "x", "y"]'],
        ids=["deep", "large", "unicode"],
    )
    async def test_what_is_a_hostile_token(self, caller: Caller, text: str) -> None:
        with refused(Code.INVALID_ARGUMENT, "request.token"):
            await names(caller, token=base64.urlsafe_b64encode(text.encode()).decode())

    async def test_a_token_of_another_order(self, caller: Caller) -> None:
        token = (await caller.runs.list_runs(asked(limit=1))).token
        by_phase_and_name = [list_pb2.Sort(key="phase"), list_pb2.Sort(key="run_name"), list_pb2.Sort(key="created_at")]
        with refused(Code.INVALID_ARGUMENT, "request.token"):
            await names(caller, token=token, sort_by_fields=by_phase_and_name)

    @pytest.mark.parametrize(
        ("field", "function", "values", "expected"),
        [
            ("phase", Filter.VALUE_IN, ["6"], ["run-3"]),
            ("phase", Filter.VALUE_IN, ["5", "6"], NEWEST),
            ("phase", Filter.EQUAL, ["6"], ["run-3"]),
            ("phase", Filter.NOT_EQUAL, ["5"], ["run-3"]),
            ("phase", Filter.GREATER_THAN, ["5"], ["run-3"]),
            ("phase", Filter.VALUE_NOT_IN, ["5", "7"], ["run-3"]),
            ("run_name", Filter.CONTAINS, ["-4"], ["run-4"]),
            ("run_name", Filter.CONTAINS, ["%"], []),
            ("run_name", Filter.CONTAINS, ["_"], []),
            ("run_name", Filter.CONTAINS, ["RUN"], []),
            ("run_name", Filter.CONTAINS_CASE_INSENSITIVE, ["RUN-5"], ["run-5"]),
            ("run_name", Filter.ENDS_WITH, ["-2"], ["run-2"]),
            ("name", Filter.EQUAL, ["run-1"], ["run-1"]),
            ("run_name", Filter.EQUAL, ["' OR 1=1 --"], []),
            ("created_at", Filter.LESS_THAN, ["2001-01-01T00:00:00+00:00"], []),
            ("created_at", Filter.GREATER_THAN_OR_EQUAL, ["2001-01-01"], NEWEST),
            ("task_name", Filter.EQUAL, ["probe"], NEWEST),
            ("task_version", Filter.EXISTS, [], []),
        ],
    )
    async def test_filters(
        self, caller: Caller, field: str, function: Filter.Function, values: list[str], expected: list[str]
    ) -> None:
        """Case C20."""
        assert await names(caller, filters=[Filter(field=field, function=function, values=values)]) == expected

    @pytest.mark.parametrize(
        ("field", "function", "values"),
        [
            ("nothing", Filter.EQUAL, ["1"]),
            ("phase", Filter.EQUAL, ["RUNNING"]),
            ("phase", Filter.EQUAL, ["5", "6"]),
            ("phase", Filter.VALUE_IN, []),
            ("created_at", Filter.LESS_THAN, ["yesterday"]),
            ("phase", 77, ["1"]),
        ],
    )
    async def test_what_is_no_filter(self, caller: Caller, field: str, function: Any, values: list[str]) -> None:
        """Case C20."""
        with refused(Code.INVALID_ARGUMENT, field):
            await names(caller, filters=[Filter(field=field, function=function, values=values)])

    async def test_a_number_that_is_too_large(self, caller: Caller) -> None:
        with refused(Code.INVALID_ARGUMENT, "phase"):
            await names(caller, filters=[Filter(field="phase", function=Filter.EQUAL, values=["9" * 30])])

    async def test_orders(self, caller: Caller) -> None:
        oldest = list(reversed(NEWEST))
        up, down = list_pb2.Sort.ASCENDING, list_pb2.Sort.DESCENDING
        assert await names(caller, sort_by=list_pb2.Sort(key="created_at", direction=up)) == oldest
        assert await names(caller, sort_by_fields=[list_pb2.Sort(key="run_name", direction=down)]) == NEWEST
        mixed = [list_pb2.Sort(key="phase", direction=down), list_pb2.Sort(key="run_name", direction=up)]
        assert await names(caller, sort_by_fields=mixed) == ["run-3", *(n for n in oldest if n != "run-3")]
        with refused(Code.INVALID_ARGUMENT, "nothing"):
            await names(caller, sort_by=list_pb2.Sort(key="nothing"))

    async def test_scopes(self, caller: Caller) -> None:
        everything = await caller.runs.list_runs(rpc.ListRunsRequest(org="any", request={"limit": 200}))
        assert {run.action.id.run.name for run in everything.runs} >= set(NEWEST)
        nothing = rpc.ListRunsRequest(project_id={"name": "no-such", "domain": "development"})
        assert not (await caller.runs.list_runs(nothing)).runs
        trigger = {"project": LISTED, "domain": "development", "name": "x", "task_name": "y"}
        assert not (await caller.runs.list_runs(rpc.ListRunsRequest(trigger_name=trigger))).runs

    async def test_actions_of_a_run(self, caller: Caller) -> None:
        run = run_id("run-3", LISTED)
        page = await caller.runs.list_actions(rpc.ListActionsRequest(run_id=run))
        assert [(action.id.name, action.status.phase) for action in page.actions] == [("a0", FAILED)]
        for limit in (0, 200):
            await caller.runs.list_actions(rpc.ListActionsRequest(run_id=run, request={"limit": limit}))
        with refused(Code.INVALID_ARGUMENT, "request.limit"):
            await caller.runs.list_actions(rpc.ListActionsRequest(run_id=run, request={"limit": 201}))
        with refused(Code.NOT_FOUND, "no-such"):
            await caller.runs.list_actions(rpc.ListActionsRequest(run_id=run_id("no-such", LISTED)))

    async def test_details_of_a_failure(self, caller: Caller) -> None:
        request = rpc.GetRunDetailsRequest(run_id=run_id("run-3", LISTED))
        details = (await caller.runs.get_run_details(request)).details
        action = details.action
        assert action.status.phase == FAILED
        assert action.error_info.code == "ContainerFailed"
        assert "exited with code 3" in action.error_info.message
        assert action.task.task_template.container.image == "python:3.9"
        attempt = action.attempts[-1]
        assert (attempt.attempt, attempt.phase, attempt.logs_available) == (1, FAILED, True)
        assert attempt.end_time.ToDatetime() >= attempt.start_time.ToDatetime()
        assert [t.phase for t in attempt.phase_transitions][-1] == FAILED


async def test_aborting_what_has_ended_changes_nothing(caller: Caller) -> None:
    """Case C3."""
    for code, phase in (("pass", SUCCEEDED), ("raise SystemExit(1)", FAILED)):
        before = await caller.finished(python(code))
        await caller.runs.abort_run(rpc.AbortRunRequest(run_id=before.id.run, reason="too late"))
        await caller.runs.abort_action(rpc.AbortActionRequest(action_id=before.id, reason="too late"))
        assert before.status.phase == phase
        assert await caller.details(before.id) == before


async def test_what_does_not_exist(caller: Caller) -> None:
    run = run_id("no-such")
    action = {"run": run, "name": "a0"}
    calls: tuple[tuple[Callable[[Any], Awaitable[Any]], object], ...] = (
        (caller.runs.get_run_details, rpc.GetRunDetailsRequest(run_id=run)),
        (caller.runs.get_action_details, rpc.GetActionDetailsRequest(action_id=action)),
        (caller.runs.abort_run, rpc.AbortRunRequest(run_id=run)),
        (caller.runs.abort_action, rpc.AbortActionRequest(action_id=action)),
        (caller.runs.get_action_data, rpc.GetActionDataRequest(action_id=action)),
        (caller.runs.get_action_data_u_r_is, rpc.GetActionDataURIsRequest(action_id=action)),
        (caller.runs.get_action_log_context, rpc.GetActionLogContextRequest(action_id=action, attempt=1)),
    )
    for call, request in calls:
        with refused(Code.NOT_FOUND, "no-such"):
            await call(request)
    watches: tuple[tuple[Callable[[Any], AsyncIterator[Any]], object], ...] = (
        (caller.runs.watch_run_details, rpc.WatchRunDetailsRequest(run_id=run)),
        (caller.runs.watch_action_details, rpc.WatchActionDetailsRequest(action_id=action)),
        (caller.runs.watch_actions, rpc.WatchActionsRequest(run_id=run)),
        (caller.runs.watch_cluster_events, rpc.WatchClusterEventsRequest(id=action, attempt=1)),
    )
    for watch, asking in watches:
        with refused(Code.NOT_FOUND, "no-such"):
            async for _ in watch(asking):
                pass


async def test_data_and_log_context(caller: Caller) -> None:
    """Case C13: start and end are filled in once it has ended."""
    literal = {"name": "x", "value": {"scalar": {"primitive": {"integer": 3}}}}
    request = creation(python("print(1)"), inputs={"literals": [literal]})
    action = (await caller.runs.create_run(request)).run.action.id
    await caller.ended(action)
    data = await caller.runs.get_action_data(rpc.GetActionDataRequest(action_id=action))
    assert data.inputs.literals[0].value.scalar.primitive.integer == 3
    assert not data.outputs.literals
    uris = await caller.runs.get_action_data_u_r_is(rpc.GetActionDataURIsRequest(action_id=action))
    assert uris.inputs_uri.startswith("s3://alula/")
    again = creation(python("print(1)"), offloaded_input_data={"uri": uris.inputs_uri, "inputs_hash": "x"})
    other = (await caller.runs.create_run(again)).run.action.id
    data = await caller.runs.get_action_data(rpc.GetActionDataRequest(action_id=other))
    assert data.inputs.literals[0].name == "x"
    context = await caller.runs.get_action_log_context(rpc.GetActionLogContextRequest(action_id=action, attempt=1))
    assert context.end_time.seconds >= context.start_time.seconds > 0
    assert context.log_context.pods
    with refused(Code.NOT_FOUND, "attempt 2"):
        await caller.runs.get_action_log_context(rpc.GetActionLogContextRequest(action_id=action, attempt=2))
