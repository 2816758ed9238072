"""What a filter shows of a tree, against looking at all of it anew; told of whole, and slowly."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from alula.core.phase import Phase
from alula.core.tree import Tree
from alula.core.view import Sieve, View

_PHASES = (Phase.QUEUED, Phase.RUNNING, Phase.SUCCEEDED)
_RUNNING = Sieve((frozenset({Phase.RUNNING}),))
_ODD = Sieve(parts=("odd",))
Parents = dict[str, str | None]


@st.composite
def _trees(draw: st.DrawFn) -> Parents:
    parents: Parents = {"n0": None}
    for n in range(1, draw(st.integers(1, 10))):
        parents[f"n{n}"] = f"n{draw(st.integers(0, n - 1))}"
    return parents


def _title(name: str) -> str:
    return f"{name}-{'ODD' if int(name[1:]) % 2 else 'even'}"


def _anew(parents: Parents, phases: dict[str, Phase], sieve: Sieve) -> set[str]:
    """What passes, and its ancestors as far up as every action between has been told of."""
    shown = set()
    for name, phase in phases.items():
        above: str | None = name if sieve.passes(phase, _title(name)) else None
        while above is not None and above in phases:
            shown.add(above)
            above = parents[above]
    return shown


@given(_trees(), st.sampled_from([Sieve(), _RUNNING, _ODD]), st.integers(1, 4), st.randoms(), st.data())
def test_a_watcher_of_any_pace_ends_with_what_is_shown(
    parents: Parents, sieve: Sieve, limit: int, random: Random, data: st.DataObject
) -> None:
    told = [(name, data.draw(st.sampled_from(_PHASES))) for name in parents for _ in range(3)]
    random.shuffle(told)
    view, tree, phases = View(sieve), Tree[Phase](), dict[str, Phase]()
    seen: set[str] = set()
    stamp = 0
    for name, phase in told:
        touched = tree.update(name, parents[name], phase)
        view.update(name, parents[name], phase, _title(name), touched)
        phases[name] = phase
        if data.draw(st.booleans()):
            found, stamp = view.after(stamp, limit)
            seen = (seen | {n for n, shown in found if shown}) - {n for n, shown in found if not shown}
    while stamp < view.stamp:
        found, stamp = view.after(stamp, limit)
        assert len(found) <= limit
        seen = (seen | {n for n, shown in found if shown}) - {n for n, shown in found if not shown}
    assert seen == _anew(parents, phases, sieve)


def test_what_is_not_shown_any_more_is_told_of_once() -> None:
    view = View(_RUNNING)
    view.update("a0", None, Phase.QUEUED, "a0", ())
    assert view.after(0, 10) == ([], 0), "what never was shown is not told of"
    view.update("x", "a0", Phase.RUNNING, "x", ["a0"])
    assert view.after(0, 10) == ([("x", True), ("a0", True)], 2), "an ancestor comes with it"
    view.update("x", "a0", Phase.SUCCEEDED, "x", ["a0"])
    assert view.after(2, 10) == ([("x", False), ("a0", False)], 4)
    view.update("x", "a0", Phase.FAILED, "x", ["a0"])
    assert view.after(4, 10) == ([], 4)
    assert view.after(0, 10, began=4)[0] == [], "whoever comes later never saw it"


def test_a_change_that_came_many_times_is_told_of_once_and_costs_one_place() -> None:
    view = View(Sieve())
    view.update("a0", None, Phase.RUNNING, "a0", ())
    for _ in range(5000):
        view.update("x", "a0", Phase.RUNNING, "x", ["a0"])
    assert view.after(0, 10) == ([("x", True), ("a0", True)], 10001)
    assert len(view._log) < 2000
