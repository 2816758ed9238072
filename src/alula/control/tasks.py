"""Deployed tasks."""

from dataclasses import dataclass

from flyteidl2.task import task_service_pb2

from alula.base.clock import Clock
from alula.core.errors import NotFound, Unsupported
from alula.core.ids import TaskId
from alula.core.pages import Page
from alula.core.task import Task, TaskScope
from alula.storage import specs
from alula.storage import tasks as store
from alula.storage.database import Database, Tx
from alula.wire import tasks as wire


@dataclass(frozen=True, slots=True)
class Tasks:
    """The verbs of deployed tasks."""

    database: Database
    clock: Clock

    async def deploy(self, message: task_service_pb2.DeployTaskRequest) -> None:
        """Store one version of a task. Deployed again, a version takes the new spec."""
        if message.triggers:
            raise Unsupported("triggers are not served by this version of alula yet: deploy the task without them")
        body = message.spec.SerializeToString(deterministic=True)
        now = self.clock()

        async def write(tx: Tx) -> None:
            await store.put(tx, wire.deployed(message, await specs.put(tx, body), now))

        await self.database.write(write)

    async def get(self, task: TaskId) -> tuple[Task, bytes]:
        """One version of a task, and its spec.

        Raises:
            NotFound: it was never deployed.
        """

        async def read(tx: Tx) -> tuple[Task, bytes] | None:
            found = await store.find(tx, task)
            return None if found is None else (found, await specs.get(tx, found.spec))

        found = await self.database.read(read)
        if found is None:
            raise NotFound(f"task {task} does not exist; deploy it with `flyte deploy`")
        return found

    async def spec(self, task: TaskId) -> bytes:
        """The spec of one version of a task.

        Raises:
            NotFound: it was never deployed.
        """
        return (await self.get(task))[1]

    async def page_of_latest(self, scope: TaskScope, asked: Page) -> tuple[list[Task], str, int]:
        """One page of tasks in their latest versions, the token of the next, and how many there are in all."""

        async def read(tx: Tx) -> tuple[list[Task], str, int]:
            page, token = await store.page_of_latest(tx, scope, asked)
            return page, token, await store.count(tx, scope)

        return await self.database.scan(read)

    async def page_of_versions(self, scope: TaskScope, asked: Page) -> tuple[list[Task], str]:
        """One page of a task's versions and the token of the next."""
        return await self.database.scan(lambda tx: store.page_of_versions(tx, scope, asked))
