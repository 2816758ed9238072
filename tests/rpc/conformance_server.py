"""The server under test of the Connect conformance suite: ConformanceService on alula's RPC layer.

The suite's runner starts it once per configuration and speaks size-prefixed messages with it on stdin and stdout.
``ALULA_CONFORMANCE_DESCRIPTORS`` names a FileDescriptorSet of the suite's protos::

    go install connectrpc.com/conformance/cmd/connectconformance@latest
    protoc -I PROTOS --include_imports -o conformance.binpb PROTOS/connectrpc/conformance/v1/*.proto
    ALULA_CONFORMANCE_DESCRIPTORS=conformance.binpb connectconformance --mode server \\
        --conf tests/rpc/conformance.yaml -- python tests/rpc/conformance_server.py

PROTOS is the folder ``proto`` of the suite's own Go module.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from alula.rpc.app import App
from alula.rpc.errors import Code, RpcError
from alula.rpc.server import Server
from alula.rpc.service import Context, Service

PACKAGE = "connectrpc.conformance.v1"
CODES = {code.number: code for code in Code}
POOL = descriptor_pool.Default()


def load(path: str) -> None:
    """Add the suite's files to the default pool, where JSON looks for the types inside an Any."""
    for file in descriptor_pb2.FileDescriptorSet.FromString(Path(path).read_bytes()).file:
        POOL.Add(file)  # what is there already, and equal, is no clash


def message(name: str) -> Any:
    """A message class of the suite."""
    return GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def packed(one: Message) -> any_pb2.Any:
    """``one`` in an Any."""
    result = any_pb2.Any()
    result.Pack(one)
    return result


class Conformance:
    """The service: it answers as each request says, and echoes what it saw."""

    async def unary(self, request: Any, context: Context) -> Message:
        """One request, one response."""
        response: Message = await self._one("UnaryResponse", request.response_definition, [request], context)
        return response

    async def idempotent_unary(self, request: Any, context: Context) -> Message:
        """Like unary, also by GET."""
        response: Message = await self._one("IdempotentUnaryResponse", request.response_definition, [request], context)
        return response

    async def client_stream(self, requests: AsyncIterator[Any], context: Context) -> Message:
        """Many requests; the first says how to answer."""
        seen = [request async for request in requests]
        definition = seen[0].response_definition if seen else message("UnaryResponseDefinition")()
        response: Message = await self._one("ClientStreamResponse", definition, seen, context)
        return response

    async def server_stream(self, request: Any, context: Context) -> AsyncIterator[Message]:
        """One request, many responses."""
        definition = request.response_definition
        self._metadata(definition, context)
        info = self._info([request], context)
        for number, data in enumerate(definition.response_data):
            await asyncio.sleep(definition.response_delay_ms / 1000)
            yield self._payload("ServerStreamResponse", data, info if number == 0 else None)
        if definition.HasField("error"):
            raise self._error(definition.error, [] if definition.response_data else [info])

    async def bidi_stream(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Message]:
        """Full duplex: an answer per request. Half duplex: all answers after the last request."""
        definition: Any = message("StreamResponseDefinition")()
        seen: list[Message] = []
        sent = 0
        full: bool | None = None
        async for request in requests:
            seen.append(request)
            if full is None:
                full = request.full_duplex
                definition = request.response_definition
                self._metadata(definition, context)
            if full:
                if sent >= len(definition.response_data):
                    break
                await asyncio.sleep(definition.response_delay_ms / 1000)
                info = self._info(seen, context if sent == 0 else None)
                yield self._payload("BidiStreamResponse", definition.response_data[sent], info)
                sent += 1
                seen = []
        for data in definition.response_data[sent:]:
            await asyncio.sleep(definition.response_delay_ms / 1000)
            yield self._payload("BidiStreamResponse", data, self._info(seen, context) if sent == 0 else None)
            sent += 1
        if definition.HasField("error"):
            raise self._error(definition.error, [] if sent else [self._info(seen, context)])

    async def _one(self, kind: str, definition: Any, seen: list[Message], context: Context) -> Message:
        self._metadata(definition, context)
        info = self._info(seen, context)
        await asyncio.sleep(definition.response_delay_ms / 1000)
        if definition.WhichOneof("response") == "error":
            raise self._error(definition.error, [info])
        return self._payload(kind, definition.response_data, info)

    def _metadata(self, definition: Any, context: Context) -> None:
        context.response_headers.update({one.name: ", ".join(one.value) for one in definition.response_headers})
        context.trailers.update({one.name: ", ".join(one.value) for one in definition.response_trailers})

    def _info(self, seen: list[Message], context: Context | None) -> Any:
        info = message("ConformancePayload.RequestInfo")()
        info.requests.extend(packed(one) for one in seen)
        if context is not None:
            for name, value in context.headers.items():
                info.request_headers.add(name=name, value=[value])
            if context.deadline is not None:
                info.timeout_ms = round((context.deadline - asyncio.get_running_loop().time()) * 1000)
            for name, value in parse_qsl(context.query, keep_blank_values=True):
                info.connect_get_info.query_params.add(name=name, value=[value])
        return info

    def _payload(self, kind: str, data: bytes, info: Message | None) -> Message:
        response = message(kind)()
        response.payload.data = data
        if info is not None:
            response.payload.request_info.CopyFrom(info)
        made: Message = response
        return made

    def _error(self, error: Any, infos: list[Message]) -> RpcError:
        return RpcError(CODES[error.code], error.message, [*error.details, *infos])


async def main() -> None:
    """Serve until SIGTERM."""
    load(os.environ["ALULA_CONFORMANCE_DESCRIPTORS"])
    size = int.from_bytes(sys.stdin.buffer.read(4), "big")
    request = message("ServerCompatRequest").FromString(sys.stdin.buffer.read(size))
    listener = socket.create_server(("127.0.0.1", 0))
    response = message("ServerCompatResponse")(host="127.0.0.1", port=listener.getsockname()[1]).SerializeToString()
    service = Service(POOL.FindServiceByName(f"{PACKAGE}.ConformanceService"), Conformance())
    limit = request.message_receive_limit
    app = App([service], max_message=limit) if limit else App([service])
    sys.stdout.buffer.write(len(response).to_bytes(4, "big") + response)
    sys.stdout.buffer.flush()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await Server(app, [listener]).run(stop)


if __name__ == "__main__":
    asyncio.run(main())
