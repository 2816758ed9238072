"""Lists of a million runs read no more of them than they show: SQLite says so itself."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from alula.core.groups import GroupScope
from alula.core.pages import Order, Page, Where
from alula.core.pages import Test as By
from alula.core.run import RunScope
from alula.storage import actions, groups, runs
from alula.storage.address import Address, PostgresServer
from alula.storage.database import Database, Row, Tx, Values

from .builders import NOW, add_action, add_run, after, new

PROJECT = RunScope(project="p", domain="development")
TASK = RunScope(task_project="p", task_domain="development", task_name="t")
_PHASED = {"runs_by_age": "runs_by_phase", "runs_by_project": "runs_by_project_phase"}


class Explaining:
    """Notes how each statement would be carried out."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.steps: list[str] = []

    async def all(self, sql: str, values: Values, /) -> list[Row]:
        self.steps += [row[3] for row in await self._tx.all(f"EXPLAIN QUERY PLAN {sql}", values)]
        return await self._tx.all(sql, values)

    async def one(self, sql: str, values: Values, /) -> Row | None:
        return next(iter(await self.all(sql, values)), None)


@pytest.fixture
def _sqlite(address: Address) -> None:
    if isinstance(address, PostgresServer):
        pytest.skip("PostgreSQL plans by what is in the tables")


async def _deep(tx: Tx, scope: RunScope, asked: Page) -> tuple[Sequence[str], str]:
    """The plan of the second page of a list."""
    _, token = await runs.page(tx, scope, replace(asked, limit=1))
    sql, values, _ = runs.page_query(scope, replace(asked, token=token))
    found = await tx.all(f"EXPLAIN QUERY PLAN {sql}", values)
    return [row[3] for row in found], token


@pytest.mark.usefixtures("_sqlite")
@pytest.mark.parametrize(
    ("scope", "index"),
    [(RunScope(), "runs_by_age"), (PROJECT, "runs_by_project"), (TASK, "runs_by_task")],
)
@pytest.mark.parametrize("phases", [(), ("6",), ("1", "4")])
@pytest.mark.parametrize("descending", [True, False])
async def test_a_page_of_runs(
    database: Database, scope: RunScope, index: str, phases: tuple[str, ...], descending: bool
) -> None:
    """Case C38: a stretch of an index begins where the page does, and is read in order; of some phases one of each."""

    async def work(tx: Tx) -> Sequence[str]:
        for n in range(3):
            key = await add_run(tx, f"r{n}", after(n))
            await tx.execute(
                """
                UPDATE runs SET task_project = 'p', task_domain = 'development', task_name = 't', phase = :phase
                WHERE key = :key
                """,
                {"key": key, "phase": int(phases[0]) if phases else 1},
            )
        asked = Page(order=(Order("created_at", descending=descending),))
        if phases:
            asked = replace(asked, where=(Where("phase", By.VALUE_IN, phases),))
        steps, token = await _deep(tx, scope, asked)
        assert token, "there is a second page"
        return steps

    steps = await database.write(work)
    index = _PHASED.get(index, index) if phases else index
    searches = [step for step in steps if f"{index} " in step]
    merged = len(phases) if index in _PHASED.values() else 1
    assert len(searches) == merged
    assert all("created_at" in step for step in searches)
    following = [later for step, later in pairwise(steps) if f"{index} " in step]
    assert all(later.startswith("SCAN s") for later in following), "sorted are only the rows of the page"
    assert not any(step.startswith(("SCAN r", "SCAN a")) for step in steps)


@pytest.mark.usefixtures("_sqlite")
async def test_groups(database: Database) -> None:
    scope = GroupScope("p", "development", NOW, after(9))

    async def work(tx: Tx) -> tuple[list[str], list[str]]:
        whole, one = Explaining(tx), Explaining(tx)
        await groups.all_groups(whole, scope)  # type: ignore[arg-type]
        await groups.group(one, scope, "t")  # type: ignore[arg-type]
        return whole.steps, one.steps

    whole, one = await database.write(work)
    assert [s for s in whole if " r USING" in s and "runs_by_project" not in s] == []
    assert all("created_at>?" in s for s in whole if "runs_by_project" in s)
    assert [s for s in one if " r USING" in s and "task_name=? AND created_at>?" not in s] == []


@pytest.mark.usefixtures("_sqlite")
@pytest.mark.parametrize(
    ("read", "index"),
    [
        (
            lambda tx, run, event: actions.told(tx, run, [actions.telling(event)]),
            "action=? AND attempt=? AND phase=? AND version=? AND at=?",
        ),
        (
            lambda tx, run, event: actions.parents(tx, run, ["x"]),
            "COVERING INDEX actions_by_parent (run=? AND parent=?)",
        ),
        (lambda tx, run, event: actions.events(tx, run, "a0"), "COVERING INDEX events_by_action (run=? AND action=?)"),
        (
            lambda tx, run, event: actions.story_after(tx, run, "a0", 1, 0),
            "COVERING INDEX events_by_action (run=? AND action=?",
        ),
        (lambda tx, run, event: actions.changed_after(tx, run, 0, 9), "actions_by_seq (run=? AND seq>?)"),
        (lambda tx, run, event: actions.unfinished_after(tx, run, "", 9), "PRIMARY KEY (run=? AND name>?)"),
    ],
)
async def test_what_watches_and_reports_read(database: Database, read: Any, index: str) -> None:
    async def work(tx: Tx) -> list[str]:
        key = await add_run(tx, "r")
        await add_action(tx, key, new("x"))
        (event,) = await actions.events(tx, key, "x")
        explaining = Explaining(tx)
        await read(explaining, key, event)
        return explaining.steps

    steps = await database.write(work)
    assert any(index in step for step in steps), steps


async def test_pages_merge_the_phases_in_order(database: Database) -> None:
    """Case C21: the union of the pages is every run once, whatever phase each is in, also while phases change."""

    async def fill(tx: Tx) -> list[int]:
        keys = [await add_run(tx, f"r{n:02}", after(n // 3)) for n in range(60)]
        for n, key in enumerate(keys):
            await _move(tx, key, 1 + n % 10)
        return keys

    async def _move(tx: Tx, key: int, phase: int) -> None:
        await tx.execute("UPDATE runs SET phase = :phase WHERE key = :key", {"phase": phase, "key": key})

    keys = await database.write(fill)
    for descending in (True, False):
        seen: list[str] = []
        asked = Page(limit=7, order=(Order("created_at", descending=descending),))
        while True:
            page, token = await database.scan(lambda tx, asked=asked: runs.page(tx, PROJECT, asked))  # type: ignore[misc]
            seen += [root.id.run.name for root in page]
            if not token:
                break
            asked = replace(asked, token=token)
            for n in range(0, 60, 7):
                key, phase = keys[n], 1 + (n + len(seen)) % 10
                await database.write(lambda tx, key=key, phase=phase: _move(tx, key, phase))  # type: ignore[misc]
        assert seen == sorted(seen, reverse=descending)
        assert len(set(seen)) == len(seen) == 60
