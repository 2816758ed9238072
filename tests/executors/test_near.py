"""Objects that lie on this machine: read and written as the store itself would, and left to the server else."""

import asyncio
import hashlib
from pathlib import Path
from types import ModuleType

import pytest

from alula.blobs.folder import Folder
from alula.core import record
from alula.core.launch import Launch, Presence, Reuse
from alula.executors.process import near
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.reuse.executor import ReusingExecutor

from . import hello
from .conftest import Bench
from .test_runtime import how

KEY = "runs/p/d/r1/a0-x_y/1/outputs.pb"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv(near.FOLDER, str(tmp_path / "objects" / "alula"))
    return Folder(tmp_path / "objects")


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_written_here_is_an_object(folder: Folder, durable: bool) -> None:
    for content in (b"first", b"", b"then this"):
        assert near.write(f"s3://alula/{KEY}", content, durable=durable)
        assert folder.read(KEY, 100) == content
    meta = folder.stat(KEY)
    assert meta is not None
    assert (meta.size, meta.etag, meta.headers) == (9, hashlib.md5(b"then this").hexdigest(), {})
    assert [name for name, _ in folder.list("")] == [KEY]
    assert folder.sweep() == 0, "nothing is left over"


def test_objects_are_read_here(folder: Folder) -> None:
    folder.write(KEY, b"content")
    assert near.read(f"s3://alula/{KEY}") == b"content"
    with folder.stage() as staged:
        staged.write(b"with headers")
        folder.commit(staged, KEY, {"content-type": "x/y", "x-amz-meta-long": "l" * 1000})
    assert near.read(f"s3://alula/{KEY}") == b"with headers"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other/runs/a/1/outputs.pb",
        "s3://alula",
        "s3://alula/outputs.pb",
        "s3://alula/runs/a/1/report.html",
        "s3://alula/runs/../../1/outputs.pb",
        "s3://alula/runs//1/outputs.pb",
        "s3://alula/runs/=a/1/outputs.pb",
        "s3://alula/runs/+a/1/outputs.pb",
        "s3://alula/runs/\u00e4/1/outputs.pb",
        "s3://alula/runs/a/1/outputs.pb\n",
        "/runs/a/1/outputs.pb",
    ],
)
def test_what_is_not_plain_is_the_servers(folder: Folder, uri: str) -> None:
    assert near.read(uri) is None
    assert not near.write(uri, b"x", durable=True)
    assert list(folder.list("")) == []


def test_a_large_object_is_the_servers(folder: Folder) -> None:
    large = b"x" * (256 * 1024 + 1)
    assert not near.write(f"s3://alula/{KEY}", large, durable=False)
    folder.write(KEY, large)
    assert near.read(f"s3://alula/{KEY}") is None


def test_without_a_folder_all_is_the_servers(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert near.read(f"s3://alula/{KEY}") is None, "there is none"
    (tmp_path / "objects" / near.STAGING).rmdir()
    assert not near.write(f"s3://alula/{KEY}", b"x", durable=False), "it cannot be begun"
    monkeypatch.setenv(near.FOLDER, str(tmp_path / "hidden" / "alula"))
    assert not near.write(f"s3://alula/{KEY}", b"x", durable=False)
    monkeypatch.delenv(near.FOLDER)
    assert near.read(f"s3://alula/{KEY}") is None
    assert not near.write(f"s3://alula/{KEY}", b"x", durable=False)


def test_a_file_cut_short_is_no_object(folder: Folder) -> None:
    folder.write(KEY, b"content")
    whole = record.whole(b"content")
    file = folder.root / "alula" / "runs/p/d/r1/a0-x_y/1/=outputs.pb"
    assert file.read_bytes() == whole
    for cut in (0, 3, 7, len(whole) - 1):
        file.write_bytes(whole[:cut])
        assert near.read(f"s3://alula/{KEY}") is None
    file.write_bytes(record.trailer("e", {})[-8:])  # a mark that speaks of more than there is
    assert near.read(f"s3://alula/{KEY}") is None


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The SDK's storage, with this in between until the test is over."""
    import flyte.storage

    for name in ("get_stream", "put_stream"):
        monkeypatch.setattr(flyte.storage, name, getattr(flyte.storage, name))
    near.install(durable=True)
    return flyte.storage


async def test_the_sdk_has_its_way_with_all_else(folder: Folder, storage: ModuleType, tmp_path: Path) -> None:
    """A stream, options, another place: what is asked for is what is done."""
    uri, elsewhere = f"s3://alula/{KEY}", str(tmp_path / "outputs.pb")
    assert await storage.put_stream(data_iterable=b"near", to_path=uri) == uri
    assert await storage.put_stream(b"nearer", to_path=uri) == uri
    assert folder.read(KEY, 100) == b"nearer"
    assert b"".join([chunk async for chunk in storage.get_stream(path=uri)]) == b"nearer"
    assert await storage.put_stream(b"file", to_path=elsewhere) == elsewhere
    assert Path(elsewhere).read_bytes() == b"file"
    assert b"".join([chunk async for chunk in storage.get_stream(elsewhere)]) == b"file"


async def test_attempts_ask_nobody_for_what_is_here(folder: Folder, tmp_path: Path) -> None:
    """A forked one and a reused one, with an object store that nobody answers for."""
    variables = {
        **hello.ENV, "_U_ORG_NAME": "local", "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        near.FOLDER: str(folder.root / "alula"), "FLYTE_AWS_ENDPOINT": "http://localhost:1",
        "FLYTE_AWS_ACCESS_KEY_ID": "k", "FLYTE_AWS_SECRET_ACCESS_KEY": "s",
    }  # fmt: skip
    archive = hello.bundle(tmp_path / "bundles")
    folder.write("r/one/inputs.pb", b"")
    processes = ProcessExecutor(tmp_path / "home", mode="fork")
    async with processes, ReusingExecutor(processes, tmp_path / "home") as executor:
        bench = Bench(executor, tmp_path / "home", "fork")
        for name, reuse in (("forked", None), ("reused", Reuse("one", own=frozenset({"ACTION_NAME"})))):
            words = list(hello.command(tmp_path / name, archive, "main"))
            words[words.index("--inputs") + 1] = "s3://alula/r/one/inputs.pb"
            words[words.index("--outputs-path") + 1] = f"s3://alula/r/{name}/1"
            await bench.submit(Launch(name, tuple(words), variables, reuse=reuse))
            async with asyncio.timeout(60):
                seen = await bench.over(name)
            assert (seen.presence, seen.exit_code) == (Presence.EXITED, 0), await bench.said(name)
            assert folder.stat(f"r/{name}/1/outputs.pb") is not None
        assert await how(bench, "forked") == "forked"
