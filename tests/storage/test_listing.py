"""Pages of rows, against a naive model; what is refused; and that pages stay right while rows change."""

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.core.action import Action, Kind, TaskRef
from alula.core.errors import Invalid
from alula.core.pages import Order, Page, Where
from alula.core.pages import Test as By
from alula.core.project import Project
from alula.core.run import RunScope
from alula.storage import actions, projects, runs
from alula.storage.address import Address, SqliteFile
from alula.storage.database import Tx
from tests.postgres import run

from .builders import NOW, Stage, add_action, add_run, after, new, staged

_WORDS = ["", "a", "ab", "A", "aB", "100%", "100x", "a_b", "axb", "%", "_", "b%", "\u00e4", "a'b", '"; --']
_TEXTS: dict[str, Callable[[Action], str]] = {
    "name": lambda a: a.id.name,
    "action_group": lambda a: a.group,
    "parent_name": lambda a: a.parent or "",
    "task_name": lambda a: a.task.name,
}
_NUMBERS: dict[str, Callable[[Action], int]] = {
    "phase": lambda a: int(a.phase),
    "attempts": lambda a: a.attempt,
    "action_type": lambda a: int(a.kind),
}
_COMPARISONS: dict[By, Callable[[Any, Any], bool]] = {
    By.EQUAL: lambda found, wanted: bool(found == wanted),
    By.NOT_EQUAL: lambda found, wanted: bool(found != wanted),
    By.GREATER_THAN: lambda found, wanted: bool(found > wanted),
    By.GREATER_THAN_OR_EQUAL: lambda found, wanted: bool(found >= wanted),
    By.LESS_THAN: lambda found, wanted: bool(found < wanted),
    By.LESS_THAN_OR_EQUAL: lambda found, wanted: bool(found <= wanted),
}
_PATTERNS: dict[By, Callable[[str, str], bool]] = {
    By.CONTAINS: lambda found, wanted: wanted in found,
    By.CONTAINS_CASE_INSENSITIVE: lambda found, wanted: _lower(wanted) in _lower(found),
    By.ENDS_WITH: lambda found, wanted: found.endswith(wanted),
    By.NOT_ENDS_WITH: lambda found, wanted: not found.endswith(wanted),
}


def _lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


@dataclass(frozen=True, repr=False)
class Crowd:
    """A run with sixty actions of all sorts."""

    stage: Stage
    run: int
    rows: tuple[Action, ...]

    def page(self, asked: Page) -> tuple[list[Action], str]:
        return self.stage.run(runs.page_of_actions(self.stage.tx, self.run, asked))

    def all(self, limit: int = 7, where: tuple[Where, ...] = (), order: tuple[Order, ...] = ()) -> list[Action]:
        """Every page, one after the other."""
        found: list[Action] = []
        token = ""
        while True:
            page, token = self.page(Page(limit, token, where, order))
            assert len(page) == limit or not token
            found += page
            assert len(found) <= len(self.rows), "told twice"
            if not token:
                return found


