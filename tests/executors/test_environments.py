"""Environments of images: found, built when they are missing, kept while they are used, and what cannot be built."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from flyteidl2.imagebuilder import definition_pb2 as pb
from uv import find_uv_bin

from alula.core import image as images
from alula.core.errors import LaunchRefused
from alula.core.launch import Launch, Observation, Presence
from alula.executors.process.environment import Environment
from alula.executors.process.environments import builder, uv
from alula.executors.process.environments.builder import Permit
from alula.executors.process.environments.finder import Environments
from alula.executors.process.environments.layers import Recipe
from alula.executors.process.environments.store import Store
from alula.executors.process.executor import ProcessExecutor

OWN = Environment.own()
BASE = f"ghcr.io/flyteorg/flyte:py{OWN.base.python}-v{OWN.sdk}"
RECIPES = "s3://b/images"
MINE = "alula.local/mine:1"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def index() -> None:
    command = [find_uv_bin(), "pip", "compile", "--no-cache", "--quiet", "-"]
    asked = subprocess.run(command, input="iniconfig", capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"no package index answers here: {asked.stderr.strip()[-500:]}")


class Place:
    """The object store, as far as recipes go, and the folder of environments."""

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, bytes] = {}
        self.store = Store(folder / "environments")
        self.permit = Permit(str(self.store.folder), OWN.base.python, OWN.sdk)

    async def fetch(self, uri: str) -> bytes | None:
        return self.objects.get(uri)

    def write(self, image: str, spec: pb.ImageSpec) -> str:
        self.objects[images.recipe(RECIPES, image)[0]] = spec.SerializeToString()
        return builder.recipe_of(spec.SerializeToString(), Path("/nowhere"), self.permit).digest()

    def environments(self, budget: int = 1 << 40) -> Environments:
        return Environments(OWN, self.permit, budget, RECIPES, self.fetch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
async def executor(place: Place, tmp_path: Path) -> AsyncIterator[ProcessExecutor]:
    async with (
        place.environments() as environments,
        ProcessExecutor(tmp_path / "executor", mode="spawn", environments=environments) as executor,
    ):
        yield executor


def _spec(**variables: str) -> pb.ImageSpec:
    layer = pb.Layer(env=pb.Env(env_variables=variables))
    return pb.ImageSpec(base_image=BASE, python_version=OWN.base.python, layers=[layer])


def _launch(name: str, image: str, program: str = "import sys; print(sys.prefix)") -> Launch:
    return Launch(name, ("python", "-c", program), {}, image)


async def _ended(executor: ProcessExecutor, name: str) -> Observation:
    async with asyncio.timeout(PATIENCE):
        async for _ in executor.changes():
            seen = await executor.observe(name)
            if seen is not None and seen.presence in (Presence.EXITED, Presence.LOST):
                return seen
    raise AssertionError("changes ended")


async def test_what_is_missing_is_built_and_the_attempt_seen_to_wait(
    executor: ProcessExecutor, place: Place, index: None
) -> None:
    digest = place.write(MINE, _spec(COLOUR="green"))
    await executor.submit(_launch("a", MINE, "import os, sys; print(os.environ['COLOUR'], sys.prefix)"))
    seen = await executor.observe("a")
    assert seen is not None
    assert (seen.presence, seen.notes) == (Presence.STARTING, (f"building the environment of image {MINE}",))
    seen = await _ended(executor, "a")
    assert f"green {place.store.place(digest) / 'venv'}" in seen.log_tail
    assert seen.notes[1].startswith(f"running in environment {digest[:12]}")
    await executor.submit(_launch("b", MINE))
    seen = await executor.observe("b")
    assert seen is not None
    assert seen.presence is Presence.RUNNING
    place.store.shrink(0)
    assert [one.digest for one in place.store.kept()] == [digest], "an attempt runs in it"
    for name in ("a", "b"):
        await executor.release(name)
    place.store.shrink(0)
    assert place.store.kept() == []
    await executor.submit(_launch("c", MINE))  # it is built again
    assert str(place.store.place(digest)) in (await _ended(executor, "c")).log_tail


def _archive(**files: str) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return body.getvalue()


async def test_files_come_from_the_recipe(executor: ProcessExecutor, place: Place, index: None) -> None:
    copy = pb.Layer(copy_config=pb.CopyConfig(src="data", dst="."))
    place.write(MINE, pb.ImageSpec(base_image=BASE, layers=[copy]))
    place.objects[images.recipe(RECIPES, MINE)[1]] = _archive(**{"data/greeting.txt": "hello"})
    await executor.submit(_launch("a", MINE, "print(open('greeting.txt').read())"))
    assert "hello" in (await _ended(executor, "a")).log_tail


async def test_an_archive_that_leads_out_is_refused(executor: ProcessExecutor, place: Place, tmp_path: Path) -> None:
    place.write(MINE, _spec(COLOUR="green"))
    place.objects[images.recipe(RECIPES, MINE)[1]] = _archive(**{"../../escaped": "x"})
    await executor.submit(_launch("a", MINE))
    assert "the build context cannot be unpacked" in (await _ended(executor, "a")).refused


async def test_an_attempt_that_waits_can_be_ended(executor: ProcessExecutor, place: Place) -> None:
    digest = place.write(MINE, _spec(COLOUR="green"))
    with place.store.building(digest):  # another process builds, and takes its time
        await executor.submit(_launch("a", MINE))
        async with asyncio.timeout(PATIENCE):
            await executor.release("a")
        assert await executor.names() == []


async def test_a_server_that_stops_ends_its_builds(place: Place, tmp_path: Path) -> None:
    digest = place.write(MINE, _spec(COLOUR="green"))
    with place.store.building(digest):
        async with place.environments() as environments:
            async with ProcessExecutor(tmp_path / "executor", mode="spawn", environments=environments) as executor:
                await executor.submit(_launch("a", MINE))
            seen = await executor.observe("a")
    assert seen is not None
    assert seen.presence is Presence.LOST


async def test_an_image_that_nobody_built_is_refused(executor: ProcessExecutor) -> None:
    with pytest.raises(LaunchRefused, match=r"alula.local/mine:1 cannot be used here: nobody has built it"):
        await executor.submit(_launch("a", MINE))
    assert await executor.names() == []


async def test_what_cannot_be_built_again_is_an_end(executor: ProcessExecutor, place: Place) -> None:
    spec = _spec()
    spec.layers.add().commands.cmd.append("touch x")
    place.write(MINE, spec)
    await executor.submit(_launch("a", MINE))
    seen = await _ended(executor, "a")
    assert seen.presence is Presence.EXITED
    assert "the image has a command: touch x" in seen.refused
    with pytest.raises(LaunchRefused, match="touch x"):  # without another try
        await executor.submit(_launch("b", MINE))


@pytest.mark.parametrize("image", ["", BASE, "python:3.9", "ghcr.io/me/x:1"])
async def test_other_images_run_in_the_servers_own(executor: ProcessExecutor, image: str) -> None:
    await executor.submit(_launch("a", image))
    seen = await _ended(executor, "a")
    assert sys.prefix in seen.log_tail
    assert ("is not available here" in seen.notes[0]) == (image not in ("", BASE))


def test_only_builds_are_told_of_the_index(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@index/simple")
    handed = place.environments().handed(Launch("a", builder.command("task", "--inputs", "x"), {}))
    assert handed["PIP_INDEX_URL"] == "https://me:secret@index/simple"
    assert place.environments().handed(_launch("a", "")) == {}
    assert "PIP_INDEX_URL" not in OWN.variables(os.environ)


def test_a_builder_that_is_killed_leaves_nothing_that_counts(place: Place, tmp_path: Path, index: None) -> None:
    """At several points of its work; the next one builds all the same."""
    (tmp_path / "spec.pb").write_bytes(_spec(COLOUR="green").SerializeToString())
    (tmp_path / "archive").touch()
    digest = place.write(MINE, _spec(COLOUR="green"))
    marks = ["Creating virtual environment", "Resolved", "Installed"]
    for mark in (*marks, None):
        process = _builder(place, tmp_path)
        assert process.stdout is not None
        for line in process.stdout:
            if mark is not None and line.startswith(mark):
                os.killpg(process.pid, signal.SIGKILL)
                break
        code = process.wait()
        assert code == (0 if mark is None else -signal.SIGKILL)
        found = place.store.find(digest)
        assert (found is not None) == (mark is None), mark
    subprocess.run([place.store.place(digest) / "venv" / "bin" / "a0", "--help"], check=True, capture_output=True)


def test_a_builder_ends_with_its_server(place: Place, tmp_path: Path) -> None:
    """Whatever ends that: the builder's stdin is closed then."""
    (tmp_path / "spec.pb").write_bytes(_spec(COLOUR="green").SerializeToString())
    (tmp_path / "archive").touch()
    with place.store.building(place.write(MINE, _spec(COLOUR="green"))):
        process = _builder(place, tmp_path)
        assert process.stdin is not None
        assert process.stdout is not None
        assert "waiting for it" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(PATIENCE) == -signal.SIGKILL


