"""One suite for every place where objects live: a folder, the embedded store over HTTP, and foreign stores.

Which those are and where they are looked for is said in `servers.py`.
"""

import asyncio
import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import httpx
import obstore
import pytest
from botocore.config import Config

from alula.blobs.account import Account, store
from alula.blobs.cloud import Cloud
from alula.blobs.signing import needed, sign
from alula.blobs.store import Blobs
from alula.core.errors import Exhausted, Invalid, NotFound, Unavailable
from tests.blobs.conftest import Stores
from tests.blobs.google import google_key
from tests.blobs.servers import HERE, KEY_ID, STORES, Running, absent, embedded

KEYS = ["a", "a b/c%20d", "a+b", "a#b?c", "ü/日本語", "f", "f/g", "x=1/=y"]
S3 = [name for name in ("embedded", "rclone", "versitygw") if name in HERE]
REFUSED = (400, 403)  # 400 is rclone's


@pytest.fixture(params=HERE)
def running(request: pytest.FixtureRequest, stores: Stores) -> Running:
    return stores.get(request.param)


@pytest.fixture(params=["folder", *HERE])
def blobs(request: pytest.FixtureRequest, stores: Stores, tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "objects") if request.param == "folder" else stores.get(request.param).blobs


@pytest.fixture(params=S3)
def s3(request: pytest.FixtureRequest, stores: Stores) -> Running:
    return stores.get(request.param)


@pytest.fixture(params=S3)
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """One that may be stopped."""
    (tmp_path / "store").mkdir()
    with STORES[request.param](tmp_path / "store") as one:
        yield one


def boto(running: Running) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=running.account.endpoint,
        aws_access_key_id=running.account.key_id,
        aws_secret_access_key=running.account.secret,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


@pytest.mark.parametrize("name", STORES)
async def test_every_store_there_is(name: str, stores: Stores) -> None:
    """All others are of the stores that are found."""
    if reason := absent(name):
        pytest.skip(reason)
    await stores.get(name).blobs.ping()


# The server's own use


@pytest.mark.parametrize("key", KEYS)
async def test_what_is_put_can_be_got(blobs: Blobs, key: str) -> None:
    """Case O17."""
    uri = blobs.join("put", key)
    await blobs.delete(blobs.join("put/f"))  # which some stores cannot keep beside put/f/g
    for data in (b"", b"one", b"x" * 1_000_000):
        await blobs.put(uri, data)
        assert await blobs.get(uri) == data
        assert await blobs.md5(uri) == hashlib.md5(data).hexdigest()
        head = await blobs.head(uri)
        assert head is not None
        assert head.size == len(data)
        assert head.etag
        assert abs(datetime.now(UTC) - head.modified) < timedelta(seconds=30)
    await blobs.delete(uri)
    assert not await blobs.exists(uri)


async def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    uri = blobs.join("no/such")
    for ask in (blobs.get, blobs.md5):
        with pytest.raises(NotFound, match="no/such"):
            await ask(uri)
    assert await blobs.head(uri) is None
    await blobs.delete(uri)


@pytest.mark.parametrize("size", [1000, 1_000_000])
async def test_too_large_is_refused(blobs: Blobs, size: int) -> None:
    uri = blobs.join("large")
    await blobs.put(uri, b"x" * size)
    with pytest.raises(Exhausted, match=str(size)):
        await blobs.get(uri, limit=size - 1)
    assert len(await blobs.get(uri, limit=size)) == size


@pytest.mark.parametrize("uri", ["s3://other/a", "file:///a", "gs://alula2/a", "{}/../a", "{}/a//b", "{}/", "{}xy/a"])
async def test_a_bad_uri_is_invalid(blobs: Blobs, uri: str) -> None:
    with pytest.raises(Invalid):
        await blobs.put(uri.format(blobs.base), b"")
    with pytest.raises(Invalid):
        await blobs.get(uri.format(blobs.base))


