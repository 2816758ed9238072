"""Fixtures of the RPC tests."""

import time
from collections.abc import AsyncIterator, Iterator

import grpc
import httpx
import pytest
import pytest_asyncio

from .echo import Running, serving


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Running]:
    """A server of the Echo service."""
    async with serving() as running:
        yield running


@pytest_asyncio.fixture
async def http(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP/1.1 client of one connection."""
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, trust_env=False) as client:
        yield client


@pytest_asyncio.fixture
async def channel(server: Running) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC channel."""
    async with grpc.aio.insecure_channel(server.target) as one:
        yield one


@pytest.fixture(scope="session", autouse=True)
def _pyqwest_rests() -> Iterator[None]:
    """The client of connectrpc aborts an interpreter that exits while its threads end (pyo3-async-runtimes#40)."""
    yield
    time.sleep(0.05)
