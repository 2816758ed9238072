"""SIGKILL at any moment: what was answered is there afterwards, and nothing is half there."""

import subprocess
import sys
from pathlib import Path

import pytest

from alula.storage.migrate import migrate
from alula.storage.sqlite import connect

from .builders import fresh

_CROWD = Path(__file__).with_name("crowd.py")


@pytest.mark.parametrize("answers", [1, 137, 900])
def test_what_was_answered_survives(tmp_path: Path, answers: int) -> None:
    path = fresh(tmp_path / "alula.db")
    with subprocess.Popen([sys.executable, _CROWD, path], stdout=subprocess.PIPE, text=True) as crowd:
        assert crowd.stdout is not None
        answered = [crowd.stdout.readline().strip() for _ in range(answers)]
        crowd.kill()
        lines = crowd.stdout.read().splitlines(keepends=True)  # what it had printed before it died
        answered += [line.strip() for line in lines if line.endswith("\n")]
    connection = connect(path)
    assert migrate(connection) == []
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    there = {row["name"] for row in connection.execute("SELECT name FROM runs")}
    whole = {
        row["name"]
        for row in connection.execute(
            """
            SELECT r.name FROM runs r
            JOIN actions a ON a.run = r.key JOIN specs s ON s.digest = a.spec
            JOIN events e ON e.run = r.key AND e.seq = r.seq AND a.seq = r.seq
            """
        )
    }
    connection.close()
    assert len(answered) >= answers
    assert set(answered) <= there, "answered, and gone"
    assert there == whole, "half of a run is there"
