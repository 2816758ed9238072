"""Triggers: deployed, switched, fired by the clock, by artifacts and by hand."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flyteidl2.common import run_pb2 as common_run_pb2
from flyteidl2.task import common_pb2, run_pb2

from alula.core.errors import AlreadyExists, Conflict, Invalid, NotFound
from alula.core.pages import Order, Page, Where
from alula.core.pages import Test as By
from alula.core.project import ARCHIVED, Project
from alula.core.task import TaskScope
from alula.core.trigger import Step, TriggerScope
from alula.storage.address import Address

from .timed import MORNING, TASK, Stopped, Timed, bundled, cron, every, integer, literals, task_spec, trigger_id
from .world import creation, no_chance, opened

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
async def timed(tmp_path: Path, address: Address) -> AsyncIterator[Timed]:
    async with opened(tmp_path, Stopped(), address) as world:
        yield Timed(world)


async def test_cron(timed: Timed) -> None:
    """A tick is fired once, when it is due, as a run of the trigger's task that starts at that time."""
    await timed.task()
    deployed = await timed.deploy(cron("*/10 * * * *"), run_spec=run_pb2.RunSpec(queue="q", overwrite_cache=True))
    assert (deployed.revision, deployed.next_at) == (1, datetime(2026, 3, 4, 9, 10, tzinfo=UTC))
    assert await timed.at(MORNING + 9 * MINUTE) == []
    assert await timed.at(datetime(2026, 3, 4, 9, 10, 0, 1, tzinfo=UTC)) == ["04 09:10:00"]
    assert await timed.at(timedelta(0)) == []
    assert await timed.at(10 * MINUTE) == ["04 09:20:00"]
    root = (await timed.runs("tick"))[0]
    assert (root.task.name, root.task.version, root.source, root.queue) == (TASK, "v1", 3, "q")
    assert (root.trigger.task, root.trigger.name, root.trigger.revision) == (TASK, "tick", 1)
    assert root.overwrite_cache
    assert root.created_by == "somebody"
    found = await timed.world.triggers.get(trigger_id())
    assert found.fired_at == timed.now
    assert found.next_at == datetime(2026, 3, 4, 9, 30, tzinfo=UTC)


async def test_zone(timed: Timed) -> None:
    """Case C25: the day on which clocks are put forward has every tick once."""
    timed.world.clock.now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    await timed.task()
    await timed.deploy(cron("30 2 * * *", "Europe/Berlin"))
    found = []
    for _ in range(96):
        found += await timed.at(HOUR / 2)
    assert found == ["29 01:00:00", "30 00:30:00"]


async def test_rate(timed: Timed) -> None:
    """Case C36: a grid counts from the first deployment, or from its start, and nothing ever moves it."""
    await timed.task()
    await timed.deploy(every(200, MORNING - HOUR), "started")
    await timed.deploy(every(200), "plain")
    start = MORNING
    assert await timed.at(140 * MINUTE) == [f"{start + 140 * MINUTE:%d %H:%M:%S}"]
    await timed.world.runs.create(replace(creation("byhand"), spec=b"", trigger=trigger_id("plain")), no_chance)
    timed.world.clock.now += 10 * MINUTE
    await timed.deploy(every(200), "plain")  # as every deployment of an unchanged project does
    assert await timed.at(start + 200 * MINUTE) == ["04 12:20:30"]
    await timed.world.triggers.switch([trigger_id("plain")], active=False, by="")
    assert await timed.at(start + 350 * MINUTE) == ["04 14:40:30"]
    await timed.world.triggers.switch([trigger_id("plain")], active=True, by="")
    assert await timed.at(start + 400 * MINUTE) == ["04 15:40:30"]


async def test_starts_later(timed: Timed) -> None:
    await timed.task()
    await timed.deploy(every(60, MORNING + timedelta(days=3)))
    assert await timed.at(MORNING + timedelta(days=3) - MINUTE) == []
    assert await timed.at(MINUTE) == ["07 09:00:30"]
    assert await timed.at(HOUR) == ["07 10:00:30"]


async def test_redeployed(timed: Timed) -> None:
    """Case C26: what a new schedule would have had before it is not made up for; what the old one has is not fired."""
    await timed.task()
    await timed.deploy(cron("0 * * * *"))
    timed.world.clock.now = MORNING + 2 * HOUR
    await timed.deploy(cron("*/30 * * * *"))
    assert await timed.at(timedelta(0)) == []
    assert await timed.at(HOUR / 2) == ["04 11:30:00"]


