"""Operations to try a database with: they write rows of `specs`."""

import asyncio
from typing import Any

from alula.core.phase import Phase
from alula.storage.changes import Change, Watch
from alula.storage.database import Database, Tx


def put(name: str, size: int = 0) -> Any:
    """Write one row and tell of it."""

    async def operation(tx: Tx) -> str:
        await tx.execute("INSERT INTO specs VALUES (:name, :body)", {"name": name.encode(), "body": b"x" * size})
        tx.touch([Change(1, name, "", Phase.QUEUED)])
        return name

    return operation


async def names(tx: Tx) -> list[str]:
    return [row["digest"].decode() for row in await tx.all("SELECT digest FROM specs ORDER BY digest")]


async def together(database: Database, *operations: Any) -> list[Any]:
    """Hand operations over at once, so that they share a transaction; what each returned or raised."""
    return await asyncio.gather(*map(database.write, operations), return_exceptions=True)


async def told(watch: Watch) -> set[str]:
    """The actions that a watch is told of."""
    return {change.action for change in await watch.next() or ()}
