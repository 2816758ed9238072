"""What is seen of a task while it runs, and what is not to be seen of it at all."""

from pathlib import Path

import pytest

from .user import Told, User

TOKEN = "hunter2-hunter22"  # begins with what it goes on with
FILE = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nx==\n-----END KEY-----\n"


@pytest.fixture(scope="module")
def told(user: User, tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("live")
    (folder / "key").write_text(FILE)
    user.flyte("create", "secret", "live-token", "--value", TOKEN)
    user.flyte("create", "secret", "live-file", "--from-file", str(folder / "key"))
    return user.python("live.py", str(folder))


def test_a_line_is_seen_at_once(told: Told) -> None:
    """From the task's print to the client and back: each line was printed after the one before had been seen."""
    count, median = told["late"]
    assert count == 19
    assert median < 0.2


def test_a_report_is_read_while_it_is_written(told: Told) -> None:
    first, last = told["reports"]
    assert "half done" in first
    assert "all done" not in first
    assert "all done" in last


def test_a_log_shows_no_secret(told: Told) -> None:
    log = told["leaks"]["log"]
    assert told["leaks"]["outputs"] == [[len(TOKEN), len(FILE)]]
    assert "the token is ***.\n***\nthe file has\n***\n***\nx==\n***\nand no more\n" in log
    assert not [line for line in FILE.splitlines() if len(line) > 5 and line in log]


def test_an_error_shows_no_secret(told: Told) -> None:
    said = told["dies"]["attempts"][0]["message"]
    assert "last words: ***" in said
    assert TOKEN not in str(told["dies"])


def test_the_server_says_how_it_began_and_ended(told: Told) -> None:
    first, last = told["dies"]["system"]
    assert " process " in first
    assert last.startswith("exit code 3")


def test_progress_bars_colours_and_garbage(told: Told) -> None:
    """Each step of a bar arrives when it is printed; the SDK leaves out what would move the cursor."""
    bars = "".join(f"{n * 25:3}%|{'█' * n:4}|" for n in range(5))
    assert bars + "\n\x1b[31mred\x1b[0m \ufffd\0\n" in told["bars"]["log"]


def test_nothing_of_them_is_on_the_disk_but_sealed(told: Told, user: User) -> None:
    home = Path(user.env["FLYTECTL_CONFIG"]).parent
    found = [path for path in home.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert found == []
