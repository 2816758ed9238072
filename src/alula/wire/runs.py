"""Runs: as clients create them, and as they are told of them."""

from flyteidl2.common import run_pb2 as relation_pb2
from flyteidl2.task import run_pb2
from flyteidl2.workflow import run_definition_pb2, run_service_pb2

from alula.core.action import Action, Details
from alula.core.errors import Unsupported
from alula.core.run import Creation, Run, RunScope
from alula.wire import actions, ids, times


def creation(message: run_service_pb2.CreateRunRequest, request: str) -> Creation:
    """A request to create a run. ``request`` is the client's name for the request itself, or empty."""
    if message.run_spec.relation.relation_type == relation_pb2.RELATION_TYPE_RECOVER:
        raise Unsupported("recovering a run is not served by this version of alula yet: rerun it without --recover")
    named = message.WhichOneof("id") == "run_id"
    task = message.WhichOneof("task")
    if task == "trigger_name":
        raise Unsupported("trigger_name: triggers are not served by this version of alula yet")
    return Creation(
        project=message.run_id.project if named else message.project_id.name,
        domain=message.run_id.domain if named else message.project_id.domain,
        org=message.run_id.org if named else message.project_id.organization,
        name=message.run_id.name,
        task=ids.task(message.task_id) if task == "task_id" else None,
        spec=message.task_spec.SerializeToString(deterministic=True) if task == "task_spec" else b"",
        inputs=message.inputs.SerializeToString(deterministic=True),
        input_uri=message.offloaded_input_data.uri,
        run_spec=message.run_spec.SerializeToString(deterministic=True),
        labels=dict(message.run_spec.labels.values),
        relation=_relation(message.run_spec),
        base_dir=message.run_spec.run_base_dir.rstrip("/"),
        source=message.source,
        starts_at=times.time(message.run_start_time) if message.HasField("run_start_time") else None,
        request=request,
    )


def _relation(spec: run_pb2.RunSpec) -> bytes:
    """How a run came from another. ``related_to`` is the older spelling of a rerun."""
    if spec.HasField("relation"):
        return spec.relation.SerializeToString()
    if spec.HasField("related_to"):
        rerun = relation_pb2.Relation(related_to=spec.related_to, relation_type=relation_pb2.RELATION_TYPE_RERUN)
        return rerun.SerializeToString()
    return b""


def message(root: Action, org: str) -> run_definition_pb2.Run:
    """A run as lists show it: its root action."""
    return run_definition_pb2.Run(action=actions.message(root, org), labels=root.labels)


def details_message(run: Run, details: Details, org: str) -> run_definition_pb2.RunDetails:
    spec = run_pb2.RunSpec.FromString(run.spec)
    return run_definition_pb2.RunDetails(run_spec=spec, action=actions.details_message(details, org))


def scope(message: run_service_pb2.ListRunsRequest) -> RunScope:
    """Which runs a list request is about. An organisation is everything there is."""
    paused = message.paused_actions_only
    match message.WhichOneof("scope_by"):
        case "project_id":
            return RunScope(project=message.project_id.name, domain=message.project_id.domain, paused=paused)
        case "task_name":
            task = message.task_name
            return RunScope(task_project=task.project, task_domain=task.domain, task_name=task.name, paused=paused)
        case "task_id":
            version = message.task_id
            return RunScope(
                task_project=version.project,
                task_domain=version.domain,
                task_name=version.name,
                task_version=version.version,
                paused=paused,
            )
        case "trigger_name":
            raise Unsupported("trigger_name: triggers are not served by this version of alula yet")
        case _:
            return RunScope(paused=paused)


def watch_scope(message: run_service_pb2.WatchRunsRequest) -> RunScope:
    """Which runs a watch is about. There is one organisation, and one cluster."""
    match message.WhichOneof("target"):
        case "project_id":
            return RunScope(project=message.project_id.name, domain=message.project_id.domain)
        case "task_id":
            task = message.task_id
            return RunScope(
                task_project=task.project, task_domain=task.domain, task_name=task.name, task_version=task.version
            )
        case _:
            return RunScope()