async def _build(stage: Stage) -> Crowd:
    tx = stage.tx
    chance = random.Random(5)
    run = await add_run(tx, "r")
    for n in range(60):
        name = f"{chance.choice(_WORDS)}{n}"
        task = TaskRef(name=chance.choice(_WORDS))
        kind = chance.choice([Kind.TASK, Kind.TRACE])
        await add_action(tx, run, new(name, group=chance.choice(_WORDS), task=task, kind=kind), after(n // 4))
        where = {"run": run, "name": name, "phase": chance.randint(1, 10), "attempt": chance.randint(1, 3)}
        await tx.execute(
            "UPDATE actions SET phase = :phase, attempt = :attempt WHERE run = :run AND name = :name", where
        )
    await add_action(tx, await add_run(tx, "other"), new("stranger"))
    return Crowd(stage, run, tuple(await actions.changed_after(tx, run, -1, 1000)))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def crowd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    address: Address = SqliteFile(tmp_path_factory.mktemp("listing") / "alula.db")
    if request.param == "postgres":
        address = request.getfixturevalue("postgres").empty()
    run(address.migrate())
    with staged(address) as stage:
        yield stage.run(_build(stage))


_text_wheres = st.one_of(
    st.builds(
        Where,
        st.sampled_from(sorted(_TEXTS)),
        st.sampled_from([*_COMPARISONS, *_PATTERNS]),
        st.tuples(st.sampled_from(_WORDS)),
    ),
    st.builds(
        Where,
        st.sampled_from(sorted(_TEXTS)),
        st.sampled_from([By.VALUE_IN, By.VALUE_NOT_IN]),
        st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4).map(tuple),
    ),
    st.builds(
        Where,
        st.sampled_from(["action_group", "task_name", "phase"]),
        st.sampled_from([By.EXISTS, By.NOT_EXISTS]),
        st.just(()),
    ),
)
_number_wheres = st.one_of(
    st.builds(
        Where,
        st.sampled_from(sorted(_NUMBERS)),
        st.sampled_from([*_COMPARISONS, *_PATTERNS]),
        st.tuples(st.integers(0, 11).map(str)),
    ),
    st.builds(
        Where,
        st.sampled_from(sorted(_NUMBERS)),
        st.sampled_from([By.VALUE_IN, By.VALUE_NOT_IN]),
        st.lists(st.integers(0, 11).map(str), min_size=1, max_size=4).map(tuple),
    ),
)
_orders = st.lists(
    st.builds(Order, st.sampled_from([*_TEXTS, *_NUMBERS, "created_at"]), st.booleans()),
    max_size=3,
    unique_by=lambda o: o.field,
).map(tuple)


def _fits(row: Action, where: Where) -> bool:
    number = where.field in _NUMBERS
    value: Any = _NUMBERS[where.field](row) if number else _TEXTS[where.field](row)
    wanted: list[Any] = [int(v) for v in where.values] if number else list(where.values)
    if where.test in (By.EXISTS, By.NOT_EXISTS):
        return (value != "") is (where.test is By.EXISTS)
    if where.test in (By.VALUE_IN, By.VALUE_NOT_IN):
        return (value in wanted) is (where.test is By.VALUE_IN)
    if where.test in _PATTERNS:
        return _PATTERNS[where.test](str(value), where.values[0])
    return _COMPARISONS[where.test](value, wanted[0])


def _key(row: Action, field: str) -> Any:
    return row.created_at if field == "created_at" else {**_TEXTS, **_NUMBERS}[field](row)


def _model(rows: tuple[Action, ...], where: tuple[Where, ...], order: tuple[Order, ...]) -> list[str]:
    order = order or (Order("created_at", descending=False),)
    ends = [Order(field, order[-1].descending) for field in ("created_at", "name")]
    found = [row for row in rows if all(_fits(row, w) for w in where)]
    for one in reversed([*order, *ends]):
        found.sort(key=lambda row, field=one.field: _key(row, field), reverse=one.descending)  # type: ignore[misc]
    return [row.id.name for row in found]


@settings(deadline=None, max_examples=300)
@given(
    where=st.lists(st.one_of(_text_wheres, _number_wheres), max_size=2).map(tuple),
    order=_orders,
    limit=st.sampled_from([1, 2, 7, 50, 200]),
)
def test_pages_are_what_the_model_says(
    crowd: Crowd, where: tuple[Where, ...], order: tuple[Order, ...], limit: int
) -> None:
    assert [row.id.name for row in crowd.all(limit, where, order)] == _model(crowd.rows, where, order)


@pytest.mark.parametrize(
    ("value", "names"),
    [("100%", {"100%", "b100%"}), ("a_b", {"a_b"}), ("%", {"100%", "b100%", "%"}), ("_", {"a_b"}), ("\\", set())],
)
def test_wildcards_are_characters(value: str, names: set[str], stage: Stage) -> None:
    """Case C20."""
    tx = stage.tx

    async def build_and_ask() -> set[str]:
        run = await add_run(tx, "r")
        for name in ("100%", "100x", "a_b", "axb", "b100%", "%", "a0b"):
            await add_action(tx, run, new(name))
        page, _ = await runs.page_of_actions(tx, run, Page(where=(Where("name", By.CONTAINS, (value,)),)))
        return {row.id.name for row in page}

    assert stage.run(build_and_ask()) == names


@pytest.mark.parametrize(("limit", "size"), [(0, 50), (1, 1), (49, 49), (61, 61), (200, 61)])
def test_limits(crowd: Crowd, limit: int, size: int) -> None:
    page, token = crowd.page(Page(limit=limit))
    assert len(page) == size
    assert bool(token) is (size < 61)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Page(limit=201), "limit"),
        (Page(where=(Where("nothing", By.EQUAL, ("x",)),)), "'nothing' is not a field of this list; it has: "),
        (Page(where=(Where("a.name", By.EQUAL, ("x",)),)), "not a field"),
        (Page(order=(Order("spec", descending=False),)), "not a field"),
        (Page(where=(Where("phase", By.EQUAL, ()),)), "no values"),
        (Page(where=(Where("phase", By.VALUE_IN, ()),)), "no values"),
        (Page(where=(Where("phase", By.EQUAL, ("1", "2")),)), "VALUE_IN"),
        (Page(where=(Where("phase", By.EQUAL, ("running",)),)), "does not fit"),
        (Page(where=(Where("phase", By.VALUE_IN, ("1", "x")),)), "does not fit"),
        (Page(where=(Where("phase", By.EQUAL, ("9" * 30,)),)), "does not fit"),
        (Page(where=(Where("name", By.EQUAL, ("a\0",)),)), "does not fit"),
        (Page(where=(Where("name", By.CONTAINS, ("\udfff",)),)), "does not fit"),
        (Page(where=(Where("created_at", By.EQUAL, ("yesterday",)),)), "does not fit"),
    ],
)
def test_refused(crowd: Crowd, asked: Page, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        crowd.page(asked)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "\N{SNOWMAN}",
        base64.urlsafe_b64encode(b"not json").decode(),
        base64.urlsafe_b64encode(b'{"a": 1}').decode(),
        base64.urlsafe_b64encode(b"[]").decode(),
        base64.urlsafe_b64encode(b"1").decode(),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
    ],
)
def test_what_is_no_token(crowd: Crowd, token: str) -> None:
    with pytest.raises(Invalid, match=r"request\.token"):
        crowd.page(Page(limit=5, token=token))


