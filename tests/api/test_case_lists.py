"""Cases of lists, as a client meets them."""

from typing import Any

import pytest
from connectrpc.code import Code
from flyteidl2.common import identifier_pb2, list_pb2
from flyteidl2.workflow import run_service_pb2 as rpc

from tests.api.caller import DOMAIN, PROJECT, SUCCEEDED, Caller, creation, python, refused, spec

_FILTER = list_pb2.Filter
Place = identifier_pb2.ProjectIdentifier
_PLACE = identifier_pb2.ProjectIdentifier(name="cases", domain=DOMAIN)


async def _list(
    caller: Caller, place: identifier_pb2.ProjectIdentifier = _PLACE, **request: Any
) -> rpc.ListRunsResponse:
    return await caller.runs.list_runs(rpc.ListRunsRequest(project_id=place, request=list_pb2.ListRequest(**request)))


async def _names(caller: Caller, *filters: list_pb2.Filter, **request: Any) -> list[str]:
    found = await _list(caller, filters=filters, **request)
    return [run.action.id.run.name for run in found.runs]


@pytest.fixture
async def three(caller: Caller) -> Caller:
    """Runs called one, two and three, made in that order; the first of another task."""
    for name in ("one", "two", "three"):
        task = spec("true", name="50%_off" if name == "one" else "plain")
        task.task_template.id.project, task.task_template.id.version = "cases", name
        action = (await caller.runs.create_run(creation(task, name=name, project="cases"))).run.action.id
        await caller.ended(action)
    return caller


async def test_filters(three: Caller) -> None:
    """Case C20: VALUE_IN with one value, `%` is no wildcard, and what is not there to filter by says so."""
    field = _FILTER(field="run_name", function=_FILTER.VALUE_IN, values=["two"])
    assert await _names(three, field) == ["two"]
    percent = _FILTER(field="task_name", function=_FILTER.CONTAINS, values=["%"])
    assert await _names(three, percent) == ["one"]
    assert await _names(three, _FILTER(field="task_name", function=_FILTER.CONTAINS, values=["5_%"])) == []
    phase = _FILTER(field="phase", function=_FILTER.VALUE_IN, values=["1", "2", "3", "4"])
    assert await _names(three, phase) == []
    for wrong, words in (
        (_FILTER(field="color", function=_FILTER.EQUAL, values=["red"]), "color"),
        (_FILTER(field="phase", function=_FILTER.EQUAL, values=["one"]), "phase"),
        (_FILTER(field="phase", function=_FILTER.EQUAL, values=["1", "2"]), "phase"),
        (_FILTER(field="phase", function=_FILTER.EQUAL), "phase"),
        (_FILTER(field="phase", function=99, values=["1"]), "function"),  # type: ignore[arg-type]
    ):
        with refused(Code.INVALID_ARGUMENT, words):
            await _names(three, wrong)


async def test_the_newest_come_first(three: Caller) -> None:
    """Upstream puts running ones first. Then a run leaps between pages when it ends; by age it stays where it is."""
    assert await _names(three) == ["three", "two", "one"]
    oldest = list_pb2.Sort(key="created_at", direction=list_pb2.Sort.ASCENDING)
    assert await _names(three, sort_by_fields=[oldest]) == ["one", "two", "three"]
    first = await _list(three, limit=2)
    assert [run.action.id.run.name for run in first.runs] == ["three", "two"]
    assert await _names(three, limit=2, token=first.token) == ["one"]


async def test_limits_and_tokens(caller: Caller) -> None:
    """Case C22: 0 is 50, 200 is fine, 201 is not; a token that is none is told so."""
    place = identifier_pb2.ProjectIdentifier(name=PROJECT, domain=DOMAIN)
    for limit in (0, 1, 200):
        assert len((await _list(caller, place, limit=limit)).runs) <= (limit or 50)
    with refused(Code.INVALID_ARGUMENT, "limit"):
        await _list(caller, place, limit=201)
    for token in ("garbage", "-1", "10", "W10=", "\N{SNOWMAN}"):
        with refused(Code.INVALID_ARGUMENT, "token"):
            await _list(caller, place, token=token)


