"""Every type of value, from a client to tasks and back."""

from typing import Any

import pytest

from .user import Told, User

POINT = {"x": 1, "y": 2.5, "tags": ["a"]}
OTHER = {"x": 3, "y": 0.5, "tags": []}


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("literals.py")


@pytest.mark.parametrize(
    ("key", "outputs"),
    [
        ("scalars", [7, 2.5, "snow ☃", True]),
        ("many_scalars", [[repr((-(2**53), 1e-300, "naïve ☃ \x00 \n", True)), repr((0, 0.0, "", False))]]),
        ("times", ["2026-01-02T03:04:07.178901+00:00", 3.0, "2026-03-01T00:00:00+00:00"]),  # dates travel as times
        ("optional", [None, "y"]),
        ("default", [5, None]),
        ("unions", [["int:3", "str:3", "list:[3.5]"]]),
        ("union", ["str:text"]),
        ("collections", [{"3": [3], "0": [], "a": [2], "b": [0]}]),
        ("untyped", [{"was": {"b": [1, "two", None], "a": {"deep": 1.5}}, "keys": ["a", "b"]}]),
        ("colour", ["BLUE"]),
        (
            "line",
            [[{"start": POINT, "end": OTHER, "colour": "red"}, {"start": OTHER, "end": POINT, "colour": "blue"}]],
        ),
        ("model", [{"name": "M", "sizes": {"s": 2, "l": 6}, "inner": {"name": "m"}}]),
        ("model_parent", ['{"name":"A","sizes":{"s":2},"inner":{"name":"a"}}']),
        ("pair", [["2", "abab"]]),
        ("options", [{"depth": 2, "names": ["old", "new"]}]),
        ("raw", [[4, 3, 2, 1, 0]]),
        ("opaque", [42]),
        ("big", [True, True]),
    ],
)
def test_there_and_back(told: Told, key: str, outputs: list[Any]) -> None:
    assert (told[key]["phase"], told[key]["outputs"]) == ("SUCCEEDED", outputs), told[key]["error"]


def test_inputs_can_be_read_back(told: Told) -> None:
    assert told["model_inputs"]["outputs"] == [{"name": "m", "sizes": {"s": 1, "l": 3}, "inner": None}]
