"""What a failure of PostgreSQL means: try again, connect again, or the fault of the operation."""

import re

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from alula.core.errors import Conflict, DomainError, Exhausted, Invalid, Unavailable
from alula.storage.database import Violated

# Others changed what this transaction read or wrote, and it must run again (40001, 40P01).
RACES = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
Connection = asyncpg.Connection | PoolConnectionProxy
# Whatever the driver raises when it cannot connect.
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,  # it was told of its end, and has not seen it yet
    OSError,  # a `TimeoutError` too
)
_ARGUMENT = re.compile(r"invalid input for (query argument \$\d+)[^:]*: .*( \(.*\))$", re.DOTALL)
_REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


def is_gone(error: BaseException, connection: Connection | None = None) -> bool:
    """Whether the connection, not the operation, failed."""
    return isinstance(error, _GONE) or (isinstance(error, asyncpg.InterfaceError) and _closed(connection))


def _closed(connection: Connection | None) -> bool:
    try:
        return connection is None or connection.is_closed()
    except asyncpg.InterfaceError:  # its pool has taken it back: it is
        return True


def translated(error: Exception) -> Exception:
    """An error of a statement in words of this program; without values, which may be secrets."""
    if isinstance(error, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
        return Invalid("a text holds a NUL character or is not Unicode: it cannot be stored")
    if isinstance(error, asyncpg.DataError) and isinstance(error.__cause__, UnicodeError | OverflowError):
        return Invalid("a value cannot be stored: it is text that is not Unicode, or an integer beyond 64 bits")
    if mistaken := _ARGUMENT.match(str(error)):
        return TypeError("".join(mistaken.groups()))
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return Violated(f"{error.args[0]} ({error.constraint_name})")
    if isinstance(error, asyncpg.QueryCanceledError):
        return Exhausted("the database took too long: ask for less, by a narrower filter or a smaller page")
    if isinstance(error, asyncpg.InsufficientResourcesError):
        return Unavailable(f"the database could not be written ({error}); nothing was done. Is its disk full?")
    return error


def unreachable(error: BaseException) -> DomainError:
    """Why no connection can be made. Its message names no address: that may hold a password."""
    if isinstance(error, _REFUSED):
        return Conflict(f"the database refuses alula: {error}")
    return Unavailable(f"the database cannot be reached ({type(error).__name__}); nothing was done: try again")