def _builder(place: Place, folder: Path) -> "subprocess.Popen[str]":
    words = builder.command("recipe", str(folder / "spec.pb"), str(folder / "archive"))[1:]
    return subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, **place.permit.variable()},
    )  # fmt: skip


# What makes two images the same


def _recipe(folder: Path, *layers: pb.Layer, base: str = BASE) -> Recipe:
    spec = pb.ImageSpec(base_image=base, layers=layers)
    return builder.recipe_of(spec.SerializeToString(), folder, Permit("", "3.11", "2.12.1"))


def _required(folder: Path, name: str, text: str) -> Recipe:
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(text)
    return _recipe(folder, pb.Layer(requirements=pb.Requirements(file=name)))


def test_equal_layers_are_one_environment(tmp_path: Path) -> None:
    one = _required(tmp_path, "a/requirements.txt", "x==1")
    assert one.digest() == _required(tmp_path, "b/requirements.txt", "x==1").digest(), "wherever the file was"
    assert one.digest() != _required(tmp_path, "c/requirements.txt", "x==2").digest()
    other_option = pb.Layer(requirements=pb.Requirements(file="a/requirements.txt", options=pb.PipOptions(pre=True)))
    assert one.digest() != _recipe(tmp_path, other_option).digest()


def test_another_base_is_another_environment(tmp_path: Path) -> None:
    bases = [f"ghcr.io/flyteorg/flyte:py3.{n}-v2.{m}.0" for n in (11, 12) for m in (10, 11)]
    assert len({_recipe(tmp_path, base=base).digest() for base in bases}) == 4
    assert _recipe(tmp_path, base=bases[0]).digest() == _recipe(tmp_path, base="x/flyte:py3.11-v2.10.0").digest()


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    def copied(name: str, **files: str) -> str:
        for file, text in files.items():
            (tmp_path / name / "deep").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "deep" / file).write_text(text)
        return _recipe(tmp_path, pb.Layer(copy_config=pb.CopyConfig(src=name, dst="."))).digest()

    assert copied("a", x="1", y="2") == copied("b", y="2", x="1")
    assert (
        len({copied("a", x="1", y="2"), copied("c", x="1", y="3"), copied("d", x="1", z="2"), copied("e", x="1")}) == 4
    )


