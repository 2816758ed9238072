"""TriggerService, and triggers in the other services, as the SDK asks for them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from connectrpc.code import Code
from flyteidl2.common import identifier_pb2, list_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as dataproxy
from flyteidl2.task import common_pb2, run_pb2, task_definition_pb2
from flyteidl2.task import task_service_pb2 as tasks
from flyteidl2.trigger import trigger_definition_pb2 as definition
from flyteidl2.trigger import trigger_service_pb2 as pb
from flyteidl2.trigger.trigger_service_connect import TriggerServiceClient
from flyteidl2.workflow import run_definition_pb2
from flyteidl2.workflow import run_service_pb2 as rpc

from tests.api.caller import DOMAIN, PROJECT, Caller, python, refused, until
from tests.api.served import Served
from tests.control.timed import bundled, cron, every, literals


@pytest.fixture
def triggers(served: Served) -> TriggerServiceClient:
    return served.client(TriggerServiceClient)


def task_id(task: str, version: str = "v1") -> task_definition_pb2.TaskIdentifier:
    return task_definition_pb2.TaskIdentifier(project=PROJECT, domain=DOMAIN, name=task, version=version)


def name_of(task: str, name: str = "tick", org: str = "") -> identifier_pb2.TriggerName:
    return identifier_pb2.TriggerName(org=org, project=PROJECT, domain=DOMAIN, task_name=task, name=name)


async def deployed(caller: Caller, task: str, *own: task_definition_pb2.TaskTrigger, version: str = "v1") -> None:
    spec = python("print('fired')")
    spec.task_template.id.CopyFrom(_template(task, version))
    await caller.tasks.deploy_task(
        tasks.DeployTaskRequest(task_id=task_id(task, version), spec=spec, triggers=list(own))
    )


def _template(task: str, version: str) -> Any:
    identifier = python("").task_template.id
    identifier.project, identifier.domain, identifier.name, identifier.version = PROJECT, DOMAIN, task, version
    return identifier


def deployment(task: str, **fields: Any) -> pb.DeployTriggerRequest:
    spec = definition.TriggerSpec(active=True, task_version="v1", **fields.pop("spec", {}))
    return pb.DeployTriggerRequest(name=name_of(task), spec=spec, **fields)


async def test_the_life_of_a_trigger(caller: Caller, triggers: TriggerServiceClient) -> None:
    await deployed(caller, "life")
    run_spec = run_pb2.RunSpec(queue="q")
    request = deployment("life", automation_spec=cron("0 0 1 1 *"), spec={"run_spec": run_spec, "description": "d"})
    request.name.org = "acme"
    made = (await triggers.deploy_trigger(request)).trigger
    assert (made.id.revision, made.id.name.org, made.description, made.spec.description) == (1, "acme", "d", "d")
    assert (made.spec.active, made.spec.run_spec.queue, made.automation_spec) == (True, "q", cron("0 0 1 1 *"))
    assert made.metadata.deployed_by.user.id.subject
    assert made.status.HasField("deployed_at")
    assert not made.status.HasField("triggered_at")
    await triggers.update_triggers(pb.UpdateTriggersRequest(names=[name_of("life")], active=False))
    found = (await triggers.get_trigger_details(pb.GetTriggerDetailsRequest(name=name_of("life")))).trigger
    assert (found.id.revision, found.spec.active) == (2, False)
    listed = await triggers.list_triggers(pb.ListTriggersRequest(task_id=task_id("life")))
    assert [(t.id.name.name, t.active, t.id.revision) for t in listed.triggers] == [("tick", False, 2)]
    await triggers.delete_triggers(pb.DeleteTriggersRequest(names=[name_of("life")]))
    with refused(Code.NOT_FOUND, "life/tick"):
        await triggers.get_trigger_details(pb.GetTriggerDetailsRequest(name=name_of("life")))
    with refused(Code.NOT_FOUND, "life/tick"):
        await triggers.delete_triggers(pb.DeleteTriggersRequest(names=[name_of("life")]))
    actions, token = [], ""
    for _ in range(3):
        history = await triggers.get_trigger_revision_history(
            pb.GetTriggerRevisionHistoryRequest(
                name=name_of("life"), request=list_pb2.ListRequest(limit=1, token=token)
            )
        )
        actions += [(revision.id.revision, revision.action) for revision in history.triggers]
        token = history.token
    assert (actions, token) == ([(3, 4), (2, 3), (1, 1)], "")
    first = identifier_pb2.TriggerIdentifier(name=name_of("life"), revision=1)
    old = await triggers.get_trigger_revision_details(pb.GetTriggerRevisionDetailsRequest(id=first))
    assert old.trigger.spec.active


async def test_refused(caller: Caller, triggers: TriggerServiceClient) -> None:
    """Case C28: nonsense is the client's mistake, and says where. An old revision is told of."""
    await deployed(caller, "refused")
    with refused(Code.INVALID_ARGUMENT, "automation_spec.schedule.cron.timezone", "Mars"):
        await triggers.deploy_trigger(deployment("refused", automation_spec=cron("0 9 * * *", "Mars")))
    with refused(Code.INVALID_ARGUMENT, "automation_spec.schedule.cron.expression", "minute"):
        await triggers.deploy_trigger(deployment("refused", automation_spec=cron("x 9 * * *")))
    with refused(Code.NOT_FOUND, "task"):
        await triggers.deploy_trigger(deployment("nothing", automation_spec=cron("0 9 * * *")))
    with refused(Code.NOT_FOUND, "refused/tick"):
        await triggers.update_triggers(pb.UpdateTriggersRequest(names=[name_of("refused")], active=True))
    await triggers.deploy_trigger(deployment("refused", revision=1))
    with refused(Code.FAILED_PRECONDITION, "revision"):
        await triggers.deploy_trigger(deployment("refused", revision=7))
    with refused(Code.INVALID_ARGUMENT, "triggers.bad.automation_spec.schedule.cron.expression"):
        await deployed(caller, "refused", bundled("bad", cron("0 0 0 0 0")))
    with refused(Code.INVALID_ARGUMENT, "names"):
        await triggers.update_triggers(pb.UpdateTriggersRequest(active=True))
    with refused(Code.INVALID_ARGUMENT, "scope_by"):
        await triggers.list_triggers(pb.ListTriggersRequest())


