"""Attempts, folded from events."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.core.action import Attempt, Event, Failure, Note, Transition
from alula.core.history import attempts
from alula.core.phase import Phase, follows

from .builders import after, event

Q, W, I, R = Phase.QUEUED, Phase.WAITING_FOR_RESOURCES, Phase.INITIALIZING, Phase.RUNNING  # noqa: E741
S, F, A, P = Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.PAUSED


def test_nothing_happened() -> None:
    assert attempts([]) == []


def test_one_attempt_from_beginning_to_end() -> None:
    (found,) = attempts(
        [
            event(1, Q),
            event(2, I, logged=True, cluster="here"),
            event(3, R),
            event(4, S, output_uri="s3://o", report_uri="s3://r"),
        ]
    )
    assert found == Attempt(
        number=1,
        phase=S,
        start=after(1),
        end=after(4),
        transitions=(
            Transition(Q, after(1), after(2)),
            Transition(I, after(2), after(3)),
            Transition(R, after(3), after(4)),
            Transition(S, after(4), after(4)),
        ),
        failure=None,
        output_uri="s3://o",
        report_uri="s3://r",
        logged=True,
        cluster="here",
        notes=(),
    )


def test_an_unfinished_attempt_has_no_end() -> None:
    (found,) = attempts([event(1, Q), event(2, R)])
    assert (found.phase, found.end) == (R, None)
    assert found.transitions == (Transition(Q, after(1), after(2)), Transition(R, after(2)))


def test_every_attempt_keeps_its_own_end_and_error() -> None:
    """Case C10."""
    first, second = Failure("One", "first"), Failure("Two", "second")
    found = attempts(
        [
            event(1, Q),
            event(2, R),
            event(3, F, failure=first),
            event(4, Q, attempt=2),
            event(5, F, attempt=2, failure=second),
            event(6, Q, attempt=3),
            event(7, R, attempt=3),
            event(8, S, attempt=3),
        ]
    )
    assert [(a.number, a.phase, a.failure, a.start, a.end) for a in found] == [
        (1, F, first, after(1), after(3)),
        (2, F, second, after(4), after(5)),
        (3, S, None, after(6), after(8)),
    ]


@pytest.mark.parametrize("late", [R, Q, S, A, F])
def test_what_comes_after_the_end_changes_only_what_is_told_beside_it(late: Phase) -> None:
    note = Note(after(9), "late")
    failure = Failure("E", "")
    story = [event(1, Q), event(2, R), event(3, F, failure=failure)]
    told = event(9, late, output_uri="s3://late", logged=True, cluster="late", notes=(note,))
    (before,), (found,) = attempts(story), attempts([*story, told])
    assert found.notes == (note,)
    assert (found.phase, found.end, found.failure, found.transitions) == (F, after(3), failure, before.transitions)
    assert (found.output_uri, found.cluster, found.logged) == ("", "", True), "where a log is may be told late"


@pytest.mark.parametrize("late", [Q, W, I])
def test_what_comes_late_takes_nothing_back(late: Phase) -> None:
    (found,) = attempts([event(1, Q), event(2, R), event(3, late)])
    assert found.phase is R
    assert [t.phase for t in found.transitions] == [Q, R]


def test_an_attempt_that_is_told_of_after_the_next_keeps_its_place() -> None:
    found = attempts([event(1, Q), event(2, Q, attempt=2), event(3, F), event(4, R, attempt=2)])
    assert [(a.number, a.phase) for a in found] == [(1, F), (2, R)]


def test_repeated_phases_are_one_transition() -> None:
    (found,) = attempts([event(1, Q), event(2, R), event(3, R), event(4, P), event(5, R)])
    assert [(t.phase, t.start) for t in found.transitions] == [
        (Q, after(1)),
        (R, after(2)),
        (P, after(4)),
        (R, after(5)),
    ]


def test_an_end_is_never_before_its_start() -> None:
    (found,) = attempts([event(5, Q), event(6, S, at=after(1))])
    assert (found.start, found.end) == (after(5), after(5))


def test_no_phase_begins_before_the_one_before_it() -> None:
    """A cluster tells whole seconds: what ran at once ran before it was queued."""
    (found,) = attempts([event(1, Q, at=after(3)), event(2, R), event(4, S)])
    assert found.transitions == (
        Transition(Q, after(3), after(3)),
        Transition(R, after(3), after(4)),
        Transition(S, after(4), after(4)),
    )


def test_notes_are_told_in_order() -> None:
    one, two = Note(after(1), "one"), Note(after(2), "two")
    (found,) = attempts([event(1, Q), event(2, I, notes=(one,)), event(3, R, notes=(two,))])
    assert found.notes == (one, two)


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(Phase)), min_size=1, max_size=12), st.randoms())
def test_the_fold_is_the_naive_walk(told: list[tuple[int, Phase]], random: Random) -> None:
    """Whatever is told, in whatever order it is read: each attempt's phase is where walking forward only leads."""
    events: list[Event] = [event(seq, phase, attempt=number) for seq, (number, phase) in enumerate(told, start=1)]
    phases: dict[int, Phase] = {}
    for number, phase in told:
        if number not in phases or follows(phases[number], phase):
            phases[number] = phase
    random.shuffle(events)
    found = attempts(events)
    assert {a.number: a.phase for a in found} == phases
    assert all((a.end is not None) is a.phase.terminal for a in found)
    assert all(a.transitions[-1].phase is a.phase for a in found)


def test_what_is_heard_in_two_ways_is_told_once() -> None:
    """A cluster's Manager reports it, and the reconciler reads it."""
    notes = (Note(after(0), "pulled"), Note(after(1), "full"))
    told = [event(1, R, notes=notes), event(2, S, notes=(Note(after(9), "pulled"),))]
    (found,) = attempts(told)
    assert found.notes == notes
