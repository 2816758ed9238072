"""Images, without containers: what their names mean, and what is in an image as paths and variables. Pure.

An image is a recipe; an environment is what a machine made of it. The SDK's default images say their recipe in their
name; that of a built image is an object in the store, below its name.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from string import Template

from alula.core.errors import Invalid

REGISTRY = "alula.local"  # of the images that are built here; no host has such a name
WORKDIR = "/home/flyte"  # where the SDK's base image starts
MODULES = "/root"  # where Python looks for modules in it
VIRTUAL_ENV = "/opt/venv"  # where its packages are

_DEFAULT = re.compile(r"(?:.+/)?flyte:py(?P<python>\d+\.\d+)-v(?P<sdk>\d[A-Za-z0-9.!-]*)")
_PYTHON = re.compile(r"(?:.+/)?python:(?P<python>\d+\.\d+)(?:[.-].*)?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Base:
    """What an environment starts from: a Python as ``3.12``, and a version of the SDK; empty: the layers bring it."""

    python: str
    sdk: str
    known: bool = True  # whether the image's name says so; else it is a guess


def default(image: str) -> Base | None:
    """What a default image of the SDK means, from whatever registry it is."""
    match = _DEFAULT.fullmatch(image)
    return Base(match["python"], match["sdk"]) if match else None


def base(image: str, python: str, sdk: str) -> Base:
    """What an image that others are built on means here. ``python`` and ``sdk`` are taken if its name says nothing."""
    if found := default(image):
        return found
    if match := _PYTHON.fullmatch(image):
        return Base(match["python"], "")
    return Base(python, sdk, known=False)


def short(name: str) -> str:
    """``name:tag`` of an image, whatever its registry.

    Raises:
        Invalid: that is no name.
    """
    found = name.rpartition("/")[2]
    if not _NAME.fullmatch(found):
        raise Invalid(
            f"image {name[:200]!r} has no name: it must end in name:tag, of letters, digits, '.', '_' and '-'"
        )
    return found


def uri(name: str) -> str:
    """What the SDK is to call an image that was built here."""
    return f"{REGISTRY}/{short(name)}"


def built_here(image: str) -> bool:
    """Whether this is the name of an image that was built by this server, or another one of its kind."""
    return image.startswith(f"{REGISTRY}/")


def ours(image: str) -> bool:
    """Whether an image is an environment of alula, and needs no container engine."""
    return built_here(image) or default(image) is not None


def recipe(folder: str, image: str) -> tuple[str, str]:
    """Where the recipe of an image is in the object store: its ImageSpec, written last, and the files that it names."""
    place = f"{folder}/{short(image).replace(':', '/')}"
    return f"{place}/spec.pb", f"{place}/context.tar.gz"


def inside(path: str, workdir: str) -> str:
    """An absolute path in an image. ``.`` and relative ones are below the working directory; nothing leads above /."""
    return posixpath.normpath(posixpath.join("/", workdir, path)).replace("//", "/")


def expand(
    pairs: Iterable[tuple[str, str]], variables: Mapping[str, str], locate: Callable[[str], str]
) -> dict[str, str]:
    """Variables of an image's env layers, one after the other, as ``ENV`` does: ``$NAME`` is what it is by then.

    ``locate`` says where a path of the image is on this machine; a value may be several of them.
    """
    found = dict(variables)
    for name, value in pairs:
        found[name] = ":".join(locate(part) for part in Template(value).safe_substitute(found).split(":"))
    return found
