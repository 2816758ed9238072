"""The connection that writes. It carries groups of operations out at SERIALIZABLE isolation.

What an operation sees is as if it ran alone, whatever other servers do meanwhile. Where PostgreSQL cannot have it so,
the group runs again from its start, and then really alone, by a lock that all writers share. Who lost a race holds that
lock for a while: to take turns costs less than work that is thrown away.
"""

import asyncio
import json
import logging
import random

import asyncpg

from alula.core.errors import Aborted, Unavailable
from alula.storage.address import PostgresServer
from alula.storage.failures import RACES, is_gone, translated
from alula.storage.session import PostgresTx, connect
from alula.storage.writes import Write

_log = logging.getLogger(__name__)
_TRIES = 5  # of a group, then of each operation of it
_DOUBTS = 3  # so often alone, what is taken is taken: that was no race
_PAUSE, _LONGEST = 0.005, 0.5  # seconds between two tries: doubled each time, up to the longest
# No statement holds the others up for long, nor does a server that is frozen. The snapshot comes after the lock.
_BEGIN = """
    BEGIN ISOLATION LEVEL SERIALIZABLE;
    SET LOCAL idle_in_transaction_session_timeout = '15s'; SET LOCAL statement_timeout = '30s';
    LOCK TABLE turns IN {mode} MODE; SAVEPOINT one
"""
_BESIDE, _ALONE = _BEGIN.format(mode="ROW EXCLUSIVE"), _BEGIN.format(mode="EXCLUSIVE")
_CROWDED = 1.0  # seconds for which who lost a race writes alone
_OF_ALL = (*RACES, asyncpg.ReadOnlySQLTransactionError)  # what fails the transaction, not an operation of it
_TELL = "INSERT INTO changes (origin, told) VALUES ($1, $2) RETURNING pg_notify('alula', origin)"


class _Unknown(Exception):
    """The connection was lost while a commit was under way."""


class Committer:
    """Carries out groups of writes, one group at a time."""

    def __init__(self, server: PostgresServer, origin: str) -> None:
        self._server = server
        self._origin = origin
        self._connection: asyncpg.Connection | None = None
        self._reachable = True
        self._crowded_until = 0.0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def commit(self, group: list[Write]) -> None:
        """Leave in each write its result or its error."""
        left = group
        if len(group) > 1:
            left = await self._try(group)
        for write in left:
            if await self._try([write]):
                write.error = Aborted("others kept changing what this needs; nothing was done: try again")

    async def _try(self, group: list[Write]) -> list[Write]:
        """Run a group until it is over; what of it is not, as others were in the way."""
        for turn in range(_TRIES):
            try:
                doubtful = await self._run(group)
            except RACES:
                self._crowded_until = asyncio.get_running_loop().time() + _CROWDED
                await _pause(turn)
            except Exception as error:
                self.close()
                if (failed := self._failed(error, turn)) is not None:
                    for write in group:
                        write.error = failed
                    return []
                await _pause(turn + 2)
            else:
                self._reachable = True
                if not doubtful or len(group) > 1:
                    return doubtful
                if turn + 1 >= _DOUBTS:
                    return []
                await _pause(turn)
        return group

    def _failed(self, error: Exception, turn: int) -> Exception | None:
        """What to tell of a group that failed; ``None`` to try it again on a new connection."""
        if isinstance(error, _Unknown):
            return Unavailable(
                "the connection to the database was lost during the commit: this may or may not be done. "
                "Look, or send the same request again"
            )
        standby = isinstance(error, asyncpg.ReadOnlySQLTransactionError)  # since it was connected to
        if not is_gone(error) and not isinstance(error, Unavailable) and not standby:
            _log.error("a group of writes failed", exc_info=error)
            return translated(error)
        if self._reachable and turn < 3:
            return None
        self._reachable = False  # the next group is not to wait as long
        return Unavailable("the database cannot be reached; nothing was done: try again")

    async def _run(self, group: list[Write]) -> list[Write]:
        """Carry a group out in one transaction; those of it that found a name taken, perhaps only just now."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._server)
        connection = self._connection
        try:
            crowded = asyncio.get_running_loop().time() < self._crowded_until
            await connection.execute(_ALONE if crowded else _BESIDE)
            doubtful = [write for write in group if await _apply(connection, write, last=write is group[-1])]
            await self._tell(connection, group)
        except BaseException:
            if connection.is_in_transaction() and not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
        try:
            done = await connection.execute("COMMIT")
        except Exception as error:
            if is_gone(error, connection):
                raise _Unknown from error
            raise
        assert done == "COMMIT", "an operation went on after its transaction had failed"
        return doubtful

    async def _tell(self, connection: asyncpg.Connection, group: list[Write]) -> None:
        told = {change: None for write in group for change in write.changed}
        if told:
            await connection.execute(_TELL, self._origin, json.dumps(list(told), separators=(",", ":")))


async def _apply(connection: asyncpg.Connection, write: Write, *, last: bool) -> bool:
    """Run an operation in the savepoint; whether it is in doubt, as it may have lost a race for a name."""
    tx = PostgresTx(connection)
    write.result, write.error, write.changed = None, None, []
    try:
        write.result = await write.operation(tx)
        if not last:
            await connection.execute("RELEASE one; SAVEPOINT one")
    except Exception as error:
        if isinstance(error, _OF_ALL) or is_gone(error, connection):
            raise
        write.error = translated(error)
        await connection.execute("ROLLBACK TO one")
        return isinstance(error, asyncpg.UniqueViolationError)
    write.changed = tx.changed
    return False


async def _pause(turn: int) -> None:
    await asyncio.sleep(min(_PAUSE * 2**turn, _LONGEST) * random.uniform(0.5, 1.5))  # noqa: S311
