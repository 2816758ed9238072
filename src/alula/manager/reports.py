"""A TaskAction's status as people are told of it: an ActionEvent."""

import zlib
from collections.abc import Iterator
from datetime import datetime

from flyteidl2.common import identifier_pb2, phase_pb2
from flyteidl2.core import execution_pb2
from flyteidl2.task import common_pb2
from flyteidl2.workflow import run_definition_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from alula.core.taskaction import Container, Pod, Request, Stage, State

_PHASES = {
    Stage.QUEUED: phase_pb2.ACTION_PHASE_QUEUED,
    Stage.WAITING: phase_pb2.ACTION_PHASE_WAITING_FOR_RESOURCES,
    Stage.INITIALIZING: phase_pb2.ACTION_PHASE_INITIALIZING,
    Stage.RUNNING: phase_pb2.ACTION_PHASE_RUNNING,
    Stage.SUCCEEDED: phase_pb2.ACTION_PHASE_SUCCEEDED,
    Stage.FAILED: phase_pb2.ACTION_PHASE_FAILED,
}
_HALF = 0xFFFF


def report(request: Request, state: State, before: State | None, at: datetime) -> run_definition_pb2.ActionEvent:
    """What to tell of a status, after ``before`` was told. ``at``: when it came to its stage.

    The same status makes the same phase, version and time at every start of the Manager, so that who hears it again
    knows that it is old.
    """
    run = identifier_pb2.RunIdentifier(project=request.project, domain=request.domain, name=request.run)
    event = run_definition_pb2.ActionEvent(
        id=identifier_pb2.ActionIdentifier(run=run, name=request.action),
        attempt=request.attempt,
        phase=_phase(state),
        version=version(state),
        updated_time=_time(_since(state, at)),
        log_info=[execution_pb2.TaskLog(name=link.name, uri=link.uri, ready=True) for link in state.links],
        cluster_events=[run_definition_pb2.ClusterEvent(message=note) for note in _notes(state, before)],
    )
    if state.started_at is not None:
        event.start_time.CopyFrom(_time(state.started_at))
    if state.ended_at is not None:
        event.end_time.CopyFrom(_time(state.ended_at))
    if any(pod.containers for pod in state.pods):
        event.log_context.CopyFrom(_logs(state))
    if state.stage is Stage.SUCCEEDED and request.output_uri:
        written = f"{request.output_uri.rstrip('/')}/outputs.pb"
        event.outputs.CopyFrom(common_pb2.OutputReferences(output_uri=written))
    if (cause := state.cause) is not None and state.stage is Stage.FAILED:
        kinds = run_definition_pb2.ErrorInfo
        kind = kinds.KIND_SYSTEM if cause.system else kinds.KIND_USER
        event.error_info.CopyFrom(kinds(code=cause.code, message=cause.message, kind=kind))
    return event


def _phase(state: State) -> phase_pb2.ActionPhase:
    """What is launched, and has no pod yet, may still have to wait for room: it has not begun to start."""
    waits = state.stage is Stage.INITIALIZING and not (state.pods or state.handle)
    return phase_pb2.ACTION_PHASE_QUEUED if waits else _PHASES[state.stage]


def version(state: State) -> int:
    """A number within a phase that grows as more is known, and differs where statuses do."""
    containers = [container for pod in state.pods for container in pod.containers]
    ended = sum(container.ended_at is not None for container in containers)
    known = len(state.notes) + len(state.links) + len(containers) + ended
    return (min(known, _HALF) << 16) | (zlib.crc32(repr(state).encode()) & _HALF)


def _since(state: State, at: datetime) -> datetime:
    """What the cluster itself says of when goes before when it was seen."""
    told = state.ended_at if state.stage.over else state.started_at if state.stage is Stage.RUNNING else None
    return told or at


def _notes(state: State, before: State | None) -> Iterator[str]:
    """What is new in what the cluster has told, and its reason for how it is: why it failed is its error."""
    told = before.notes if before is not None else ()
    yield from (note for note in state.notes if note not in told)
    if (
        state.reason
        and not state.stage.over
        and (before is None or before.reason != state.reason)
        and state.reason not in state.notes
    ):
        yield state.reason


def _logs(state: State) -> execution_pb2.LogContext:
    primary = next((pod.name for pod in state.pods if pod.primary), state.pods[0].name)
    return execution_pb2.LogContext(primary_pod_name=primary, pods=[_pod(pod) for pod in state.pods])


def _pod(pod: Pod) -> execution_pb2.PodLogContext:
    return execution_pb2.PodLogContext(
        namespace=pod.namespace,
        pod_name=pod.name,
        primary_container_name=pod.primary,
        containers=[_container(one) for one in pod.containers if not one.init],
        init_containers=[_container(one) for one in pod.containers if one.init],
    )


def _container(container: Container) -> execution_pb2.ContainerContext:
    found = execution_pb2.ContainerContext(container_name=container.name)
    if container.started_at is not None:
        found.process.container_start_time.CopyFrom(_time(container.started_at))
    if container.ended_at is not None:
        found.process.container_end_time.CopyFrom(_time(container.ended_at))
    return found


def _time(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
