"""Rows and events together: whoever writes with an old row is refused, and what cannot be written leaves no event."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alula.core.action import Action, Blame, Event, Failure, Kind, Note, Policy, TaskRef
from alula.core.errors import Stale
from alula.core.ids import ROOT
from alula.core.phase import Phase
from alula.storage import actions, runs, specs
from alula.storage.changes import Change, Changes, of_run
from alula.storage.database import Database, Tx

from .builders import NOW, add_action, add_run, after, new

_FAILURE = Failure("E", "it broke: \u00e4\n%", Blame.SYSTEM, recoverable=False)


async def _setup(tx: Tx) -> Action:
    key = await add_run(tx, "r")
    return await add_action(tx, key, new("x"))


def _to(phase: Phase) -> Callable[[Action], tuple[Action, list[Event]]]:
    return lambda old: (replace(old, phase=phase), [Event(old.id.name, old.attempt, phase, 0, after(1))])


def _next_attempt(old: Action) -> tuple[Action, list[Event]]:
    again = old.attempt + 1
    failed = Event(old.id.name, old.attempt, Phase.FAILED, 0, after(1), failure=_FAILURE)
    return replace(old, phase=Phase.QUEUED, attempt=again), [
        failed,
        Event(old.id.name, again, Phase.QUEUED, 0, after(1)),
    ]


async def _advance(database: Database, old: Action, how: Callable[[Action], tuple[Action, list[Event]]]) -> Action:
    fresh, happened = how(old)
    return await database.write(lambda tx: actions.advance(tx, old, fresh, happened, after(1)))


async def _story(database: Database, action: Action) -> list[tuple[int, Phase, int]]:
    told = await database.read(lambda tx: actions.events(tx, action.run_key, action.id.name))
    return [(e.attempt, e.phase, e.version) for e in told]


async def test_advance_counts_the_version_and_tells_it(database: Database, changes: Changes) -> None:
    first = await database.write(_setup)
    with changes.watch(of_run(first.run_key)) as watch:
        second = await _advance(database, first, _to(Phase.RUNNING))
        assert await watch.next() == {Change(first.run_key, "x", ROOT, Phase.RUNNING)}
    assert (second.phase, second.attempt, second.version) == (Phase.RUNNING, 1, 1)
    assert second.seq > first.seq
    row = await database.read(lambda tx: actions.get(tx, first.run_key, "x"))
    assert row == second
    assert await database.read(lambda tx: actions.find(tx, first.id)) == second
    assert await _story(database, first) == [(1, Phase.QUEUED, 0), (1, Phase.RUNNING, 0)]


@pytest.mark.parametrize("how", [_to(Phase.RUNNING), _to(Phase.SUCCEEDED), _next_attempt])
@pytest.mark.parametrize("meanwhile", [_to(Phase.RUNNING), _to(Phase.ABORTED), _next_attempt])
async def test_an_old_row_is_stale(database: Database, changes: Changes, how: Any, meanwhile: Any) -> None:
    old = await database.write(_setup)
    now = await _advance(database, old, meanwhile)
    told = await _story(database, old)
    seq = await database.read(lambda tx: runs.get(tx, old.run_key))
    with changes.watch(of_run(old.run_key)) as watch:
        with pytest.raises(Stale):
            await _advance(database, old, how)
        assert not watch._pending
    assert await database.read(lambda tx: actions.get(tx, old.run_key, "x")) == now
    assert await _story(database, old) == told, "the events of a refused write are gone with it"
    assert await database.read(lambda tx: runs.get(tx, old.run_key)) == seq


async def test_a_stale_attempt_of_the_same_version(database: Database) -> None:
    """A version counts within its attempt: the numbers alone may be those of an earlier one."""
    old = await database.write(_setup)
    assert (await _advance(database, old, _next_attempt)).version == old.version
    with pytest.raises(Stale):
        await _advance(database, old, _to(Phase.RUNNING))


async def test_the_version_of_a_row_counts_within_its_attempt_and_that_of_an_event_is_its_tellers(
    database: Database,
) -> None:
    row = await database.write(_setup)
    for how in (_to(Phase.INITIALIZING), _to(Phase.RUNNING), _next_attempt, _to(Phase.RUNNING), _next_attempt):
        row = await _advance(database, row, how)
    assert await _story(database, row) == [
        (1, Phase.QUEUED, 0),
        (1, Phase.INITIALIZING, 0),
        (1, Phase.RUNNING, 0),
        (1, Phase.FAILED, 0),
        (2, Phase.QUEUED, 0),
        (2, Phase.RUNNING, 0),
        (2, Phase.FAILED, 0),
        (3, Phase.QUEUED, 0),
    ]
    assert (row.attempt, row.version) == (3, 0)


async def test_two_writers_of_one_row_in_one_group(database: Database) -> None:
    old = await database.write(_setup)
    one, other = old, old
    results = await asyncio.gather(
        _advance(database, one, _to(Phase.SUCCEEDED)),
        _advance(database, other, _to(Phase.ABORTED)),
        return_exceptions=True,
    )
    assert isinstance(results[0], Action)
    assert isinstance(results[1], Stale)
    assert await _story(database, old) == [(1, Phase.QUEUED, 0), (1, Phase.SUCCEEDED, 0)]


async def test_a_row_comes_back_as_it_was_written(database: Database) -> None:
    policy = Policy(retries=3, backoff_base=0.5, backoff_factor=2.0, backoff_cap=9.0, outputs=True, report=True)
    task = TaskRef("tp", "td", "tn", "tv", "python", "short", "env")

    async def write(tx: Tx) -> Action:
        key = await add_run(tx, "r")
        return await add_action(tx, key, new("x", policy=policy, task=task, group="g", input_uri="s3://in"))

    old = await database.write(write)
    assert (old.policy, old.task, old.group, old.input_uri, old.parent) == (policy, task, "g", "s3://in", ROOT)
    changed = replace(
        old,
        phase=Phase.FAILED,
        parent_attempt=4,
        started_at=after(0.000001),
        ended_at=after(2),
        not_before=after(3),
        user_failures=2,
        system_failures=3,
        logged=True,
        abort_reason="because",
        output_uri="s3://out",
        failure=_FAILURE,
    )
    event = Event(
        "x", 1, Phase.FAILED, 0, after(2), 0, _FAILURE, "s3://o", "s3://r", True, "here", (Note(after(1), "n\u00e4"),)
    )
    written = await database.write(lambda tx: actions.advance(tx, old, changed, [event], after(5)))
    row = await database.read(lambda tx: actions.get(tx, old.run_key, "x"))
    assert row == written == replace(changed, version=1, seq=old.seq + 1)
    told = await database.read(lambda tx: actions.events(tx, old.run_key, "x"))
    assert told[-1] == replace(event, seq=old.seq + 1)


async def test_times_are_kept_to_the_microsecond(database: Database) -> None:
    for n, micros in enumerate([0, 1, 999_999, -1, 123_456]):
        at = NOW + timedelta(microseconds=micros)
        key = await database.write(lambda tx, n=n, at=at: add_run(tx, f"r{n}", at))  # type: ignore[misc]
        run = await database.read(lambda tx, key=key: runs.get(tx, key))  # type: ignore[misc]
        assert run is not None
        assert (run.created_at, run.starts_at) == (at, at)


async def test_a_trace_is_told_of_when_it_is_over(database: Database) -> None:
    async def write(tx: Tx) -> Action:
        key = await add_run(tx, "r")
        ended = new("t", kind=Kind.TRACE, phase=Phase.FAILED, failure=_FAILURE, started_at=after(1), ended_at=after(2))
        return await add_action(tx, key, ended, after(9))

    row = await database.write(write)
    assert (row.phase, row.failure, row.created_at, row.ended_at) == (Phase.FAILED, _FAILURE, after(1), after(2))
    told = await database.read(lambda tx: actions.events(tx, row.run_key, "t"))
    assert [(e.phase, e.at, e.failure) for e in told] == [
        (Phase.RUNNING, after(1), None),
        (Phase.FAILED, after(2), _FAILURE),
    ]
    assert row.seq == told[-1].seq


async def test_append_changes_nothing_but_the_story(database: Database, changes: Changes) -> None:
    old = await database.write(_setup)
    note = Event("x", 1, Phase.RUNNING, 0, after(1), notes=(Note(after(1), "hello"),))
    with changes.watch(of_run(old.run_key)) as watch:
        await database.write(lambda tx: actions.append(tx, old, note, after(1)))
        assert await watch.next() == {Change(old.run_key, "x", ROOT, Phase.QUEUED)}
    row = await database.read(lambda tx: actions.get(tx, old.run_key, "x"))
    assert row == replace(old, seq=old.seq + 1)


async def test_the_queue_is_every_task_that_has_not_ended(database: Database) -> None:
    async def write(tx: Tx) -> None:
        key = await add_run(tx, "r")
        for phase in Phase:
            await add_action(tx, key, new(f"task-{phase.name}"))
            await tx.execute(
                "UPDATE actions SET phase = :p WHERE name = :n", {"p": int(phase), "n": f"task-{phase.name}"}
            )
        await add_action(tx, key, new("trace", kind=Kind.TRACE, hosted=False))

    await database.write(write)
    queue, after = [], (-1, "")
    while page := await database.read(lambda tx, key=after: actions.queue(tx, key, 2)):  # type: ignore[misc]
        assert len(page) <= 2
        queue += page
        after = (page[-1].run_key, page[-1].id.name)
    waiting = {f"task-{phase.name}" for phase in Phase if not phase.terminal}
    assert sorted(a.id.name for a in queue) == sorted({ROOT} | waiting)


async def test_descendants_are_all_below_that_have_not_ended(database: Database) -> None:
    """Nearest first, also below one that has ended; never a sibling, never another run's."""

    async def write(tx: Tx) -> int:
        key = await add_run(tx, "r")
        for name, parent in [("x", "a0"), ("y", "a0"), ("x1", "x"), ("x2", "x"), ("x11", "x1"), ("x111", "x11")]:
            await add_action(tx, key, new(name, parent))
        await tx.execute("UPDATE actions SET phase = 5 WHERE name = 'x11'")
        other = await add_run(tx, "other")
        await add_action(tx, other, new("x"))
        await add_action(tx, other, new("stranger", "x"))
        return key

    key = await database.write(write)

    async def below(name: str, limit: int = 99) -> list[str]:
        return [a.id.name for a in await database.read(lambda tx: actions.descendants(tx, key, name, limit))]

    assert await below("a0") == ["x", "y", "x1", "x2", "x111"]
    assert await below("x") == ["x1", "x2", "x111"]
    assert await below("x111") == []
    assert await below("missing") == []
    assert await below("a0", 2) == ["x", "y"]


