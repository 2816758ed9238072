"""What a folder of objects keeps through crashes, and in which files."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alula.blobs.folder import Folder
from alula.blobs.multipart import KEPT, Multipart, Upload
from alula.blobs.names import Query
from alula.core.errors import Conflict, Exhausted, Invalid, NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "objects")


def files(folder: Folder) -> list[str]:
    return sorted(str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_file())


def test_a_file_is_named_as_its_key(folder: Folder) -> None:
    for key in ("run/a0/inputs.pb", "=x/+y/=z", "f", "f/g"):
        folder.write(key, b"")
    assert files(folder) == ["alula/+=x/++y/==z", "alula/=f", "alula/f/=g", "alula/run/a0/=inputs.pb"]


def test_a_reader_keeps_the_object_that_it_opened(folder: Folder) -> None:
    folder.write("k", b"old")
    with folder.open("k") as opened:
        folder.write("k", b"newer")
        folder.delete("k")
        assert opened.read(0, 100) == b"old"


def test_a_file_that_was_cut_short_is_no_object(folder: Folder) -> None:
    folder.write("k", b"x" * 1000)
    path = folder.root / "alula" / "=k"
    whole = path.read_bytes()
    for size in (0, 3, 8, 500, 1000, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert folder.stat("k") is None
        with pytest.raises(NotFound):
            folder.open("k")
        assert list(folder.list("")) == []
    for damaged in (bytes(len(whole)), whole[:-1] + b"0", whole + b"\0" * 8):
        path.write_bytes(damaged)
        assert folder.stat("k") is None
    folder.write("k", b"again")
    assert folder.read("k", 10) == b"again"


@pytest.mark.parametrize("key", ["", "../k", "/k", "a//k", "a/../../k", "k\0", "x" * 251])
def test_a_bad_key_never_becomes_a_path(folder: Folder, key: str) -> None:
    for operation in (folder.stat, folder.open, folder.delete):
        with pytest.raises(Invalid):
            operation(key)
    with pytest.raises(Invalid):
        folder.write(key, b"")
    assert files(folder) == []


def test_long_headers_are_kept(folder: Folder) -> None:
    headers = {"x-amz-meta-long": "v" * 2000, "content-type": "text/ü"}
    with folder.stage() as staged:
        staged.write(b"data")
        folder.commit(staged, "k", headers)
    meta = folder.stat("k")
    assert meta is not None
    assert (meta.headers, meta.size) == (headers, 4)


def test_what_is_not_committed_leaves_nothing(folder: Folder) -> None:
    with folder.stage() as staged:
        staged.write(b"x")
        assert len(files(folder)) == 1
    assert files(folder) == []


def test_a_killed_writer_leaves_the_old_object_and_a_file_that_is_swept(folder: Folder) -> None:
    folder.write("k", b"old")
    program = (
        "import os, signal, sys; from pathlib import Path; from alula.blobs.folder import Folder\n"
        "with Folder(Path(sys.argv[1])).stage() as staged:\n"
        "    staged.write(b'new'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder.root)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((folder.root / ".staging").iterdir())) == 1
    again = Folder(folder.root)
    assert again.sweep() == 1
    assert (files(again), again.read("k", 10)) == (["alula/=k"], b"old")


def test_a_full_disk_is_exhausted_and_leaves_the_old_object(folder: Folder) -> None:
    folder.write("k", b"old")
    program = (
        "import resource, sys; from pathlib import Path; from alula.blobs.folder import Folder\n"
        "from alula.core.errors import Exhausted\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: Folder(Path(sys.argv[1])).write('k', b'x' * 2000)\n"
        "except Exhausted as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder.root)], check=True, capture_output=True, text=True)
    assert "disk of the object store is full" in done.stdout
    assert (files(folder), folder.read("k", 10)) == (["alula/=k"], b"old")


def test_a_condition_is_checked_at_the_very_end(folder: Folder) -> None:
    won: list[int] = []

    def create(n: int) -> None:
        with folder.stage() as staged:
            staged.write(b"%d" % n)
            barrier.wait()
            try:
                folder.commit(staged, "k", {}, condition=lambda there: there is None)
            except Conflict:
                return
            won.append(n)

    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert folder.read("k", 10) == b"%d" % won[0]


def test_empty_folders_go_and_come_again_under_concurrent_puts(folder: Folder) -> None:
    def churn(n: int) -> None:
        for _ in range(100):
            folder.write(f"a/b/{n}", b"")
            folder.delete(f"a/b/{n}")

    threads = [threading.Thread(target=churn, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.listdir(folder.root / "alula") == []


def test_listing_order_is_that_of_the_keys(folder: Folder) -> None:
    keys = ["a", "a!", "a/", "a/b", "a/b/c", "a/b0", "a0", "é", "=", "+/=", "日本"]
    for key in keys:
        folder.write(key, b"")
    assert [name for name, _ in folder.walk(Query())] == sorted(keys)
    for after in [*keys, "a/a", "zzz", "a/b/", ""]:
        assert [name for name, _ in folder.walk(Query(after=after))] == sorted(key for key in keys if key > after)
    shallow = [name for name, _ in folder.walk(Query(prefix="a", shallow=True))]
    assert shallow == ["a", "a!", "a/", "a0"]


def test_uploads_that_are_forgotten_are_swept(folder: Folder) -> None:
    uploads = Multipart(folder)
    live, old = uploads.begin("k", {}), uploads.begin("k", {})
    for upload in (live, old):
        with uploads.stage(upload) as staged:
            staged.write(b"part")
            uploads.keep(upload, 1, staged)
    about = folder.root / ".multipart" / "alula" / old.id / "=about"
    long_ago = (datetime.now(UTC) - KEPT - timedelta(hours=1)).timestamp()
    os.utime(about, (long_ago, long_ago))
    assert uploads.sweep(datetime.now(UTC)) == 1
    with pytest.raises(NotFound):
        uploads.abort(old)
    assert [(number, meta.size) for number, meta in uploads.parts(live)] == [(1, 4)]


def test_an_upload_is_of_one_key(folder: Folder) -> None:
    uploads = Multipart(folder)
    upload = uploads.begin("mine", {})
    for wrong in (Upload("yours", upload.id), Upload("mine", "../mine"), Upload("mine", "0" * 32)):
        with pytest.raises(NotFound):
            uploads.stage(wrong)
    with uploads.stage(upload) as staged:
        for number in (0, 10_001):
            with pytest.raises(Invalid):
                uploads.keep(upload, number, staged)


def test_reading_is_limited(folder: Folder) -> None:
    folder.write("k", b"12345")
    with pytest.raises(Exhausted, match="5 bytes"):
        folder.read("k", 4)
