"""`alula` itself."""

import os
import re
import statistics
import subprocess
from collections.abc import Sequence

import pytest

import alula
from tests.api.served import ALULA

MILLISECONDS = 300


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ALULA, *arguments], capture_output=True, text=True, timeout=30)


def processor_time(command: Sequence[str]) -> float:
    """Milliseconds of user and system time that a command takes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return (usage.ru_utime + usage.ru_stime) * 1000


def test_help_is_quick() -> None:
    took = statistics.median(processor_time([ALULA, "--help"]) for _ in range(5))
    assert took <= MILLISECONDS


def test_help_and_version() -> None:
    for arguments in (["--help"], ["-h"], ["up", "--help"]):
        assert run(*arguments).returncode == 0
    assert "--home" in run("up", "--help").stdout
    assert alula.__version__ in run("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["nothing"], "nothing"), (["up", "--port", "0"], "--port"), (["up", "--port", "x"], "--port")],
)
def test_wrong_use(arguments: list[str], word: str) -> None:
    tried = run(*arguments)
    assert tried.returncode == 2
    assert word in tried.stderr
    assert re.search("^Error: ", tried.stderr, re.MULTILINE)
    assert "Traceback" not in tried.stderr
