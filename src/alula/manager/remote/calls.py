"""Calls of connectors over gRPC, and what their errors mean (executor.md 4.8, 8.2 T17, 8.4)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import pyqwest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from flyteidl2.connector.service_connect import AsyncConnectorServiceClient, ConnectorMetadataServiceClient

from alula.core.errors import Unavailable
from alula.core.taskaction import Cause
from alula.manager.plugins.base import Failed, Unsure

_SHORTEST, _LONGEST = 1.0, 30.0  # seconds for which an endpoint that does not answer is not asked
_LARGEST = 16 * 1024 * 1024  # bytes of an answer: outputs may be in it

# What a connector says that has not begun to do what it was asked.
_NOT_NOW = frozenset({Code.RESOURCE_EXHAUSTED, Code.ABORTED})
# What would be said again, whenever it was asked.
_NEVER = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
        Code.UNIMPLEMENTED,
        Code.ALREADY_EXISTS,
    }
)
# What is said for a connector that does not. A server that shuts down says it of calls that it had begun.
_NO_ANSWER = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELED})

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server of connectors is: ``http://host:port``, or ``https://`` with a certificate that systems trust.

    ``project`` and ``domain``: it is for these alone, if they are said. ``timeout`` of one call, in seconds. ``again``:
    it finds the job of an attempt by the attempt's id, and begins no second one.
    """

    url: str
    project: str = ""
    domain: str = ""
    timeout: float = 10.0
    again: bool = False


@dataclass(slots=True)
class _Silence:
    """Of an endpoint that does not answer: nobody asks it again before ``until``."""

    pause: float
    until: float
    text: str


class Wire:
    """The clients of all endpoints, over one pool of HTTP/2 connections. ``steady`` counts seconds, from whenever.

    An endpoint that does not answer is left in peace for a while: all who wait for it would wait for all others, too.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._http = pyqwest.Client(pyqwest.HTTPTransport(http_version=pyqwest.HTTPVersion.HTTP2))
        self._silent: dict[str, _Silence] = {}

    def jobs(self, endpoint: Endpoint) -> AsyncConnectorServiceClient:
        return AsyncConnectorServiceClient(
            endpoint.url,
            protocol=ProtocolType.GRPC,
            http_client=self._http,
            timeout_ms=int(endpoint.timeout * 1000),
            read_max_bytes=_LARGEST,
        )

    def metadata(self, endpoint: Endpoint) -> ConnectorMetadataServiceClient:
        return ConnectorMetadataServiceClient(
            endpoint.url,
            protocol=ProtocolType.GRPC,
            http_client=self._http,
            timeout_ms=int(endpoint.timeout * 1000),
            read_max_bytes=_LARGEST,
        )

    def check(self, endpoint: Endpoint) -> None:
        """That it may be asked now.

        Raises:
            Unavailable: it did not answer a moment ago.
        """
        if not self.may_be_asked(endpoint):
            raise Unavailable(self._silent[endpoint.url].text)

    def may_be_asked(self, endpoint: Endpoint) -> bool:
        """Whether it answered, or nobody has asked it for a while."""
        silence = self._silent.get(endpoint.url)
        return silence is None or self._steady() >= silence.until

    async def begun(self, endpoint: Endpoint, call: Awaitable[_Answer]) -> _Answer:
        """The answer to a call that must not be made twice. `check` comes before it.

        Raises:
            Unavailable: nothing was done.
            Unsure: there was no answer.
            Failed: the connector refused it, or could not do it.
        """
        try:
            return await self._heard(endpoint, call)
        except ConnectError as error:
            _raise(endpoint, error)
            raise

    async def asked(self, endpoint: Endpoint, call: Awaitable[_Answer]) -> _Answer:
        """The answer to a call that may be made again. `check` comes before it.

        Raises:
            Unavailable: there is none for now, whatever the reason.
        """
        try:
            return await self._heard(endpoint, call)
        except ConnectError as error:
            raise Unavailable(_text(endpoint, error)) from error

    async def _heard(self, endpoint: Endpoint, call: Awaitable[_Answer]) -> _Answer:
        """Remember whether it answers."""
        try:
            found = await call
        except ConnectError as error:
            if error.__cause__ is None:
                self._silent.pop(endpoint.url, None)
                raise
            before = self._silent.get(endpoint.url)
            pause = _SHORTEST if before is None else min(2 * before.pause, _LONGEST)
            self._silent[endpoint.url] = _Silence(pause, self._steady() + pause, _text(endpoint, error))
            raise
        self._silent.pop(endpoint.url, None)
        return found


def is_gone(error: Unavailable) -> bool:
    """Whether the connector said that what was asked for is not there."""
    return isinstance(error.__cause__, ConnectError) and error.__cause__.code is Code.NOT_FOUND


def _raise(endpoint: Endpoint, error: ConnectError) -> None:
    """Say what an error means for a call that must not be made twice."""
    if error.code in _NOT_NOW or isinstance(error.__cause__, ConnectionError):
        raise Unavailable(_text(endpoint, error)) from error
    if error.code in _NO_ANSWER or error.__cause__ is not None:
        raise Unsure(_text(endpoint, error)) from error
    if error.code is Code.NOT_FOUND:
        raise Failed(Cause("PluginNotFound", _text(endpoint, error), recoverable=False)) from error
    raise Failed(Cause("TaskFailedWithError", _text(endpoint, error), recoverable=error.code not in _NEVER)) from error


def _text(endpoint: Endpoint, error: ConnectError) -> str:
    if error.__cause__ is not None:
        return f"the connector at {endpoint.url} does not answer"
    return f"the connector says {error.code.name}: {error.message}"
