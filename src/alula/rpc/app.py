"""The ASGI application that answers the calls of a set of services, and hands everything else on."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol

from google.protobuf.message import Message

from alula.rpc.asgi import GONE, TRAILERS, Asgi, Receive, Scope, Send
from alula.rpc.call import DRAINED, LATE, Call, Finished, Hooks
from alula.rpc.errors import RpcError
from alula.rpc.exchange import Request
from alula.rpc.metadata import read_headers
from alula.rpc.negotiate import Refusal, Speech, media_type, negotiate, unknown
from alula.rpc.service import Context, Kind, Method, Service

MAX_MESSAGE = 64 * 1024 * 1024  # bytes


class Signal(Protocol):
    """What is asked of ``draining``: an ``asyncio.Event`` has it."""

    def is_set(self) -> bool:
        """Whether the server is shutting down."""

    def set(self) -> None:
        """Say that it is."""

    async def wait(self) -> Any:
        """Return once it is."""


@dataclass(eq=False)
class App:
    """An ASGI 3 application.

    - ``fallback`` gets every request that is no call; without one the answer is 404.
    - ``translate`` maps an exception of a handler to an RpcError. What it does not know (None) is answered with
      INTERNAL and a generic text, and logged with its traceback.
    - ``check`` sees every request message before its handler and may raise, as a handler may.
    - ``draining``: once set, every open stream ends with UNAVAILABLE, and no new one is taken.
    - ``max_message``: bytes of one request message, after decompression.
    - ``observe`` is told of every call that has ended.
    """

    services: Sequence[Service]
    _: KW_ONLY
    fallback: Asgi | None = None
    translate: Callable[[Exception], RpcError | None] | None = None
    check: Callable[[Message], None] | None = None
    draining: Signal = field(default_factory=asyncio.Event)
    max_message: int = MAX_MESSAGE
    observe: Callable[[Finished], None] | None = None

    def __post_init__(self) -> None:
        self._methods = {method.path: method for service in self.services for method in service.methods}
        self._hooks = Hooks(self.translate, self.check, self.observe)
        self._streams: set[Call] = set()
        self._drainer: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        decided = self._decide(scope) if scope["type"] == "http" else None
        if decided is None:
            await (self.fallback or not_found)(scope, receive, send)
        elif isinstance(decided, Refusal):
            await answer(send, decided)
        else:
            await self._serve(*decided, scope, receive, send)

    def _decide(self, scope: Scope) -> tuple[Method, Speech] | Refusal | None:
        path, verb = scope["path"], scope["method"]
        content_type = _content_type(scope)
        trailers = TRAILERS in scope.get("extensions", ())
        method = self._methods.get(path)
        if method is None:
            decision = unknown(path, verb, content_type, trailers=trailers)
            method = Method(path, Kind.BIDI, Message, safe=False, handler=None)
        else:
            query = scope["query_string"].decode("latin-1")
            decision = negotiate(method, verb, content_type, query, trailers=trailers)
        return (method, decision) if isinstance(decision, Speech) else decision

    async def _serve(self, method: Method, speech: Speech, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        headers = read_headers(scope["headers"])
        get = scope["method"] == "GET"
        query = scope["query_string"].decode("latin-1") if get else ""
        content_type = f"application/{speech.codec.name}" if get else media_type(headers["content-type"])
        request = Request(method, speech.codec, content_type, headers, receive, send, self.max_message, query)
        exchange = speech.open(request)
        try:
            timeout = exchange.timeout()
            if method.kind is not Kind.UNARY and self.draining.is_set():
                raise DRAINED
        except RpcError as error:
            await exchange.finish(error, {}, {})
            outcome: RpcError | None = error
        else:
            deadline = None if timeout is None else started + timeout
            context = Context(method.path, headers, deadline, _peer(scope), query)
            outcome = await self._stoppable(Call(method, exchange, self._hooks), method, scope, context)
        if self.observe is not None:
            code = "ok" if outcome is None else outcome.code.label
            self.observe(Finished(method.path, exchange.protocol, code, loop.time() - started))

    async def _stoppable(self, call: Call, method: Method, scope: Scope, context: Context) -> RpcError | None:
        """Run the call. The client's leaving, the deadline and, for a stream, a shutdown each stop it."""
        loop = asyncio.get_running_loop()
        watchers: set[Callable[[], None]] = scope.get("extensions", {}).get(GONE, set())
        timer = None if context.deadline is None else loop.call_at(context.deadline, call.stop, LATE)
        watchers.add(call.leave)
        if method.kind is not Kind.UNARY:
            self._streams.add(call)
            if self._drainer is None:
                self._drainer = loop.create_task(self._drain())
        try:
            return await call.run(context)
        finally:
            self._streams.discard(call)
            watchers.discard(call.leave)
            if timer is not None:
                timer.cancel()

    async def _drain(self) -> None:
        await self.draining.wait()
        for call in list(self._streams):
            call.stop(DRAINED)


def _content_type(scope: Scope) -> str:
    raw: bytes = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return raw.decode("latin-1")


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind an App that was given none."""
    await answer(send, Refusal(404, "nothing is served at this path"))


async def answer(send: Send, refusal: Refusal) -> None:
    """Send a refusal."""
    body = refusal.text.encode()
    head = [(b"content-length", b"%d" % len(body)), *refusal.headers]
    if not any(name == b"content-type" for name, _ in head):
        head.append((b"content-type", b"text/plain; charset=utf-8"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": head})
    await send({"type": "http.response.body", "body": body})
