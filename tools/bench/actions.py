"""The control plane alone: actions per second from enqueued to terminal, through the public API, without processes.

Each of several parents enqueues its children, as the SDK in a task does: `ActionsService.Enqueue`, one request for one
child, its inputs already stored. Beside each an executor that is elsewhere tells how they fare, as it does:
`EventsProxyService.Record`, some events to a request, that they run and later that they have succeeded. The server has
the role `api` alone, so nobody else runs them. Afterwards the server is asked what became of each.

`python tools/bench/actions.py [repeats]`
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from flyteidl2.actions import actions_service_pb2 as actions
from flyteidl2.common import identifier_pb2, phase_pb2
from flyteidl2.task import task_definition_pb2
from flyteidl2.workflow import events_proxy_service_pb2 as proxy
from flyteidl2.workflow import run_service_pb2 as runs

sys.path.insert(0, str(Path(__file__).parent))
from client import Lean
from servers import Served, databases, serving

PARENTS, CHILDREN = 8, 500
WIDTH = 4  # requests that a parent has under way
SOME = 50  # events that an executor tells at a time
ENQUEUE = actions.DESCRIPTOR.services_by_name["ActionsService"].methods_by_name["Enqueue"]
RECORD = proxy.DESCRIPTOR.services_by_name["EventsProxyService"].methods_by_name["Record"]
RUNS = runs.DESCRIPTOR.services_by_name["RunService"].methods_by_name


@dataclass(frozen=True, slots=True)
class Pace:
    """``rate``: actions per second. ``cpu``: seconds of CPU of the server and its database for one."""

    rate: float
    cpu: float


async def pace(server: Served) -> Pace:
    """Measure once."""
    parents = [await _create(server.port) for _ in range(PARENTS)]
    cpu, began = server.cpu(), time.perf_counter()
    await asyncio.gather(*(_run(server.port, parent) for parent in parents))
    took, cpu = time.perf_counter() - began, server.cpu() - cpu
    for parent in parents:
        assert await _succeeded(server.port, parent) == CHILDREN
    return Pace(PARENTS * CHILDREN / took, cpu / (PARENTS * CHILDREN))


def task() -> task_definition_pb2.TaskSpec:
    """A task as the SDK spells it, near enough."""
    spec = task_definition_pb2.TaskSpec(short_name="work")
    template = spec.task_template
    template.type, template.metadata.discoverable = "python", False
    identifier = template.id
    identifier.project, identifier.domain, identifier.name = "flytesnacks", "development", "bench.work"
    identifier.version = "8f1b5c0e27d94a6f"
    template.metadata.runtime.version, template.metadata.retries.retries = "2.0.0", 3
    template.container.image = "python:3.12"
    template.container.args.extend(
        [
            "a0",
            "--inputs",
            "{{.input}}",
            "--outputs-path",
            "{{.outputPrefix}}",
            "--version",
            "8f1b5c0e27d94a6f",
            "--raw-data-path",
            "{{.rawOutputDataPrefix}}",
            "--run-name",
            "{{.runName}}",
            "--name",
            "{{.actionName}}",
            "--tgz",
            "s3://alula/code/8f1b.tgz",
            "--dest",
            ".",
            "--resolver",
            "flyte._internal.resolvers.default.DefaultTaskResolver",
            "mod",
            "bench",
            "instance",
            "work",
        ]
    )
    for name in ("x", "y", "z"):
        variable = template.interface.inputs.variables.add(key=name)
        variable.value.type.simple = 1
    template.interface.outputs.variables.add(key="o0").value.type.simple = 1
    spec.environment.name = "bench"
    return spec


async def _create(port: int) -> identifier_pb2.ActionIdentifier:
    """A run; its root is the parent."""
    request = runs.CreateRunRequest(task_spec=task())
    request.project_id.name, request.project_id.domain = "flytesnacks", "development"
    request.offloaded_input_data.uri = "s3://alula/inputs/bench/root"
    request.offloaded_input_data.inputs_hash = "root"
    async with Lean(port) as server:
        created: identifier_pb2.ActionIdentifier = (await server.call(RUNS["CreateRun"], request)).run.action.id
        return created


async def _run(port: int, parent: identifier_pb2.ActionIdentifier) -> None:
    names = [uuid.uuid4().hex[:25] for _ in range(CHILDREN)]
    accepted: asyncio.Queue[str] = asyncio.Queue()
    shares = [names[i::WIDTH] for i in range(WIDTH)]
    await asyncio.gather(*(_enqueue(port, parent, share, accepted) for share in shares), _tell(port, parent, accepted))


async def _enqueue(
    port: int, parent: identifier_pb2.ActionIdentifier, names: list[str], accepted: asyncio.Queue[str]
) -> None:
    base = f"s3://alula/runs/flytesnacks/development/{parent.run.name}"
    request = actions.EnqueueRequest()
    action = request.action
    action.action_id.CopyFrom(parent)
    action.parent_action_name, action.run_output_base, action.group = parent.name, base, "works"
    action.task.spec.CopyFrom(task())
    async with Lean(port) as server:
        for name in names:
            action.action_id.name, action.input_uri = name, f"{base}/{name}/inputs.pb"
            await server.call(ENQUEUE, request)
            accepted.put_nowait(name)


async def _tell(port: int, parent: identifier_pb2.ActionIdentifier, accepted: asyncio.Queue[str]) -> None:
    """Take what is accepted; of some, tell that they run, then that they have succeeded."""
    left = CHILDREN
    async with Lean(port) as server:
        while left:
            some = [await accepted.get()]
            while len(some) < min(SOME, left):
                some.append(await accepted.get())
            for phase in (phase_pb2.ACTION_PHASE_RUNNING, phase_pb2.ACTION_PHASE_SUCCEEDED):
                await server.call(RECORD, _events(parent, some, phase))
            left -= len(some)


def _events(
    parent: identifier_pb2.ActionIdentifier, names: list[str], phase: phase_pb2.ActionPhase
) -> proxy.RecordRequest:
    request = proxy.RecordRequest()
    for name in names:
        event = request.events.add(attempt=1, phase=phase, cluster="elsewhere")
        event.id.CopyFrom(parent)
        event.id.name = name
        event.updated_time.GetCurrentTime()
        event.reported_time.CopyFrom(event.updated_time)
        if phase == phase_pb2.ACTION_PHASE_SUCCEEDED:
            event.outputs.output_uri = f"s3://alula/runs/flytesnacks/development/{parent.run.name}/{name}/1/outputs.pb"
    return request


async def _succeeded(port: int, parent: identifier_pb2.ActionIdentifier) -> int:
    """How many children of a run have succeeded, as it lists them."""
    found: set[str] = set()
    request = runs.ListActionsRequest(run_id=parent.run)
    request.request.limit = 200
    async with Lean(port) as server:
        while True:
            page = await server.call(RUNS["ListActions"], request)
            done = phase_pb2.ACTION_PHASE_SUCCEEDED
            found.update(action.id.name for action in page.actions if action.status.phase == done)
            if not page.token:
                return len(found)
            request.request.token = page.token


def measured(folder: Path, url: str, repeats: int) -> list[Pace]:
    """Some paces of a server over a database; the first, while it warms up, does not count."""
    with serving(folder, database=url) as server:
        return [asyncio.run(pace(server)) for _ in range(repeats + 1)][1:]


def main(repeats: int) -> None:
    with tempfile.TemporaryDirectory(prefix="alula-actions-") as folder, databases() as urls:
        for kind, url in urls.items():
            paces = measured(Path(folder) / kind, url, repeats)
            rates = ", ".join(f"{one.rate:.0f}" for one in paces)
            cpu = statistics.median(one.cpu for one in paces)
            print(f"{kind:9} actions/s {rates}; CPU for one {cpu * 1000:.3f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