async def test_redeployed_the_same_while_due(timed: Timed) -> None:
    """A tick that is due is not lost because the same schedule is deployed once more before a scheduler looks."""
    await timed.task()
    await timed.deploy(cron("0 * * * *"))
    timed.world.clock.now = datetime(2026, 3, 4, 10, 0, 1, tzinfo=UTC)
    await timed.task("v2")
    await timed.deploy(cron("0 * * * *"), task_version="v2")
    assert await timed.at(timedelta(0)) == ["04 10:00:00"]
    assert [root.task.version for root in await timed.runs()] == ["v2"]


async def test_deployed_just_before(timed: Timed) -> None:
    """Case C26: deployed 5 s before a tick, it fires."""
    timed.world.clock.now = datetime(2026, 3, 4, 9, 59, 55, tzinfo=UTC)
    await timed.task()
    await timed.deploy(cron("0 * * * *"))
    assert await timed.at(timedelta(seconds=5)) == ["04 10:00:00"]


async def test_off_and_on(timed: Timed) -> None:
    """Case C26: off at once, also for what a scheduler has begun; what was due meanwhile is not made up for."""
    await timed.task()
    await timed.deploy(cron("0 * * * *"))
    timed.world.clock.now = datetime(2026, 3, 4, 10, tzinfo=UTC)
    claimed = await timed.world.fires.claim(10)
    assert len(claimed) == 1
    await timed.world.triggers.switch([trigger_id()], active=False, by="operator")
    assert await timed.world.fires.make(claimed) == 0
    assert await timed.at(3 * HOUR) == []
    await timed.world.triggers.switch([trigger_id()], active=True, by="operator")
    await timed.world.triggers.switch([trigger_id()], active=True, by="operator")
    assert await timed.at(timedelta(0)) == []
    assert await timed.at(HOUR) == ["04 14:00:00"]
    history, _ = await timed.world.triggers.history(trigger_id(), Page())
    steps = [(one.trigger.revision, one.step, one.trigger.new.active, one.trigger.updated_by) for one in history]
    assert steps == [
        (3, Step.ACTIVATE, True, "operator"),
        (2, Step.DEACTIVATE, False, "operator"),
        (1, Step.DEPLOY, True, "somebody"),
    ]


async def test_deleted(timed: Timed) -> None:
    """Deleted at once; its history stays, and it can be deployed again."""
    await timed.task()
    await timed.deploy(cron("0 * * * *"))
    timed.world.clock.now = datetime(2026, 3, 4, 10, tzinfo=UTC)
    claimed = await timed.world.fires.claim(10)
    await timed.world.triggers.delete([trigger_id()], "operator")
    assert await timed.world.fires.make(claimed) == 0
    assert await timed.at(HOUR) == []
    for missing in (
        timed.world.triggers.get(trigger_id()),
        timed.world.triggers.delete([trigger_id()], ""),
        timed.world.triggers.switch([trigger_id(), trigger_id("other")], active=True, by=""),
        timed.world.runs.create(replace(creation(), spec=b"", trigger=trigger_id()), no_chance),
    ):
        with pytest.raises(NotFound):
            await missing
    assert (await timed.world.triggers.page(TriggerScope(), Page()))[0] == []
    assert (await timed.world.triggers.revision(trigger_id(), 2)).deleted_at is not None
    again = await timed.deploy(cron("0 * * * *"), revision=1)
    assert (again.revision, again.deployed_at, again.deleted_at) == (3, MORNING, None)


async def test_missed(timed: Timed) -> None:
    """After a long absence the latest tick is made up for, and the trigger says what was not."""
    await timed.task()
    await timed.deploy(cron("*/10 * * * *"))
    assert await timed.at(MORNING + timedelta(days=2)) == ["06 09:00:00"]
    found = await timed.world.triggers.get(trigger_id())
    assert found.note == "2026-03-04T09:10:00Z to 2026-03-06T09:00:00Z: missed; only the last 1 are made up for"
    assert await timed.at(10 * MINUTE) == ["06 09:10:00"]


async def test_more_are_made_up_for(timed: Timed) -> None:
    await timed.task()
    await timed.deploy(cron("0 * * * *"))
    timed.world.fires = replace(timed.world.fires, catch_up=3)
    assert sorted(await timed.at(MORNING + timedelta(days=2))) == ["06 07:00:00", "06 08:00:00", "06 09:00:00"]


