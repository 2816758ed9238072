"""The chain of migrations, and files that are none of ours."""

import sqlite3
from pathlib import Path

import pytest

from alula.core.errors import Conflict
from alula.storage import migrate as module
from alula.storage.migrate import migrate
from alula.storage.sqlite import connect


def _schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return [tuple(row) for row in connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name")]


def test_a_fresh_file(tmp_path: Path) -> None:
    connection = connect(tmp_path / "alula.db")
    assert migrate(connection) == sorted(p.name for p in Path(module.__file__).parent.glob("migrations/*.sql"))
    assert {"runs", "actions", "events", "specs", "tasks", "projects"} <= {name for name, _ in _schema(connection)}
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()


def test_again_changes_nothing(tmp_path: Path) -> None:
    connection = connect(tmp_path / "alula.db")
    migrate(connection)
    before = _schema(connection)
    assert migrate(connection) == []
    connection.close()
    reopened = connect(tmp_path / "alula.db")
    assert migrate(reopened) == []
    assert _schema(reopened) == before
    reopened.close()


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    connection = connect(tmp_path / "alula.db")
    known = len(migrate(connection))
    connection.execute(f"PRAGMA user_version = {known + 1}")
    before = _schema(connection)
    with pytest.raises(Conflict, match="upgrade alula"):
        migrate(connection)
    assert _schema(connection) == before
    connection.close()


@pytest.mark.parametrize(
    "script", ["CREATE TABLE mine (x); INSERT INTO mine VALUES (1);", "PRAGMA application_id = 7;"]
)
def test_a_file_of_somebody_else_is_refused_and_left_alone(tmp_path: Path, script: str) -> None:
    path = tmp_path / "other.db"
    foreign = sqlite3.connect(path)
    foreign.executescript(script)
    foreign.close()
    before = path.read_bytes()
    connection = connect(path)
    with pytest.raises(Conflict, match="not one of alula's"):
        migrate(connection)
    connection.close()
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "alula.db"
    path.write_text("a letter to my grandmother, long enough to be looked at\n" * 100)
    before = path.read_bytes()
    with pytest.raises(Conflict, match="not one of alula's"):
        migrate(connect(path))
    assert path.read_bytes() == before


def test_each_is_applied_once_in_order_and_in_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    monkeypatch.setattr(module, "_folder", lambda: folder)
    (folder / "0002_more.sql").write_text("INSERT INTO t VALUES (2);")
    (folder / "0001_first.sql").write_text("CREATE TABLE t (x);")
    (folder / "readme.txt").write_text("not one of them")
    path = tmp_path / "alula.db"
    connection = connect(path)
    assert migrate(connection) == ["0001_first.sql", "0002_more.sql"]
    (folder / "0003_broken.sql").write_text("INSERT INTO t VALUES (3); INSERT INTO missing VALUES (1);")
    with pytest.raises(sqlite3.Error):
        migrate(connection)
    connection.close()
    connection = connect(path)
    assert [row[0] for row in connection.execute("SELECT x FROM t")] == [2], "half a migration is none"
    (folder / "0003_broken.sql").write_text("INSERT INTO t VALUES (3);")
    assert migrate(connection) == ["0003_broken.sql"]
    assert [row[0] for row in connection.execute("SELECT x FROM t")] == [2, 3]
    connection.close()
