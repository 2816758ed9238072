"""The object store's door, as real clients and hostile ones use it, over a real server."""

import asyncio
import base64
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import boto3
import botocore.exceptions
import httpx
import obstore
import pytest
import s3fs
import uvicorn
from botocore.config import Config
from obstore.store import S3Store

from alula.api.objects import ObjectsDoor
from alula.blobs.folder import Folder
from alula.blobs.sigv4 import Credentials, object_url, presign
from alula.blobs.store import Blobs

KEYS = Credentials("the-key", "the-secret")
STRANGE = [
    "a b",
    "a%b",
    "a%20b",
    "a%2Fb",
    "a+b",
    "a&b=c;d",
    "ünï/日本語/🙂",
    "a#b",
    "a?b=c",
    "a\\b",
    "'quoted' \"so\" <or> so",
    "=x/+y/=z",
    "~a*(b)!@$,:",
    ".hidden/..dots../...",
    "x" * 250,
    "/".join(["deep"] * 200),
]


class Server:
    """A door on a port of its own, with a clock that can be moved."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.folder = Folder(root)
        self.ahead = timedelta()
        self.door = ObjectsDoor(self.folder, KEYS, lambda: datetime.now(UTC) + self.ahead)
        self._socket = socket.create_server(("127.0.0.1", 0))  # it listens: whoever connects early waits
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if options else 'http'}://127.0.0.1:{self.port}"
        config = uvicorn.Config(self.door, http="httptools", lifespan="off", log_level="warning", **options)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def boto(self, keys: Credentials = KEYS, **options: Any) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=keys.key_id,
            aws_secret_access_key=keys.secret,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
            **options,
        )

    def obstore(self) -> S3Store:
        return S3Store(
            "alula",
            endpoint=self.url,
            access_key_id=KEYS.key_id,
            secret_access_key=KEYS.secret,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def sign(self, method: str, key: str, expires: int = 60, query: str = "", **headers: str) -> str:
        now = datetime.now(UTC) + self.ahead
        return presign(
            method, object_url(self.url, "alula", key) + query, KEYS, expires=expires, now=now, headers=headers
        )

    def staged(self) -> list[str]:
        """What is half written."""
        return [str(path) for path in self.folder.root.rglob(".staging/*")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("objects")) as running:
        yield running
        assert running.staged() == []


@pytest.fixture(scope="module")
def s3(server: Server) -> Any:
    return server.boto()


def code(error: pytest.ExceptionInfo[botocore.exceptions.ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


# boto3


@pytest.mark.parametrize("key", STRANGE)
def test_keys_are_literal_for_every_client(server: Server, s3: Any, key: str) -> None:
    """Case O9."""
    data = key.encode()
    s3.put_object(Bucket="alula", Key=key, Body=data)
    assert s3.get_object(Bucket="alula", Key=key)["Body"].read() == data
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="alula", Prefix=key)["Contents"]] == [key]
    assert asyncio.run(Blobs(server.folder).get(f"s3://alula/{key}")) == data
    assert httpx.get(server.sign("GET", key)).content == data
    assert httpx.get(s3.generate_presigned_url("get_object", {"Bucket": "alula", "Key": key})).content == data
    s3.delete_object(Bucket="alula", Key=key)
    assert server.folder.stat(key) is None


def test_boto_puts_and_gets_with_metadata(s3: Any) -> None:
    s3.put_object(
        Bucket="alula",
        Key="meta/report.html",
        Body=b"<p>hi</p>",
        ContentType="text/html",
        CacheControl="no-cache",
        Metadata={"Who": "me", "flyteContentMD5": "x=="},
    )
    head = s3.head_object(Bucket="alula", Key="meta/report.html")
    assert head["ContentLength"] == 9
    assert head["ContentType"] == "text/html"
    assert head["CacheControl"] == "no-cache"
    assert head["Metadata"] == {"who": "me", "flytecontentmd5": "x=="}
    assert head["ETag"] == f'"{hashlib.md5(b"<p>hi</p>").hexdigest()}"'
    headers = s3.get_object(Bucket="alula", Key="meta/report.html")["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-security-policy"] == "sandbox allow-scripts"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "expected", "where"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
    ],
)
def test_a_range_is_sent(s3: Any, asked: str, expected: bytes, where: str) -> None:
    s3.put_object(Bucket="alula", Key="ranged", Body=b"0123456789")
    reply = s3.get_object(Bucket="alula", Key="ranged", Range=asked)
    assert (reply["ResponseMetadata"]["HTTPStatusCode"], reply["ContentRange"]) == (206, where)
    assert reply["Body"].read() == expected


def test_a_range_that_is_not_there_is_refused(server: Server) -> None:
    server.folder.write("ranged", b"0123456789")
    reply = httpx.get(server.sign("GET", "ranged"), headers={"range": "bytes=10-"})
    assert (reply.status_code, reply.headers["content-range"]) == (416, "bytes */10")


def test_boto_uploads_and_copies_in_parts(server: Server, s3: Any, tmp_path: Path) -> None:
    data = os.urandom(18 * 1024 * 1024)
    (tmp_path / "file").write_bytes(data)
    s3.upload_file(
        str(tmp_path / "file"), "alula", "parts/one", ExtraArgs={"ContentType": "x/y", "Metadata": {"a": "b"}}
    )
    s3.copy({"Bucket": "alula", "Key": "parts/one"}, "alula", "parts/two")
    for key in ("parts/one", "parts/two"):
        s3.download_file("alula", key, str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == data
        assert server.folder.stat(key).etag.endswith("-3")  # type: ignore[union-attr]
    head = s3.head_object(Bucket="alula", Key="parts/one")
    assert (head["ContentType"], head["Metadata"]) == ("x/y", {"a": "b"})
    assert list((server.folder.root / ".multipart" / "alula").iterdir()) == []


def test_an_upload_in_parts_by_hand(s3: Any) -> None:
    at = {"Bucket": "alula", "Key": "by hand"}
    upload = at | {"UploadId": s3.create_multipart_upload(**at)["UploadId"]}
    etags = [s3.upload_part(**upload, PartNumber=n, Body=f"part {n} ".encode())["ETag"] for n in (2, 10_000)]
    assert [part["PartNumber"] for part in s3.list_parts(**upload)["Parts"]] == [2, 10_000]
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 2, "ETag": '"no"'}]})
    assert code(error) == "InvalidPart"
    parts = [{"PartNumber": n, "ETag": etag} for n, etag in zip((2, 10_000), etags, strict=True)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(**at)["Body"].read() == b"part 2 part 10000 "
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.upload_part(**upload, PartNumber=1, Body=b"late")
    assert code(error) == "NoSuchUpload"


def test_an_aborted_upload_is_forgotten(s3: Any) -> None:
    at = {"Bucket": "alula", "Key": "aborted"}
    upload = at | {"UploadId": s3.create_multipart_upload(**at)["UploadId"]}
    s3.upload_part(**upload, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(**upload)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.list_parts(**upload)
    assert code(error) == "NoSuchUpload"


def test_boto_copies_with_and_without_new_metadata(s3: Any) -> None:
    s3.put_object(Bucket="alula", Key="from %+ ü", Body=b"copied", Metadata={"a": "1"})
    source = {"Bucket": "alula", "Key": "from %+ ü"}
    s3.copy_object(Bucket="alula", Key="to", CopySource=source)
    assert s3.head_object(Bucket="alula", Key="to")["Metadata"] == {"a": "1"}
    s3.copy_object(Bucket="alula", Key="to", CopySource=source, Metadata={"b": "2"}, MetadataDirective="REPLACE")
    reply = s3.get_object(Bucket="alula", Key="to")
    assert (reply["Metadata"], reply["Body"].read()) == ({"b": "2"}, b"copied")
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.copy_object(Bucket="alula", Key="to", CopySource={"Bucket": "other", "Key": "x"})
    assert code(error) == "NoSuchBucket"


def test_conditions_of_puts_and_gets(s3: Any) -> None:
    at = {"Bucket": "alula", "Key": "conditional"}
    etag = s3.put_object(**at, Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"other"'}):
        with pytest.raises(botocore.exceptions.ClientError) as error:
            s3.put_object(**at, Body=b"2", **condition)
        assert code(error) == "PreconditionFailed"
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.get_object(**at, IfNoneMatch=etag)
    assert code(error) == "304"
    s3.put_object(**at, Body=b"3", IfMatch=etag)
    assert s3.get_object(**at)["Body"].read() == b"3"


def test_lists_page_through_many_keys(server: Server, s3: Any) -> None:
    keys = sorted(f"many/{n % 7}/{n:04d}" for n in range(1150))
    for key in keys:
        server.folder.write(key, b"")
    for version in ("list_objects_v2", "list_objects"):
        pages = list(s3.get_paginator(version).paginate(Bucket="alula", Prefix="many/"))
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys
        assert len(pages) == 2
        shallow = list(
            s3.get_paginator(version).paginate(
                Bucket="alula", Prefix="many/", Delimiter="/", PaginationConfig={"PageSize": 3}
            )
        )
        assert [found["Prefix"] for page in shallow for found in page["CommonPrefixes"]] == [
            f"many/{n}/" for n in range(7)
        ]
    after = s3.list_objects_v2(Bucket="alula", Prefix="many/", StartAfter="many/6/1140", MaxKeys=5)
    assert [entry["Key"] for entry in after["Contents"]] == [key for key in keys if key > "many/6/1140"][:5]
    removed = s3.delete_objects(Bucket="alula", Delete={"Objects": [{"Key": key} for key in keys[:1000]]})
    assert len(removed["Deleted"]) == 1000
    assert s3.list_objects_v2(Bucket="alula", Prefix="many/")["KeyCount"] == 150


def test_the_bucket_is_there_and_no_other(s3: Any) -> None:
    s3.head_bucket(Bucket="alula")
    assert s3.get_bucket_location(Bucket="alula")["LocationConstraint"] is None
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["alula"]
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.get_object(Bucket="other", Key="x")
    assert code(error) == "NoSuchBucket"
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.get_object(Bucket="alula", Key="nothing here")
    assert code(error) == "NoSuchKey"


@pytest.mark.parametrize("operation", ["get_object_acl", "get_object_tagging"])
def test_an_operation_that_is_not_served_says_so(s3: Any, operation: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as error:
        getattr(s3, operation)(Bucket="alula", Key="x")
    assert code(error) == "NotImplemented"


def test_boto_over_tls_sends_trailing_checksums(tmp_path: Path) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    files: dict[str, Any] = {"ssl_keyfile": str(tmp_path / "key"), "ssl_certfile": str(tmp_path / "cert")}
    out = ["-keyout", files["ssl_keyfile"], "-out", files["ssl_certfile"], "-subj", "/CN=127.0.0.1"]
    subprocess.run([*make, *out, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    data = os.urandom(3_000_000)
    with Server(tmp_path / "objects", timeout_graceful_shutdown=1, **files) as server:
        s3 = server.boto(verify=files["ssl_certfile"])
        sent: list[bytes] = []
        s3.meta.events.register(
            "before-send", lambda request, **_: sent.append(request.headers["x-amz-content-sha256"])
        )
        s3.put_object(Bucket="alula", Key="trailing", Body=data, ContentEncoding="gzip")
        assert sent == [b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"]
        reply = s3.get_object(Bucket="alula", Key="trailing")
        assert (reply["Body"].read(), reply["ContentEncoding"]) == (data, "gzip")
        s3.close()


# obstore, s3fs


def test_obstore_does_all_the_sdk_does_with_it(server: Server) -> None:
    store, big = server.obstore(), os.urandom(12_000_000)
    obstore.put(store, "ob/small", b"small", attributes={"Content-Type": "text/html"})
    assert obstore.get_range(store, "ob/small", start=1, length=3).to_bytes() == b"mal"
    assert obstore.get(store, "ob/small").attributes["Content-Type"] == "text/html"
    with obstore.open_writer(store, "ob/big", buffer_size=5 * 1024 * 1024) as writer:
        writer.write(big)
    assert obstore.get(store, "ob/big").bytes().to_bytes() == big
    assert obstore.head(store, "ob/big")["size"] == len(big)
    obstore.copy(store, "ob/small", "ob/sub/copy")
    listed = obstore.list_with_delimiter(store, "ob")
    assert [entry["path"] for entry in listed["objects"]] == ["ob/big", "ob/small"]
    assert listed["common_prefixes"] == ["ob/sub"]
    assert httpx.get(obstore.sign(store, "GET", "ob/small", timedelta(seconds=30))).content == b"small"
    assert httpx.put(obstore.sign(store, "PUT", "ob/put", timedelta(seconds=30)), content=b"put").status_code == 200
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "ob/put", b"", mode="create")
    obstore.delete(store, ["ob/small", "ob/big", "ob/put", "ob/sub/copy"])
    assert list(server.folder.list("ob/")) == []
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "ob/small")


def test_obstore_async(server: Server) -> None:
    # In a process of its own that ends without finalisation: obstore's threads can abort an exiting interpreter.
    program = """
