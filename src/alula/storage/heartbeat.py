"""Whether the database can be written: by writing it."""

from datetime import datetime

from alula.storage import rows
from alula.storage.database import Tx


async def write(tx: Tx, now: datetime) -> None:
    """Write the one row there is for it."""
    await tx.execute(
        "INSERT INTO heartbeat VALUES (1, :now) ON CONFLICT (one) DO UPDATE SET at = :now", {"now": rows.micros(now)}
    )
