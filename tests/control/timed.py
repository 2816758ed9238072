"""Triggers in a world whose clock stands still until it is set."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flyteidl2.core import interface_pb2, literals_pb2, types_pb2
from flyteidl2.task import common_pb2, run_pb2, task_definition_pb2, task_service_pb2
from flyteidl2.trigger import trigger_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from alula.core.action import Action
from alula.core.pages import Order, Page
from alula.core.run import RunScope
from alula.core.trigger import Trigger, TriggerId
from alula.scheduler.loop import Scheduler
from alula.wire import triggers as wire

from .world import Ticking, World, spec

MORNING = datetime(2026, 3, 4, 9, 0, 30, tzinfo=UTC)
TASK = "t.main"


@dataclass
class Stopped(Ticking):
    """A clock that stands still."""

    now: datetime = MORNING

    def __call__(self) -> datetime:
        return self.now


def task_spec(*inputs: str, default: int | None = None) -> task_definition_pb2.TaskSpec:
    """A task that takes integers, whatever else is given to it; the last one may have a default."""
    message = task_definition_pb2.TaskSpec.FromString(spec(TASK))
    of_integer = interface_pb2.Variable(type=types_pb2.LiteralType(simple=types_pb2.INTEGER))
    for name in inputs:
        message.task_template.interface.inputs.variables.add(key=name, value=of_integer)
    if default is not None:
        parameter = interface_pb2.Parameter(var=of_integer, default=integer(default))
        message.default_inputs.add(name=inputs[-1], parameter=parameter)
    return message


def integer(value: int) -> literals_pb2.Literal:
    primitive = literals_pb2.Primitive(integer=value)
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


def literals(**values: int) -> common_pb2.Inputs:
    return common_pb2.Inputs(
        literals=[common_pb2.NamedLiteral(name=name, value=integer(value)) for name, value in values.items()]
    )


def cron(expression: str, zone: str = "UTC", kickoff: str = "") -> common_pb2.TriggerAutomationSpec:
    schedule = common_pb2.Schedule(
        cron=common_pb2.Cron(expression=expression, timezone=zone), kickoff_time_input_arg=kickoff
    )
    return common_pb2.TriggerAutomationSpec(type=common_pb2.TYPE_SCHEDULE, schedule=schedule)


def every(minutes: int, start: datetime | None = None) -> common_pb2.TriggerAutomationSpec:
    rate = common_pb2.FixedRate(value=minutes, unit=common_pb2.FIXED_RATE_UNIT_MINUTE)
    if start is not None:
        rate.start_time.CopyFrom(Timestamp(seconds=int(start.timestamp())))
    schedule = common_pb2.Schedule(rate=rate)
    return common_pb2.TriggerAutomationSpec(type=common_pb2.TYPE_SCHEDULE, schedule=schedule)


def on_artifact(name: str, **fields: Any) -> common_pb2.TriggerAutomationSpec:
    artifact = common_pb2.ArtifactTrigger(artifact_name=name, **fields)
    return common_pb2.TriggerAutomationSpec(type=common_pb2.TYPE_ARTIFACT, artifact=artifact)


def bundled(
    name: str, automation: common_pb2.TriggerAutomationSpec | None = None, *, active: bool = True
) -> task_definition_pb2.TaskTrigger:
    """A trigger that comes with a task."""
    return task_definition_pb2.TaskTrigger(
        name=name, spec=task_definition_pb2.TaskTriggerSpec(active=active), automation_spec=automation
    )


def trigger_id(name: str = "tick") -> TriggerId:
    return TriggerId("p", "development", TASK, name)


@dataclass
class Timed:
    """A world, and what is done with triggers in it."""

    world: World

    @property
    def now(self) -> datetime:
        return self.world.clock.now

    def scheduler(self) -> Scheduler:
        return Scheduler(self.world.fires, self.world.changes, self.world.clock)

    async def task(
        self,
        version: str = "v1",
        triggers: Sequence[task_definition_pb2.TaskTrigger] = (),
        body: task_definition_pb2.TaskSpec | None = None,
    ) -> None:
        """Deploy the task."""
        request = task_service_pb2.DeployTaskRequest(spec=body or task_spec(), triggers=triggers)
        request.spec.task_template.id.version = version
        target = request.task_id
        target.project, target.domain, target.name, target.version = "p", "development", TASK, version
        await self.world.tasks.deploy(request, "deployer")

    async def deploy(
        self, automation: common_pb2.TriggerAutomationSpec | None = None, name: str = "tick", **fields: Any
    ) -> Trigger:
        """Deploy a trigger of the task by itself."""
        revision = fields.pop("revision", 0)
        request = trigger_service_pb2.DeployTriggerRequest(automation_spec=automation, revision=revision)
        target = request.name
        target.project, target.domain, target.task_name, target.name = "p", "development", TASK, name
        fields = {"active": True, "task_version": "v1", **fields}
        for field, value in fields.items():
            if isinstance(value, run_pb2.RunSpec | common_pb2.Inputs) or field == "offloaded_input_data":
                getattr(request.spec, field).CopyFrom(value)
            else:
                setattr(request.spec, field, value)
        return await self.world.triggers.deploy(wire.deployed(request), revision, "somebody")

    async def at(self, when: datetime | timedelta) -> list[str]:
        """Let time pass and the scheduler look; when the runs start that there are now and were not before."""
        before = {run.id for run in await self.runs()}
        self.world.clock.now = when if isinstance(when, datetime) else self.now + when
        await self.scheduler().catch_up()
        return [await self.started(run) for run in await self.runs() if run.id not in before]

    async def started(self, root: Action) -> str:
        run = await self.world.runs.get(root.id.run)
        return f"{run.starts_at:%d %H:%M:%S}"

    async def runs(self, name: str = "") -> list[Action]:
        """The runs, in the order of their times."""
        scope = RunScope("p", "development", trigger_task=TASK if name else "", trigger_name=name)
        order = (Order("created_at", descending=False),)
        found, token = await self.world.runs.page(scope, Page(limit=200, order=order))
        assert token == "", "there are more"
        return found

    async def inputs(self, root: Action) -> dict[str, literals_pb2.Literal]:
        message = common_pb2.Inputs.FromString(await self.world.blobs.get(root.input_uri))
        return {literal.name: literal.value for literal in message.literals}
