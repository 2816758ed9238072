"""Reports of executors elsewhere in any order, twice or not at all: the row is the same in the end."""

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from alula.core.action import Action, Event, Failure
from alula.core.phase import Phase, follows

from .world import NOW, Ticking, World, opened

_STEPS = (Phase.QUEUED, Phase.WAITING_FOR_RESOURCES, Phase.INITIALIZING, Phase.RUNNING, Phase.RUNNING)
_AGAIN = (Phase.FAILED, Phase.TIMED_OUT)
_ENDS = (*_AGAIN, Phase.SUCCEEDED, Phase.ABORTED)


@st.composite
def _histories(draw: st.DrawFn) -> list[Event]:
    """What an honest executor tells, in the order in which it happens; the last is the end of the last attempt."""
    told: list[Event] = []
    attempts = draw(st.integers(1, 3))
    for attempt in range(1, attempts + 1):
        steps = sorted(draw(st.lists(st.sampled_from(_STEPS), max_size=6)))
        end = draw(st.sampled_from(_ENDS if attempt == attempts else _AGAIN))
        for version, phase in enumerate([*steps, end]):
            failure = Failure("E", f"of {attempt}") if phase in _AGAIN else None
            at = NOW + timedelta(days=365, seconds=len(told))  # the clock of the world goes on with every look
            logged = draw(st.booleans())
            told.append(Event("x", attempt, phase, version, at, failure=failure, logged=logged))
    return told


def _in_the_end(row: Action) -> tuple[Any, ...]:
    """What does not depend on how often a row was written."""
    fields = (row.phase, row.attempt, row.failure, row.output_uri, row.started_at, row.logged)
    return (*fields, row.ended_at and max(row.ended_at, row.created_at))


class Reports(RuleBasedStateMachine):
    """One action that is told of as luck has it, and its twin that is told of the same things in order."""

    def __init__(self, runner: asyncio.Runner, world: World, number: int) -> None:
        super().__init__()
        self.runner, self.world, self.run = runner, world, f"r{number}"
        self.runner.run(world.start("x", "y", run=self.run))
        self.history: list[Event] = []
        self.heard: list[Event] = []
        self.before: Action | None = None

    @initialize(history=_histories(), luck=st.randoms(use_true_random=False), all_arrive=st.booleans())
    def live(self, history: list[Event], luck: Any, all_arrive: bool) -> None:
        self.history = list(history)
        self.waiting = list(history)
        luck.shuffle(self.waiting)
        self.all_arrive = all_arrive

    def _report(self, name: str, event: Event) -> None:
        told = [(self.world.id(name, self.run), replace(event, action=name))]
        self.runner.run(self.world.attempts.record(told))

    def _row(self, name: str) -> Action:
        return self.runner.run(self.world.get(name, self.run))

    @rule(again=st.integers(0, 2))
    def one_arrives(self, again: int) -> None:
        if self.waiting:
            self.heard.append(self.waiting.pop())
            for _ in range(again + 1):
                self._report("x", self.heard[-1])

    @rule(which=st.integers(0, 100))
    def an_old_one_arrives_again(self, which: int) -> None:
        if self.heard:
            self._report("x", self.heard[which % len(self.heard)])

    @rule()
    def one_is_lost(self) -> None:
        if self.waiting and self.waiting[-1] is not self.history[-1]:
            self.waiting.pop()

    @invariant()
    def an_attempt_never_goes_back(self) -> None:
        row = self._row("x")
        if self.before is not None and self.before.attempt == row.attempt:
            assert row.phase is self.before.phase or follows(self.before.phase, row.phase)
        assert self.before is None or row.attempt >= self.before.attempt
        self.before = row

    def teardown(self) -> None:
        """What still waits arrives now, or is lost; but the last end arrives at the latest now."""
        if not self.history:
            return
        end = self.history[-1]
        for event in self.waiting if self.all_arrive else [end]:
            if event not in self.heard:
                self.heard.append(event)
                self._report("x", event)
        for event in self.history:
            if event in self.heard:
                self._report("y", event)
        x, y = self._row("x"), self._row("y")
        assert _in_the_end(x) == _in_the_end(replace(y, output_uri=y.output_uri.replace("/y/", "/x/")))
        assert (x.phase, x.attempt) == (end.phase, end.attempt)
        last = [event for event in self.heard if event.attempt == end.attempt]
        assert x.logged is any(event.logged for event in last)
        assert x.started_at == min((event.at for event in last if event.phase is Phase.RUNNING), default=None)


def test_the_row_is_the_same_in_the_end(tmp_path: Path) -> None:
    """The state machine, against the real verb on a real database."""
    numbers = itertools.count()
    with asyncio.Runner() as runner:
        opening = opened(tmp_path, Ticking())
        world = runner.run(opening.__aenter__())
        try:
            run_state_machine_as_test(lambda: Reports(runner, world, next(numbers)), settings=_SETTINGS)  # type: ignore[arg-type]
        finally:
            runner.run(opening.__aexit__(None, None, None))


_SETTINGS = settings(max_examples=80, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))


async def test_many_events_cost_no_more_each(world: World) -> None:
    """Case C11: 600 events of attempt 1, then attempt 2 succeeds: attempts and outputs are complete."""
    await world.start("x")
    start = world.clock.now
    told = [
        (world.id("x"), Event("x", 1, Phase.RUNNING, n, start + timedelta(seconds=n), logged=n == 3))
        for n in range(600)
    ]
    await world.attempts.record(told)
    await world.attempts.record(told)
    end = start + timedelta(hours=1)
    await world.report("x", Phase.FAILED, 1, at=end, version=600, failure=Failure("E", "no"))
    await world.report("x", Phase.SUCCEEDED, 2, at=end, output_uri="s3://o")
    details = await world.actions.details(world.id("x"))
    first, second = details.attempts
    assert (first.phase, first.failure, first.logged) == (Phase.FAILED, Failure("E", "no"), True)
    assert (second.phase, second.output_uri) == (Phase.SUCCEEDED, "s3://o")
    assert (details.action.phase, details.action.attempt) == (Phase.SUCCEEDED, 2)
    counted = await world.database.read(lambda tx: tx.one("SELECT count(*) AS n FROM events WHERE action = 'x'"))
    assert counted is not None
    assert counted["n"] == 603, "the 600 that came again are not kept"
