"""What an attempt reads first and writes last, where it lies: for objects on this machine that takes no request.

The SDK reads `inputs.pb`, `outputs.pb` and `error.pb`, its own and its children's, and writes them, through two
functions. They are given the files, if the variable `FOLDER` says where those are and they can be used. For all else,
and whenever something is not as expected, the SDK asks the server, as it does anywhere. Standard library only.
"""

import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from alula.core import record

FOLDER = "ALULA_OBJECTS"  # of the environment: the bucket's folder, named as the bucket, beside the one for what is new
STAGING = ".staging"
_MOST = 256 * 1024  # bytes; larger objects are not worth it
_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)+(?:inputs|outputs|error)\.pb")  # folders named as they are


def read(uri: str) -> bytes | None:
    """An object, or ``None`` if it is not to be had in this way."""
    path = _path(uri)
    if path is None:
        return None
    try:
        with open(path, "rb", buffering=0) as file:
            return record.data(file.read()) if os.fstat(file.fileno()).st_size <= _MOST else None
    except OSError:
        return None


def write(uri: str, data: bytes, *, durable: bool) -> bool:
    """Put an object, in one step; whether that was done. If it is durable, it is on the disk by then."""
    path = _path(uri)
    if path is None or len(data) > _MOST:
        return False
    staged = f"{os.path.dirname(os.environ[FOLDER])}/{STAGING}/{os.urandom(8).hex()}"
    try:
        with open(staged, "xb", buffering=0) as file:
            file.write(record.whole(data))
            if durable:
                os.fsync(file.fileno())
        _move(staged, path)
        if durable:
            _settle(os.path.dirname(path))
    except OSError:  # a full disk, for one: the server says it better
        with suppress(OSError):
            os.unlink(staged)
        return False
    return True


def install(*, durable: bool) -> None:
    """Stand between the SDK and its storage. ``durable``: what is written survives a loss of power."""
    storage: Any = sys.modules["flyte.storage"]
    get, put = storage.get_stream, storage.put_stream

    async def get_stream(path: str, *arguments: Any, **options: Any) -> AsyncIterator[bytes]:
        found = read(path)
        if found is not None:
            yield found
            return
        async for chunk in get(path, *arguments, **options):
            yield chunk

    async def put_stream(*arguments: Any, **options: Any) -> Any:
        given = dict(options, data_iterable=arguments[0]) if arguments else options
        data, path = given.get("data_iterable"), given.get("to_path")
        if len(given) == 2 and isinstance(data, bytes) and isinstance(path, str):
            # Inputs may go with the power: then their reader's parent, which wrote them, begins again as well.
            lasting = durable and not path.endswith("/inputs.pb")
            if write(path, data, durable=lasting):
                return path
        return await put(*arguments, **options)

    storage.get_stream, storage.put_stream = get_stream, put_stream


def _path(uri: str) -> str | None:
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    base = f"s3://{os.path.basename(folder)}/"
    if not uri.startswith(base) or not _KEY.fullmatch(uri, len(base)):
        return None
    head, _, name = uri[len(base) :].rpartition("/")
    return f"{folder}/{head}/={name}"


def _move(staged: str, path: str) -> None:
    try:
        os.replace(staged, path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.replace(staged, path)


def _settle(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
