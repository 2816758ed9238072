"""`uv`, as builds call it: where it is, which Pythons it may take, and the machine's own settings of pip."""

import configparser
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from uv import find_uv_bin

_LEAST_MINOR = 10  # of the Pythons that the SDK runs with
_TAIL = 60  # lines of a command's output that its error has

# What a build may know of the machine besides what every attempt knows: how its package index is reached.
_PREFIXES = ("PIP_", "UV_")
_NAMES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "NETRC", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"})

# pip's settings that uv has under another name. uv wants commas where pip wants spaces.
_SAME = {
    "index-url": "UV_INDEX_URL",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
}
_LISTS = {"find-links": ","}


class BuildFailed(Exception):
    """The image cannot be built; the text is for its user."""


def handed(server: Mapping[str, str]) -> dict[str, str]:
    """The server's variables that builds get, and no other attempt."""
    return {
        name: value for name, value in server.items() if name.upper() in _NAMES or name.upper().startswith(_PREFIXES)
    }


def settings(variables: Mapping[str, str], files: Sequence[str]) -> dict[str, str]:
    """What uv is to be told of pip's settings: its variables, or else its files, the first one that says something."""
    found: dict[str, str] = {}
    for option, name in _SAME.items():
        told = [variables.get(f"PIP_{option.upper().replace('-', '_')}", ""), *_from_files(option, files)]
        value = next((text for text in told if text), "")
        if value and name not in variables:
            found[name] = _LISTS.get(option, " ").join(value.split())
    return found


def _from_files(option: str, files: Sequence[str]) -> Iterator[str]:
    for text in files:
        parsed = configparser.RawConfigParser()
        with suppress(configparser.Error):
            parsed.read_string(text)
        for section in ("install", "global"):
            yield parsed.get(section, option, fallback="")


def pip_files(variables: Mapping[str, str]) -> list[str]:
    """The text of pip's configuration files on this machine, the strongest first."""
    home = Path(variables.get("HOME") or "~").expanduser()
    config = Path(variables.get("XDG_CONFIG_HOME") or home / ".config")
    places = [
        Path(variables.get("PIP_CONFIG_FILE") or os.devnull),
        Path(sys.prefix) / "pip.conf",
        config / "pip" / "pip.conf",
        home / ".pip" / "pip.conf",
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
    ]
    found = []
    for place in places:
        with suppress(OSError, UnicodeDecodeError):
            found.append(place.read_text())
    return found


def uv(*words: str, env: Mapping[str, str], cwd: Path, lock: int) -> None:
    """Run `uv`. What it says goes to the log.

    Raises:
        BuildFailed: it failed; with its own message.
    """
    run([find_uv_bin(), *words], env=env, cwd=cwd, lock=lock)


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, lock: int) -> None:
    """Run a command of a build; see `uv`. It holds the lock for as long as it lives."""
    with subprocess.Popen(
        command, env=dict(env), cwd=cwd, pass_fds=(lock,), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said: deque[str] = deque(maxlen=_TAIL)
        for line in process.stdout:
            print(line, end="", flush=True)  # noqa: T201 - the attempt's log
            said.append(line)
    if process.returncode:
        message = _error("".join(said)) or f"{os.path.basename(command[0])} ended with exit code {process.returncode}"
        raise BuildFailed(message)


def _error(said: str) -> str:
    """The end of an output from where it says what is wrong."""
    marks = [match.start() for match in re.finditer(r"^(error:|\s*\u00d7|ERROR:|E:)", said, re.MULTILINE)]
    return said[marks[0] if marks else 0 :].strip()


def interpreter(python: str, env: Mapping[str, str], cwd: Path) -> str:
    """What `uv venv --python` is to take for a Python as ``3.12``: a path, or its version if uv has to fetch it."""
    if sys.version_info[:2] == tuple(int(part) for part in python.split(".")):
        return getattr(sys, "_base_executable", "") or sys.executable
    found = subprocess.run(
        [find_uv_bin(), "python", "find", "--no-python-downloads", "--no-project", python],
        env=dict(env), cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode == 0:
        return found.stdout.strip()
    return next((str(path) for path in reversed(_pyenv(env)) if path.name == f"python{python}"), python)


def interpreters(env: Mapping[str, str], cwd: Path) -> str:
    """The versions of Python that there are on this machine, for a message."""
    listed = subprocess.run(
        [find_uv_bin(), "python", "list", "--only-installed", "--no-python-downloads"],
        env=dict(env), cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    versions = set(re.findall(r"^cpython-(\d+\.\d+)\.", listed.stdout, re.MULTILINE))
    versions |= {path.name.removeprefix("python") for path in _pyenv(env)}
    ready = sorted(int(version.partition(".")[2]) for version in versions if version.startswith("3."))
    return ", ".join(f"3.{minor}" for minor in ready if minor >= _LEAST_MINOR) or "none"


def _pyenv(env: Mapping[str, str]) -> list[Path]:
    """Pythons of pyenv; uv finds only the one that is chosen in the folder it runs in."""
    root = Path(env.get("PYENV_ROOT") or f"{env.get('HOME', '')}/.pyenv")
    return sorted(path for path in root.glob("versions/*/bin/python3.*") if re.fullmatch(r"python3\.\d+", path.name))
