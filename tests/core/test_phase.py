"""Which phase may follow which: the whole matrix."""

import pytest

from alula.core.phase import Phase, follows

# Rows: now; columns: later, in the order of the rows. "1": may follow.
_MATRIX = """
                      Q W I R S F A T P C
QUEUED                1 1 1 1 1 1 1 1 1 1
WAITING_FOR_RESOURCES 0 1 1 1 1 1 1 1 1 1
INITIALIZING          0 0 1 1 1 1 1 1 1 1
RUNNING               0 0 0 1 1 1 1 1 1 1
SUCCEEDED             0 0 0 0 0 0 0 0 0 0
FAILED                0 0 0 0 0 0 0 0 0 0
ABORTED               0 0 0 0 0 0 0 0 0 0
TIMED_OUT             0 0 0 0 0 0 0 0 0 0
PAUSED                0 0 0 1 1 1 1 1 1 1
RECOVERED             0 0 0 0 0 0 0 0 0 0
"""
_ROWS = [line.split() for line in _MATRIX.strip().splitlines()[1:]]
_CELLS = [
    (Phase[row[0]], Phase[later[0]], row[column] == "1") for row in _ROWS for column, later in enumerate(_ROWS, start=1)
]


def test_the_matrix_is_whole() -> None:
    """Case C4."""
    assert len(_CELLS) == len(Phase) ** 2


@pytest.mark.parametrize(("now", "later", "may"), _CELLS)
def test_follows(now: Phase, later: Phase, may: bool) -> None:
    """Case C4."""
    assert follows(now, later) is may


@pytest.mark.parametrize("phase", Phase)
def test_terminal_and_success(phase: Phase) -> None:
    ended = {Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT, Phase.RECOVERED}
    assert phase.terminal is (phase in ended)
    assert phase.success is (phase in {Phase.SUCCEEDED, Phase.RECOVERED})
