"""Images without containers, by the SDK's own `builder: remote`: what their layers become, and what cannot be built."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .user import BIN, PROGRAMS, Told, User

PACKAGE = "iniconfig==2.0.0"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A package index that answers; with what is cached it would not be asked."""
    command = [str(BIN / "uv"), "pip", "compile", "--no-cache", "--quiet", "-"]
    asked = subprocess.run(command, input=PACKAGE, capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"no package index answers here: {asked.stderr.strip()[-500:]}")


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory, user: User) -> dict[str, str]:
    """The SDK runs uv, too."""
    network = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL_"))}
    path = f"{BIN}:{user.env['PATH']}"
    scratch = str(tmp_path_factory.mktemp("scratch"))
    return {**network, "ALULA_SCRATCH": scratch, "PATH": path, "UV_PYTHON": sys.executable}


@pytest.fixture(scope="module")
def built(user: User, env: dict[str, str], index: None) -> Told:
    return user.python("images.py", "pip", "requirements", "project", "script", "wheel", "sources", env=env)


@pytest.fixture(scope="module")
def refused(user: User, env: dict[str, str], index: None) -> Told:
    return user.python("images.py", "nowhere", "apt", "commands", "python", env=env)


def _found(built: Told, name: str) -> dict[str, str]:
    assert built[name].get("phase") == "SUCCEEDED", built[name]
    (found,) = built[name]["outputs"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", ["pip", "requirements", "project", "script"])
def test_packages_are_there(built: Told, name: str) -> None:
    found = _found(built, name)
    assert found["iniconfig"] == "2.0.0"
    assert found["flyte"] == "2.12.1"
    assert found["alula"] == "none", "the server's packages are not the image's"


def test_a_wheel_that_no_index_has(built: Told) -> None:
    assert _found(built, "wheel")["alula-e2e-wheel"] == "1"


def test_env_layers(built: Told) -> None:
    """What a task says itself counts more. Paths of the image lead to where they are here."""
    found = _found(built, "pip")
    assert (found["COLOUR"], found["BOTH"]) == ("green", "task")
    assert found["PATH"].startswith(f"/more:{found['VIRTUAL_ENV']}/bin:")
    assert found["data"] == "a file of the image\n"


def test_sources_are_in_the_working_directory(built: Told) -> None:
    found = _found(built, "sources")
    assert (found["greeting"], found["module"]) == ("a file of the image\n", "a module of the image")


def test_code_that_is_in_the_image(user: User, env: dict[str, str], index: None) -> None:
    """Deployed without a bundle, and run by its name."""
    told = user.python("baked.py", cwd=PROGRAMS / "baked", env=env)
    assert told == {"phase": "SUCCEEDED", "outputs": ["a module of the image True"]}


def test_a_package_that_does_not_exist(refused: Told) -> None:
    """The user is told by the resolver's own message."""
    told = refused["nowhere"]
    assert "Build failed" in told["refused"]
    assert told["error"]["code"] == "ImageBuildError"
    assert told["error"]["kind"] == "KIND_USER"
    assert "alula-there-is-no-such-package was not found in the package registry" in told["error"]["message"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("apt", "alula-there-is-no-such-program. .*build_apt = true"),
        ("commands", "touch /alula-was-here. .*build_commands = true"),
        ("python", r"Python 3.99 is not on this machine, .*there are .*3\.11(?s:.*)python_version="),
    ],
)
def test_what_cannot_be_done_says_what_to_do(refused: Told, name: str, message: str) -> None:
    assert re.search(message, refused[name]["error"]["message"])
    assert not Path("/alula-was-here").exists()


def test_ten_at_once_build_once(user: User, index: None) -> None:
    """Each has a log of its own, which says what it did."""
    told = user.python("builds.py")
    assert [one["outputs"] for one in told["ended"]] == [["alula.local/ten:at-once"]] * 10
    built = [log for log in told["logs"] if "is ready: Python" in log]
    assert len(built) == 1
    assert "+ iniconfig==" in built[0]
    assert len([log for log in told["logs"] if "is there already" in log]) == 9
    assert any("is being built by another run: waiting for it" in log for log in told["logs"])


@pytest.fixture(scope="module")
def python_312() -> None:
    found = subprocess.run(
        [str(BIN / "python"), "-c", _FIND], capture_output=True, text=True, check=False, env={**os.environ}
    ).stdout
    if not found.startswith("/"):
        pytest.skip("this machine has no Python 3.12")


_FIND = """
import os
from pathlib import Path
from alula.executors.process.environments.uv import interpreter
print(interpreter("3.12", os.environ, Path.cwd()))
"""


def test_a_default_image_means_its_versions(user: User, index: None, python_312: None) -> None:
    """It is built when it is first used, and a Python that cannot be had is told of."""
    told = user.python("versions.py")
    for name in ("first", "second"):
        assert told[name]["outputs"] == ["3.12 2.12.1"]
        assert any(event.startswith("running in environment ") for event in told[name]["events"])
    assert any(told[name]["events"][0].startswith("building the environment of image") for name in ("first", "second"))
    assert told["third"]["outputs"] == [".".join(map(str, sys.version_info[:2]))]
    assert "is not available here (Python 3.99 is not on this machine" in " ".join(told["third"]["events"])
