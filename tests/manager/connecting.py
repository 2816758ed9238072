"""A connector as the authors of plugins write them, served over gRPC by the SDK's own service."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from flyte.connectors import AsyncConnector, ConnectorRegistry, Resource, ResourceMeta
from flyte.connectors._server import AsyncConnectorService, ConnectorMetadataService
from flyteidl2.connector import service_pb2_grpc
from flyteidl2.core.execution_pb2 import TaskExecution, TaskLog

P = TaskExecution
TYPE = "batch-query"


@dataclass
class JobMeta(ResourceMeta):
    job: str


@dataclass
class Warehouse:
    """Where jobs run. ``begun`` counts them by attempt; ``again``: an attempt has one, however often asked for."""

    again: bool = False
    begun: Counter[str] = field(default_factory=Counter)
    phases: dict[str, Any] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    slow: asyncio.Event | None = None  # a create has begun its job, and says so when this is set
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def running(self) -> list[str]:
        return [job for job, phase in self.phases.items() if phase == P.RUNNING]


class WarehouseConnector(AsyncConnector[JobMeta]):
    """A connector of a `Warehouse`."""

    name = "Warehouse"
    task_type_name = TYPE
    metadata_type = JobMeta

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse

    async def create(
        self,
        task_template: Any,
        output_prefix: str,
        inputs: dict[str, Any] | None = None,
        task_execution_metadata: Any = None,
        **kwargs: Any,
    ) -> JobMeta:
        there = self.warehouse
        told = task_execution_metadata.task_execution_id
        attempt = f"{told.node_execution_id.execution_id.name}.{told.retry_attempt}"
        if not (there.again and there.begun[attempt]):
            there.begun[attempt] += 1
        job = f"{attempt}.{there.begun[attempt]}"
        there.phases.setdefault(job, P.RUNNING)
        there.secrets += [str(kwargs["token"])] if "token" in kwargs else []
        there.asked.set()
        if there.slow is not None:
            await there.slow.wait()
        return JobMeta(job=job)

    async def get(self, resource_meta: JobMeta, **more: Any) -> Resource:
        phase = self.warehouse.phases[resource_meta.job]
        link = TaskLog(name="Console", uri=f"https://query.example.org/{resource_meta.job}")
        return Resource(phase=phase, message="as told", log_links=[link], outputs={"o0": 42})

    async def delete(self, resource_meta: JobMeta, **more: Any) -> None:
        self.warehouse.ended.append(resource_meta.job)
        self.warehouse.phases[resource_meta.job] = P.ABORTED


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@asynccontextmanager
async def connector(warehouse: Warehouse, port: int = 0) -> AsyncIterator[str]:
    """The service; its URL."""
    ConnectorRegistry.register(WarehouseConnector(warehouse), override=True)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_AsyncConnectorServiceServicer_to_server(AsyncConnectorService(), server)  # type: ignore[no-untyped-call]
    service_pb2_grpc.add_ConnectorMetadataServiceServicer_to_server(ConnectorMetadataService(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)
