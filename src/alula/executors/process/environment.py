"""The environment attempts run in: which Python and SDK, which variables, and what is said about an image."""

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# The server's variables that attempts may see. Everything else may be secret and is the server's own.
_INHERITED = (
    "HOME", "USER", "LOGNAME", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip

_DEFAULT_IMAGE = re.compile(r"ghcr\.io/flyteorg/flyte:py(?P<python>\d+\.\d+)-v(?P<sdk>[^@]+)$")


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python with the SDK in it."""

    bin: Path
    interpreter: Path
    python: str
    sdk: str

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
        return f"the default environment (Python {self.python}, flyte {self.sdk})"

    @property
    def script(self) -> str:
        """The runtime's console script."""
        return str(self.bin / "a0")

    def variables(self, server: Mapping[str, str]) -> dict[str, str]:
        """The small clean set that every attempt starts from."""
        path = os.pathsep.join((str(self.bin), server.get("PATH") or os.defpath))
        kept = {name: server[name] for name in _INHERITED if name in server}
        return {**kept, "PATH": path, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}

    def note(self, image: str) -> str:
        """One sentence about what an attempt with this image runs in."""
        if not image:
            return f"running in {self.label}"
        match = _DEFAULT_IMAGE.fullmatch(image)
        own = ".".join(self.python.split(".")[:2])
        if match is not None and (match["python"], match["sdk"]) == (own, self.sdk):
            return f"running in {self.label}"
        return f"image {image} is not available here: running in {self.label}"
