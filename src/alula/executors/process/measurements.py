"""What attempts used, found by their names."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from alula.core.usage import Usage
from alula.executors.process import usage


class Measurements:
    """The usage of attempts, whichever replica ran them: in the folder ``part`` of a home, or of its replicas."""

    def __init__(self, home: Path, part: str) -> None:
        self._home, self._part = home, part

    async def usage(self, name: str) -> Usage | None:
        """See `Measured.usage`."""
        return await asyncio.to_thread(self._read, name)

    async def forget(self, name: str) -> bool:
        """Remove what is known of an attempt; whether there was anything."""
        return await asyncio.to_thread(self._forget, name)

    def _read(self, name: str) -> Usage | None:
        return next((found for path in self._paths(name) if (found := usage.read(path)) is not None), None)

    def _forget(self, name: str) -> bool:
        there = [path for path in self._paths(name) if path.exists()]
        for path in there:
            path.unlink(missing_ok=True)
        return bool(there)

    def _paths(self, name: str) -> Iterator[Path]:
        if "/" in name or name.startswith("."):
            return
        for home in (self._home, *sorted((self._home / "replicas").glob("*"))):
            yield home / self._part / usage.FOLDER / f"{name}.jsonl"
