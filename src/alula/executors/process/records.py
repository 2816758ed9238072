"""What an attempt leaves on disk: where, and how it is made to survive a crash at any line.

    home/lock                      held by the server
    home/launcher.lock             held by the launcher and the recorder, which may outlive their server
    home/launcher.sock             where servers come to the launcher; gone when that has ended well
    home/id                        a random word that marks every process of this home
    home/attempts/<digest>/launch.json    the marker: written before the process exists, so it never exists twice
                           process.json   pid and start time, to find the process again
                           end.json       how it ended; written before anybody is told
                           work/ tmp/     its working directory and TMPDIR
                           secrets/       the secrets that it is to find as files
    home/logs/ home/kept/          logs outlive all of it: see `segments.py`

All of it survives the death of any process. A loss of power may undo the last of it, and need not be survived: no
process is left then, and what the rows say has begun is lost, with or without its records.

The folder of an attempt is a short digest of its name: sockets in TMPDIR must fit into 108 bytes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alula.core.launch import SecretFile

Record = dict[str, Any]

LOCK, LAUNCHER_LOCK, ID = "lock", "launcher.lock", "id"
MARKER, PROCESS, END = "launch.json", "process.json", "end.json"


@dataclass(frozen=True, slots=True)
class Home:
    """The executor's private folder."""

    path: Path

    @property
    def attempts(self) -> Path:
        return self.path / "attempts"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def bundles(self) -> Path:
        return self.path / "bundles"

    def attempt(self, name: str) -> Path:
        return self.attempts / hashlib.sha256(name.encode()).hexdigest()[:16]


def create(path: Path, record: Record) -> None:
    """Write a record that must not exist yet.

    Raises:
        FileExistsError: it exists; nothing was changed.
        OSError: it could not be written; nothing is left behind.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write(descriptor, record)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def lay(folder: Path, files: Sequence[SecretFile]) -> dict[str, str]:
    """Write an attempt's files, readable by their owner only; the environment variables that lead to them.

    They are gone with the attempt's folder, and need not survive a crash: the attempt does not.
    """
    if not files:
        return {}
    variables = {"FLYTE_SECRETS_DEFAULT_DIR": str(folder), "FLYTE_SECRETS_FILE_PREFIX": ""}
    folder.mkdir(mode=0o700)
    for file in files:
        path = folder / file.path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(file.body)
        if file.variable:
            variables[file.variable] = str(path)
    return variables


def replace(path: Path, record: Record) -> None:
    """Write a record; a reader sees the old one or the new one, never a part."""
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write(descriptor, record)
    finally:
        os.close(descriptor)
    temporary.replace(path)


def read(path: Path) -> Record | None:
    """The record, or ``None`` if there is none, or only a part of one."""
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def remove(folder: Path) -> None:
    """Remove an attempt's folder. The marker goes first: a crash in between leaves nothing that counts."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder, onerror=_remove_again)


def _remove_again(function: Callable[[str], object], path: str, _: object) -> None:
    """User code may have made folders that cannot be written; what still does not go, stays."""
    with suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
    with suppress(OSError):
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def _write(descriptor: int, record: Record) -> None:
    rest = memoryview(json.dumps(record).encode())
    while rest:
        rest = rest[os.write(descriptor, rest) :]