async def test_lists_are_in_order_and_complete(blobs: Blobs, request: pytest.FixtureRequest) -> None:
    count = 600 if request.node.callspec.id == "folder" else 60
    names = sorted(["p/a/b", "p/a.b", "p/a0", "p/ü", *(f"p/n/{n:03d}" for n in range(count))])
    await asyncio.gather(*(blobs.put(blobs.join("l", name), b"12") for name in names))
    found = [(uri, meta.size) async for uri, meta in blobs.list(blobs.join("l/p") + "/")]
    if request.node.callspec.id == "rclone":  # it lists folder by folder
        found.sort()
    assert found == [(blobs.join("l", name), 2) for name in names]
    assert sorted([uri async for uri, _ in blobs.list(blobs.join("l/p/a"))]) == [
        blobs.join("l", name) for name in names if name.startswith("p/a")
    ]
    assert [uri async for uri, _ in blobs.list(blobs.join("nothing") + "/")] == []


async def test_ping_leaves_nothing(blobs: Blobs) -> None:
    await blobs.ping()
    assert [uri async for uri, _ in blobs.list(blobs.join(".ping"))] == []


async def test_ping_says_that_a_folder_cannot_be_used(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "objects")
    for folder in ("alula", ".staging"):
        (tmp_path / "objects" / folder).rmdir()
    with pytest.raises(Unavailable):
        await blobs.ping()


async def test_many_at_once(blobs: Blobs, request: pytest.FixtureRequest) -> None:
    keys = 50 if request.node.callspec.id == "rclone" else 5  # it shows objects that are half written

    async def one(n: int) -> bytes:
        await blobs.put(blobs.join(f"many/{n % keys}"), b"%d" % (n % keys))
        return await blobs.get(blobs.join(f"many/{n % keys}"))

    assert await asyncio.gather(*map(one, range(50))) == [b"%d" % (n % keys) for n in range(50)]


# Several buckets


async def test_objects_of_other_buckets_are_where_they_are_said_to_be(stores: Stores, tmp_path: Path) -> None:
    one, two = stores.get("embedded"), stores.get("google")
    both = Blobs(Cloud(store(one.bucket, one.account)), one.bucket, {two.bucket: Cloud(store(two.bucket, two.account))})
    await both.put("gs://alula/several/a", b"elsewhere")
    await both.put("s3://alula/several/b", b"here")
    assert await two.blobs.get("gs://alula/several/a") == b"elsewhere"
    assert await one.blobs.get("s3://alula/several/b") == b"here"
    assert [uri async for uri, _ in both.list("gs://alula/several/")] == ["gs://alula/several/a"]
    with pytest.raises(Invalid, match="must start with s3://alula/ or gs://alula/"):
        await both.get("s3://third/several/a")


# When it cannot be used


async def test_a_bucket_that_is_not_there_is_told(running: Running) -> None:
    bucket = running.bucket + "-not"
    blobs = Blobs(Cloud(store(bucket, running.account)), bucket)
    with pytest.raises(Unavailable, match=r"no such bucket|refuses"):
        await blobs.ping()


async def test_wrong_keys_are_told_and_not_shown(running: Running) -> None:
    wrong = base64.b64encode(b"another key").decode()
    if running.bucket.startswith("gs"):
        wrong = google_key()[1]
    blobs = Blobs(Cloud(store(running.bucket, replace(running.account, secret=wrong))), running.bucket)
    with pytest.raises(Unavailable, match="refuses this server: check its keys") as refused:
        await blobs.put(f"{running.bucket}/denied", b"")
    assert KEY_ID not in str(refused.value)
    assert running.account.secret not in repr(running.account)


async def test_a_store_that_is_down_is_unavailable_and_used_again_when_it_is_back(mortal: Running) -> None:
    blobs = mortal.blobs
    await blobs.put("s3://alula/a", b"one")
    mortal.stop()
    with pytest.raises(Unavailable, match="cannot be used"):
        await blobs.get("s3://alula/a")
    await asyncio.to_thread(mortal.again)
    assert await blobs.get("s3://alula/a") == b"one"


