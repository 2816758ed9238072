"""Images, as far as this server has them: the SDK's default one, and those that were built here."""

from contextlib import suppress
from dataclasses import dataclass

from alula.blobs.store import Blobs
from alula.control.projects import Projects
from alula.control.tasks import Tasks
from alula.core import image as images
from alula.core.errors import AlreadyExists, Invalid, NotFound
from alula.core.project import ARCHIVED, Project
from alula.wire import ids
from alula.wire import images as wire

RECIPES = "images"  # the folder in the object store that has what images were built from
_REPOSITORY = "ghcr.io/flyteorg/flyte"


@dataclass(frozen=True, slots=True)
class Images:
    """The verbs of images. ``python`` and ``sdk`` are the versions that attempts run with if nothing else is said."""

    python: str
    sdk: str
    blobs: Blobs
    tasks: Tasks
    projects: Projects

    async def find(self, name: str) -> str:
        """What an image called ``repository:tag`` is called in full.

        Raises:
            NotFound: it is not here; a client is to build it then.
        """
        short = name.rpartition("/")[2]
        if short == f"flyte:{self._tag}":
            return f"{_REPOSITORY}:{self._tag}"
        with suppress(Invalid):  # no image has such a name
            spec, _ = images.recipe(self.blobs.join(RECIPES), short)
            if await self.blobs.exists(spec):
                return images.uri(short)
        raise NotFound(f"image {name!r} is not here: build it, or use the default image {_REPOSITORY}:{self._tag}")

    async def prepare(self) -> None:
        """Make sure that clients find the task that builds images. Its project is archived: lists do not show it."""
        project = Project(wire.PROJECT, wire.PROJECT, "tasks of alula itself", {}, ARCHIVED)
        with suppress(AlreadyExists):
            await self.projects.create(project)
        deployment = wire.deployment(self.blobs.join(RECIPES))
        try:
            await self.tasks.get(ids.task(deployment.task_id))
        except NotFound:
            await self.tasks.deploy(deployment)

    @property
    def _tag(self) -> str:
        """The SDK's tag of its default image (`flyte.Image.from_debian_base`)."""
        return f"py{'.'.join(self.python.split('.')[:2])}-v{self.sdk}"
