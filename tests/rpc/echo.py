"""The service the tests call, and a server around it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.wrappers_pb2 import StringValue

from alula.rpc.app import App
from alula.rpc.asgi import Asgi
from alula.rpc.errors import Code, RpcError
from alula.rpc.schema import load
from alula.rpc.server import Server
from alula.rpc.service import Context, Service

FILE = load("""
    name: "tests/echo.proto" package: "tests.v1" syntax: "proto3"
    message_type {
      name: "Ask"
      field { name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "count" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL }
      field { name: "size" number: 3 type: TYPE_INT32 label: LABEL_OPTIONAL }
    }
    message_type {
      name: "Reply"
      field { name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "number" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL }
      field { name: "data" number: 3 type: TYPE_BYTES label: LABEL_OPTIONAL }
    }
    service {
      name: "Echo"
      method {
        name: "Say" input_type: ".tests.v1.Ask" output_type: ".tests.v1.Reply"
        options { idempotency_level: NO_SIDE_EFFECTS }
      }
      method { name: "Fail" input_type: ".tests.v1.Ask" output_type: ".tests.v1.Reply" }
      method { name: "Wait" input_type: ".tests.v1.Ask" output_type: ".tests.v1.Reply" }
      method { name: "Missing" input_type: ".tests.v1.Ask" output_type: ".tests.v1.Reply" }
      method { name: "Count" input_type: ".tests.v1.Ask" output_type: ".tests.v1.Reply" server_streaming: true }
      method { name: "Sum" input_type: ".tests.v1.Ask" output_type: ".tests.v1.Reply" client_streaming: true }
      method {
        name: "Chat" input_type: ".tests.v1.Ask" output_type: ".tests.v1.Reply"
        client_streaming: true server_streaming: true
      }
    }
""")
ECHO = FILE.services_by_name["Echo"]
Ask: Any = GetMessageClass(FILE.message_types_by_name["Ask"])
Reply: Any = GetMessageClass(FILE.message_types_by_name["Reply"])


class Echo:
    """Says what it hears. What happens to its streams can be waited for."""

    def __init__(self) -> None:
        self._open = 0
        self._sent = 0
        self._context: Context | None = None
        self._changed = asyncio.Condition()

    async def say(self, request: Any, context: Context) -> Message:
        """Echo; metadata travels too. With ``size``, that many bytes besides."""
        self._context = context
        context.response_headers.update({k: v for k, v in context.headers.items() if k.startswith("x-echo")})
        context.trailers.update({k: v for k, v in context.headers.items() if k.startswith("x-trail")})
        reply: Message = Reply(text=request.text, data=b"x" * request.size)
        return reply

    async def fail(self, request: Any, context: Context) -> Message:
        """Fail as asked: with the code that ``text`` names, or in a way no one foresaw."""
        context.trailers["x-why"] = "asked"
        if request.text == "lookup":
            raise LookupError("a row of secrets")
        if request.text == "header":
            context.response_headers["x-bad"] = "a\r\nb: c"
            return Reply()  # type: ignore[no-any-return]
        if request.text == "inner":
            raise asyncio.CancelledError
        raise RpcError(Code[request.text], "no way: é%", [StringValue(value="why")])

    async def wait(self, _request: Any, _context: Context) -> Message:
        """Wait for ever."""
        async with self._counted():
            await asyncio.Event().wait()
        raise AssertionError

    async def count(self, request: Any, context: Context) -> AsyncIterator[Message]:
        """``count`` replies, numbered; then wait for ever if ``text`` says "wait", or fail if it is a code."""
        context.response_headers["x-lead"] = "1"
        context.trailers["x-trail"] = "2"
        async with self._counted():
            for number in range(request.count):
                self._sent = number + 1
                yield Reply(number=number, data=b"x" * request.size)
            if request.text == "wait":
                await asyncio.Event().wait()
            elif request.text:
                raise RpcError(Code[request.text], "midway")

    async def sum(self, requests: AsyncIterator[Any], _context: Context) -> Message:
        """Add the counts."""
        async with self._counted():
            reply: Message = Reply(number=sum([request.count async for request in requests]))
        return reply

    async def chat(self, requests: AsyncIterator[Any], _context: Context) -> AsyncIterator[Message]:
        """Answer each request at once. ``text`` "wait": read no more."""
        async with self._counted():
            async for request in requests:
                yield Reply(text=request.text, number=request.count)
                if request.text == "wait":
                    await asyncio.Event().wait()

    @contextlib.asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        await self._move(1)
        try:
            yield
        finally:
            self._open -= 1
            asyncio.get_running_loop().call_soon(asyncio.ensure_future, self._move(0))

    async def _move(self, by: int) -> None:
        async with self._changed:
            self._open += by
            self._changed.notify_all()


@dataclass
class Running:
    """A server that runs in the loop of the test."""

    port: int
    app: App
    echo: Echo
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Its address for HTTP clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        """Its address for gRPC clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def sent(self) -> int:
        """How many messages the last stream has made."""
        return self.echo._sent

    @property
    def context(self) -> Context:
        """What the last `Say` was told."""
        assert self.echo._context is not None
        return self.echo._context

    async def open_calls(self, wanted: int, within: float = 5.0) -> None:
        """Return once ``wanted`` handlers are running; TimeoutError if that does not come to be."""
        echo = self.echo
        async with asyncio.timeout(within), echo._changed:
            await echo._changed.wait_for(lambda: echo._open == wanted)


@contextlib.asynccontextmanager
async def serving(
    *others: Service, grace: float = 5.0, front: Callable[[Asgi], Asgi] = lambda app: app, **options: Any
) -> AsyncIterator[Running]:
    """A server of Echo, and of ``others``, on a free port. ``front`` wraps the App, ``options`` go to it."""
    echo = Echo()
    app = App([Service(ECHO, echo), *others], **options)
    listener = socket.create_server(("127.0.0.1", 0))
    running = Running(listener.getsockname()[1], app, echo)
    running.done = asyncio.create_task(Server(app, [listener], front=front(app), grace=grace).run(running.stop))
    try:
        yield running
    finally:
        running.stop.set()
        await running.done