async def test_a_store_that_is_overloaded_is_asked_again(tmp_path: Path) -> None:
    told: list[str] = []

    def busy(app: Any) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            told.append(scope["method"])
            if len(told) % 3:
                await send({"type": "http.response.start", "status": 503, "headers": []})
                await send({"type": "http.response.body", "body": b"<Error><Code>SlowDown</Code></Error>"})
            else:
                await app(scope, receive, send)

        return answer

    with embedded(tmp_path, busy) as store_of_one:
        await store_of_one.blobs.put("s3://alula/a", b"one")
        assert await store_of_one.blobs.get("s3://alula/a") == b"one"
    assert told == ["PUT"] * 3 + ["GET"] * 3


# Signed URLs


def signed(running: Running, method: str, key: str, headers: Mapping[str, str] = {}, seconds: float = 60) -> str:
    now = datetime.now(UTC)
    return sign(method, (running.bucket, key), running.account, timedelta(seconds=seconds), headers, now)


def md5(data: bytes) -> dict[str, str]:
    return {"Content-MD5": base64.b64encode(hashlib.md5(data).digest()).decode()}


@pytest.mark.parametrize("key", ["signed/plain", "signed/a b%c+d#e?f/ü"])
async def test_who_has_a_signed_url_may_put_and_get_that_object(running: Running, key: str) -> None:
    data = os.urandom(300_000)
    headers = md5(data) | needed(f"{running.bucket}/{key}")
    reply = httpx.put(signed(running, "PUT", key, headers), headers=headers, content=data)
    assert reply.status_code in (200, 201), reply.text
    assert await running.blobs.get(f"{running.bucket}/{key}") == data
    got = signed(running, "GET", key)
    assert httpx.get(got).content == data
    assert httpx.get(got, headers={"Range": "bytes=10-19"}).content == data[10:20]


async def test_a_signed_url_is_for_its_object_its_method_and_its_content(running: Running) -> None:
    key, data = "signed/one", b"this"
    headers = md5(data) | needed(f"{running.bucket}/{key}")
    url = signed(running, "PUT", key, headers)
    if "md5" in running.features:
        assert httpx.put(url, headers=headers, content=b"that").status_code == 400
    if not running.bucket.startswith("abfs"):
        assert httpx.put(url, headers=md5(b"that"), content=b"that").status_code in REFUSED
    assert httpx.put(url.replace("/one", "/other"), headers=headers, content=data).status_code in REFUSED
    assert httpx.get(url).status_code in REFUSED
    assert await running.blobs.head(f"{running.bucket}/{key}") is None
    assert httpx.put(url, headers=headers, content=data).is_success
    assert httpx.delete(signed(running, "GET", key)).status_code in REFUSED


def test_a_signed_url_ends(running: Running) -> None:
    now = datetime.now(UTC) - timedelta(hours=1)
    url = sign("GET", (running.bucket, "signed/old"), running.account, timedelta(minutes=1), {}, now)
    assert httpx.get(url).status_code in REFUSED


@pytest.mark.parametrize("bucket", ["abfs://alula", "gs://alula"])
def test_without_keys_only_plain_names_are_signed(bucket: str) -> None:
    with pytest.raises(Invalid, match="without keys"):
        sign("GET", (bucket, "a b"), Account(name="x"), timedelta(minutes=1), {}, datetime.now(UTC))


def test_a_secret_that_is_no_service_account_is_told_and_not_shown() -> None:
    with pytest.raises(Invalid, match="no JSON key of a Google") as refused:
        sign("GET", ("gs://alula", "a"), Account(secret='{"hidden": 1}'), timedelta(minutes=1), {}, datetime.now(UTC))
    assert "hidden" not in str(refused.value)