import asyncio, os, sys, obstore
from obstore.store import S3Store
async def main():
    store = S3Store("alula", endpoint=sys.argv[1], access_key_id="the-key", secret_access_key="the-secret",
                    region="us-east-1", client_options={"allow_http": True})
    async def one(n):
        await obstore.put_async(store, f"async/{n}", b"x" * n)
        return len(await (await obstore.get_async(store, f"async/{n}")).bytes_async())
    print(sum(await asyncio.gather(*map(one, range(100)))), flush=True)
asyncio.run(main())
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program, server.url], capture_output=True, text=True, check=True)
    assert int(done.stdout) == sum(range(100))


def test_s3fs_works(server: Server) -> None:
    fs = s3fs.S3FileSystem(key=KEYS.key_id, secret=KEYS.secret, endpoint_url=server.url, skip_instance_cache=True)
    big = os.urandom(11_000_000)
    with fs.open("alula/fs/big", "wb", block_size=5 * 1024 * 1024) as file:
        file.write(big)
    fs.pipe("alula/fs/dir/small +%", b"small")
    assert fs.cat("alula/fs/dir/small +%") == b"small"
    with fs.open("alula/fs/big", "rb") as file:
        file.seek(10_000_000)
        assert file.read() == big[10_000_000:]
    assert fs.ls("alula/fs") == ["alula/fs/big", "alula/fs/dir"]
    assert fs.find("alula/fs") == ["alula/fs/big", "alula/fs/dir/small +%"]
    fs.cp("alula/fs/dir/small +%", "alula/fs/copy")
    assert fs.info("alula/fs/copy")["size"] == 5
    fs.rm("alula/fs", recursive=True)
    assert not fs.exists("alula/fs/big")