@pytest.mark.parametrize("last", ["\ud800", "a\0", 2**80, 1.5, None, [1], {}, 7, True])
def test_a_forged_token(crowd: Crowd, last: object) -> None:
    _, token = crowd.page(Page(limit=5))
    values = json.loads(base64.urlsafe_b64decode(token))
    forged = base64.urlsafe_b64encode(json.dumps([*values[:-1], last]).encode()).decode()
    with pytest.raises(Invalid, match=r"request\.token"):
        crowd.page(Page(limit=5, token=forged))


def test_tokens_of_another_order_are_refused(crowd: Crowd) -> None:
    orders = [
        (),
        (Order("created_at", descending=True),),
        (Order("phase", descending=False),),
        (Order("phase", descending=True),),
        (Order("attempts", descending=False),),
        (Order("phase", descending=False), Order("attempts", descending=False)),
        (Order("name", descending=False),),
    ]
    tokens = [crowd.page(Page(limit=5, order=order))[1] for order in orders]
    for i, order in enumerate(orders):
        for j, token in enumerate(tokens):
            if i == j:
                crowd.page(Page(limit=5, order=order, token=token))
            else:
                with pytest.raises(Invalid, match=r"request\.token"):
                    crowd.page(Page(limit=5, order=order, token=token))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("descending", [False, True])
