"""Runs: as clients create them, and as they are told of them."""

from typing import Any

from flyteidl2.common import identifier_pb2
from flyteidl2.common import run_pb2 as relation_pb2
from flyteidl2.task import run_pb2
from flyteidl2.workflow import run_definition_pb2, run_service_pb2

from alula.core.action import Action, Details
from alula.core.errors import Invalid
from alula.core.ids import RunId
from alula.core.run import Creation, Run, RunScope
from alula.wire import actions, ids, times


def creation(message: run_service_pb2.CreateRunRequest, request: str, by: str) -> Creation:
    """A request by somebody to create a run. ``request`` is the client's name for the request itself, or empty."""
    named = message.WhichOneof("id") == "run_id"
    task = message.WhichOneof("task")
    return Creation(
        project=message.run_id.project if named else message.project_id.name,
        domain=message.run_id.domain if named else message.project_id.domain,
        org=message.run_id.org if named else message.project_id.organization,
        name=message.run_id.name,
        task=ids.task(message.task_id) if task == "task_id" else None,
        spec=message.task_spec.SerializeToString(deterministic=True) if task == "task_spec" else b"",
        inputs=message.inputs.SerializeToString(deterministic=True),
        input_uri=message.offloaded_input_data.uri,
        source=message.source,
        starts_at=times.time(message.run_start_time) if message.HasField("run_start_time") else None,
        request=request,
        created_by=by,
        recovers=_recovers(message),
        inputs_hash=message.offloaded_input_data.inputs_hash,
        trigger=ids.trigger(message.trigger_name) if task == "trigger_name" else None,
        **of_spec(message.run_spec),
    )


def of_spec(spec: run_pb2.RunSpec) -> dict[str, Any]:
    """What a run's spec says of its creation."""
    return {
        "run_spec": spec.SerializeToString(deterministic=True),
        "labels": dict(spec.labels.values),
        "relation": _relation(spec),
        "base_dir": spec.run_base_dir.rstrip("/"),
        "queue": spec.queue,
        "max_concurrency": spec.max_action_concurrency,
        "overwrite_cache": spec.overwrite_cache or spec.cache_config.overwrite_cache,
        "cache_everywhere": spec.cache_config.cache_lookup_scope == run_pb2.CACHE_LOOKUP_SCOPE_GLOBAL,
    }


def _recovers(message: run_service_pb2.CreateRunRequest) -> RunId | None:
    """The run to recover; it has to be a neighbour."""
    relation = message.run_spec.relation
    if relation.relation_type != relation_pb2.RELATION_TYPE_RECOVER:
        return None
    found = ids.run(relation.related_to)
    place = message.run_id if message.WhichOneof("id") == "run_id" else message.project_id
    project = place.project if isinstance(place, identifier_pb2.RunIdentifier) else place.name
    if (found.project, found.domain) != (project, place.domain):
        raise Invalid("run_spec.relation.related_to: a run can only recover one of its own project and domain")
    return found


def forced(spec: bytes) -> frozenset[str]:
    """The actions that a recovering run does again, although they succeeded."""
    return frozenset(run_pb2.RunSpec.FromString(spec).recover.force_rerun_actions)


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
            trigger = message.trigger_name
            return RunScope(
                project=trigger.project,
                domain=trigger.domain,
                trigger_task=trigger.task_name,
                trigger_name=trigger.name,
                paused=paused,
            )
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