async def test_it_fires(caller: Caller, triggers: TriggerServiceClient) -> None:
    """A schedule that is due soon makes a run that is shown, listed and watched as its own."""
    await deployed(caller, "fires")
    watch = rpc.WatchRunsRequest(task_id=task_id("fires"))
    watching = asyncio.create_task(until(caller.runs.watch_runs(watch), lambda message: bool(message.runs)))
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    await triggers.deploy_trigger(deployment("fires", automation_spec=every(60, due)))
    (run,) = (await watching).runs
    metadata = run.action.metadata
    assert metadata.source == run_definition_pb2.RUN_SOURCE_SCHEDULE_TRIGGER
    assert (metadata.trigger_name, metadata.trigger_id.revision) == ("tick", 1)
    assert metadata.trigger_id.name == name_of("fires")
    assert metadata.trigger_type == every(60, due)
    assert await caller.log(run.action.id) == "fired\n"
    listed = await caller.runs.list_runs(rpc.ListRunsRequest(trigger_name=name_of("fires")))
    assert [one.action.id for one in listed.runs] == [run.action.id]
    assert not (await caller.runs.list_runs(rpc.ListRunsRequest(trigger_name=name_of("fires", "other")))).runs
    found = (await triggers.get_trigger_details(pb.GetTriggerDetailsRequest(name=name_of("fires")))).trigger
    assert found.status.triggered_at.ToDatetime(UTC) >= due


