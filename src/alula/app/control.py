"""The verbs, built once and handed to every door."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from alula.base.clock import system_clock
from alula.base.settings import Settings
from alula.blobs.store import Blobs
from alula.control.actions import Actions
from alula.control.apps import Apps
from alula.control.artifacts import Artifacts
from alula.control.attempts import Attempts
from alula.control.cache import Cache
from alula.control.caching import Caching
from alula.control.conditions import Conditions
from alula.control.data import Data
from alula.control.domains import Domains
from alula.control.fires import Fires
from alula.control.forms import Forms
from alula.control.groups import Groups
from alula.control.images import Images
from alula.control.logs import Logs
from alula.control.projects import Projects
from alula.control.retention import Retention
from alula.control.runs import Runs
from alula.control.secrets import Secrets
from alula.control.serving import Serving
from alula.control.settings import ScopedSettings
from alula.control.states import States
from alula.control.tasks import Tasks
from alula.control.tracked import Tracked
from alula.control.triggers import Triggers, published
from alula.executors.process.environment import Environment
from alula.executors.process.shelf import Shelf
from alula.secrets.cipher import Cipher
from alula.storage.changes import Changes
from alula.storage.database import Database


@dataclass(frozen=True, slots=True)
class Control:
    """The verbs, together."""

    domains: Domains
    projects: Projects
    settings: ScopedSettings
    secrets: Secrets
    tasks: Tasks
    triggers: Triggers
    fires: Fires
    actions: Actions
    attempts: Attempts
    runs: Runs
    tracked: Tracked
    groups: Groups
    data: Data
    forms: Forms
    logs: Logs
    conditions: Conditions
    artifacts: Artifacts
    cache: Cache
    caching: Caching
    retention: Retention
    images: Images
    states: States
    apps: Apps
    serving: Serving


def build_control(
    settings: Settings, database: Database, changes: Changes, blobs: Blobs, logs: Shelf, cipher: Cipher
) -> Control:
    """Every verb over one database and one object store."""
    clock = system_clock
    here = Environment.own()
    domains = Domains(database, clock)
    projects = Projects(database, clock, domains, settings.projects.create_missing)
    scoped = ScopedSettings(database, clock, projects, blobs.buckets)
    secrets = Secrets(database, clock, projects, cipher)
    tasks = Tasks(database, clock)
    cache = Cache(database, blobs, clock)
    actions = Actions(database, changes, clock)
    data = Data(blobs, actions, scoped, tasks, clock)
    triggers = Triggers(database, projects, blobs, clock)
    runs = Runs(database, changes, blobs, scoped, tasks, clock)
    return Control(
        domains=domains,
        projects=projects,
        settings=scoped,
        secrets=secrets,
        tasks=tasks,
        triggers=triggers,
        fires=Fires(database, runs, clock),
        actions=actions,
        attempts=Attempts(database, clock, secrets, decides=bool(settings.clusters)),
        runs=runs,
        tracked=Tracked(database, blobs, scoped, tasks, clock),
        groups=Groups(database, changes),
        data=data,
        forms=Forms(data, blobs, triggers.inputs),
        logs=Logs(actions, logs),
        conditions=Conditions(database, blobs, clock),
        artifacts=Artifacts(database, projects, clock, published),
        cache=cache,
        caching=Caching(database, cache, clock),
        retention=Retention(database, blobs, cache, logs.forget_log, _ages(settings), clock),
        images=Images(here.python, here.sdk, blobs, tasks, projects),
        states=States(database, clock),
        apps=Apps(database, changes, projects, clock, settings.user),
        serving=Serving(database, changes, clock, secrets),
    )


def _ages(settings: Settings) -> Mapping[str, timedelta]:
    return {project: timedelta(days=days) for project, days in settings.retention.items()}