async def test_children_after(database: Database) -> None:
    async def write(tx: Tx) -> int:
        key = await add_run(tx, "r")
        for name, parent in [("x", "a0"), ("deep", "x"), ("y", "a0"), ("z", "a0")]:
            await add_action(tx, key, new(name, parent))
        return key

    key = await database.write(write)

    async def children(seq: int, limit: int) -> list[Action]:
        return await database.read(lambda tx: actions.children_after(tx, key, "a0", seq, limit))

    first = await children(-1, 2)
    assert [a.id.name for a in first] == ["x", "y"]
    await _advance(database, first[0], _to(Phase.RUNNING))
    rest = await children(first[-1].seq, 9)
    assert [(a.id.name, a.phase) for a in rest] == [("z", Phase.QUEUED), ("x", Phase.RUNNING)]
    assert await children(rest[-1].seq, 9) == []
    everything = await database.read(lambda tx: actions.changed_after(tx, key, -1, 99))
    assert [a.id.name for a in everything] == ["a0", "deep", "y", "z", "x"]


async def test_specs_are_stored_once(database: Database) -> None:
    async def write(tx: Tx) -> bytes:
        return await specs.put(tx, b"the same")

    digests = {await database.write(write) for _ in range(3)}
    assert len(digests) == 1
    assert await database.read(lambda tx: specs.get(tx, digests.pop())) == b"the same"

    async def count(tx: Tx) -> int:
        row = await tx.one("SELECT count(*) AS n FROM specs")
        assert row is not None
        return int(row["n"])

    assert await database.read(count) == 1


async def test_the_details_of_events_leave_out_what_is_empty(database: Database) -> None:
    await database.write(_setup)

    async def details(tx: Tx) -> set[str]:
        return {row["detail"] for row in await tx.all("SELECT detail FROM events")}

    assert {json.dumps(json.loads(d)) for d in await database.read(details)} == {"{}"}