def test_urls_without_an_endpoint_are_the_providers(stores: Stores) -> None:
    now, for_ = datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=1)
    s3 = Account(region="eu-west-1", key_id="k", secret="s")
    assert sign("GET", ("s3://b-1", "k"), s3, for_, {}, now).startswith("https://s3.eu-west-1.amazonaws.com/b-1/k?")
    azure = Account(name="who", secret=base64.b64encode(b"s").decode())
    assert sign("GET", ("abfs://b-1", "k"), azure, for_, {}, now).startswith("https://who.blob.core.windows.net/b-1/k?")
    google = stores.get("google").account.at("")
    assert sign("GET", ("gs://b-1", "k"), google, for_, {}, now).startswith("https://storage.googleapis.com/b-1/k?")


# A foreign client


def test_boto_puts_gets_lists_and_deletes(s3: Running) -> None:
    client, data = boto(s3), os.urandom(100_000)
    names = [f"boto/{name}" for name in ("a", "b c%d", "ü")]
    for name in names:
        client.put_object(Bucket="alula", Key=name, Body=data, ContentMD5=md5(data)["Content-MD5"])
        assert client.get_object(Bucket="alula", Key=name)["Body"].read() == data
    assert client.head_object(Bucket="alula", Key=names[0])["ContentLength"] == len(data)
    paginator = client.get_paginator("list_objects_v2").paginate(
        Bucket="alula", Prefix="boto/", PaginationConfig={"PageSize": 2}
    )
    assert [one["Key"] for page in paginator for one in page["Contents"]] == sorted(names)
    client.delete_objects(Bucket="alula", Delete={"Objects": [{"Key": name} for name in names]})
    assert "Contents" not in client.list_objects_v2(Bucket="alula", Prefix="boto/")


def test_boto_is_told_what_is_not_there(s3: Running) -> None:
    for bucket, code in (("alula", "NoSuchKey"), ("alula-not", "NoSuchBucket")):
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            boto(s3).get_object(Bucket=bucket, Key="no/such")
        assert refused.value.response["Error"]["Code"] == code


def test_boto_puts_large_objects_in_parts(s3: Running, tmp_path: Path) -> None:
    data = os.urandom(18 * 1024 * 1024)
    (tmp_path / "there").write_bytes(data)
    client = boto(s3)
    client.upload_file(str(tmp_path / "there"), "alula", "boto/parts")
    client.download_file("alula", "boto/parts", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data
    client.delete_object(Bucket="alula", Key="boto/parts")


def test_boto_puts_if_there_is_none(s3: Running) -> None:
    if "conditions" not in s3.features:
        pytest.skip("this store knows no conditions")
    client = boto(s3)
    client.put_object(Bucket="alula", Key="boto/once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(botocore.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="alula", Key="boto/once", Body=b"2", IfNoneMatch="*")


def test_urls_that_boto_signs_are_taken(s3: Running) -> None:
    client, headers = boto(s3), md5(b"data")
    asked = {"Bucket": "alula", "Key": "boto/signed it", "ContentMD5": headers["Content-MD5"]}
    assert httpx.put(client.generate_presigned_url("put_object", asked), headers=headers, content=b"data").is_success
    del asked["ContentMD5"]
    assert httpx.get(client.generate_presigned_url("get_object", asked)).content == b"data"


# As tasks use it


def test_large_objects_are_streamed_in_parts(running: Running) -> None:
    """As the SDK puts a `File`, which the server then reads in pieces."""
    objects = store(running.bucket, running.account)
    piece = os.urandom(1024 * 1024)
    digest = hashlib.md5(piece * 24).hexdigest()
    obstore.put(objects, "streamed", iter([piece] * 24), chunk_size=5 * 1024 * 1024)
    assert Cloud(objects).md5("streamed") == digest
    across = obstore.get_range(objects, "streamed", start=1024 * 1024 - 2, end=1024 * 1024 + 2)
    assert bytes(across) == piece[-2:] + piece[:2]
    obstore.delete(objects, "streamed")
