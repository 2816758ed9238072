"""CreateRun: names, identity, and what is refused."""

import asyncio
import uuid
from typing import Any

import pytest
from connectrpc.code import Code
from flyteidl2.common import run_pb2 as relation
from flyteidl2.workflow import run_service_pb2 as rpc
from google.protobuf.timestamp_pb2 import Timestamp

from tests.api.caller import DOMAIN, FAILED, PROJECT, Caller, action_id, creation, python, refused, run_id, spec, until

QUICK = python("pass")


async def test_the_same_request_for_a_name_is_the_same_run(caller: Caller) -> None:
    """Case C2."""
    first = await caller.runs.create_run(creation(QUICK, "same"))
    await caller.ended(first.run.action.id)
    again = await caller.runs.create_run(creation(QUICK, "same"))
    assert again.run.action.id == first.run.action.id
    assert again.run.action.status.attempts == 1
    with refused(Code.ALREADY_EXISTS, "same", "choose another name"):
        await caller.runs.create_run(creation(python("print(1)"), "same"))
    with refused(Code.ALREADY_EXISTS):
        await caller.runs.create_run(creation(QUICK, "same", inputs={"literals": [{"name": "x"}]}))


async def test_many_at_once_for_one_name_are_one_run(caller: Caller) -> None:
    answers = await asyncio.gather(*(caller.runs.create_run(creation(QUICK, "crowd")) for _ in range(20)))
    assert len({answer.run.action.id.SerializeToString() for answer in answers}) == 1
    actions = await caller.runs.list_actions(rpc.ListActionsRequest(run_id=run_id("crowd")))
    assert [action.id.name for action in actions.actions] == ["a0"]


async def test_a_request_sent_again_under_its_id_is_the_same_run(caller: Caller) -> None:
    headers = {"x-request-id": str(uuid.uuid4())}
    first, again = [await caller.runs.create_run(creation(QUICK), headers=headers) for _ in range(2)]
    assert first.run.action.id == again.run.action.id
    other = await caller.runs.create_run(creation(QUICK))
    assert other.run.action.id != first.run.action.id
    name = other.run.action.id.run.name
    assert name[0] == "r"
    assert len(name) == 20


async def test_a_name_is_free_in_another_project(caller: Caller) -> None:
    """Case C18."""
    here = await caller.start(QUICK, name="twin")
    there = await caller.start(python("print(2)"), name="twin", project="elsewhere")
    assert here.run.project == PROJECT
    assert there.run.project == "elsewhere"
    assert await caller.log(here) == ""
    assert await caller.log(there) == "2\n"


@pytest.mark.parametrize("name", ["a" * 31, "Upper", "with.dots", "1digit", "-dash", "dash-", "under_score", "ünï"])
async def test_what_is_no_run_name(caller: Caller, name: str) -> None:
    with refused(Code.INVALID_ARGUMENT, "run_id.name"):
        await caller.runs.create_run(creation(QUICK, name))


async def test_the_longest_name(caller: Caller) -> None:
    assert (await caller.start(QUICK, name="a" * 30)).run.name == "a" * 30


async def test_what_does_not_exist(caller: Caller) -> None:
    request = creation(QUICK)
    request.project_id.domain = "nowhere"
    with refused(Code.NOT_FOUND, "nowhere", "development, staging, production"):
        await caller.runs.create_run(request)
    known = rpc.CreateRunRequest(project_id={"name": PROJECT, "domain": DOMAIN})
    task = {"project": PROJECT, "domain": DOMAIN, "name": "no.such", "version": "v1"}
    with refused(Code.NOT_FOUND, "no.such@v1", "flyte deploy"):
        await caller.runs.create_run(rpc.CreateRunRequest(project_id=known.project_id, task_id=task))
    trigger = {"project": PROJECT, "domain": DOMAIN, "name": "nightly", "task_name": "no.such"}
    with refused(Code.NOT_FOUND, "no.such/nightly"):
        await caller.runs.create_run(rpc.CreateRunRequest(project_id=known.project_id, trigger_name=trigger))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"run_spec": {"run_base_dir": "s3://another-bucket/x"}}, "s3://another-bucket"),
        ({"run_spec": {"run_base_dir": "file:///etc"}}, "must start with s3://"),
        ({"run_spec": {"run_base_dir": "s3://alula/../x"}}, "'..'"),
        ({"run_start_time": Timestamp(seconds=10**17)}, "years 1 to 9999"),
    ],
)
async def test_what_no_run_can_have(caller: Caller, fields: dict[str, Any], word: str) -> None:
    """Case O2, of folders."""
    with refused(Code.INVALID_ARGUMENT, word):
        await caller.runs.create_run(creation(QUICK, **fields))


async def test_a_recovery_of_what_is_not_there(caller: Caller) -> None:
    request = creation(python("pass"))
    request.run_spec.relation.related_to.CopyFrom(run_id("some"))
    request.run_spec.relation.relation_type = relation.RELATION_TYPE_RECOVER
    with refused(Code.NOT_FOUND, "related_to", "some"):
        await caller.runs.create_run(request)
    request.run_spec.relation.related_to.domain = "production"
    with refused(Code.INVALID_ARGUMENT, "related_to"):
        await caller.runs.create_run(request)


async def test_a_project_that_can_be_none(caller: Caller) -> None:
    for name in ("a/b", "..", "x" * 64):
        with refused(Code.INVALID_ARGUMENT, "project"):
            await caller.runs.create_run(creation(QUICK, project=name))


async def test_a_task_without_a_command_fails_clearly(caller: Caller) -> None:
    details = await caller.finished(spec())
    assert details.status.phase == FAILED
    assert "no command and no arguments" in details.error_info.message


async def test_organisations_are_echoed_and_mean_nothing(caller: Caller) -> None:
    """Case C19: none is fine, in every answer."""
    await caller.start(QUICK, name="orgs")
    for org in ("", "acme", "another"):
        run = run_id("orgs", org=org)
        assert (
            await caller.runs.create_run(rpc.CreateRunRequest(run_id=run, task_spec=QUICK))
        ).run.action.id.run == run
        action = action_id(run)
        details = await caller.runs.get_run_details(rpc.GetRunDetailsRequest(run_id=run))
        assert details.details.action.id == action
        assert (await caller.details(action)).id == action
        assert (await caller.ended(action)).id == action
        listed = await caller.runs.list_actions(rpc.ListActionsRequest(run_id=run))
        assert [found.id for found in listed.actions] == [action]
        tree = await until(caller.runs.watch_actions(rpc.WatchActionsRequest(run_id=run)))
        assert tree.enriched_actions[0].action.id == action
        told = await until(caller.runs.watch_run_details(rpc.WatchRunDetailsRequest(run_id=run)))
        assert told.details.action.id == action
