"""The tree of a run's actions, against counting anew."""

from collections import Counter
from itertools import takewhile
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from alula.core.phase import Phase
from alula.core.tree import Tree

Parents = dict[str, str | None]


@st.composite
def _forests(draw: st.DrawFn) -> Parents:
    """Every action's parent was there before it; the first is the root."""
    parents: Parents = {"n0": None}
    for n in range(1, draw(st.integers(1, 12))):
        parents[f"n{n}"] = f"n{draw(st.integers(0, n - 1))}"
    return parents


def _ancestors(parents: Parents, name: str) -> list[str]:
    found = []
    parent = parents[name]
    while parent is not None:
        found.append(parent)
        parent = parents[parent]
    return found


def _recount(parents: Parents, phases: dict[str, Phase]) -> dict[str, dict[Phase, int]]:
    """Counted anew. An action counts for those above it as far up as every action between them has been told of."""
    counts: dict[str, Counter[Phase]] = {name: Counter() for name in phases}
    for name, phase in phases.items():
        for above in takewhile(counts.__contains__, _ancestors(parents, name)):
            counts[above][phase] += 1
    return {name: dict(count) for name, count in counts.items()}


@given(_forests(), st.randoms(), st.data())
def test_any_order_gives_the_same_counts(parents: Parents, random: Random, data: st.DataObject) -> None:
    told = [(name, data.draw(st.sampled_from(Phase))) for name in parents for _ in range(data.draw(st.integers(1, 3)))]
    random.shuffle(told)
    tree, phases = Tree[Phase](), dict[str, Phase]()
    for name, phase in told:
        before = _recount(parents, phases)
        changed = tree.update(name, parents[name], phase)
        phases[name] = phase
        now = _recount(parents, phases)
        assert {n: tree.below(n) for n in phases} == now
        assert changed == [n for n in _ancestors(parents, name) if n in before and before[n] != now[n]], "nearest first"
    assert set(phases) == set(parents)


def test_a_phase_told_twice_changes_nothing() -> None:
    tree = Tree[Phase]()
    tree.update("a0", None, Phase.RUNNING)
    assert tree.update("c", "a0", Phase.QUEUED) == ["a0"]
    assert tree.update("c", "a0", Phase.QUEUED) == []
    assert tree.below("a0") == {Phase.QUEUED: 1}


def test_counts_that_fell_to_nothing_are_left_out() -> None:
    tree = Tree[Phase]()
    tree.update("a0", None, Phase.RUNNING)
    tree.update("c", "a0", Phase.QUEUED)
    assert tree.update("c", "a0", Phase.SUCCEEDED) == ["a0"]
    assert tree.below("a0") == {Phase.SUCCEEDED: 1}


def test_a_child_before_its_parents() -> None:
    tree = Tree[Phase]()
    assert tree.update("grandchild", "child", Phase.RUNNING) == []
    assert tree.update("a0", None, Phase.RUNNING) == []
    assert tree.update("child", "a0", Phase.SUCCEEDED) == ["a0"]
    assert tree.below("a0") == {Phase.RUNNING: 1, Phase.SUCCEEDED: 1}
    assert tree.below("child") == {Phase.RUNNING: 1}
