"""What an attempt reads first and writes last, without requests: it comes with the order and goes with the end.

The SDK reads `inputs.pb` and writes `outputs.pb` or `error.pb` through two functions. Should they not be what they
were, it does all of that itself, and an attempt takes a few milliseconds longer.
"""

from collections.abc import AsyncIterator, Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

MOST = 256 * 1024  # bytes of an object; larger ones the SDK reads and writes itself


@dataclass
class Handed:
    """Of one attempt: the objects it is ``given``, and those of the ``wanted`` that were ``taken`` from it."""

    given: dict[str, bytes]
    wanted: Collection[str]
    taken: dict[str, bytes] = field(default_factory=dict)


current: "ContextVar[Handed | None]" = ContextVar("alula_handed", default=None)


def install() -> None:
    """Stand between the SDK and its storage."""
    import flyte.storage

    storage: Any = flyte.storage
    get, put = storage.get_stream, storage.put_stream

    async def get_stream(path: str, *arguments: Any, **options: Any) -> AsyncIterator[bytes]:
        handed = current.get()
        if handed is not None and path in handed.given:
            yield handed.given[path]
            return
        async for chunk in get(path, *arguments, **options):
            yield chunk

    async def put_stream(*arguments: Any, **options: Any) -> Any:
        handed, path = current.get(), str(options.get("to_path"))
        data = arguments[0] if arguments else options.get("data_iterable")
        if handed is None or path not in handed.wanted or not isinstance(data, bytes) or len(data) > MOST:
            return await put(*arguments, **options)
        handed.taken[path] = data
        return path

    storage.get_stream, storage.put_stream = get_stream, put_stream
