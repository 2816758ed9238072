"""Bring a database up to date, for whoever does that before new servers start."""

from alula.storage.address import parse


async def migrate(address: str, *, dry_run: bool = False) -> list[str]:
    """Apply what a database lacks; the names of those migrations. ``dry_run`` only tells.

    Raises:
        Invalid: that is no address of a database.
        Conflict: the database is not alula's, or newer than this alula; or it refuses alula.
        Unavailable: it cannot be reached.
    """
    return await parse(address).migrate(dry_run=dry_run)
