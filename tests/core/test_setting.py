"""What settings at several levels come to.

Case C34: INHERIT, UNSET and VALUE at three levels, for single values and for maps. Case O16: settings are resolved.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.core.errors import Invalid
from alula.core.scope import Level, Scope
from alula.core.setting import Layer, Setting, State, over, resolve, values

INHERIT, UNSET, VALUE = State
PATH = "run.default_queue"


def layer(level: Level, state: State, value: object) -> Layer:
    return {PATH: Setting(state, value if state is VALUE else None, level)}


def expected(states: Sequence[State], given_: Sequence[object]) -> tuple[State, object, Level] | None:
    """The same rule, read from the narrowest level up: what counts is all that stands above the last UNSET."""
    said = [(state, value, Level(n)) for n, (state, value) in enumerate(zip(states, given_, strict=True)) if state]
    if not said:
        return None
    state, value, level = said[-1]
    if state is UNSET or not isinstance(value, Mapping):
        return state, None if state is UNSET else value, level
    counted = [v for s, v, _ in said[max((n + 1 for n, (s, _, _) in enumerate(said) if s is UNSET), default=0) :]]
    return VALUE, {k: v for entries in counted if isinstance(entries, Mapping) for k, v in entries.items()}, level


@pytest.mark.parametrize("states", list(product(State, repeat=3)), ids=lambda states: "-".join(s.name for s in states))
@pytest.mark.parametrize(
    "given_", [("o", "d", "p"), ({"a": "o", "b": "o"}, {"b": "d", "c": "d"}, {"c": "p"})], ids=["single", "map"]
)
def test_the_truth_table(states: tuple[State, ...], given_: tuple[object, ...]) -> None:
    found = resolve([layer(level, states[level], given_[level]) for level in Level])
    wanted = expected(states, given_)
    if wanted is None:
        assert found == {}
    else:
        assert (found[PATH].state, found[PATH].value, found[PATH].level) == wanted
    assert (PATH in values(found)) == (wanted is not None and wanted[0] is VALUE)


@pytest.mark.parametrize(
    ("states", "value", "level"),
    [
        ((VALUE, VALUE, VALUE), {"a": "o", "b": "d", "c": "p"}, Level.PROJECT),
        ((VALUE, VALUE, INHERIT), {"a": "o", "b": "d", "c": "d"}, Level.DOMAIN),
        ((VALUE, UNSET, VALUE), {"c": "p"}, Level.PROJECT),
        ((VALUE, VALUE, UNSET), None, Level.PROJECT),
        ((VALUE, UNSET, INHERIT), None, Level.DOMAIN),
        ((INHERIT, INHERIT, VALUE), {"c": "p"}, Level.PROJECT),
    ],
)
def test_maps_by_hand(states: tuple[State, ...], value: object, level: Level) -> None:
    given_ = ({"a": "o", "b": "o"}, {"b": "d", "c": "d"}, {"c": "p"})
    found = resolve([layer(n, states[n], given_[n]) for n in Level])[PATH]
    assert (found.value, found.level) == (value, level)


_texts = st.text("ab", max_size=2)
_maps = st.dictionaries(st.sampled_from("abc"), _texts, max_size=3)


@st.composite
def _layers(draw: st.DrawFn, level: Level, states: Sequence[State] = tuple(State)) -> Layer:
    made = {}
    for path, kind in (("single", _texts), ("map", _maps), ("other", _maps)):
        state = draw(st.sampled_from(states))
        made[path] = Setting(state, draw(kind) if state is VALUE else None, level)
    return made


@given(_layers(Level.ORG), _layers(Level.DOMAIN, [INHERIT, VALUE]), _layers(Level.PROJECT, [INHERIT, VALUE]))
def test_resolving_in_steps_is_resolving_at_once(org: Layer, domain: Layer, project: Layer) -> None:
    """A cleared map is the one exception, and why layers are always taken broadest first."""
    assert over(over(org, domain), project) == over(org, over(domain, project))


@given(_layers(Level.ORG), _layers(Level.DOMAIN), _layers(Level.PROJECT))
def test_saying_it_twice_changes_nothing(org: Layer, domain: Layer, project: Layer) -> None:
    once = resolve([org, domain, project])
    assert over(once, project) == once
    assert resolve([once]) == once
    assert resolve([org, {}, domain, {}, project]) == once


@given(_layers(Level.ORG), _layers(Level.DOMAIN), _layers(Level.PROJECT))
def test_every_setting_is_as_the_rule_says(org: Layer, domain: Layer, project: Layer) -> None:
    found = resolve([org, domain, project])
    for path in ("single", "map", "other"):
        said = [one[path] for one in (org, domain, project)]
        wanted = expected([s.state for s in said], [s.value for s in said])
        assert (None if wanted is None else Setting(*wanted)) == found.get(path)


def test_the_scopes_that_one_inherits_from() -> None:
    assert Scope().chain() == (Scope(),)
    assert Scope("d").chain() == (Scope(), Scope("d"))
    assert Scope("d", "p").chain() == (Scope(), Scope("d"), Scope("d", "p"))
    assert [scope.level for scope in Scope("d", "p").chain()] == list(Level)
    with pytest.raises(Invalid, match="domain"):
        Scope(project="p")
