"""A container engine: docker or podman, by its command line, which both share."""

import asyncio
import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

Choice = Literal["auto", "off", "docker", "podman"]

LABEL = "alula.home"  # on every container; its value is the home's
_PATIENCE = 20.0  # seconds an engine may take to answer a question

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that has answered. ``program`` is the path of its command."""

    program: str

    @property
    def name(self) -> str:
        return self.program.rpartition("/")[2]

    async def left(self, home: str) -> list[str]:
        """The names of all containers of a home, running or not."""
        code, said = await _ask(
            self.program, "ps", "--all", "--filter", f"label={LABEL}={home}", "--format", "{{.Names}}"
        )
        return said.split() if code == 0 else []

    async def remove(self, name: str) -> None:
        """End a container and remove it with its volumes; it need not exist."""
        code, said = await _ask(self.program, "rm", "--force", "--volumes", name)
        if code and "no such container" not in said.lower() and "no container" not in said.lower():
            _log.warning("%s could not remove the container %s: %s", self.name, name, said.strip())


async def find(choice: Choice) -> Engine | None:
    """The engine to use, if one answers. With ``auto``, docker before podman."""
    for program in _candidates(choice):
        found = shutil.which(program)
        if found is None:
            continue
        code, said = await _ask(found, "version", "--format", "{{.Server.Version}}" if program == "docker" else "json")
        if code == 0:
            return Engine(found)
        _log.info("%s is installed and does not answer: %s", program, said.strip().rpartition("\n")[2])
    return None


def _candidates(choice: Choice) -> Sequence[str]:
    return {"auto": ("docker", "podman"), "off": ()}.get(choice, (choice,))


async def _ask(*command: str) -> tuple[int, str]:
    """The exit code of a command and what it said; it is ended when it takes too long."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            said, _ = await process.communicate()
    except TimeoutError:
        return -1, f"no answer within {_PATIENCE:.0f} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, said.decode(errors="replace")
