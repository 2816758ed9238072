"""grpc.health.v1: whether a service answers. Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from enum import IntEnum
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from alula.rpc.errors import Code, RpcError
from alula.rpc.schema import load
from alula.rpc.service import Context, Service

_FILE = load("""
    name: "grpc/health/v1/health.proto" package: "grpc.health.v1" syntax: "proto3"
    message_type {
      name: "HealthCheckRequest"
      field { name: "service" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
    message_type {
      name: "HealthCheckResponse"
      field {
        name: "status" number: 1 type: TYPE_ENUM label: LABEL_OPTIONAL
        type_name: ".grpc.health.v1.HealthCheckResponse.ServingStatus"
      }
      enum_type {
        name: "ServingStatus"
        value { name: "UNKNOWN" number: 0 }
        value { name: "SERVING" number: 1 }
        value { name: "NOT_SERVING" number: 2 }
        value { name: "SERVICE_UNKNOWN" number: 3 }
      }
    }
    message_type { name: "HealthListRequest" }
    message_type {
      name: "HealthListResponse"
      field {
        name: "statuses" number: 1 type: TYPE_MESSAGE label: LABEL_REPEATED
        type_name: ".grpc.health.v1.HealthListResponse.StatusesEntry"
      }
      nested_type {
        name: "StatusesEntry" options { map_entry: true }
        field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
        field {
          name: "value" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL
          type_name: ".grpc.health.v1.HealthCheckResponse"
        }
      }
    }
    service {
      name: "Health"
      method {
        name: "Check"
        input_type: ".grpc.health.v1.HealthCheckRequest" output_type: ".grpc.health.v1.HealthCheckResponse"
      }
      method {
        name: "List"
        input_type: ".grpc.health.v1.HealthListRequest" output_type: ".grpc.health.v1.HealthListResponse"
      }
      method {
        name: "Watch" server_streaming: true
        input_type: ".grpc.health.v1.HealthCheckRequest" output_type: ".grpc.health.v1.HealthCheckResponse"
      }
    }
""")
_RESPONSE = GetMessageClass(_FILE.message_types_by_name["HealthCheckResponse"])
_LISTED = GetMessageClass(_FILE.message_types_by_name["HealthListResponse"])


class Serving(IntEnum):
    """What is said of a service."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class Health:
    """The state of some services, all serving at first, and of the server as a whole, named ""."""

    def __init__(self, services: Iterable[str] = ()) -> None:
        self._states = dict.fromkeys(["", *services], Serving.SERVING)
        self._changed = asyncio.Event()  # set, and replaced, at each change

    def set(self, service: str, state: Serving) -> None:
        """Say how ``service`` is from now on; whoever watches it is told."""
        self._states[service] = state
        self._changed.set()
        self._changed = asyncio.Event()

    def service(self) -> Service:
        """The service to give to an App."""
        return Service(_FILE.services_by_name["Health"], _Handler(self))

    def get(self, service: str) -> Serving:
        """How ``service`` is."""
        return self._states.get(service, Serving.SERVICE_UNKNOWN)

    def all(self) -> dict[str, Serving]:
        """How every service is, and the server as a whole."""
        return dict(self._states)

    async def changes(self, service: str) -> AsyncIterator[Serving]:
        """How ``service`` is now, and then each change."""
        told: Serving | None = None
        while True:
            changed = self._changed
            state = self.get(service)
            if state is not told:
                told = state
                yield state
            else:
                await changed.wait()


class _Handler:
    def __init__(self, health: Health) -> None:
        self._health = health

    async def check(self, request: Any, _context: Context) -> Message:
        state = self._health.get(request.service)
        if state is Serving.SERVICE_UNKNOWN:
            raise RpcError(Code.NOT_FOUND, f"no service {request.service!r} here")
        return _RESPONSE(status=int(state))

    async def list(self, _request: Any, _context: Context) -> Message:
        return _LISTED(statuses={name: _RESPONSE(status=int(state)) for name, state in self._health.all().items()})

    async def watch(self, request: Any, _context: Context) -> AsyncIterator[Message]:
        async for state in self._health.changes(request.service):
            yield _RESPONSE(status=int(state))
