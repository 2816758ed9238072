"""One suite for both places where objects live: a folder, and a bucket behind obstore (the server's own, over HTTP)."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from obstore.store import S3Store

from alula.api.objects import ObjectsDoor
from alula.blobs.cloud import Cloud
from alula.blobs.folder import Folder
from alula.blobs.sigv4 import Credentials
from alula.blobs.store import Blobs
from alula.core.errors import Exhausted, Invalid, NotFound, Unavailable

KEYS = ["a", "a b/c%20d", "a+b", "a#b?c", "ü/日本語", "f", "f/g", "x=1/=y"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    door = ObjectsDoor(Folder(tmp_path_factory.mktemp("cloud")), Credentials("k", "s"), lambda: datetime.now(UTC))
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(door, interface="asgi3", http="httptools", lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def s3(url: str) -> Cloud:
    store = S3Store(
        "alula",
        endpoint=url,
        access_key_id="k",
        secret_access_key="s",
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    return Cloud(store)


@pytest.fixture(params=["folder", "cloud"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return Blobs(tmp_path / "objects")
    return Blobs(s3(request.getfixturevalue("cloud")))


@pytest.mark.parametrize("key", KEYS)
async def test_what_is_put_can_be_got(blobs: Blobs, key: str) -> None:
    """Case O17."""
    uri = f"s3://alula/{key}"
    for data in (b"", b"one", b"x" * 1_000_000):
        await blobs.put(uri, data)
        assert await blobs.get(uri) == data
        head = await blobs.head(uri)
        assert head is not None
        assert (head.size, len(head.etag)) == (len(data), 32)
        assert abs(datetime.now(UTC) - head.modified) < timedelta(seconds=30)
    await blobs.delete(uri)
    assert not await blobs.exists(uri)


async def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(NotFound):
        await blobs.get("s3://alula/no/such")
    with pytest.raises(NotFound):
        await blobs.copy("s3://alula/no/such", "s3://alula/b")
    assert await blobs.head("s3://alula/no/such") is None
    await blobs.delete("s3://alula/no/such")


@pytest.mark.parametrize("size", [1000, 1_000_000])
async def test_too_large_is_refused(blobs: Blobs, size: int) -> None:
    await blobs.put("s3://alula/large", b"x" * size)
    with pytest.raises(Exhausted, match=str(size)):
        await blobs.get("s3://alula/large", limit=size - 1)
    assert len(await blobs.get("s3://alula/large", limit=size)) == size


@pytest.mark.parametrize("uri", ["s3://other/a", "file:///a", "s3://alula/../a", "s3://alula/a//b", "s3://alula/"])
async def test_a_bad_uri_is_invalid(blobs: Blobs, uri: str) -> None:
    with pytest.raises(Invalid):
        await blobs.put(uri, b"")
    with pytest.raises(Invalid):
        await blobs.get(uri)


async def test_lists_are_in_order_and_complete(blobs: Blobs) -> None:
    names = sorted(["p/a", "p/a/b", "p/a.b", "p/a0", "p/ü", *(f"p/n/{n:03d}" for n in range(600))])
    for name in names:
        await blobs.put(blobs.join("l", name), b"12")
    found = [(uri, meta.size) async for uri, meta in blobs.list("s3://alula/l/p/")]
    assert found == [(f"s3://alula/l/{name}", 2) for name in names]
    assert [uri async for uri, _ in blobs.list("s3://alula/l/p/a")] == [
        f"s3://alula/l/{name}" for name in names if name.startswith("p/a")
    ]
    assert [uri async for uri, _ in blobs.list("s3://alula/nothing/")] == []


async def test_a_copy_is_another_object(blobs: Blobs) -> None:
    await blobs.put("s3://alula/c/1", b"x" * 2_000_000)
    await blobs.copy("s3://alula/c/1", "s3://alula/c/2")
    await blobs.put("s3://alula/c/1", b"y")
    assert await blobs.get("s3://alula/c/2") == b"x" * 2_000_000


async def test_ping_leaves_nothing(blobs: Blobs) -> None:
    await blobs.ping()
    assert [uri async for uri, _ in blobs.list("s3://alula/.ping")] == []


async def test_ping_says_that_a_folder_cannot_be_used(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "objects")
    for folder in ("alula", ".staging"):
        (tmp_path / "objects" / folder).rmdir()
    with pytest.raises(Unavailable):
        await blobs.ping()


async def test_ping_says_that_a_cloud_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(Unavailable):
        await Blobs(s3(url)).ping()


async def test_many_at_once(blobs: Blobs) -> None:
    async def one(n: int) -> bytes:
        await blobs.put(f"s3://alula/many/{n % 10}", b"%d" % (n % 10))
        return await blobs.get(f"s3://alula/many/{n % 10}")

    assert await asyncio.gather(*map(one, range(100))) == [b"%d" % (n % 10) for n in range(100)]
