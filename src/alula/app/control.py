"""The verbs, built once and handed to every door."""

from dataclasses import dataclass

from alula.base.clock import system_clock
from alula.base.settings import Settings
from alula.blobs.store import Blobs
from alula.control.actions import Actions
from alula.control.attempts import Attempts
from alula.control.data import Data
from alula.control.logs import Logs
from alula.control.projects import Projects
from alula.control.runs import Runs
from alula.control.tasks import Tasks
from alula.executors.process.executor import ProcessExecutor
from alula.storage.changes import Changes
from alula.storage.database import Database


@dataclass(frozen=True, slots=True)
class Control:
    """The verbs, together."""

    projects: Projects
    tasks: Tasks
    actions: Actions
    attempts: Attempts
    runs: Runs
    data: Data
    logs: Logs


def build_control(
    settings: Settings, database: Database, changes: Changes, blobs: Blobs, executor: ProcessExecutor
) -> Control:
    """Every verb over one database and one object store."""
    clock = system_clock
    projects = Projects(database, clock, settings.domains, settings.create_missing)
    tasks = Tasks(database, clock)
    actions = Actions(database, changes, clock)
    return Control(
        projects=projects,
        tasks=tasks,
        actions=actions,
        attempts=Attempts(database, clock),
        runs=Runs(database, changes, blobs, projects, tasks, clock),
        data=Data(blobs, actions, projects, tasks, clock),
        logs=Logs(actions, executor),
    )
