"""The promise every executor keeps: local processes today, a Kubernetes cluster beside it tomorrow."""

from collections.abc import AsyncIterator
from typing import Protocol

from alula.core.launch import Launch, LogLine, Observation, Segment
from alula.core.usage import Usage


class Logs(Protocol):
    """Where the logs of attempts are found."""

    def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """The attempt's log from its beginning, in batches; with ``follow``, until the attempt has ended.

        The log outlives the process and the release. Ends at once for an unknown name.
        """
        ...


class Archivable(Protocol):
    """Logs that are to be archived, piece by piece. Synchronous: it reads and writes a disk, from any thread."""

    def finished(self) -> list[Segment]:
        """What is to be archived; the segments of one log in their order."""
        ...

    def read(self, segment: Segment) -> bytes | None:
        """Its bytes; ``None``: the log was removed meanwhile."""
        ...

    def archived(self, segment: Segment) -> bool:
        """The archive has it: what is here is a copy from now on. False: the log was removed meanwhile."""
        ...

    def shrink(self, size: int) -> int:
        """Remove copies of ended attempts' logs until at most ``size`` bytes are left; how many bytes went."""
        ...


class Archive(Protocol):
    """Where segments are kept for ever, or until their log is removed."""

    async def get(self, name: str, number: int) -> tuple[bytes, bool] | None:
        """A segment's bytes, and whether it is the last; ``None``: it is not (yet) there."""
        ...

    async def forget(self, name: str) -> bool:
        """Remove all of a log; whether there was any."""
        ...


class Measured(Protocol):
    """Where it is found what attempts used."""

    async def usage(self, name: str) -> Usage | None:
        """What an attempt has used, also while it runs; as long as there is its log. ``None``: it was not measured."""
        ...


class Executor(Logs, Protocol):
    """A way to make attempts exist. All of it survives the death of the caller between any two lines."""

    async def submit(self, launch: Launch) -> None:
        """Start the attempt. Idempotent by ``launch.name``, also across a restart of this process.

        Raises:
            LaunchRefused: the executor can never start it (the reason is for the user).
        """
        ...

    async def observe(self, name: str) -> Observation | None:
        """Look at an attempt. ``None``: no attempt of that name was ever submitted here, or it was released."""
        ...

    async def release(self, name: str) -> None:
        """End the attempt if it runs (SIGTERM, its grace, SIGKILL; the whole process tree) and forget it.

        Returns when nothing of it is left but its log. Idempotent; unknown names are fine.
        """
        ...

    async def forget_log(self, name: str) -> bool:
        """Remove the log of an attempt that was released; whether there was one."""
        ...

    def changes(self) -> AsyncIterator[str]:
        """Names of attempts worth looking at, as they change. A hint only: nothing is lost if one is missed."""
        ...

    async def names(self) -> list[str]:
        """Every attempt that exists here (submitted, not released); what a sweep compares with the rows."""
        ...
