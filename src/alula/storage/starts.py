"""Runs that are written together, each with its root: a few statements for all of them."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from alula.core.action import NewAction
from alula.core.run import Run
from alula.storage import actions, runs, specs
from alula.storage.changes import Change
from alula.storage.database import Tx, Values

_ROW = re.compile(r"VALUES (\(.*?\))", re.DOTALL)
_NAME = re.compile(r":([a-z_]+)")


class Start(NamedTuple):
    """A run that nobody has begun, and the spec of its root."""

    run: Run
    root: NewAction
    spec: bytes


async def insert(tx: Tx, starts: Sequence[Start]) -> int:
    """Write new runs; how many there are now. Those whose names are taken are left out."""
    if not starts:
        return 0
    digests = {body: await specs.put(tx, body) for body in dict.fromkeys(start.spec for start in starts)}
    found = await tx.all(*together(runs.INSERT, [runs.values(start.run, start.root) for start in starts]))
    keys = {(row["project"], row["domain"], row["name"]): row["key"] for row in found}
    events, rows = [], []
    for run, root, spec in starts:
        key = keys.get((run.id.project, run.id.domain, run.id.name))
        if key is not None:
            (event,) = actions.beginning(root, 1, run.created_at)
            events.append(actions.event_values(key, 1, event, run.created_at))
            rows.append(actions.values(key, root, 1, 0, digests[spec], run.created_at))
            tx.touch([Change(key, root.name, "", root.phase)])
    if rows:
        await tx.execute(*together(actions.INSERT_EVENT, events))
        await tx.execute(*together(actions.INSERT, rows))
    return len(rows)


def together(sql: str, many: Sequence[Values]) -> tuple[str, dict[str, Any]]:
    """An INSERT of one row as one of several."""
    values = {f"{name}_{number}": value for number, one in enumerate(many) for name, value in one.items()}
    return _multiplied(sql, len(many)), values


@lru_cache(maxsize=256)
def _multiplied(sql: str, count: int) -> str:
    row = _ROW.search(sql)
    assert row is not None, "it inserts VALUES"
    copies = ", ".join(_NAME.sub(rf":\g<1>_{number}", row[1]) for number in range(count))
    return f"{sql[: row.start(1)]}{copies}{sql[row.end(1) :]}"
