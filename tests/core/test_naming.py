"""Names that clients give, and names that this server gives."""

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.core.errors import Invalid
from alula.core.ids import ActionId, RunId
from alula.core.naming import attempt_label, attempt_name, check_run_name, run_name

_FILE = re.compile(r"[a-z0-9][a-z0-9.-]{0,199}")


@pytest.mark.parametrize("name", ["a", "r1", "my-run", "a" * 30, "a--b", "z9"])
def test_run_names(name: str) -> None:
    check_run_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "a" * 31, "1a", "-a", "a-", "A", "a_b", "a.b", "a/b", "a b", "a\n", "\N{LATIN SMALL LETTER E WITH ACUTE}"],
)
def test_no_run_names(name: str) -> None:
    with pytest.raises(Invalid, match=re.escape("run_id.name")):
        check_run_name(name)


@given(st.binary())
def test_generated_names_are_names(seed: bytes) -> None:
    name = run_name(seed)
    check_run_name(name)
    assert len(name) == 20
    assert name == run_name(seed), "what makes a request unique finds its run again"


def test_generated_names_differ() -> None:
    assert len({run_name(n.to_bytes(4, "big")) for n in range(20_000)}) == 20_000


_runs = st.builds(
    RunId,
    project=st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=63),
    domain=st.sampled_from(["development", "staging", "production"]),
    name=st.from_regex(r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?", fullmatch=True),
)
_actions = st.builds(
    ActionId, run=_runs, name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
)
_attempts = st.tuples(_actions, st.integers(1, 10_000))


@given(_attempts)
def test_attempt_names_are_safe_as_file_names(attempt: tuple[ActionId, int]) -> None:
    assert _FILE.fullmatch(attempt_name(*attempt))


@given(st.lists(_attempts, min_size=2, max_size=6, unique=True))
def test_attempt_names_are_unique(attempts: list[tuple[ActionId, int]]) -> None:
    for one, other in combinations(attempts, 2):
        assert attempt_name(*one) != attempt_name(*other)


def test_names_that_look_alike_are_told_apart() -> None:
    projects = ["p", "p-x", "P"]
    domains = ["development", "staging"]
    names = ["a0", "A0", "a-0", "a_0", "a.0", "a/0", "a 0", "x" * 200, "x" * 201, "a0.1", "a0-1"]
    every = [
        attempt_name(ActionId(RunId(p, d, r), n), attempt)
        for p in projects
        for d in domains
        for r in ["r", "r-a"]
        for n in names
        for attempt in [1, 2, 11]
    ]
    assert len(every) == len(set(every))


def test_attempt_names_can_be_read() -> None:
    name = attempt_name(ActionId(RunId("p", "development", "my-run"), "a0"), 2)
    assert name.startswith("my-run-a0.")
    assert name.endswith(".2")


@pytest.mark.parametrize(("length", "kept"), [(1, True), (63, True), (64, False), (200, False)])
def test_an_attempt_is_a_label(length: int, kept: bool) -> None:
    label = attempt_label("x" * length)
    assert (label == "x" * length) is kept
    assert len(label) <= 63
    assert label != attempt_label("y" + "x" * (length - 1))
