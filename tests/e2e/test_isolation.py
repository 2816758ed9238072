"""Tasks in namespaces: the real SDK, with the machine's files read-only and the server's own out of sight."""

import shutil
import subprocess
from pathlib import Path

import pytest

from .user import User, serving


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed: nothing is run in namespaces")
    tried = subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "true"], capture_output=True)
    if tried.returncode:
        pytest.skip(f"this system refuses namespaces: {tried.stderr.decode().strip()}")


def test_a_task_apart(tmp_path: Path) -> None:
    with serving(tmp_path / "home", '[executor]\nisolation = "namespaces"\n') as served:
        user = User(tmp_path / "user", served.home, served.port)
        user.home.mkdir()
        user.flyte("create", "secret", "apart-key", "--value", "hush")
        told = user.python("apart.py", env={"SERVER_HOME": str(served.home)})
    assert told["phase"] == "ActionPhase.SUCCEEDED"
    assert told["pids"] <= 3
    assert told["server"] == ["executor"]
    assert (told["etc"], told["work"], told["tmp"]) == (False, True, True)
    assert (told["users"], told["secret"]) == (True, True)
    assert told["child"] == 42


def test_without_it_is_as_ever(user: User) -> None:
    """What the test above proves is not so by itself."""
    user.flyte("create", "secret", "apart-key", "--value", "hush")
    told = user.python("apart.py", env={"SERVER_HOME": str(Path(user.env["FLYTECTL_CONFIG"]).parent)})
    assert "keys.json" in told["server"]
    assert told["pids"] > 3
