"""A small Connect client, for commands: one call, one answer or a stream of them."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_PREFIX = 5  # bytes before each message of a stream: flags and length
_COMPRESSED, _END = 1, 2
_CONNECT_TIMEOUT = 10.0  # seconds; answers may take as long as they take


class CallFailed(Exception):
    """What the server, or the way to it, had to say. ``code`` is Connect's name for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Connect:
    """Calls methods of one server. Its address may be written as the SDK's configuration writes it: dns:///host:port."""

    def __init__(self, endpoint: str) -> None:
        address = endpoint.removeprefix("dns:///").rstrip("/")
        self._endpoint = address if "://" in address else f"http://{address}"
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT), trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(self, method: MethodDescriptor, request: Message) -> Any:
        """One answer.

        Raises:
            CallFailed: the server refused, or cannot be reached.
        """
        try:
            response = await self._http.post(
                self._url(method), content=request.SerializeToString(), headers={"content-type": "application/proto"}
            )
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.status_code != httpx.codes.OK:
            raise _failure(response.content, response.status_code)
        return GetMessageClass(method.output_type).FromString(response.content)

    async def stream(self, method: MethodDescriptor, request: Message) -> AsyncIterator[Any]:
        """Every answer, as it comes.

        Raises:
            CallFailed: the server refused, ended the stream with an error, or cannot be reached.
        """
        body = request.SerializeToString()
        content = bytes(1) + len(body).to_bytes(4, "big") + body
        headers = {"content-type": "application/connect+proto"}
        kind = GetMessageClass(method.output_type)
        try:
            async with self._http.stream("POST", self._url(method), content=content, headers=headers) as response:
                if response.status_code != httpx.codes.OK:
                    raise _failure(await response.aread(), response.status_code)
                async for flags, payload in _envelopes(response):
                    if flags & _END:
                        _raise_end(payload)
                        return
                    yield kind.FromString(payload)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _url(self, method: MethodDescriptor) -> str:
        return f"{self._endpoint}/{method.containing_service.full_name}/{method.name}"

    def _unreachable(self, error: httpx.TransportError) -> CallFailed:
        reason = str(error) or type(error).__name__
        return CallFailed(
            "unavailable", f"{self._endpoint} cannot be reached ({reason}): start alula, or name --endpoint"
        )


async def _envelopes(response: httpx.Response) -> AsyncIterator[tuple[int, bytes]]:
    buffer = b""
    async for chunk in response.aiter_raw():
        buffer += chunk
        while len(buffer) >= _PREFIX and len(buffer) >= (end := _PREFIX + int.from_bytes(buffer[1:_PREFIX], "big")):
            flags, payload, buffer = buffer[0], buffer[_PREFIX:end], buffer[end:]
            yield flags, gzip.decompress(payload) if flags & _COMPRESSED else payload


def _raise_end(payload: bytes) -> None:
    if error := json.loads(payload or b"{}").get("error"):
        raise CallFailed(error.get("code", "unknown"), error.get("message", ""))


def _failure(body: bytes, status: int) -> CallFailed:
    try:
        error = json.loads(body)
        return CallFailed(error["code"], error.get("message", ""))
    except (ValueError, KeyError, TypeError):
        return CallFailed("unknown", f"the server answered with HTTP status {status}: is it alula's endpoint?")
