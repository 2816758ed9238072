"""Finds the environment of an image. One that is known and missing is built first: whoever asks meanwhile waits."""

import asyncio
import logging
import os
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from flyteidl2.imagebuilder import definition_pb2

from alula.core import image as images
from alula.core.errors import Invalid, LaunchRefused
from alula.core.launch import Launch
from alula.executors.process.environment import Environment
from alula.executors.process.environments import builder, uv
from alula.executors.process.environments.builder import Permit
from alula.executors.process.environments.store import Store
from alula.executors.process.environments.uv import BuildFailed

Fetch = Callable[[str], Awaitable[bytes | None]]

_log = logging.getLogger(__name__)
_PATIENCE = 600.0  # seconds until an image that could not be built is tried again
_TAIL = 1 << 14  # bytes of what a builder says


@dataclass(frozen=True, slots=True)
class Found:
    """An environment, and one sentence on it for whoever asked."""

    environment: Environment
    note: str


class Environments:
    """The environments of this machine. Use it with ``async with``: builds end with it.

    Args:
        own: the server's, which is the default one.
        permit: where they are, and what builds may do.
        budget: bytes that they may take; those that were not used for longest go first.
        recipes: the folder in the object store that has what images are built from.
        fetch: reads an object, or returns ``None``.
    """

    def __init__(self, own: Environment, permit: Permit, budget: int, recipes: str, fetch: Fetch) -> None:
        self.own, self._permit, self._budget = own, permit, budget
        self._recipes, self._fetch = recipes, fetch
        self._store = Store(Path(permit.folder))
        self._digests: dict[str, str] = {}  # of images: a name never changes its meaning
        self._builds: dict[str, asyncio.Task[str]] = {}
        self._hopeless: dict[str, tuple[float, str]] = {}

    async def __aenter__(self) -> Self:
        await self._shrink()
        return self

    async def __aexit__(self, *_: object) -> None:
        builds = list(self._builds.values())
        for task in builds:
            task.cancel()
        await asyncio.gather(*builds, return_exceptions=True)

    def handed(self, launch: Launch) -> dict[str, str]:
        """The variables that the task `build-image` gets, and no other."""
        return {**uv.handed(os.environ), **self._permit.variable()} if builder.ours(launch.command) else {}

    async def ready(self, image: str, attempt: Path) -> Found | None:
        """The environment of an image, kept for as long as the folder of the attempt exists; ``None`` if it is missing.

        Raises:
            LaunchRefused: the image is one of this server's kind, and nobody has built it.
        """
        if images.default(image) == self.own.base or not images.ours(image):
            return Found(self.own, self.own.note(image))
        try:
            if (hopeless := self._hopeless.get(image)) and time.monotonic() < hopeless[0]:
                raise BuildFailed(hopeless[1])  # noqa: TRY301
            if image not in self._digests:
                spec, archive = await self._recipe(image)
                if archive:  # it is not opened here: the builder does, and says what it comes to
                    return None
                self._digests[image] = builder.recipe_of(spec, Path(os.devnull), self._permit).digest()
        except BuildFailed as error:
            return self._instead(image, error)
        digest = self._digests[image]
        found = await asyncio.to_thread(self._store.lease, digest, attempt)
        return None if found is None else Found(found, f"running in {found.label} of image {image}")

    async def made(self, image: str, attempt: Path) -> Found:
        """The environment of an image, which is built if it is missing. All who ask for it wait for the one build.

        Raises:
            LaunchRefused: it cannot be built.
        """
        while (found := await self.ready(image, attempt)) is None:
            task = self._builds.get(image)
            if task is None:
                task = self._builds[image] = asyncio.create_task(self._build(image))
                task.add_done_callback(lambda _: self._builds.pop(image, None))
            if message := await asyncio.shield(task):
                return self._instead(image, BuildFailed(message))
        return found

    def _instead(self, image: str, error: BuildFailed) -> Found:
        """A default image only means versions: the server's own environment is as good as it gets."""
        if images.built_here(image):
            raise LaunchRefused(f"image {image} cannot be used here: {error}", code="ImageBuildError") from None
        why = str(error).partition("\n")[0]
        return Found(self.own, f"image {image} is not available here ({why}): running in {self.own.label}")

    async def _shrink(self) -> None:
        """Remove what a crash left half built, and what is more than the budget."""
        for one in await asyncio.to_thread(self._store.shrink, self._budget):
            megabytes = one.size // 1_000_000
            _log.info("removed environment %s, %d MB, to keep within the budget", one.digest[:12], megabytes)

    # Builds

    async def _recipe(self, image: str) -> tuple[bytes, bytes]:
        """What an image is built from: its specification, and the archive of the files that it names.

        Raises:
            BuildFailed: nobody knows.
        """
        base = images.default(image)
        if base is not None:
            return definition_pb2.ImageSpec(base_image=image, python_version=base.python).SerializeToString(), b""
        try:
            spec_uri, context_uri = images.recipe(self._recipes, image)
        except Invalid as error:
            raise BuildFailed(str(error)) from None
        spec = await self._fetch(spec_uri)
        if spec is None:
            raise BuildFailed("nobody has built it on this server; run a program that uses it, or `flyte build`")
        return spec, await self._fetch(context_uri) or b""

    async def _build(self, image: str) -> str:
        """Build the environment of an image; what went wrong."""
        try:
            *_, said, digest = (await self._run_builder(image)).splitlines()
        except (BuildFailed, OSError) as error:
            _log.warning("image %s cannot be built: %s", image, error)
            self._hopeless[image] = (time.monotonic() + _PATIENCE, str(error))
            return str(error)
        self._digests[image] = digest
        _log.info("image %s: %s", image, said)
        await self._shrink()
        return ""

    async def _run_builder(self, image: str) -> str:
        """Have the builder build; the end of its log. It ends with this process, whatever ends that.

        Raises:
            BuildFailed: it cannot be built.
        """
        env = self.own.variables(os.environ) | uv.handed(os.environ) | self._permit.variable()
        spec, archive = await self._recipe(image)
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / "spec.pb", Path(folder) / "context.tar.gz"
            for path, body in zip(files, (spec, archive), strict=True):
                await asyncio.to_thread(path.write_bytes, body)
            process = await asyncio.create_subprocess_exec(
                self.own.interpreter, *builder.command("recipe", *map(str, files))[1:],
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=env, cwd=folder, start_new_session=True,
            )  # fmt: skip
            try:
                log, wrong = await asyncio.gather(_drain(process.stdout), _drain(process.stderr))
                await process.wait()
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            raise BuildFailed(wrong.strip() or f"the builder ended with {process.returncode}")
        return log


async def _drain(stream: asyncio.StreamReader | None) -> str:
    """The end of what a process says."""
    assert stream is not None
    said = b""
    while block := await stream.read(1 << 16):
        said = (said + block)[-_TAIL:]
    return said.decode(errors="replace")