# presigned URLs, as the flyte SDK uses them


def test_a_presigned_upload_is_bound_to_its_content(server: Server) -> None:
    data = b"bundle" * 1000
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    headers = {"Content-MD5": md5, "x-amz-meta-flyteContentMD5": md5}
    url = presign(
        "PUT", object_url(server.url, "alula", "up/a b.tgz"), KEYS, expires=60, now=datetime.now(UTC), headers=headers
    )
    assert httpx.put(url, content=data, headers=headers).status_code == 200
    assert server.folder.read("up/a b.tgz", 10_000) == data
    other = httpx.put(url, content=b"evil" * 1000, headers=headers)
    assert (other.status_code, "BadDigest" in other.text) == (400, True)
    unsigned = httpx.put(url, content=data, headers=headers | {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert "SignatureDoesNotMatch" in unsigned.text
    smuggled = httpx.put(url, content=b"", headers=headers | {"x-amz-copy-source": "/alula/secret"})
    assert (smuggled.status_code, "must be signed" in smuggled.text) == (403, True)
    assert server.folder.read("up/a b.tgz", 10_000) == data


def test_a_presigned_download_may_say_what_it_is(server: Server) -> None:
    server.folder.write("r/report.html", b"<h1>report</h1>")
    reply = httpx.get(server.sign("GET", "r/report.html"))
    assert (reply.text, reply.headers["content-type"]) == ("<h1>report</h1>", "text/html")
    assert reply.headers["content-security-policy"] == "sandbox allow-scripts"
    named = server.sign("GET", "r/report.html", query="?response-content-disposition=attachment")
    assert httpx.get(named).headers["content-disposition"] == "attachment"
    assert httpx.get(named.replace("attachment", "inline")).status_code == 403


def test_a_presigned_url_expires(server: Server) -> None:
    server.folder.write("expiring", b"x")
    url = server.sign("GET", "expiring", expires=5)
    assert httpx.get(url).status_code == 200
    server.ahead = timedelta(seconds=7)
    try:
        late = httpx.get(url)
    finally:
        server.ahead = timedelta()
    assert (late.status_code, "<Code>AccessDenied</Code>" in late.text, "expired" in late.text) == (403, True, True)


def test_what_is_signed_for_one_thing_does_no_other(server: Server) -> None:
    server.folder.write("mine", b"mine")
    url = server.sign("GET", "mine")
    for method, changed in [
        ("PUT", url),
        ("DELETE", url),
        ("HEAD", url),
        ("GET", url.replace("/mine", "/yours")),
        ("GET", url.replace("Expires=60", "Expires=600")),
        ("GET", url[:-1] + ("0" if url[-1] != "0" else "1")),
        ("GET", url + "&tagging="),
        ("GET", url.partition("&X-Amz-Signature")[0]),
    ]:
        assert httpx.request(method, changed).status_code == 403, changed
    assert server.folder.read("mine", 10) == b"mine"


@pytest.mark.parametrize(
    ("keys", "ahead", "expected"),
    [
        (Credentials("the-key", "wrong"), 0, "SignatureDoesNotMatch"),
        (Credentials("nobody", "the-secret"), 0, "InvalidAccessKeyId"),
        (KEYS, 16 * 60, "RequestTimeTooSkewed"),
        (KEYS, -16 * 60, "RequestTimeTooSkewed"),
    ],
)
def test_a_wrong_signature_is_refused(server: Server, keys: Credentials, ahead: int, expected: str) -> None:
    server.ahead = timedelta(seconds=ahead)
    try:
        with pytest.raises(botocore.exceptions.ClientError) as error:
            server.boto(keys).put_object(Bucket="alula", Key="refused", Body=b"x" * 5_000_000)
    finally:
        server.ahead = timedelta()
    assert code(error) == expected
    assert server.folder.stat("refused") is None
