"""`alula migrate`, as an operator calls it."""

from pathlib import Path

import pytest

from alula.storage.address import Address, SqliteFile
from alula.storage.migrate import chain
from tests.cli.test_alula import run
from tests.postgres import Cluster

NAMES = [migration.name for migration in chain()]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "new.db")
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.empty().dsn


def test_migrate(url: str) -> None:
    told = run("migrate", "--database", url, "--dry-run")
    assert told.stdout.splitlines() == [f"would apply {name}" for name in NAMES], told.stderr
    assert not Path(url).exists(), "it only tells"
    done = run("migrate", "--database", url)
    assert done.stdout.splitlines() == [f"applied {name}" for name in NAMES], done.stderr
    for again in (run("migrate", "--database", url), run("migrate", "--database", url, "--dry-run")):
        assert (again.returncode, again.stdout) == (0, "the database is up to date\n")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://h/db", "no database"),
        ("/no/such/folder/alula.db", "folder"),
        ("postgresql://u:hunter2@127.0.0.1:1/db", "cannot be reached"),
        ("postgresql://u:hunter2@127.0.0.1:99999999/db", "address"),
    ],
)
def test_what_cannot_be_migrated(url: str, says: str) -> None:
    done = run("migrate", "--database", url)
    assert done.returncode == 1
    assert says in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_server_in_use_stays_as_it_is(address: Address) -> None:
    url = str(address.path) if isinstance(address, SqliteFile) else address.dsn
    assert run("migrate", "--database", url).stdout == "the database is up to date\n"
