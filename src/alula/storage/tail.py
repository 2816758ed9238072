"""What other servers changed, told to this one's watches.

Each committed group leaves a row in ``changes`` with the id of its transaction. A look at them is "what is visible now
and was not when I last looked", by comparing two snapshots of PostgreSQL: so what commits late is not missed, and
nothing is told twice. A notification says "look now"; without one there is a look each second.
"""

import asyncio
import json
import logging
from collections.abc import Iterable
from contextlib import suppress

import asyncpg

from alula.core.errors import DomainError
from alula.core.phase import Phase
from alula.storage.address import PostgresServer
from alula.storage.changes import Change, Changes
from alula.storage.failures import FAILURES, is_gone
from alula.storage.session import connect

_log = logging.getLogger(__name__)
_LOOK = 1.0  # seconds between two looks, if nobody notifies
_KEPT = 300.0  # seconds that rows are kept after they were first seen
_AWAY = _KEPT / 2  # who has not looked for so long may have missed rows
_STEP = 1000  # rows deleted at a time
_PATIENCE = 10  # seconds for a look
_NEWS = """
    SELECT pg_current_snapshot()::text AS snapshot, extract(epoch FROM statement_timestamp())::float8 AS at, c.told
    FROM (SELECT 1) AS one LEFT JOIN changes c
        ON c.xid >= pg_snapshot_xmin($1::text::pg_snapshot)
        AND NOT pg_visible_in_snapshot(c.xid, $1::text::pg_snapshot) AND c.origin <> $2
"""
_NOW = "SELECT pg_current_snapshot()::text AS snapshot, extract(epoch FROM statement_timestamp())::float8 AS at"
_PRUNE = """
    DELETE FROM changes WHERE xid IN (
        SELECT xid FROM changes
        WHERE xid < pg_snapshot_xmax($1::text::pg_snapshot) AND pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
        ORDER BY xid LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""


class Tail:
    """Follows the changes of others until it is stopped; through lost connections."""

    def __init__(self, server: PostgresServer, origin: str, changes: Changes) -> None:
        self._server = server
        self._origin = origin
        self._changes = changes
        self._look = asyncio.Event()

    async def start(self) -> None:
        """From here on nothing is missed."""
        connection = await self._begin()
        self._task = asyncio.create_task(self._run(connection), name="tail")

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self, connection: asyncpg.Connection) -> None:
        while True:
            try:
                await self._follow(connection)
            except Exception as error:
                if not is_gone(error, connection):
                    _log.exception("the changes of other servers cannot be read; trying again")
            finally:
                connection.terminate()
            connection = await self._again()

    async def _again(self) -> asyncpg.Connection:
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = min(pause + 0.1, _LOOK)
            try:
                connection = await self._begin()
            except (DomainError, *FAILURES) as error:
                _log.warning("the changes of other servers cannot be read (%s); trying again", error)
            else:
                self._changes.lose()
                return connection

    async def _begin(self) -> asyncpg.Connection:
        """A connection that hears of changes. Whatever is committed from here on will be seen."""
        connection = await connect(self._server)
        try:
            connection.add_termination_listener(lambda _: self._look.set())
            await connection.add_listener("alula", self._hear)
            [row] = await connection.fetch(_NOW)
            self._snapshot, self._at = row["snapshot"], row["at"]
            self._kept = (self._snapshot, self._at)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _hear(self, _: object, __: int, ___: str, origin: object) -> None:
        if origin != self._origin:
            self._look.set()

    async def _follow(self, connection: asyncpg.Connection) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._look.wait()
            self._look.clear()
            await self._tell(connection)
            await self._prune(connection)

    async def _tell(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch(_NEWS, self._snapshot, self._origin, timeout=_PATIENCE)
        at = rows[0]["at"]
        if at - self._at > _AWAY:
            self._changes.lose()
        self._snapshot, self._at = rows[0]["snapshot"], at
        self._changes.publish(change for row in rows if row["told"] for change in _changes(row["told"]))

    async def _prune(self, connection: asyncpg.Connection) -> None:
        snapshot, at = self._kept
        if self._at - at < _KEPT:
            return
        told = await connection.execute(_PRUNE, snapshot, _STEP, timeout=_PATIENCE)
        if int(told.rpartition(" ")[2]) < _STEP:
            self._kept = (self._snapshot, self._at)


def _changes(told: str) -> Iterable[Change]:
    return [Change(run, action, parent, Phase(phase)) for run, action, parent, phase in json.loads(told)]