async def test_the_clock_jumps(timed: Timed) -> None:
    """Case C25: put back, a clock makes no tick twice, not even if the trigger is deployed again meanwhile."""
    await timed.task()
    await timed.deploy(cron("0 * * * *"))
    assert await timed.at(datetime(2026, 3, 4, 10, 0, 1, tzinfo=UTC)) == ["04 10:00:00"]
    timed.world.clock.now = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
    await timed.deploy(cron("0 * * * *"))
    assert await timed.at(datetime(2026, 3, 4, 10, 0, 1, tzinfo=UTC)) == []
    assert await timed.at(HOUR) == ["04 11:00:00"]


async def test_failing(timed: Timed) -> None:
    """Case C29: what cannot be fired is tried again, told of, keeps nobody else waiting, and is made once."""
    gone = common_run_pb2.OffloadedInputData(uri="s3://elsewhere/inputs", inputs_hash="x")
    await timed.task("v1", body=task_spec("x"))
    await timed.deploy(cron("0 * * * *", kickoff="x"), "broken", offloaded_input_data=gone)
    await timed.deploy(cron("0 * * * *"), "well")
    assert await timed.at(datetime(2026, 3, 4, 10, tzinfo=UTC)) == ["04 10:00:00"]
    found = await timed.world.triggers.get(trigger_id("broken"))
    assert found.failures == 1
    assert "2026-03-04T10:00:00Z: " in found.failure
    for seconds in (1, 2, 4, 8):
        assert await timed.at(timedelta(seconds=seconds)) == []
    found = await timed.world.triggers.get(trigger_id("broken"))
    assert (found.failures, found.next_at) == (5, datetime(2026, 3, 4, 10, tzinfo=UTC))
    uri = timed.world.blobs.join("elsewhere/inputs")
    await timed.world.blobs.put(f"{uri}/inputs.pb", literals(y=1).SerializeToString())
    await timed.deploy(
        cron("0 * * * *", kickoff="x"),
        "broken",
        offloaded_input_data=common_run_pb2.OffloadedInputData(uri=uri, inputs_hash="x"),
    )
    assert await timed.at(timedelta(0)) == ["04 10:00:00"]
    found = await timed.world.triggers.get(trigger_id("broken"))
    assert (found.failures, found.failure) == (0, "")


async def test_archived(timed: Timed) -> None:
    """An archived project has its triggers wait; the latest tick is made up for when it is back."""
    await timed.task()
    await timed.deploy(cron("0 * * * *"))
    await timed.world.projects.update(Project("p", "p", "", {}, ARCHIVED))
    for _ in range(3):
        assert await timed.at(HOUR) == []
    await timed.world.projects.update(Project("p", "p", "", {}, 0))
    assert await timed.at(5 * MINUTE) == ["04 12:00:00"]


@pytest.mark.parametrize("kind", ["inline", "offloaded"])
@pytest.mark.parametrize("kickoff", ["", "when"])
async def test_inputs(timed: Timed, kind: str, kickoff: str) -> None:
    """Case C27: a run has the trigger's inputs, the time it was due at, and the task's defaults for the rest."""
    await timed.task(body=task_spec("x", "when", "y", default=7))
    given = literals(x=1)
    given.context.add(key="team", value="blue")
    if kind == "offloaded":
        uri = timed.world.blobs.join("inputs/p/development/abc")
        await timed.world.blobs.put(f"{uri}/inputs.pb", given.SerializeToString())
        data = common_run_pb2.OffloadedInputData(uri=uri, inputs_hash="abc")
        await timed.deploy(cron("0 * * * *", kickoff=kickoff), offloaded_input_data=data)
    else:
        await timed.deploy(cron("0 * * * *", kickoff=kickoff), inputs=given)
    await timed.at(datetime(2026, 3, 4, 10, tzinfo=UTC))
    (root,) = await timed.runs()
    found = await timed.inputs(root)
    assert found["x"] == integer(1)
    if kickoff:
        assert found["when"].scalar.primitive.datetime.ToDatetime(UTC) == datetime(2026, 3, 4, 10, tzinfo=UTC)
    if kickoff or kind == "inline":  # offloaded inputs are complete when they are uploaded
        assert found["y"] == integer(7)
    body = common_pb2.Inputs.FromString(await timed.world.blobs.get(root.input_uri))
    assert {pair.key: pair.value for pair in body.context} == {"team": "blue"}


