"""Keys of objects as names of files, and back, in order.

A segment of a key becomes a folder of the same name, its last one a file named ``=`` + segment: so ``f`` and ``f/g``
can both exist. A folder's segment that starts with ``=`` or ``+`` gets a ``+`` in front. This is a bijection, and
nothing is percent-encoded. The file system must tell upper from lower case for keys to do so.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from alula.blobs.uri import check_key
from alula.core.errors import Invalid


def path_of(top: str, key: str) -> str:
    """The file of an object below the folder ``top``. `Invalid` for a bad key."""
    check_key(key)
    head, slash, last = key.rpartition("/")
    return f"{top}/{_folders(head)}{slash}={last}"


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of a listing: an object, or all objects below a folder."""

    name: str  # a key, or what the keys start with: it ends in "/" then
    path: str | None  # the object's file; None for a folder


@dataclass(frozen=True, slots=True)
class Query:
    """Names that start with ``prefix`` and come after ``after``; ``shallow``: folders, not what is in them."""

    prefix: str = ""
    after: str = ""
    shallow: bool = False


def walk(top: str, query: Query) -> Iterator[Found]:
    """What is below ``top``, in the order of the keys' code points. Empty folders do not count."""
    start = query.prefix[: query.prefix.rfind("/") + 1]
    try:
        check_key(start + "x")
    except Invalid:
        return iter(())  # no key starts like this
    return _below(f"{top}/{_folders(start)}".rstrip("/"), start, query)


def _below(path: str, start: str, query: Query) -> Iterator[Found]:
    for name, child, is_file in sorted(_children(path, start, query)):
        if is_file:
            yield Found(name, child)
            continue
        inside = _below(child, name, Query(query.prefix, query.after))
        if not query.shallow:
            yield from inside
        elif next(inside, None) is not None:
            yield Found(name, None)


def _children(path: str, start: str, query: Query) -> Iterator[tuple[str, str, bool]]:
    try:
        entries = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):  # removed meanwhile, or no folder of ours
        return
    for entry in entries:
        is_file = entry.startswith("=")
        name = start + entry[1:] if is_file or entry.startswith("+") else start + entry
        if not is_file:
            name += "/"
        after = name > query.after or (not is_file and query.after.startswith(name))
        if after and name.startswith(query.prefix):
            yield name, f"{path}/{entry}", is_file


def _folders(head: str) -> str:
    if "=" not in head and "+" not in head:
        return head
    return "/".join("+" + segment if segment[:1] in ("=", "+") else segment for segment in head.split("/"))