# pip's settings, as uv is told of them


@pytest.mark.parametrize(
    ("variables", "files", "told"),
    [
        ({}, [], {}),
        ({"PIP_INDEX_URL": "i"}, [], {"UV_INDEX_URL": "i"}),
        ({"PIP_INDEX_URL": "i", "UV_INDEX_URL": "own"}, [], {}),
        ({"PIP_FIND_LINKS": "a  b"}, [], {"UV_FIND_LINKS": "a,b"}),
        ({"PIP_EXTRA_INDEX_URL": "a b"}, [], {"UV_EXTRA_INDEX_URL": "a b"}),
        ({}, ["[global]\nindex-url = g\ntrusted-host = h\n"], {"UV_INDEX_URL": "g", "UV_INSECURE_HOST": "h"}),
        ({"PIP_INDEX_URL": "i"}, ["[global]\nindex-url = g"], {"UV_INDEX_URL": "i"}),
        ({}, ["[install]\nindex-url = own", "[global]\nindex-url = all"], {"UV_INDEX_URL": "own"}),
        ({}, ["[global]\nindex-url = g\n[install]\nindex-url = i"], {"UV_INDEX_URL": "i"}),
        ({}, ["this is no configuration"], {}),
        ({}, ["[global]\nfind-links =\n  /a\n  /b\ncert = /c"], {"UV_FIND_LINKS": "/a,/b", "SSL_CERT_FILE": "/c"}),
    ],
)  # fmt: skip
def test_pips_settings_reach_uv(variables: dict[str, str], files: list[str], told: dict[str, str]) -> None:
    assert uv.settings(variables, files) == told


# What an image has besides its packages


@pytest.fixture
def imaged(tmp_path: Path) -> Environment:
    root = tmp_path / "e" / "root"
    for path in ("app/data.txt", "root/module.py", "home/flyte/here.txt"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    pairs = (("DATA", "/app/data.txt"), ("PATH", "/opt/venv/bin:$PATH"), ("ETC", "/etc"), ("VIRTUAL_ENV", "/opt/venv"))
    binaries = tmp_path / "e" / "venv" / "bin"
    return Environment(binaries, binaries / "python", "3.12.1", "2.12.1", "d" * 40, pairs, root)


def test_variables_lead_to_the_images_files(imaged: Environment, tmp_path: Path) -> None:
    found = imaged.variables({"PATH": "/bin", "SECRET": "x"})
    top = tmp_path / "e"
    assert found["DATA"] == str(top / "root/app/data.txt")
    assert found["PATH"] == f"{top}/venv/bin:{top}/venv/bin:/bin"
    assert found["PYTHONPATH"] == str(top / "root/root")
    assert (found["ETC"], found["VIRTUAL_ENV"]) == ("/etc", str(top / "venv"))
    assert "SECRET" not in found


def test_files_of_the_working_directory_are_copied(imaged: Environment, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    imaged.lay(work)
    assert [path.name for path in work.iterdir()] == ["here.txt"]
    (work / "here.txt").write_text("changed")
    assert imaged.root is not None
    assert (imaged.root / "home/flyte/here.txt").read_text() == "home/flyte/here.txt"