async def test_by_hand(timed: Timed) -> None:
    """Somebody runs a trigger: its inputs and spec, with what they say instead; an explicit time is not replaced."""
    await timed.task(body=task_spec("x", "when", "y"))
    given = literals(x=1, y=2)
    given.context.add(key="_u_kickoff_time_input_arg", value="when")
    spec = run_pb2.RunSpec(queue="trigger's")
    await timed.deploy(cron("0 * * * *", kickoff="when"), inputs=given, run_spec=spec, active=False)
    asked = replace(creation("plain"), spec=b"", trigger=trigger_id())
    plain = await timed.world.runs.create(asked, no_chance)
    found = await timed.inputs(plain)
    assert found["when"].scalar.primitive.datetime.ToDatetime(UTC) == timed.now
    assert (found["x"], found["y"], plain.queue, plain.trigger.name) == (integer(1), integer(2), "trigger's", "tick")
    assert (await timed.world.triggers.get(trigger_id())).fired_at == timed.now
    timed.world.clock.now += MINUTE
    assert (await timed.world.runs.create(asked, no_chance)).id == plain.id  # the same request again
    with pytest.raises(AlreadyExists):
        await timed.world.runs.create(replace(asked, inputs=literals(x=5).SerializeToString()), no_chance)

    said = literals(x=3, when=4).SerializeToString()
    own = run_pb2.RunSpec(queue="mine").SerializeToString()
    other = replace(creation("said"), spec=b"", trigger=trigger_id(), inputs=said, run_spec=own, queue="mine")
    root = await timed.world.runs.create(other, no_chance)
    assert await timed.inputs(root) == {"x": integer(3), "when": integer(4), "y": integer(2)}
    body = common_pb2.Inputs.FromString(await timed.world.blobs.get(root.input_uri))
    assert list(body.context) == []
    assert root.queue == "mine"


async def test_with_a_task(timed: Timed) -> None:
    """A task brings its triggers: those it no longer has go, those deployed by themselves stay. All or nothing."""
    await timed.task("v1", [bundled("a", cron("0 * * * *")), bundled("b", every(200)), bundled("c")])
    await timed.deploy(cron("0 9 * * *"), "own")
    await timed.task("v2", [bundled("a", cron("5 * * * *")), bundled("d", active=False)])
    found, _ = await timed.world.triggers.page(TriggerScope(), Page(order=(Order("name", descending=False),)))
    assert [(t.id.name, t.revision, t.new.task_version, t.new.active) for t in found] == [
        ("a", 2, "v2", True),
        ("d", 1, "v2", False),
        ("own", 1, "v1", True),
    ]
    with pytest.raises(Invalid, match=r"triggers\.e\.automation_spec\.schedule"):
        await timed.task("v3", [bundled("a"), bundled("e", cron("0 0 30 2 *"))])
    with pytest.raises(NotFound):
        await timed.world.tasks.spec(replace(found[0].launches, version="v3"))
    await timed.task("v3")
    left, _ = await timed.world.triggers.page(TriggerScope(), Page())
    assert [trigger.id.name for trigger in left] == ["own"]


async def test_two_of_one_name_with_a_task(timed: Timed) -> None:
    """They are deployed one after the other: the last one holds, and the first is a revision of it."""
    await timed.task("v1", [bundled("twice", cron("0 * * * *")), bundled("own"), bundled("twice", every(200))])
    found, _ = await timed.world.triggers.page(TriggerScope(), Page(order=(Order("name", descending=False),)))
    assert [(trigger.id.name, trigger.revision) for trigger in found] == [("own", 1), ("twice", 2)]
    assert found[1].new.automation == every(200).SerializeToString(deterministic=True)
    assert found[1].next_at == timed.now + 200 * MINUTE
    first = await timed.world.triggers.revision(found[1].id, 1)
    assert first.new.automation == cron("0 * * * *").SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("automation", "said"),
    [
        (cron("61 * * * *"), "automation_spec.schedule.cron.expression: minute: '61'"),
        (cron("0 * * * *", "Mars"), "automation_spec.schedule.cron.timezone: 'Mars'"),
        (cron("0 0 30 2 *"), "automation_spec.schedule: it is never due"),
        (cron("0 0 1 1 ? 2020"), "automation_spec.schedule: it is never due"),
        (every(2**32 - 1), "automation_spec.schedule.rate.value: "),
        (
            cron("0 * * * *", kickoff="nope"),
            "automation_spec.schedule.kickoff_time_input_arg: task t.main has no input",
        ),
        (common_pb2.TriggerAutomationSpec(type=common_pb2.TYPE_SCHEDULE), "TYPE_SCHEDULE it has to have schedule"),
        (
            common_pb2.TriggerAutomationSpec(
                type=common_pb2.TYPE_SCHEDULE, schedule=common_pb2.Schedule(cron_expression="* * *")
            ),
            "automation_spec.schedule.cron_expression: '* * *'",
        ),
    ],
)
async def test_refused(timed: Timed, automation: common_pb2.TriggerAutomationSpec, said: str) -> None:
    """Case C28: a schedule that is none is refused, with its field."""
    await timed.task()
    with pytest.raises(Invalid) as error:
        await timed.deploy(automation)
    assert said in str(error.value)


