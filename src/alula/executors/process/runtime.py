"""What a warm parent has loaded, and whether an attempt would have loaded the very same. Standard library only."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from alula.executors.process.tree import MARK

# Variables whose presence makes no difference at these values: what the SDK's client sends with every run.
_DEFAULTS = {"LOG_LEVEL": ("30", "warning", "warn"), "USER_LOG_LEVEL": ("20", "info")}

# Read by the interpreter and by C libraries when a process starts, out of Python's sight.
_STARTUP = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OPENSSL_", "OMP_", "MKL_", "OPENBLAS_")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The loaded runtime. ``seen``: variables that were read while it was loaded, with what they were."""

    script: str  # the console script a cold start would execute
    seen: Mapping[str, str | None]
    startup: Mapping[str, str]  # variables that processes read when they start
    installed: Mapping[str, int]  # where modules come from, and when that changed last

    @classmethod
    def loaded(cls, script: str, names: set[str]) -> "Runtime":
        """Of this process, which has read these variables."""
        startup = {name: value for name, value in os.environ.items() if name.startswith(_STARTUP)}
        return cls(script, {name: os.environ.get(name) for name in names}, startup, _changed(sys.path))

    @classmethod
    def told(cls, message: Mapping[str, Any]) -> "Runtime":
        return cls(**message)

    def tell(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def current(self) -> bool:
        """Whether nothing was installed or removed since; modules of two versions must not meet in one process."""
        return self.installed == _changed(self.installed)

    def fits(self, env: Mapping[str, str]) -> bool:
        """Whether an attempt with this environment would have loaded the very same runtime."""
        for name in env.keys() | self.seen.keys():
            if name == MARK or (name not in self.seen and not name.startswith(_STARTUP)):
                continue
            ours, theirs = self.seen.get(name, self.startup.get(name)), env.get(name)
            if ours != theirs and (theirs or "").lower() not in _DEFAULTS.get(name, ()):
                return False
        return True


def _changed(folders: Any) -> dict[str, int]:
    found = {}
    for folder in folders:
        with suppress(OSError):
            found[folder] = os.stat(folder).st_mtime_ns
    return found
