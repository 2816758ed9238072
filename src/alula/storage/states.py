"""What engines elsewhere remember of actions: opaque text."""

from datetime import datetime

from alula.storage import rows
from alula.storage.database import Tx


async def put(tx: Tx, run: int, action: str, state: str, now: datetime) -> None:
    """Remember the state of an action; the last word counts."""
    await tx.execute(
        """
        INSERT INTO action_states VALUES (:run, :action, :state, :at)
        ON CONFLICT (run, action) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at
        """,
        {"run": run, "action": action, "state": state, "at": rows.micros(now)},
    )


async def get(tx: Tx, run: int, action: str) -> str | None:
    """The state of an action, if one was put."""
    row = await tx.one(
        "SELECT state FROM action_states WHERE run = :run AND action = :action", {"run": run, "action": action}
    )
    return None if row is None else str(row["state"])
