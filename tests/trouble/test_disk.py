"""A full disk: what does not fit is refused clearly, and everything goes on when there is room again."""

import base64
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.project import project_service_pb2 as projects

from tests.api.caller import RUNNING, SUCCEEDED, Caller, creation, gated, python
from tests.api.served import Served

SIZE = 24  # MB


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        print("skipped: a tiny disk can be made by root only, where mount is allowed")
        pytest.skip("a tiny disk can be made by root only, where mount is allowed")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a byte is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


async def upload(caller: Caller, content: bytes) -> httpx.Response:
    md5 = hashlib.md5(content).digest()
    request = data.CreateUploadLocationRequest(
        project="flytesnacks", domain="development", content_md5=md5, filename="big"
    )
    location = await caller.data.create_upload_location(request)
    headers = {"Content-MD5": base64.b64encode(md5).decode(), **location.headers}
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.put(location.signed_url, content=content, headers=headers)


async def test_a_full_disk(small: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    server = Served(small / "home")
    server.log_file = tmp_path / "server.log"
    with server:
        caller = Caller(server.url)
        waiting = await caller.start(gated(gate, after="print('done')"), name="waiting")
        await caller.says(waiting, "at the gate")

        too_large = await upload(caller, os.urandom(1 << 20) * (SIZE + 1))
        assert too_large.status_code == 507, too_large.text
        assert "disk" in too_large.text
        assert (await upload(caller, b"small")).status_code == 200  # nothing of it was left behind
        assert sum(f.stat().st_size for f in small.rglob("*") if f.is_file()) < SIZE * 500_000

        with full(small):
            for number in range(20):
                inputs = {"literals": [{"name": "x", "value": {"scalar": {"primitive": {"integer": number}}}}]}
                with pytest.raises(ConnectError, match="disk") as caught:  # inputs are files
                    await caller.runs.create_run(creation(python("pass"), f"refused-{number}", inputs=inputs))
                assert caught.value.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE)
            kept, refusal = await fill_with_projects(caller)
            assert refusal.code == Code.UNAVAILABLE
            assert "nothing was done. Is the disk full?" in refusal.message
            ready = httpx.get(f"{server.url}/readyz")
            assert ready.status_code == 503
            assert "disk" in ready.json()["message"]
            assert httpx.get(f"{server.url}/healthz").status_code == 200
            assert (await caller.details(waiting)).status.phase == RUNNING  # what is there can be read
            gate.touch()  # and what runs may end

        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert (await caller.finished(python("print('room')"), name="refused-19")).status.phase == SUCCEEDED
        listed = await caller.projects.list_projects(projects.ListProjectsRequest(limit=200))
        names = [project.id for project in listed.projects.projects if project.id.startswith("filling")]
        assert names == kept[: len(names)]
        assert len(names) == min(len(kept), 199)  # and one that was there before
        details = await caller.ended(waiting)
        assert details.status.phase == SUCCEEDED
        assert "at the gate\n" in await caller.log(waiting)


async def fill_with_projects(caller: Caller) -> tuple[list[str], ConnectError]:
    """Write rows until there is no more room for one: which were written, and what was said then."""
    kept: list[str] = []
    for number in range(1000):
        project = projects.Project(id=f"filling-{number}", name="x", description="x" * 20_000)
        try:
            await caller.projects.create_project(projects.CreateProjectRequest(project=project))
        except ConnectError as error:
            return kept, error
        kept.append(project.id)
    raise AssertionError("the disk is never full")
