"""Rows for the tests of the storage."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from alula.core.action import Action, Kind, NewAction
from alula.core.ids import ROOT, RunId
from alula.core.run import Run
from alula.storage import actions, runs, specs
from alula.storage.address import Address, SqliteFile
from alula.storage.database import Tx
from alula.storage.migrate import migrate
from alula.storage.session import PostgresTx
from alula.storage.session import connect as open_session
from alula.storage.sqlite import SqliteTx, connect

T = TypeVar("T")

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@dataclass(frozen=True)
class Stage:
    """A transaction to use from tests that are no coroutines; what it writes is seen at once."""

    runner: asyncio.Runner
    tx: Tx

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)


@contextmanager
def staged(address: Address) -> Iterator[Stage]:
    with asyncio.Runner() as runner:
        if isinstance(address, SqliteFile):
            file = connect(address.path)
            yield Stage(runner, SqliteTx(file))
            file.close()
        else:
            session = runner.run(open_session(address))
            yield Stage(runner, PostgresTx(session))
            runner.run(session.close())


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def fresh(path: Path) -> Path:
    """A database of the newest version."""
    connection = connect(path)
    migrate(connection)
    connection.close()
    return path


def new(name: str, parent: str | None = ROOT, **changes: Any) -> NewAction:
    blank = NewAction(
        name=name,
        parent=parent,
        kind=Kind.TASK,
        group="",
        input_uri="",
        output_uri=f"s3://alula/runs/{name}/1",
        base_uri="s3://alula/runs",
        spec=b"spec",
    )
    return replace(blank, **changes)


async def add_run(tx: Tx, name: str, at: datetime = NOW, **place: str) -> int:
    """A run with its root action; its key."""
    where = RunId(place.get("project", "p"), place.get("domain", "development"), name)
    key = await runs.insert(tx, Run(0, where, "", b"digest", b"", {}, b"", 0, at, at, 0))
    assert key is not None
    await add_action(tx, key, new(ROOT, None), at)
    return key


async def add_action(tx: Tx, run: int, action: NewAction, at: datetime = NOW) -> Action:
    digest = await specs.put(tx, action.spec)
    await actions.insert(tx, run, action, parent_attempt=1, spec=digest, now=at)
    found = await actions.get(tx, run, action.name)
    assert found is not None
    return found