def test_pages_stay_right_while_rows_change(stage: Stage, seed: int, descending: bool) -> None:
    """Case C21: rows are added and change between the pages: those that were there all along are told of once each."""
    chance = random.Random(seed)
    tx = stage.tx

    async def work() -> tuple[list[str], set[str], set[str]]:
        run = await add_run(tx, "r", after(50))
        there = {"a0"}
        for n in range(60):
            there.add((await add_action(tx, run, new(f"n{n}"), after(chance.randrange(100)))).id.name)
        found: list[str] = []
        added: set[str] = set()
        token = ""
        while True:
            order = (Order("created_at", descending),)
            page, token = await runs.page_of_actions(tx, run, Page(limit=7, token=token, order=order))
            found += [row.id.name for row in page]
            if not token:
                return found, there, added
            for _ in range(5):
                name = f"late{len(added)}"
                added.add(name)
                await add_action(tx, run, new(name), after(chance.randrange(100)))
            await tx.execute("UPDATE actions SET phase = :p, updated_at = updated_at + 1", {"p": chance.randint(1, 10)})

    found, there, added = stage.run(work())
    assert len(found) == len(set(found)), "told twice"
    assert there <= set(found) <= there | added


def test_runs_that_differ_only_in_where_they_are(stage: Stage) -> None:
    """The same name at the same microsecond in six places is six runs."""
    places = {(p, d) for p in ("p", "q") for d in ("development", "staging", "production")}

    async def work(order: tuple[Order, ...]) -> list[tuple[str, str]]:
        tx, found, token = stage.tx, [], ""
        while True:
            page, token = await runs.page(tx, RunScope(), Page(limit=1, token=token, order=order))
            found += [(row.id.run.project, row.id.run.domain) for row in page]
            if not token:
                return found

    async def build() -> None:
        for project, domain in places:
            await add_run(stage.tx, "same", NOW, project=project, domain=domain)

    stage.run(build())
    for order in [(), (Order("name", descending=False),), (Order("phase", descending=True),)]:
        found = stage.run(work(order))
        assert sorted(found) == sorted(places)


def test_scopes_of_runs(stage: Stage) -> None:

    async def names(tx: Tx, scope: RunScope) -> list[str]:
        page, _ = await runs.page(tx, scope, Page(order=(Order("name", descending=False),)))
        return [row.id.run.name for row in page]

    async def work() -> None:
        tx = stage.tx
        for name, project, task in (("r1", "p", "t1"), ("r2", "p", "t2"), ("r3", "q", "t1")):
            key = await add_run(tx, name, project=project)
            await tx.execute("UPDATE runs SET task_name = :task WHERE key = :run", {"task": task, "run": key})
        await add_action(tx, key, new("child"))
        await tx.execute("UPDATE actions SET phase = 9 WHERE name = 'child'")
        assert await names(tx, RunScope()) == ["r1", "r2", "r3"], "children are no runs"
        assert await names(tx, RunScope(project="p")) == ["r1", "r2"]
        assert await names(tx, RunScope(project="p", domain="staging")) == []
        assert await names(tx, RunScope(task_name="t1")) == ["r1", "r3"]
        assert await names(tx, RunScope(project="p", task_name="t1")) == ["r1"]
        assert await names(tx, RunScope(paused=True)) == ["r3"]

    stage.run(work())


def test_archived_projects_are_listed_only_if_asked_for(stage: Stage) -> None:

    async def work() -> None:
        tx = stage.tx
        for name, state in (("live", 0), ("archived", 1)):
            assert await projects.insert(tx, Project(name, name, "", {"k": "v"}, state), NOW)
            assert not await projects.insert(tx, Project(name, "other", "", {}, state), NOW), "it is there"
        page, _ = await projects.page(tx, Page())
        assert [(p.name, p.title, dict(p.labels)) for p in page] == [("live", "live", {"k": "v"})]
        page, _ = await projects.page(tx, Page(where=(Where("state", By.EQUAL, ("1",)),)))
        assert [p.name for p in page] == ["archived"]

    stage.run(work())
