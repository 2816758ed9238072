"""The environment attempts run in: which Python and SDK, which variables and files of its image, and what is said."""

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from alula.core import image as images

# The server's variables that attempts may see. Everything else may be secret and is the server's own.
_INHERITED = (
    "HOME", "USER", "LOGNAME", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python with the SDK in it, and what an image has besides: the last three, of the one that was built for it.

    ``root`` is the folder that has the image's files, as if it were ``/``; ``workdir`` a path below it.
    """

    bin: Path
    interpreter: Path
    python: str
    sdk: str
    digest: str = ""  # of what it was built from; empty: it is the server's own
    pairs: tuple[tuple[str, str], ...] = ()
    root: Path | None = None
    workdir: str = images.WORKDIR

    @classmethod
    def own(cls) -> "Environment":
        """The one this server runs in."""
        try:
            sdk = metadata.version("flyte")
        except metadata.PackageNotFoundError:
            sdk = "none"
        return cls(Path(sys.executable).parent, Path(sys.executable), platform.python_version(), sdk)

    @property
    def label(self) -> str:
        versions = f"Python {self.python}, flyte {self.sdk}"
        return (
            f"environment {self.digest[:12]} ({versions})" if self.digest else f"the default environment ({versions})"
        )

    @property
    def script(self) -> str:
        """The runtime's console script."""
        return str(self.bin / "a0")

    def warm(self, env: Mapping[str, str]) -> dict[str, object]:
        """What a parent of its attempts is started with, in words for the launcher."""
        return {"python": str(self.interpreter), "script": self.script, "env": dict(env)}

    def variables(self, server: Mapping[str, str]) -> dict[str, str]:
        """The small clean set that every attempt starts from, and the image's own."""
        path = os.pathsep.join((str(self.bin), server.get("PATH") or os.defpath))
        kept = {name: server[name] for name in _INHERITED if name in server}
        found = {**kept, "PATH": path, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        if not self.digest:
            return found
        found["VIRTUAL_ENV"] = str(self.bin.parent)
        if (modules := self._locate(images.MODULES)) != images.MODULES:
            found["PYTHONPATH"] = modules
        return images.expand(self.pairs, found, self._locate) | {"VIRTUAL_ENV": str(self.bin.parent)}

    def _locate(self, path: str) -> str:
        """Where a path of the image is on this machine; what is no such path, or is not there, stays as it is."""
        if path == images.VIRTUAL_ENV or path.startswith(f"{images.VIRTUAL_ENV}/"):
            return str(self.bin.parent) + path.removeprefix(images.VIRTUAL_ENV)
        if self.root is not None and path.startswith("/") and path.strip("/"):
            found = self.root / images.inside(path, "/").lstrip("/")
            return str(found) if found.exists() else path
        return path

    def lay(self, work: Path) -> None:
        """Copy what the image has in its working directory into an attempt's own: user code may write to its files."""
        if self.root is not None and (files := self.root / self.workdir.lstrip("/")).is_dir():
            shutil.copytree(files, work, symlinks=True, dirs_exist_ok=True)  # its Error is an OSError

    @property
    def needed(self) -> tuple[Path, ...]:
        """The folders that an attempt has to see of the machine: the environment, and the Python that it stands on."""
        return (self.bin.parent.parent, self.interpreter.resolve().parent.parent) if self.digest else ()

    def note(self, image: str) -> str:
        """One sentence about what an attempt with this image runs in."""
        if not image or self.digest or images.default(image) == self.base:
            return f"running in {self.label}"
        return f"image {image} is not available here: running in {self.label}"

    @property
    def base(self) -> images.Base:
        """What it is, as an image's name says it."""
        return images.Base(".".join(self.python.split(".")[:2]), self.sdk)