async def test_lock(timed: Timed) -> None:
    """A deployment that names the revision it was made from is refused when there is a newer one."""
    with pytest.raises(NotFound, match="does not exist; deploy it"):
        await timed.deploy(revision=1)
    await timed.task()
    assert (await timed.deploy(revision=1)).revision == 1
    assert (await timed.deploy(revision=1)).revision == 2
    for old in (1, 3):
        with pytest.raises(Conflict, match="the latest is 2"):
            await timed.deploy(revision=old)
    assert (await timed.deploy(revision=2)).revision == 3
    assert (await timed.deploy()).revision == 4


async def test_lists(timed: Timed) -> None:
    """Case C20: filters, also by what fires a trigger, and sorts."""
    await timed.task()
    for name, automation in (("a", cron("0 * * * *")), ("b", every(5)), ("c", None)):
        timed.world.clock.now += MINUTE
        await timed.deploy(automation, name, description="d" * 300 + "é", active=name != "b")

    async def names(*where: Where, **scope: str) -> list[str]:
        found, _ = await timed.world.triggers.page(TriggerScope(**scope), Page(where=where))
        return [trigger.id.name for trigger in found]

    assert await names() == ["c", "a", "b"]  # the active ones first, then the newest
    assert await names(Where("trigger_type", By.EQUAL, ("2",))) == ["a", "b"]
    assert await names(Where("trigger_type", By.VALUE_IN, ("TYPE_NONE",))) == ["c"]
    assert await names(Where("active", By.EQUAL, ("false",))) == ["b"]
    assert await names(Where("updated_at", By.GREATER_THAN, ("2026-03-04T09:03:00Z",))) == ["c"]
    assert await names(project="p", task=TASK, version="v1") == ["c", "a", "b"]
    assert await names(version="v2") == []
    with pytest.raises(Invalid, match="is not a field"):
        await names(Where("spec", By.EQUAL, ("x",)))
    found = await timed.world.triggers.get(trigger_id("a"))
    assert found.new.description == "d" * 255


async def test_tasks_tell_of_them(timed: Timed) -> None:
    """Case C36: lists of tasks show triggers, the latest run, and how many there are and how many were asked for."""
    await timed.task("v1", [bundled("a", every(200, MORNING))])
    (listed,), _, counts = await timed.world.tasks.page_of_latest(TaskScope(), Page())
    assert [trigger.id.name for trigger in listed.triggers] == ["a"]
    assert (listed.latest, listed.task.deployed_by, counts) == (None, "deployer", (1, 1))
    await timed.at(200 * MINUTE)
    await timed.task("v2", [bundled("a", every(200, MORNING)), bundled("b", active=False)])
    (listed,), _, _ = await timed.world.tasks.page_of_latest(TaskScope(), Page())
    assert [(trigger.id.name, trigger.new.active) for trigger in listed.triggers] == [("a", True), ("b", False)]
    (root,) = await timed.runs()
    assert listed.latest is not None
    assert listed.latest.id == root.id.run
    versions, _ = await timed.world.tasks.page_of_versions(TaskScope(name=TASK), Page())
    assert [(one.task.id.version, one.latest is not None) for one in versions] == [("v2", False), ("v1", True)]
    for field, value, some in (("version", "v1", 0), ("version", "v2", 1), ("active_triggers", "1", 1)):
        asked = Page(where=(Where(field, By.EQUAL, (value,)),))
        found, _, counts = await timed.world.tasks.page_of_latest(TaskScope(), asked)
        assert (len(found), counts) == (some, (1, some))
    for by, some in (("deployer", 1), ("nobody", 0)):
        found, _, counts = await timed.world.tasks.page_of_latest(TaskScope(deployed_by=by), Page())
        assert len(found) == some
