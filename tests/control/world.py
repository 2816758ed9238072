"""The verbs over a real database and a real object store, with a clock that counts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flyteidl2.core import interface_pb2, tasks_pb2
from flyteidl2.task import task_definition_pb2

from alula.base.clock import system_clock
from alula.blobs.store import Blobs
from alula.control.actions import Actions
from alula.control.artifacts import Artifacts
from alula.control.attempts import Attempts
from alula.control.cache import Cache
from alula.control.caching import Caching
from alula.control.conditions import Conditions
from alula.control.domains import Domains
from alula.control.fires import Fires
from alula.control.projects import Projects
from alula.control.runs import Runs
from alula.control.secrets import Secrets
from alula.control.settings import ScopedSettings
from alula.control.tasks import Tasks
from alula.control.triggers import Triggers
from alula.core.action import Action, Event, Failure, Kind, NewAction
from alula.core.decide import Retry
from alula.core.ids import ROOT, ActionId, RunId
from alula.core.phase import Phase
from alula.core.project import Project
from alula.core.run import Creation
from alula.secrets.cipher import Cipher
from alula.storage.address import Address, SqliteFile
from alula.storage.changes import Changes
from alula.storage.database import Database

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DOMAINS = ("development", "staging")
BASE = "s3://alula/runs/p/development/r"


@dataclass
class Ticking:
    """A clock that goes on by a second whenever it is looked at."""

    now: datetime = field(default=NOW)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class Wall(Ticking):
    """A clock that goes as the wall's does."""

    def __call__(self) -> datetime:
        self.now = system_clock()
        return self.now


def no_chance(count: int) -> bytes:
    """Chance, for a test that gives every name itself."""
    raise AssertionError("a name was invented")


def spec(name: str = "t.main", *, retries: int = 0, outputs: bool = False) -> bytes:
    """A serialised TaskSpec."""
    template = tasks_pb2.TaskTemplate(type="python")
    template.id.project, template.id.domain, template.id.name, template.id.version = "p", "development", name, "v1"
    template.container.args.extend(["a0", "--outputs-path", "{{.outputPrefix}}"])
    template.metadata.retries.retries = retries
    if outputs:
        entry = interface_pb2.VariableEntry(key="o0", value=interface_pb2.Variable())
        template.interface.outputs.variables.append(entry)
    message = task_definition_pb2.TaskSpec(task_template=template, short_name="main")
    return message.SerializeToString(deterministic=True)


def creation(name: str = "r", **changes: Any) -> Creation:
    blank = Creation(
        project="p",
        domain="development",
        org="",
        name=name,
        task=None,
        spec=spec(),
        inputs=b"",
        input_uri="",
        run_spec=b"",
        labels={},
        relation=b"",
        base_dir="",
        source=0,
        starts_at=None,
        request="",
    )
    return replace(blank, **changes)


def child(name: str, parent: str | None = ROOT, **changes: Any) -> NewAction:
    blank = NewAction(name, parent, Kind.TASK, "", "", f"{BASE}/{name}/1", BASE, spec())
    return replace(blank, **changes)


@dataclass
class World:
    """Everything the verbs need, and short ways to bring things about."""

    database: Database
    changes: Changes
    blobs: Blobs
    clock: Ticking
    projects: Projects
    settings: ScopedSettings
    secrets: Secrets
    tasks: Tasks
    actions: Actions
    attempts: Attempts
    runs: Runs
    caching: Caching
    conditions: Conditions
    cache: Cache
    artifacts: Artifacts
    triggers: Triggers
    fires: Fires

    async def start(self, *names: str, run: str = "r") -> Action:
        """A run with children of its root."""
        root = await self.runs.create(creation(run), no_chance)
        for name in names:
            await self.actions.enqueue(root.id.run, child(name))
        return root

    async def get(self, name: str, run: str = "r") -> Action:
        return await self.actions.get(self.id(name, run))

    def id(self, name: str, run: str = "r") -> ActionId:
        return ActionId(RunId("p", "development", run), name)

    async def phases(self, *names: str, run: str = "r") -> list[Phase]:
        return [(await self.get(name, run)).phase for name in names]

    async def move(self, name: str, phase: Phase, *, run: str = "r") -> Action:
        """An attempt goes on, as the reconciler would have it."""
        action = await self.get(name, run)
        event = Event(name, action.attempt, phase, 0, self.clock(), logged=True)
        if phase.terminal:
            return await self.attempts.settle(action, [event])
        return await self.attempts.moved(action, event)

    async def again(self, name: str, *, run: str = "r") -> Action:
        """An attempt failed, and is tried again."""
        action = await self.get(name, run)
        failed = Event(name, action.attempt, Phase.FAILED, 0, self.clock())
        return await self.attempts.retry(action, [failed], Retry(Failure("E", "it broke"), self.clock.now))

    async def report(self, name: str, phase: Phase, attempt: int = 1, *, run: str = "r", **more: Any) -> None:
        """An executor elsewhere tells of an attempt."""
        event = Event(name, attempt, phase, **{"version": 0, "at": self.clock(), **more})
        await self.attempts.record([(self.id(name, run), event)])


def build(
    database: Database, changes: Changes, blobs: Blobs, *, create_missing: bool = False, clock: Ticking | None = None
) -> World:
    clock = clock or Ticking()
    projects = Projects(database, clock, Domains(database, clock), create_missing)
    settings = ScopedSettings(database, clock, projects, blobs.buckets)
    secrets = Secrets(database, clock, projects, Cipher([b"k" * 32]))
    cache = Cache(database, blobs, clock)
    tasks = Tasks(database, clock)
    runs = Runs(database, changes, blobs, settings, tasks, clock)
    return World(
        database=database,
        changes=changes,
        blobs=blobs,
        clock=clock,
        projects=projects,
        settings=settings,
        secrets=secrets,
        tasks=tasks,
        actions=Actions(database, changes, clock),
        attempts=Attempts(database, clock, secrets),
        runs=runs,
        caching=Caching(database, cache, clock),
        cache=cache,
        artifacts=Artifacts(database, projects, clock),
        conditions=Conditions(database, blobs, clock),
        triggers=Triggers(database, projects, blobs, clock),
        fires=Fires(database, runs, clock),
    )


@asynccontextmanager
async def opened(home: Path, clock: Ticking, address: Address | None = None) -> AsyncIterator[World]:
    """A new world below a folder, with one project to use; its database is elsewhere if ``address`` says so."""
    if address is None:
        address = SqliteFile(home / "alula.db")
        await address.migrate()
    changes = Changes()
    async with address.database(changes) as database:
        world = build(database, changes, Blobs(home / "objects"), clock=clock)
        await world.projects.domains.seed(DOMAINS)
        await world.projects.create(Project("p", "p", "", {}, 0))
        yield world
