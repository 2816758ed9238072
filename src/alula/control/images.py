"""Images, as far as this server has them: the default one, which is the environment it runs in itself."""

from dataclasses import dataclass

from alula.core.errors import NotFound

_REPOSITORY = "ghcr.io/flyteorg/flyte"


@dataclass(frozen=True, slots=True)
class Images:
    """The verbs of images. ``python`` and ``sdk`` are the versions that attempts run with."""

    python: str
    sdk: str

    async def find(self, name: str) -> str:
        """Where the image called ``repository:tag`` is.

        Raises:
            NotFound: it is not here; a client is to build it then.
        """
        short = name.rpartition("/")[2]
        if short == f"flyte:{self._tag}":
            return f"{_REPOSITORY}:{self._tag}"
        raise NotFound(f"image {name!r} is not here: build it, or use the default image {_REPOSITORY}:{self._tag}")

    @property
    def _tag(self) -> str:
        """The SDK's tag of its default image (`flyte.Image.from_debian_base`)."""
        return f"py{'.'.join(self.python.split('.')[:2])}-v{self.sdk}"
