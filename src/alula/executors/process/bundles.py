"""Code bundles, unpacked once per URI. Attempts get copies: user code may write to its files.

Bundles are named by their content, so a URI never changes its meaning. If anything about this fails, the attempt
downloads its bundle itself, as it does everywhere else.
"""

import asyncio
import hashlib
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from alula.executors.process.environment import Environment

_KEPT = 64  # unpacked bundles that outlive a restart, the last used ones
_PATIENCE = 30.0  # seconds; after that the attempt does it itself

Fetch = Callable[[str], Awaitable[bytes | None]]

_log = logging.getLogger(__name__)


class Bundles:
    """The cache."""

    def __init__(self, folder: Path, environment: Environment, fetch: Fetch | None) -> None:
        self._folder, self._environment, self._fetch = folder, environment, fetch
        self._ready: dict[str, asyncio.Task[Path | None]] = {}

    def prune(self) -> None:
        """Keep the bundles used last; remove the rest and what a crash left half done."""
        self._folder.mkdir(exist_ok=True)
        unpacked = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in [one for one in unpacked if one.suffix] + [one for one in unpacked if not one.suffix][_KEPT:]:
            shutil.rmtree(path, ignore_errors=True)

    async def prepare(self, command: Sequence[str]) -> dict[str, str] | None:
        """What the child needs to put the command's bundle into its working directory, or ``None``."""
        uri = bundle_uri(command)
        if uri is None or self._fetch is None:
            return None
        task = self._ready.get(uri)
        if task is None:
            task = self._ready[uri] = asyncio.create_task(self._unpack(uri))
        folder = await asyncio.shield(task)
        if folder is None:
            return None
        name = os.path.basename(uri)
        return {"tree": f"{folder}/tree", "archive": f"{folder}/archive", "name": name, "marker": f".{name}.extracted"}

    async def _unpack(self, uri: str) -> Path | None:
        folder = self._folder / hashlib.sha256(uri.encode()).hexdigest()[:32]
        try:
            if folder.exists():
                os.utime(folder)
                return folder
            assert self._fetch is not None
            async with asyncio.timeout(_PATIENCE):
                if (content := await self._fetch(uri)) is None:
                    return None
                await self._run_unpack(folder, content)
        except Exception as error:  # `a0` downloads it itself, and says what is wrong with it
            _log.warning("code bundle %s was not unpacked ahead: %s", uri, error)
            self._ready.pop(uri, None)
            return None
        return folder

    async def _run_unpack(self, folder: Path, content: bytes) -> None:
        """Unpack in a process of its own: another's archive is not opened in the server."""
        partial = folder.with_suffix(".part")
        with suppress(FileNotFoundError):
            shutil.rmtree(partial)
        partial.mkdir()
        await asyncio.to_thread((partial / "archive").write_bytes, content)
        code = "import sys; sys.path.pop(0); from alula.executors.process.unpack import main; main()"
        process = await asyncio.create_subprocess_exec(
            self._environment.interpreter, "-c", code, partial,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            env=self._environment.variables(os.environ), cwd=partial,
        )  # fmt: skip
        _, said = await process.communicate()
        if process.returncode:
            shutil.rmtree(partial, ignore_errors=True)
            raise ValueError(said.decode(errors="replace").strip().rpartition("\n")[2])
        partial.rename(folder)


def bundle_uri(command: Sequence[str]) -> str | None:
    """The URI of the bundle that ``a0`` would unpack into its working directory, or ``None``."""
    if command[0] != "a0":
        return None
    found: dict[str, str] = {}
    arguments = iter(command[1:])
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option in ("--tgz", "--dest"):
            found[option] = value if equals else next(arguments, "")
    return found.get("--tgz") or None if found.get("--dest", ".") == "." else None
