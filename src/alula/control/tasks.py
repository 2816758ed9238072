"""Deployed tasks."""

from dataclasses import dataclass

from flyteidl2.task import task_service_pb2

from alula.base.clock import Clock
from alula.control.triggers import bundle, check_bundle
from alula.core.errors import NotFound
from alula.core.ids import TaskId
from alula.core.pages import Page
from alula.core.task import Listed, Task, TaskScope
from alula.storage import specs
from alula.storage import tasks as store
from alula.storage import triggers as trigger_store
from alula.storage.database import Database, Tx
from alula.wire import deployments as wire
from alula.wire import triggers as wire_triggers


@dataclass(frozen=True, slots=True)
class Tasks:
    """The verbs of deployed tasks."""

    database: Database
    clock: Clock

    async def deploy(self, message: task_service_pb2.DeployTaskRequest, by: str = "") -> None:
        """Store one version of a task, and bring its triggers in line. Deployed again, a version takes the new spec.

        Raises:
            Invalid: a trigger is never due, or gives the task what it does not take.
        """
        body = message.spec.SerializeToString(deterministic=True)
        triggers = wire_triggers.bundled(message)
        now = self.clock()
        check_bundle(triggers, body, now)

        async def write(tx: Tx) -> None:
            task = wire.deployed(message, await specs.put(tx, body), by, now)
            await store.put(tx, task)
            await bundle(tx, task.id, triggers, by, now)

        await self.database.write(write)

    async def get(self, task: TaskId) -> tuple[Listed, bytes]:
        """One version of a task, and its spec.

        Raises:
            NotFound: it was never deployed.
        """

        async def read(tx: Tx) -> tuple[Listed, bytes]:
            found = await _find(tx, task)
            triggers = await trigger_store.of_task(tx, task.project, task.domain, task.name)
            return Listed(found, tuple(triggers)), await specs.get(tx, found.spec)

        return await self.database.read(read)

    async def spec(self, task: TaskId) -> bytes:
        """The spec of one version of a task.

        Raises:
            NotFound: it was never deployed.
        """

        async def read(tx: Tx) -> bytes:
            return await specs.get(tx, (await _find(tx, task)).spec)

        return await self.database.read(read)

    async def page_of_latest(self, scope: TaskScope, asked: Page) -> tuple[list[Listed], str, tuple[int, int]]:
        """One page of tasks in their latest versions, the token of the next, and how many there are.

        That is: in all, and of those that meet the page's conditions.
        """

        async def read(tx: Tx) -> tuple[list[Listed], str, tuple[int, int]]:
            page, token = await store.page_of_latest(tx, scope, asked)
            listed = []
            for task in page:
                triggers = await trigger_store.of_task(tx, task.id.project, task.id.domain, task.id.name)
                latest = await store.latest_run(tx, task.id, of_version=False)
                listed.append(Listed(task, tuple(triggers), latest))
            return listed, token, (await store.count(tx, scope), await store.count(tx, scope, asked.where))

        return await self.database.scan(read)

    async def page_of_versions(self, scope: TaskScope, asked: Page) -> tuple[list[Listed], str]:
        """One page of a task's versions and the token of the next."""

        async def read(tx: Tx) -> tuple[list[Listed], str]:
            page, token = await store.page_of_versions(tx, scope, asked)
            latest = [await store.latest_run(tx, task.id, of_version=True) for task in page]
            return [Listed(task, latest=run) for task, run in zip(page, latest, strict=True)], token

        return await self.database.scan(read)


async def _find(tx: Tx, task: TaskId) -> Task:
    found = await store.find(tx, task)
    if found is None:
        raise NotFound(f"task {task} does not exist; deploy it with `flyte deploy`")
    return found
