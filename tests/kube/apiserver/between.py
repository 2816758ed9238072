"""What stands between a client and a server: it passes on what is asked, or has it go wrong on the way."""

import asyncio
import gzip
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

import httpx
import msgspec
from flyteidl2.workflow.events_proxy_service_pb2 import RecordRequest

from tests.kube.apiserver.faults import Cut, Faults
from tests.kube.apiserver.refusals import Refusal
from tests.kube.apiserver.server import listening

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_HOPS = frozenset({"host", "connection", "content-length", "transfer-encoding", "keep-alive", "content-encoding"})


@dataclass
class Asked:
    """A request, and its answer unless it is passed on as it comes."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Between:
    """Use `between`. ``faults`` says what goes wrong; ``happened`` counts it, by a word for it.

    ``seen``: what was asked for and passed on: method, path with its query, code of the answer.
    """

    def __init__(self, url: str) -> None:
        self.faults = Faults()
        self.happened: Counter[str] = Counter()
        self.seen: set[tuple[str, str, int]] = set()
        self._url = url
        self._cut = asyncio.Event()
        self._http = httpx.AsyncClient(verify=False, trust_env=False, timeout=None, limits=httpx.Limits())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def cut(self) -> None:
        """Break all that is under way."""
        self._cut.set()
        self._cut = asyncio.Event()

    async def away(self, seconds: float) -> None:
        """Nothing comes through for a while."""
        self.faults.away = True
        self.cut()
        await asyncio.sleep(seconds)
        self.faults.away = False
        self.happened["away"] += 1

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = bool(message.get("more_body"))
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        kept = {key: value for key, value in headers.items() if key not in _HOPS}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        asked = Asked(scope["method"], scope["path"], scope["query_string"].decode(), kept, body)
        begun = False

        async def tell(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.faults.before(asked.method, dict(parse_qsl(asked.query)))
            await self.serve(asked, receive, tell)
        except (Cut, httpx.TransportError) as error:
            self.happened["cut"] += 1
            if not begun:  # uvicorn ends the connection of an answer that raises
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            raise Cut from error
        except Refusal as refusal:
            self.happened[str(refusal.code)] += 1
            await answer(tell, refusal.code, msgspec.json.encode(self.refusal(refusal)))

    def refusal(self, refusal: Refusal) -> object:
        """The body of an answer that is no success."""
        return refusal.status()

    async def serve(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back as it comes."""
        async with self._ask(asked) as found:
            if asked.method != "GET" and self.faults.happens(self.faults.lost):
                self.happened["lost"] += 1
                raise Cut
            headers = [
                (key.encode(), value.encode()) for key, value in found.headers.items() if key.lower() not in _HOPS
            ]
            await send({"type": "http.response.start", "status": found.status_code, "headers": headers})
            async for piece in self._until_cut(found.aiter_bytes(), receive):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def _ask(self, asked: Asked) -> AsyncIterator[httpx.Response]:
        url = f"{self._url}{asked.path}" + (f"?{asked.query}" if asked.query else "")
        headers = {**asked.headers, "accept-encoding": "identity"}
        async with self._http.stream(asked.method, url, headers=headers, content=asked.body) as found:
            self.seen.add((asked.method, url.removeprefix(self._url), found.status_code))
            yield found

    async def _until_cut(self, pieces: AsyncIterator[bytes], receive: Receive) -> AsyncIterator[bytes]:
        """The pieces of an answer, until it ends, its client is gone or it is cut, as any may be after a piece."""
        ends = [asyncio.ensure_future(self._cut.wait()), asyncio.ensure_future(receive())]
        try:
            while True:
                reading = asyncio.ensure_future(anext(pieces, b""))
                await asyncio.wait([reading, *ends], return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    await asyncio.wait([reading])
                    if ends[0].done():
                        raise Cut
                    return
                if not (piece := reading.result()):
                    return
                yield piece
                if self.faults.happens(self.faults.cut):
                    raise Cut
        finally:
            for end in ends:
                end.cancel()


@dataclass
class Gossip:
    """What becomes of events on their way, each by this chance: they come later than others, twice, in another order,
    or never. ``later``: seconds, at most."""

    delayed: float = 0.0
    twice: float = 0.0
    mixed: float = 0.0
    dropped: float = 0.0
    later: float = 1.0


@dataclass(eq=False)
class Mail:
    """Requests that are under way by themselves."""

    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def post(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(doing)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class EventsBetween(Between):
    """Between a Manager and the control plane, which it tells of events. ``gossip`` says what becomes of them."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.faults.codes = (429, 500, 503)
        self.gossip = Gossip()
        self._mail = Mail()

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._mail.tasks):
            task.cancel()
        await asyncio.gather(*self._mail.tasks, return_exceptions=True)
        await super().__aexit__()

    async def delivered(self) -> None:
        """Return once nothing is on its way any more."""
        while self._mail.tasks:
            await asyncio.wait(self._mail.tasks)

    def refusal(self, refusal: Refusal) -> object:
        """As Connect spells it."""
        codes = {429: "resource_exhausted", 500: "internal", 503: "unavailable"}
        return {"code": codes[refusal.code], "message": str(refusal)}

    async def serve(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Who tells is told that all is well, whatever becomes of it."""
        gossip, dice = self.gossip, self.faults.dice
        request = RecordRequest.FromString(asked.body)
        self.happened["events"] += len(request.events)
        if self._falls("mixed", gossip.mixed):
            events = list(request.events)
            dice.shuffle(events)
            request = RecordRequest(events=events)
        asked.body = request.SerializeToString()
        if self._falls("dropped", gossip.dropped):
            await answer(send, 200, b"", "application/proto")
            return
        if self._falls("twice", gossip.twice):
            self._mail.post(self._later(asked, dice.uniform(0.0, gossip.later)))
        if self._falls("delayed", gossip.delayed):
            self._mail.post(self._later(asked, dice.uniform(0.0, gossip.later)))
            await answer(send, 200, b"", "application/proto")
            return
        await super().serve(asked, receive, send)

    def _falls(self, word: str, rate: float) -> bool:
        found = self.faults.happens(rate)
        self.happened[word] += found
        return found

    async def _later(self, asked: Asked, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            async with self._ask(asked) as found:
                await found.aread()
                self.happened[f"later: {found.status_code}"] += 1
        except httpx.TransportError:
            self.happened["later: lost"] += 1


async def answer(send: Send, code: int, body: bytes, form: str = "application/json") -> None:
    """A whole answer."""
    headers = [(b"content-type", form.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def between(made: Between, dice: random.Random) -> AsyncIterator[str]:
    """The URL under which what is asked goes through ``made``."""
    made.faults.dice = dice
    async with made, listening(made, made.cut) as url:
        yield url
