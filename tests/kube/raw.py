"""An HTTP server of a few lines, for what no well-behaved one does. It answers with the bytes that a test says."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; ``turn`` says which of its connection it is, from 0. ``certificate``: the caller's common name."""

    line: str
    headers: dict[str, str]
    turn: int
    certificate: str = ""


@dataclass
class Raw:
    """What came. ``answer`` makes the bytes of an answer; b"" closes the connection, None says nothing for ever.

    One that says ``Connection: close`` is the last of its connection.
    """

    answer: Callable[[Asked], bytes | None]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = (writer.get_extra_info("peercert") or {}).get("subject", ())
        name = next((value for ((key, value),) in peer if key == "commonName"), "")
        turn = 0
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                line, *rest = head.strip().split("\r\n")
                headers = {key.lower(): value.strip() for key, _, value in (one.partition(":") for one in rest)}
                await reader.readexactly(int(headers.get("content-length", 0)))
                asked = Asked(line, headers, turn, name)
                self.asked.append(asked)
                self.arrived.set()
                told = self.answer(asked)
                if told is None:
                    await reader.read()
                    return
                if not told:
                    return
                writer.write(told)
                await writer.drain()
                if b"Connection: close" in told:
                    return
                turn += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def said(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    """A whole answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


@asynccontextmanager
async def raw(answer: Callable[[Asked], bytes | None], tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """A server that runs as long as the block lasts."""
    found = Raw(answer)
    server = await asyncio.start_server(found.talk, "127.0.0.1", 0, ssl=tls)
    found.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        await found.end()
