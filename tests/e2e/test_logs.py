"""Logs: every line, whole, in order, once."""

import pytest

from .user import Told, User

PRINTED = "".join(
    [
        "first\ntwo\nlines at once\nno end ... and its end\n",
        "naïve ☃ 🐍\ttabbed  spaces\n\nto stderr\n",
        "x" * 100_000 + "\n",
        *(f"numbered {n}\n" for n in range(200)),
        "last, without an end",
    ]
)


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("logs.py")


def test_what_was_printed_is_what_is_read(told: Told) -> None:
    """Case O14: line ends and all."""
    before, started, rest = told["prints"]["log"].partition(PRINTED)
    assert started, told["prints"]["log"][:2000]
    assert "Flyte runtime started" in before
    assert "exit code 0" in rest


def test_a_log_can_be_followed(told: Told) -> None:
    steps = [line for line in told["follows"]["log"].splitlines() if line.startswith("step ")]
    assert steps == ["step 0", "step 1", "step 2"]


def test_five_megabytes_arrive(told: Told) -> None:
    (count,) = told["much"]["outputs"]
    assert told["much"]["numbers"] == [count, True, count]


def test_the_runtime_speaks_of_itself_only_around_the_task(told: Told) -> None:
    said = [line for line in told["silent"]["log"].splitlines() if "[flyte]" in line]
    assert len(said) == 2


def test_the_command_prints_a_log(told: Told, user: User) -> None:
    printed = user.flyte("get", "logs", told["follows"]["run"])
    positions = [printed.index(f"step {n}") for n in range(3)]
    assert positions == sorted(positions)
