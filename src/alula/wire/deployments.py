"""Deployed tasks: as clients deploy them, and as they are told of them."""

from datetime import datetime
from typing import cast

from flyteidl2.common import phase_pb2
from flyteidl2.task import task_definition_pb2, task_service_pb2

from alula.core.task import LatestRun, Listed, Task, TaskScope
from alula.wire import actions, ids, tasks, times, triggers


def deployed(message: task_service_pb2.DeployTaskRequest, spec_digest: bytes, by: str, now: datetime) -> Task:
    """A deployment, as it is stored."""
    return Task(
        id=ids.task(message.task_id),
        org=message.task_id.org,
        short_name=message.spec.short_name,
        environment=message.spec.environment.name,
        description=message.spec.documentation.short_description,
        entrypoint=message.spec.task_template.metadata.is_entrypoint,
        spec=spec_digest,
        deployed_at=now,
        deployed_by=by,
    )


def scope(message: task_service_pb2.ListTasksRequest) -> TaskScope:
    """Which tasks a list request is about. An organisation is everything there is."""
    known = {f.WhichOneof("filter_by"): f for f in message.known_filters}
    entrypoint, deployed_by = known.get("is_entrypoint"), known.get("deployed_by")
    return TaskScope(
        project=message.project_id.name,
        domain=message.project_id.domain,
        entrypoint=entrypoint.is_entrypoint if entrypoint else None,
        deployed_by=deployed_by.deployed_by if deployed_by else "",
    )


def name_scope(message: task_definition_pb2.TaskName) -> TaskScope:
    return TaskScope(project=message.project, domain=message.domain, name=message.name)


def message(listed: Listed, org: str) -> task_definition_pb2.Task:
    """A task as lists show it."""
    summary = task_definition_pb2.TaskSummary(latest_run=_latest(listed.latest, org)) if listed.latest else None
    return task_definition_pb2.Task(
        task_id=ids.task_message(listed.task.id, org), metadata=_metadata(listed), task_summary=summary
    )


def details_message(listed: Listed, body: bytes, org: str) -> task_definition_pb2.TaskDetails:
    return task_definition_pb2.TaskDetails(
        task_id=ids.task_message(listed.task.id, org), metadata=_metadata(listed), spec=tasks.spec(body)
    )


def version_message(listed: Listed, org: str) -> task_service_pb2.ListVersionsResponse.VersionResponse:
    task = listed.task
    return task_service_pb2.ListVersionsResponse.VersionResponse(
        version=task.id.version,
        deployed_at=times.timestamp(task.deployed_at),
        deployed_by=actions.identity(task.deployed_by) if task.deployed_by else None,
        latest_run=_latest(listed.latest, org) if listed.latest else None,
    )


def _metadata(listed: Listed) -> task_definition_pb2.TaskMetadata:
    task = listed.task
    return task_definition_pb2.TaskMetadata(
        deployed_by=actions.identity(task.deployed_by) if task.deployed_by else None,
        short_name=task.short_name,
        deployed_at=times.timestamp(task.deployed_at),
        environment_name=task.environment,
        triggers_summary=triggers.summary_message(listed.triggers),
        short_description=task.description,
    )


def _latest(run: LatestRun, org: str) -> task_definition_pb2.LatestRunSummary:
    return task_definition_pb2.LatestRunSummary(
        run_id=ids.run_message(run.id, org),
        run_time=times.timestamp(run.at),
        phase=cast("phase_pb2.ActionPhase", int(run.phase)),
        root_task_name=run.task,
    )
