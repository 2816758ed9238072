"""What checking a request against the protocol's rules costs: `python tools/bench/validation.py`.

The rules are compiled once, when the first message of a kind comes; that is told apart.
"""

import statistics
import time
from collections.abc import Callable

from flyteidl2.actions import actions_service_pb2
from flyteidl2.common import phase_pb2
from flyteidl2.workflow import events_proxy_service_pb2, run_service_pb2
from google.protobuf.message import Message

from alula.api.validation import validate

RUN = {"project": "flytesnacks", "domain": "development", "name": "r1234567890"}
REPEATS, CALLS = 15, 200
GOAL = 150e-6  # seconds: little of the 1 ms that each of 2,000 actions a second leaves on two cores


def created() -> Message:
    """A run, as the SDK asks for one."""
    request = run_service_pb2.CreateRunRequest()
    request.project_id.name, request.project_id.domain = RUN["project"], RUN["domain"]
    template = request.task_spec.task_template
    template.type, template.id.name = "python", "bench.main"
    template.container.image = "python"
    template.container.args.extend(["a0", "--inputs", "{{.input}}", "--outputs-path", "{{.outputPrefix}}"])
    template.interface.inputs.variables.add(key="x").value.type.simple = 1
    request.run_spec.labels.values["team"] = "x"
    request.offloaded_input_data.uri, request.offloaded_input_data.inputs_hash = "s3://alula/x", "h"
    return request


def enqueued() -> Message:
    """A child, as a running task asks for one."""
    request = actions_service_pb2.EnqueueRequest()
    action = request.action
    action.action_id.run.CopyFrom(type(action.action_id.run)(**RUN))
    action.action_id.name, action.parent_action_name = "c1", "a0"
    action.input_uri, action.run_output_base = "s3://alula/x", "s3://alula/y"
    action.task.spec.CopyFrom(created().task_spec)  # type: ignore[attr-defined]
    return request


def recorded() -> Message:
    """Ten events, as an executor reports them."""
    request = events_proxy_service_pb2.RecordRequest()
    for number in range(10):
        event = request.events.add(attempt=1, phase=phase_pb2.ACTION_PHASE_RUNNING)
        event.id.run.CopyFrom(type(event.id.run)(**RUN))
        event.id.name = f"c{number}"
    return request


REQUESTS: dict[str, Callable[[], Message]] = {
    "CreateRun": created,
    "Enqueue": enqueued,
    "Record, 10 events": recorded,
}


def costs() -> dict[str, tuple[float, float]]:
    """Of each kind of request: seconds of a check, and of the first one, which compiles the rules."""
    return {name: _cost(make()) for name, make in REQUESTS.items()}


def _cost(request: Message) -> tuple[float, float]:
    began = time.perf_counter()
    validate(request)
    first = time.perf_counter() - began
    return statistics.median(_check(request) for _ in range(REPEATS)), first


def _check(request: Message) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        validate(request)
    return (time.perf_counter() - began) / CALLS


if __name__ == "__main__":
    for name, (each, first) in costs().items():
        print(f"{name:20} {each * 1e6:6.1f} us a request; the first, which compiles the rules, {first * 1e3:.0f} ms")
