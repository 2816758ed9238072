"""Objects, read and written as tasks read and write them: by the SDK's storage, from the variables that tasks get."""

import asyncio
import tempfile
from pathlib import Path

from flyte import storage

_loop = asyncio.Runner()  # the program does one thing after the other


def read(uri: str) -> bytes:
    """An object's content.

    Raises:
        OSError: it cannot be read.
    """

    async def content() -> bytes:
        return b"".join([block async for block in storage.get_stream(uri)])

    return _loop.run(content())


def read_file(uri: str, path: Path) -> None:
    """Fetch an object of any size into a new file."""

    async def fetch() -> None:
        with path.open("wb") as file:
            async for block in storage.get_stream(uri):
                file.write(block)

    _loop.run(fetch())


def read_tree(uri: str, folder: Path) -> None:
    """Fetch everything below a prefix into a new folder."""
    _loop.run(storage.get(uri, folder, recursive=True))
    folder.mkdir(exist_ok=True)  # there may have been nothing


def write(content: bytes, uri: str) -> None:
    """Write an object."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        write_file(Path(file.name), uri)


def write_file(path: Path, uri: str) -> None:
    """Put a file."""
    _loop.run(storage.put(str(path), uri))


def write_tree(folder: Path, uri: str) -> None:
    """Put everything in a folder."""
    _loop.run(storage.put(str(folder), uri, recursive=True))
