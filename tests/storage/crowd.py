"""A server to be killed: commits runs in the database argv[1] from many tasks, prints each once it is there."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from alula.core.action import Kind, NewAction
from alula.core.ids import ROOT, RunId
from alula.core.run import Run
from alula.storage import actions, runs, specs
from alula.storage.changes import Changes
from alula.storage.database import Database, Tx
from alula.storage.sqlite import Sqlite

_NOW = datetime(2026, 3, 4, tzinfo=UTC)


async def _create(tx: Tx, name: str) -> None:
    key = await runs.insert(tx, Run(0, RunId("p", "d", name), "", b"", b"", {}, b"", 0, _NOW, _NOW, 0))
    assert key is not None
    root = NewAction(ROOT, None, Kind.TASK, "", "", "", "", b"spec " + name.encode())
    await actions.insert(tx, key, root, parent_attempt=0, spec=await specs.put(tx, root.spec), now=_NOW)


async def _client(database: Database, number: int) -> None:
    for n in range(10_000):
        name = f"r{number}-{n}"
        await database.write(lambda tx, name=name: _create(tx, name))  # type: ignore[misc]
        print(name, flush=True)


async def _serve(path: Path) -> None:
    async with Sqlite(path, Changes()) as database, asyncio.TaskGroup() as clients:
        for number in range(20):
            clients.create_task(_client(database, number))


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
