"""Logs of ended attempts are in the object store, and are read from there when nothing of them is left elsewhere."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .user import BIN, User, serving


def _soon(condition: Callable[[], bool]) -> None:
    """What only the disk can show, within 30 s."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_log_outlives_its_file_and_goes_with_its_run(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home, "[projects]\ncreate_missing = true\n[executor]\nlogs_size = 0\n") as served:
        user = User(tmp_path / "user", home, served.port)
        user.home.mkdir()
        run = user.start("logs.py", "follows")
        before = user.flyte("get", "logs", run)
        archived = home / "objects" / "alula" / "logs"
        _soon(lambda: archived.exists() and len(list(archived.iterdir())) == 1)
        executor = home / "executor"
        _soon(lambda: not [path for part in ("logs", "kept") for path in (executor / part).iterdir()])
        assert _steps(user.flyte("get", "logs", run)) == _steps(before) == ["step 0", "step 1", "step 2"]
        command = [str(BIN / "alula"), "delete", "run", run, "--yes", "--output", "json", "--endpoint", user.url]
        gone = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
        assert gone["logs"] == 1
        assert not archived.exists()


def _steps(printed: str) -> list[str]:
    return [line.strip() for line in printed.splitlines() if "step " in line]