async def test_lists_and_watches_say_the_same_of_an_action(caller: Caller) -> None:
    """W18: whoever tells of an action tells the same."""
    action = (await caller.finished(python("pass"))).id
    listed = (await caller.runs.list_actions(rpc.ListActionsRequest(run_id=action.run))).actions[0]
    details = await caller.details(action)
    async for message in caller.runs.watch_actions(rpc.WatchActionsRequest(run_id=action.run)):
        watched = message.enriched_actions[0].action
        break
    place = identifier_pb2.ProjectIdentifier(name=PROJECT, domain=DOMAIN)
    run = next(r.action for r in (await _list(caller, place, limit=200)).runs if r.action.id == action)
    assert listed == watched == run
    assert (listed.metadata, listed.status) == (details.metadata, details.status)
    assert listed.status.phase == SUCCEEDED


async def test_where_a_log_is(caller: Caller) -> None:
    """Case C13: after all of it is gone but the log, it can still be found; begin and end are told."""
    action = (await caller.finished(python("print('said')"))).id
    found = await caller.runs.get_action_log_context(rpc.GetActionLogContextRequest(action_id=action, attempt=1))
    assert found.log_context.primary_pod_name
    assert found.HasField("start_time")
    assert found.end_time.ToNanoseconds() >= found.start_time.ToNanoseconds()
    assert await caller.log(action) == "said\n"
    with refused(Code.NOT_FOUND, "attempt 2"):
        await caller.runs.get_action_log_context(rpc.GetActionLogContextRequest(action_id=action, attempt=2))


async def test_each_attempt_keeps_what_is_its_own(caller: Caller) -> None:
    """Case C10: attempt 1 shows its failure and its end, attempt 2 its own log."""
    code = "import os, sys; n = os.environ.get('FLYTE_ATTEMPT_NUMBER', '?'); print('try', flush=True); sys.exit(3)"
    details = await caller.finished(python(code, retries=1))
    first, second = details.attempts
    assert (first.attempt, second.attempt) == (1, 2)
    for attempt in (first, second):
        assert "code 3" in attempt.error_info.message
        assert attempt.HasField("end_time")
        assert await caller.log(details.id, attempt=attempt.attempt) == "try\n"
    assert first.end_time.ToNanoseconds() <= second.start_time.ToNanoseconds()


async def test_groups(three: Caller) -> None:
    """Case C24: all groups and the mark, then the end, as there is one."""
    request = rpc.WatchGroupsRequest(project_id=_PLACE)
    request.start_date.FromSeconds(0)
    request.end_date.FromSeconds(4_000_000_000)
    messages = [message async for message in three.runs.watch_groups(request)]
    assert [message.sentinel for message in messages] == [True]
    plain, first = messages[0].task_groups
    assert (plain.task_name, plain.total_runs, first.task_name) == ("plain", 2, "50%_off")
    assert [status.run_name for status in plain.recent_statuses] == ["three", "two"]
    assert [(count.phase, count.count) for count in plain.phase_counts] == [(SUCCEEDED, 2)]
    assert (plain.short_name, plain.average_failure_rate) == ("plain", 0.0)
    assert plain.average_duration.ToMicroseconds() >= plain.average_time_to_running.ToMicroseconds() > 0
    assert plain.created_by[0].user.id.subject
    assert plain.latest_finished_time.ToNanoseconds() > plain.latest_run_time.ToNanoseconds()
    with refused(Code.INVALID_ARGUMENT, "start_date"):
        await _groups(three, rpc.WatchGroupsRequest(project_id=_PLACE))
    request.end_date.FromSeconds(-1)
    with refused(Code.INVALID_ARGUMENT, "end_date"):
        await _groups(three, request)


async def _groups(caller: Caller, request: rpc.WatchGroupsRequest) -> None:
    async for _ in caller.runs.watch_groups(request):
        pass
