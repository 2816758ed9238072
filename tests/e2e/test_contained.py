"""Raw containers, in a real engine where one is found, and without: the same program, the same outcome."""

import io
import shutil
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from flyteidl2.common import phase_pb2
from flyteidl2.core import security_pb2
from flyteidl2.workflow import run_service_pb2, run_service_pb2_grpc

from .test_containers import request
from .user import Served, User, serving

IMAGE = "localhost/alula-test/busybox:1"
_TOOLS = ("sh", "cat", "cp", "echo", "expr", "ls", "mkdir", "sleep")
# An engine in a container of its own may not raise limits.
_CONF = '[containers]\ndefault_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]\n[engine]\nruntime = "runc"\n'


def _engine(folder: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have podman run a small image, or skip."""
    monkeypatch.setenv("PATH", path)
    if shutil.which("podman") is None or shutil.which("runc") is None:
        pytest.skip("podman and runc are not installed: no container is run")
    busybox = shutil.which("busybox")
    if busybox is None or b"statically" not in subprocess.run(["file", "-L", busybox], capture_output=True).stdout:
        pytest.skip("there is no static busybox to make an image of: no container is run")
    conf = folder / "containers.conf"
    conf.write_text(_CONF)
    monkeypatch.setenv("CONTAINERS_CONF", str(conf))
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as archive:
        archive.add(busybox, "bin/busybox")
        for name in _TOOLS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    subprocess.run(["podman", "import", "-", IMAGE], input=image.getvalue(), check=True, capture_output=True)
    tried = subprocess.run(["podman", "run", "--rm", "--network=host", IMAGE, "echo", "hi"], capture_output=True)
    if tried.returncode:
        pytest.skip(f"podman cannot run a container here: {tried.stderr.decode().strip()}")


@pytest.fixture(scope="module", params=["off", "podman"])
def contained(
    request: pytest.FixtureRequest, engines: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Served]]:
    folder = tmp_path_factory.mktemp("contained")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "podman":
            _engine(folder, engines, patch)
        with serving(folder / "home", f'[executor]\ncontainers = "{request.param}"\n') as served:
            yield request.param, served


@pytest.fixture
def owner(contained: tuple[str, Served], tmp_path: Path) -> User:
    return User(tmp_path, contained[1].home, contained[1].port)


def test_the_copilot_contract(owner: User) -> None:
    told = owner.python("contained.py", env={"IMAGE": IMAGE})
    assert told["phase"] == "ActionPhase.SUCCEEDED"
    assert told["sums"] == [42, "hello!", 1.5, True]
    assert told["times"] == "1:00:02.500000"
    assert (told["copy"], told["kept"], told["named"]) == ("text of a file", ["a.txt", "b.txt"], "a.txt\n")
    assert told["listed"] == ["1_a.txt a.txt\n", "text of a filetext of a file"]
    errors = told["errors"]
    assert errors["fails"] == [
        "ContainerFailed",
        "the process exited with code 3; the end of its log:\nit is broken\n",
    ]
    assert errors["complains"] == ["User Error", "the reason"]
    assert "did not write its output 'x'; it wrote: other" in errors["forgets"][1]
    assert "'many' is no integer" in errors["wrong"][1]


def test_a_named_image(contained: tuple[str, Served], owner: User) -> None:
    """A task whose image is none of ours runs in a container where there is an engine; a note says what it runs in."""
    kind, _ = contained
    details = _run(owner, "sh", "-c", "ls /; exit 4", image=IMAGE)
    assert details.error_info.code == "ContainerFailed"
    tail = details.error_info.message.partition("log:\n")[2].split()
    assert tail == ["bin", "dev", "etc", "proc", "run", "sys"] if kind == "podman" else "usr" in tail
    notes = " ".join(event.message for attempt in details.attempts for event in attempt.cluster_events)
    assert ("running in a container" in notes) == (kind == "podman"), notes
    assert IMAGE in notes


def test_secrets_are_where_programs_look(contained: tuple[str, Served], owner: User) -> None:
    if contained[0] == "off":
        pytest.skip("without an engine nothing has a file system of its own")
    owner.flyte("create", "secret", "box-key", "--value", "hush")
    asked = request("sh", "-c", '[ "$(cat /etc/flyte/secrets/Box/box-key)" = hush ]', image=IMAGE)
    secret = asked.task_spec.task_template.security_context.secrets.add(key="box-key", group="Box")
    secret.mount_requirement = security_pb2.Secret.FILE
    assert _ended(owner, asked).status.phase == phase_pb2.ACTION_PHASE_SUCCEEDED


def test_an_image_that_cannot_be_had(contained: tuple[str, Served], owner: User) -> None:
    if contained[0] == "off":
        pytest.skip("without an engine nothing is pulled")
    details = _run(owner, "sh", "-c", "true", image=f"localhost:1/none:{uuid.uuid4().hex[:8]}")
    assert details.error_info.code == "ContainerFailed"
    assert "cannot be pulled" in details.error_info.message


def test_abort_leaves_no_container(
    contained: tuple[str, Served], owner: User, engines: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, served = contained
    monkeypatch.setenv("PATH", engines)
    asked = request("sh", "-c", "echo here; sleep 1000", image=IMAGE)
    with grpc.insecure_channel(f"localhost:{owner.port}") as channel:
        runs = run_service_pb2_grpc.RunServiceStub(channel)  # type: ignore[no-untyped-call]
        action = runs.CreateRun(asked, timeout=20).run.action.id
        watch = run_service_pb2.WatchActionDetailsRequest(action_id=action)
        for told in runs.WatchActionDetails(watch, timeout=60):
            if told.details.status.phase == phase_pb2.ACTION_PHASE_RUNNING:
                if kind == "podman":
                    _wait(served.home, contained=True)
                runs.AbortRun(run_service_pb2.AbortRunRequest(run_id=action.run), timeout=20)
        assert told.details.status.phase == phase_pb2.ACTION_PHASE_ABORTED
    if kind == "podman":
        _wait(served.home, contained=False)


def _wait(home: Path, *, contained: bool) -> None:
    """Wait until the server has a container, or none: nobody tells of a container's start and end."""
    deadline = time.monotonic() + 20
    while bool(_containers(home)) != contained:
        assert time.monotonic() < deadline, f"there {'was none' if contained else 'is one still'}"
        time.sleep(0.1)


def _containers(home: Path) -> str:
    command = ["podman", "ps", "--all", "--quiet", "--filter", f"label=alula.home={home.resolve()}"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def _run(user: User, *words: str, image: str) -> Any:
    return _ended(user, request(*words, image=image))


def _ended(user: User, asked: run_service_pb2.CreateRunRequest) -> Any:
    with grpc.insecure_channel(f"localhost:{user.port}") as channel:
        runs = run_service_pb2_grpc.RunServiceStub(channel)  # type: ignore[no-untyped-call]
        action = runs.CreateRun(asked, timeout=20).run.action.id
        watch = run_service_pb2.WatchActionDetailsRequest(action_id=action)
        *_, last = runs.WatchActionDetails(watch, timeout=60)
        return last.details