async def test_by_hand(caller: Caller, triggers: TriggerServiceClient) -> None:
    """A run of a trigger, with inputs that were uploaded for it."""
    await deployed(caller, "byhand", bundled("tick", active=False))
    uploaded = await caller.data.upload_inputs(
        dataproxy.UploadInputsRequest(
            project_id={"name": PROJECT, "domain": DOMAIN}, trigger_name=name_of("byhand"), inputs=literals(x=4)
        )
    )
    request = rpc.CreateRunRequest(
        project_id={"name": PROJECT, "domain": DOMAIN},
        trigger_name=name_of("byhand"),
        offloaded_input_data=uploaded.offloaded_input_data,
    )
    run = (await caller.runs.create_run(request)).run
    assert (run.action.metadata.trigger_name, run.action.metadata.task.id.name) == ("tick", "byhand")
    given = await caller.data.get_action_data(dataproxy.GetActionDataRequest(action_id=run.action.id))
    assert given.inputs == literals(x=4)
    with refused(Code.NOT_FOUND, "byhand/none"):
        request.trigger_name.name = "none"
        await caller.runs.create_run(request)


@pytest.mark.parametrize("length", [254, 255, 256, 257])
async def test_descriptions(caller: Caller, triggers: TriggerServiceClient, length: int) -> None:
    """Case C35: descriptions whose bytes, not characters, are about as many as the protocol allows."""
    text = "ä" * (length // 2) + "x" * (length % 2)
    assert len(text.encode()) == length
    name = f"described{length}"
    spec = python("pass")
    spec.documentation.short_description = text
    spec.documentation.long_description = text * 8
    spec.environment.name = "env"
    spec.environment.description = text
    trigger = bundled("tick", active=False)
    trigger.spec.description = "ü" * 300
    await caller.tasks.deploy_task(tasks.DeployTaskRequest(task_id=task_id(name), spec=spec, triggers=[trigger]))
    found = (await caller.tasks.get_task_details(tasks.GetTaskDetailsRequest(task_id=task_id(name)))).details
    assert found.spec.documentation.short_description == found.metadata.short_description == text
    assert found.spec.environment.description == text
    told = (await triggers.get_trigger_details(pb.GetTriggerDetailsRequest(name=name_of(name)))).trigger
    assert told.description == "ü" * 255


async def test_tasks_show_their_triggers(caller: Caller) -> None:
    """Case C36: a rate of 200 minutes with a start is shown as it was deployed, whatever its bytes."""
    automation = every(200, datetime(2026, 3, 4, 9, 0, 30, tzinfo=UTC))
    await deployed(caller, "shown", bundled("only", automation))
    request = tasks.ListTasksRequest(project_id={"name": PROJECT, "domain": DOMAIN})
    request.request.filters.add(function=list_pb2.Filter.EQUAL, field="name", values=["shown"])
    listed = await caller.tasks.list_tasks(request)
    details = listed.tasks[0].metadata.triggers_summary.details
    assert (details.name, details.active, details.automation_spec) == ("only", True, automation)
    assert (listed.metadata.filtered_total, listed.metadata.total > 0) == (1, True)
    assert listed.tasks[0].metadata.deployed_by.user.id.subject
    await deployed(caller, "shown", bundled("only", automation), bundled("other", active=False), version="v2")
    stats = (await caller.tasks.list_tasks(request)).tasks[0].metadata.triggers_summary.stats
    assert (stats.total, stats.active) == (2, 1)


async def test_filters(caller: Caller, triggers: TriggerServiceClient) -> None:
    """Case C20: by what fires them, with one value; a function that makes no sense is refused."""
    await deployed(caller, "filtered", bundled("clock", cron("0 0 1 1 *")), bundled("hand"))

    async def names(function: Any, field: str, *values: str) -> list[str]:
        request = pb.ListTriggersRequest(task_name={"project": PROJECT, "domain": DOMAIN, "name": "filtered"})
        request.request.filters.add(function=function, field=field, values=values)
        return [trigger.id.name.name for trigger in (await triggers.list_triggers(request)).triggers]

    kind = str(common_pb2.TYPE_SCHEDULE)
    assert await names(list_pb2.Filter.VALUE_IN, "trigger_type", kind) == ["clock"]
    assert await names(list_pb2.Filter.CONTAINS, "name", "%") == []
    with refused(Code.INVALID_ARGUMENT, "nonsense"):
        await names(list_pb2.Filter.EQUAL, "nonsense", "1")
