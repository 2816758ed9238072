"""One call, from its first request to its end: run the handler, and say how it went."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from alula.rpc.asgi import Disconnected
from alula.rpc.errors import Code, RpcError
from alula.rpc.exchange import Exchange
from alula.rpc.service import Context, Kind, Method

logger = logging.getLogger(__name__)

DRAINED = RpcError(Code.UNAVAILABLE, "the server is shutting down")
LATE = RpcError(Code.DEADLINE_EXCEEDED, "the deadline of the call has passed")
LEFT = RpcError(Code.CANCELED, "the client went away")


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that has ended."""

    method: str
    protocol: str  # "connect", "grpc", "grpc-web"
    code: str  # the label of a Code, or "ok"
    seconds: float


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the owner of the services has to say about every call."""

    translate: Callable[[Exception], RpcError | None] | None
    check: Callable[[Message], None] | None
    observe: Callable[[Finished], None] | None


class Call:
    """A call that runs in the current task and can be stopped from outside."""

    def __init__(self, method: Method, exchange: Exchange, hooks: Hooks) -> None:
        self._method = method
        self._exchange = exchange
        self._hooks = hooks
        self._task = asyncio.current_task()
        self._stopped: RpcError | None = None
        self._ending = False  # the handler is done: only the client's leaving still matters

    def stop(self, why: RpcError) -> None:
        """End the call with ``why``. The first reason counts; one that comes after the handler's end does not."""
        if self._task is None or self._stopped is LEFT or (self._ending and why is not LEFT):
            return
        if self._stopped is None or why is LEFT:
            self._stopped = why
            self._task.cancel()

    def leave(self) -> None:
        """The client went away."""
        self.stop(LEFT)

    async def run(self, context: Context) -> RpcError | None:
        """Answer the call. The result is what the client was told, None for success."""
        try:
            error = await self._outcome(context)
            if error is not LEFT:
                error = await self._finish(error, context)
        except asyncio.CancelledError:
            if self._stopped is not LEFT:
                raise
            error = LEFT
        return error

    async def _outcome(self, context: Context) -> RpcError | None:
        error: RpcError | None = None
        try:
            await self._handle(context)
        except asyncio.CancelledError as cancelled:
            if self._stopped is None:
                if self._task is not None and self._task.cancelling():
                    raise  # by who runs the server: there is nothing left to say
                error = self._unexpected(cancelled)
        except Disconnected:
            error = LEFT
        except RpcError as raised:
            error = raised
        except Exception as raised:
            error = self._translated(raised)
        self._ending = True
        if self._stopped is None:
            return error
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # takes a cancellation that came too late to reach the handler
        return self._stopped

    async def _handle(self, context: Context) -> None:
        handler, kind, exchange = self._method.handler, self._method.kind, self._exchange
        if handler is None:
            raise RpcError(Code.UNIMPLEMENTED, f"{self._method.path} is not served here")
        if kind is Kind.UNARY:
            await exchange.send(await handler(await self._only(), context), context.response_headers)
        elif kind is Kind.SERVER_STREAM:
            await self._answer(handler(await self._only(), context), context)
        else:
            async with contextlib.aclosing(self._requests()) as requests:
                if kind is Kind.CLIENT_STREAM:
                    await exchange.send(await handler(requests, context), context.response_headers)
                else:
                    await self._answer(handler(requests, context), context)

    async def _answer(self, responses: AsyncIterator[Message], context: Context) -> None:
        try:
            async for response in responses:
                await self._exchange.send(response, context.response_headers)
        finally:
            if isinstance(responses, AsyncGenerator):
                await responses.aclose()  # its `finally` runs now, not when it is collected

    async def _requests(self) -> AsyncGenerator[Message]:
        while (request := await self._exchange.receive()) is not None:
            self._checked(request)
            yield request

    async def _only(self) -> Message:
        request = await self._exchange.receive()
        if request is None or await self._exchange.receive() is not None:
            raise RpcError(Code.UNIMPLEMENTED, f"{self._method.path} takes exactly one request message")
        self._checked(request)
        return request

    def _checked(self, request: Message) -> None:
        if self._hooks.check is not None:
            self._hooks.check(request)

    async def _finish(self, error: RpcError | None, context: Context) -> RpcError | None:
        try:
            await self._exchange.finish(error, context.response_headers, context.trailers)
        except ValueError as unsendable:  # metadata of the handler; nothing was sent
            error = self._unexpected(unsendable)
            await self._exchange.finish(error, {}, {})
        return error

    def _translated(self, raised: Exception) -> RpcError:
        known = self._hooks.translate(raised) if self._hooks.translate is not None else None
        return known or self._unexpected(raised)

    def _unexpected(self, raised: BaseException) -> RpcError:
        logger.error("%s failed", self._method.path, exc_info=raised)
        return RpcError(Code.INTERNAL, "internal error; the log of the server says more")
