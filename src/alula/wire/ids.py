"""Identifiers. What a client calls its organisation is echoed, and means nothing else here."""

from flyteidl2.cluster import payload_pb2
from flyteidl2.common import identifier_pb2
from flyteidl2.task import task_definition_pb2

from alula.core.ids import ActionId, RunId, TaskId
from alula.core.trigger import TriggerId


def run(message: identifier_pb2.RunIdentifier) -> RunId:
    return RunId(message.project, message.domain, message.name)


def action(message: identifier_pb2.ActionIdentifier) -> ActionId:
    return ActionId(run(message.run), message.name)


def task(message: task_definition_pb2.TaskIdentifier) -> TaskId:
    return TaskId(message.project, message.domain, message.name, message.version)


def place(message: payload_pb2.SelectClusterRequest) -> tuple[RunId, str]:
    """What is asked about, as a run that would be there, and the queue; what is not said of it is empty."""
    match message.WhichOneof("resource"):
        case "project_id":
            return RunId(message.project_id.name, message.project_id.domain, ""), ""
        case "task_id":
            return RunId(message.task_id.project, message.task_id.domain, ""), ""
        case "app_id":
            return RunId(message.app_id.project, message.app_id.domain, ""), ""
        case "action_id":
            return run(message.action_id.run), ""
        case "action_attempt_id":
            return run(message.action_attempt_id.action_id.run), ""
        case "queue_id":
            return RunId(message.queue_id.project, message.queue_id.domain, ""), message.queue_id.name
        case "domain_id":
            return RunId("", message.domain_id.name, ""), ""
    return RunId("", "", ""), ""


def trigger(message: identifier_pb2.TriggerName) -> TriggerId:
    return TriggerId(message.project, message.domain, message.task_name, message.name)


def trigger_message(value: TriggerId, revision: int, org: str) -> identifier_pb2.TriggerIdentifier:
    name = identifier_pb2.TriggerName(
        org=org, project=value.project, domain=value.domain, task_name=value.task, name=value.name
    )
    return identifier_pb2.TriggerIdentifier(name=name, revision=revision)


def run_message(value: RunId, org: str) -> identifier_pb2.RunIdentifier:
    return identifier_pb2.RunIdentifier(org=org, project=value.project, domain=value.domain, name=value.name)


def action_message(value: ActionId, org: str) -> identifier_pb2.ActionIdentifier:
    return identifier_pb2.ActionIdentifier(run=run_message(value.run, org), name=value.name)


def task_message(value: TaskId, org: str) -> task_definition_pb2.TaskIdentifier:
    return task_definition_pb2.TaskIdentifier(
        org=org, project=value.project, domain=value.domain, name=value.name, version=value.version
    )
