"""Runs that the SDK runs itself, on this machine, and tells the server of (`tracked=True`)."""

from collections.abc import AsyncIterator

import httpx
import pytest
from flyteidl2.common import identifier_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as dataproxy
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyServiceClient
from flyteidl2.workflow import run_definition_pb2 as definition
from flyteidl2.workflow import run_service_pb2 as rpc
from flyteidl2.workflow.tracked_run_service_connect import TrackedRunServiceClient

from .user import Told, User

SUCCEEDED, FAILED = 5, 6
PLACE = identifier_pb2.ProjectIdentifier(name="flytesnacks", domain="development")


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("tracked.py")


@pytest.fixture
async def client(user: User, told: Told) -> AsyncIterator[TrackedRunServiceClient]:
    async with TrackedRunServiceClient(user.url) as client:
        yield client


def _run(name: str) -> identifier_pb2.RunIdentifier:
    return identifier_pb2.RunIdentifier(project=PLACE.name, domain=PLACE.domain, name=name)


async def _tree(client: TrackedRunServiceClient, run: str) -> list[definition.Action]:
    return list((await client.list_actions(rpc.ListActionsRequest(run_id=_run(run)))).actions)


async def test_it_is_listed_and_watched_like_any_other(client: TrackedRunServiceClient, told: Told) -> None:
    """Case C40, case O21."""
    assert told["outputs"] == [2, 4]
    listed = await client.list_runs(rpc.ListRunsRequest(project_id=PLACE))
    runs = {run.action.id.run.name: run.action for run in listed.runs}
    whole = runs["local-whole-run"]
    assert (whole.status.phase, runs["local-broken"].status.phase) == (SUCCEEDED, FAILED)
    assert whole.metadata.source == definition.RUN_SOURCE_TRACKED
    assert whole.metadata.task.short_name == "whole"
    watch = client.watch_run_details(rpc.WatchRunDetailsRequest(run_id=_run("local-whole-run")))
    messages = [message.details.action async for message in watch]
    assert [m.status.phase for m in messages] == [SUCCEEDED], "a watch of what has ended ends"


async def test_the_tree_has_its_tasks_and_traces(client: TrackedRunServiceClient) -> None:
    actions = await _tree(client, "local-whole-run")
    assert {a.status.phase for a in actions} == {SUCCEEDED}
    steps = {a.id.name for a in actions if a.metadata.task.short_name == "step"}
    looks = [a for a in actions if a.metadata.WhichOneof("spec") == "trace"]
    assert (len(actions), len(steps), len(looks)) == (5, 2, 2)
    assert {a.metadata.parent for a in looks} == steps
    assert {a.metadata.trace.name for a in looks} == {"look"}


async def test_inputs_outputs_and_report_can_be_read(client: TrackedRunServiceClient, user: User) -> None:
    data = DataProxyServiceClient(user.url)
    root = identifier_pb2.ActionIdentifier(run=_run("local-whole-run"), name="a0")
    found = await data.get_action_data(
        dataproxy.GetActionDataRequest(action_id=root, run_source=definition.RUN_SOURCE_TRACKED)
    )
    assert [literal.name for literal in found.inputs.literals] == ["n"]
    assert [literal.name for literal in found.outputs.literals] == ["o0"]
    link = dataproxy.CreateDownloadLinkRequest(artifact_type=dataproxy.ARTIFACT_TYPE_REPORT)
    link.action_attempt_id.action_id.CopyFrom(root)
    link.action_attempt_id.attempt = 1
    urls = (await data.create_download_link(link)).pre_signed_urls
    assert "so far" in httpx.get(urls.signed_url[0]).text


async def test_a_failure_says_why(client: TrackedRunServiceClient, told: Told) -> None:
    details = await client.get_run_details(rpc.GetRunDetailsRequest(run_id=_run("local-broken")))
    action = details.details.action
    assert "it broke here" in told["error"]
    assert "it broke here" in action.error_info.message
    assert action.error_info.kind == definition.ErrorInfo.KIND_USER
