"""Tasks whose outputs are their inputs (executor.md 4.9): to try out everything but the running of tasks."""

from datetime import datetime

from flyteidl2.task import common_pb2

from alula.core.taskaction import Stage, State
from alula.manager.plugins.base import BadTask, Seen, Store, Task
from alula.manager.remote.data import inputs, leave

_TYPE = "echo"


class EchoPlugin:
    """The inputs in the order of the interface are its outputs in that order."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def knows(self, task: Task) -> bool:
        """See `Remote.knows`."""
        return task.template.type == _TYPE

    def again(self, task: Task) -> bool:
        """See `Remote.again`. Nothing runs."""
        return True

    async def create(self, task: Task, now: datetime) -> bytes:
        """See `Remote.create`."""
        interface = task.template.interface
        taken = [entry.key for entry in interface.inputs.variables]
        made = [entry.key for entry in interface.outputs.variables]
        if len(made) > len(taken):
            raise BadTask(
                f"a task of type {_TYPE!r} has {len(made)} outputs and but {len(taken)} inputs to make them of"
            )
        given = {literal.name: literal.value for literal in (await inputs(task, self._store)).literals}
        missing = [name for name in taken[: len(made)] if name not in given]
        if missing:
            raise BadTask(f"a task of type {_TYPE!r} lacks its input {missing[0]!r}")
        pairs = zip(made, taken, strict=False)
        literals = [common_pb2.NamedLiteral(name=output, value=given[name]) for output, name in pairs]
        await leave(task, self._store, common_pb2.Outputs(literals=literals))
        return now.isoformat().encode()

    async def get(self, task: Task, handle: bytes, now: datetime) -> Seen:
        """See `Remote.get`. It is done when it has begun."""
        at = datetime.fromisoformat(handle.decode())
        return Seen(State(Stage.SUCCEEDED, started_at=at, ended_at=at))

    async def delete(self, task: Task, handle: bytes, now: datetime) -> None:
        """See `Remote.delete`. There is nothing to end."""
