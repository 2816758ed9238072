"""News for people, written in the transaction of the change that they are about, and what became of telling them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from alula.core.notice import Channel, News, State
from alula.core.phase import Phase
from alula.storage import rows
from alula.storage.database import Row, Tx


@dataclass(frozen=True, slots=True)
class Notice:
    """A row of `outbox`."""

    key: int
    news: News
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of `deliveries`, and the news that it is to deliver. Each try has its number: that fences writers."""

    notice: Notice
    channel: str
    state: State
    tries: int
    error: str


_SELECT = """
    SELECT d.channel, d.state, d.tries, d.error AS problem, o.key, o.run, o.action, o.attempt, o.phase, o.error,
        o.created_at
    FROM deliveries d JOIN outbox o ON o.key = d.notice
"""


async def due(tx: Tx, news: News | None, now: datetime) -> None:
    """Write down what is to be told, once; nothing for a run that has no rules."""
    if news is None:
        return
    if news.phase is not Phase.PAUSED:  # a condition may have a webhook of its own, whatever its run's rules are
        asked = await tx.one("SELECT 1 FROM runs WHERE key = :run AND notify = 1", {"run": news.run})
        if asked is None:
            return
    await tx.execute(
        """
        INSERT INTO outbox (run, action, attempt, phase, error, created_at, opened)
        VALUES (:run, :action, :attempt, :phase, :error, :now, 0)
        ON CONFLICT (run, action, attempt, phase) DO NOTHING
        """,
        news._asdict() | {"phase": int(news.phase), "now": rows.micros(now)},
    )


async def unopened(tx: Tx, limit: int) -> list[Notice]:
    """News whose receivers are not known yet, oldest first."""
    found = await tx.all("SELECT * FROM outbox WHERE opened = 0 ORDER BY key LIMIT :limit", {"limit": limit})
    return [_notice(row) for row in found]


async def open_up(tx: Tx, notice: int, channels: Sequence[Channel], now: datetime) -> bool:
    """Write down who is to be told; ``False`` if somebody else has."""
    if not await tx.execute("UPDATE outbox SET opened = 1 WHERE key = :key AND opened = 0", {"key": notice}):
        return False
    for channel in channels:
        await tx.execute(
            """
            INSERT INTO deliveries VALUES (:notice, :channel, :state, 0, :now, :error, :now)
            ON CONFLICT (notice, channel) DO NOTHING
            """,
            {
                "notice": notice,
                "channel": channel.name,
                "state": int(State.FAILED if channel.problem else State.WAITING),
                "error": channel.problem,
                "now": rows.micros(now),
            },
        )
    return True


async def claim(tx: Tx, now: datetime, until: datetime, limit: int) -> list[Delivery]:
    """Take deliveries that are due, to send them at once. From now on they are sent, or nobody knows."""
    found = await tx.all(
        _SELECT + "WHERE d.state = 1 AND d.due_at <= :now ORDER BY d.due_at LIMIT :limit",
        {"now": rows.micros(now), "limit": limit},
    )
    claimed = []
    for row in found:
        await tx.execute(
            """
            UPDATE deliveries SET state = 2, tries = tries + 1, due_at = :until, updated_at = :now
            WHERE notice = :notice AND channel = :channel
            """,
            {
                "notice": row["key"],
                "channel": row["channel"],
                "until": rows.micros(until),
                "now": rows.micros(now),
            },
        )
        claimed.append(Delivery(_notice(row), row["channel"], State.SENDING, row["tries"] + 1, row["problem"]))
    return claimed


async def settle(tx: Tx, delivery: Delivery, state: State, error: str, at: datetime, now: datetime) -> bool:
    """Write down how a try ended; ``at`` is when the next one is due. ``False`` if another try has begun since.

    Who sent it knows better than who only saw it take too long: a try that was given up as unknown may still end.
    """
    changed = await tx.execute(
        """
        UPDATE deliveries SET state = :state, error = :error, due_at = :at, updated_at = :now
        WHERE notice = :notice AND channel = :channel AND tries = :tries AND state IN (2, 5)
        """,
        {
            "state": int(state),
            "error": error,
            "at": rows.micros(at),
            "now": rows.micros(now),
            "notice": delivery.notice.key,
            "channel": delivery.channel,
            "tries": delivery.tries,
        },
    )
    return changed > 0


async def abandoned(tx: Tx, now: datetime) -> list[Delivery]:
    """Deliveries whose sender has not said in time what became of them."""
    found = await tx.all(_SELECT + "WHERE d.state = 2 AND d.due_at <= :now", {"now": rows.micros(now)})
    return [_delivery(row) for row in found]


async def next_due(tx: Tx) -> datetime | None:
    """When there is something to do next."""
    row = await tx.one("SELECT due_at FROM deliveries WHERE state IN (1, 2) ORDER BY due_at LIMIT 1")
    return rows.time(row["due_at"]) if row else None


async def of_run(tx: Tx, run: int) -> list[Delivery]:
    """What people were told of a run, or will be."""
    found = await tx.all(_SELECT + "WHERE o.run = :run ORDER BY o.key, d.channel", {"run": run})
    return [_delivery(row) for row in found]


def _notice(row: Row) -> Notice:
    news = News(row["run"], row["action"], row["attempt"], Phase(row["phase"]), row["error"])
    return Notice(row["key"], news, rows.time(row["created_at"]))


def _delivery(row: Row) -> Delivery:
    return Delivery(_notice(row), row["channel"], State(row["state"]), row["tries"], row["problem"])
