"""The program that builds environments: behind the task `build-image`, and for a machine that lacks a known one.

    builder task --inputs URI --outputs PREFIX --images FOLDER     what the SDK asks for; its log is that run's log
    builder recipe SPEC ARCHIVE                                    files; the server runs it; ends when its stdin does

What the server lets it do is in the variable ``ALULA_BUILD`` (see `Permit`).
"""

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from flyteidl2.imagebuilder import definition_pb2
from google.protobuf.message import DecodeError

from alula.core import image as images
from alula.core.errors import Invalid
from alula.executors.process.environments import documents, uv
from alula.executors.process.environments.layers import Build, Recipe, apply, check
from alula.executors.process.environments.store import Store
from alula.executors.process.environments.uv import BuildFailed

PERMIT = "ALULA_BUILD"
_MODULE = "alula.executors.process.environments.builder"
_LONGEST = 8000  # characters of an error
# What commands of a build see of its own variables, beside those of the package index.
_SHOWN = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "FLYTE_SECRETS_DEFAULT_DIR",
)  # fmt: skip
# Imports what an attempt does: the packages work together, and their bytecode is there for the first one.
_PROBE = "import platform, flyte, flyte._bin.runtime; print(platform.python_version(), flyte.__version__)"


@dataclass(frozen=True, slots=True)
class Permit:
    """What the server says to its builds: where environments are, the versions it has itself, what they may do."""

    folder: str
    python: str
    sdk: str
    apt: bool = False
    commands: bool = False

    @property
    def allowed(self) -> frozenset[str]:
        return frozenset(name for name in ("apt", "commands") if getattr(self, name))

    def variable(self) -> dict[str, str]:
        return {PERMIT: json.dumps(asdict(self))}


def command(*words: str) -> tuple[str, ...]:
    """The command of this program, in an environment that has alula."""
    return ("python", "-m", _MODULE, *words)


def ours(command_: tuple[str, ...]) -> bool:
    """Whether a command is the task `build-image`: it is told where environments are."""
    return command_[: len(command("task"))] == command("task")


def build(recipe: Recipe, permit: Permit) -> str:
    """Make sure that there is the environment of a recipe; its digest.

    Raises:
        BuildFailed: there cannot be one.
    """
    store, digest = Store(Path(permit.folder)), recipe.digest()
    while store.find(digest) is None:
        with store.building(digest) as lock:
            if lock is not None:
                if store.find(digest) is None:
                    _build(store, digest, recipe, permit, lock)
                return digest
        _say(f"environment {digest[:12]} is being built by another run: waiting for it")
        store.wait(digest)
    _say(f"environment {digest[:12]} is there already")
    return digest


def _build(store: Store, digest: str, recipe: Recipe, permit: Permit, lock: int) -> None:
    began = time.monotonic()
    check(recipe.spec.layers, permit.allowed)
    place = store.clear(digest)
    work = Build(place, recipe.context, {}, lock)
    own = {name: os.environ[name] for name in _SHOWN if name in os.environ} | uv.handed(os.environ)
    work.env = {**own, **uv.settings(own, uv.pip_files(own)), "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    try:
        _python(work, recipe.base)
        if recipe.base.sdk:
            work.install(f"flyte=={recipe.base.sdk}")
        for layer in recipe.spec.layers:
            apply(work, layer)
        if not (work.venv / "bin" / "a0").exists():
            _say(f"the image has no flyte: installing this server's, {permit.sdk}")
            work.install(f"flyte=={permit.sdk}")
        python, sdk = _probe(work)
    except (BuildFailed, OSError):
        shutil.rmtree(place, ignore_errors=True)
        raise
    said = {"python": python, "sdk": sdk, "env": work.pairs, "workdir": work.workdir, "base": recipe.spec.base_image}
    store.complete(digest, said)
    _say(f"environment {digest[:12]} is ready: Python {python}, flyte {sdk}, {time.monotonic() - began:.1f} s")


def _python(work: Build, base: images.Base) -> None:
    """The empty environment."""
    found = uv.interpreter(base.python, work.env, work.place)
    if not base.known:
        _say(f"images are built without containers here: of the base image, only Python {base.python} is taken")
    try:
        work.uv("venv", "--no-project", "--python", found, str(work.venv), cwd=work.place)
    except BuildFailed as error:
        there = uv.interpreters(work.env, work.place)
        raise BuildFailed(
            f"Python {base.python} is not on this machine, and could not be fetched; there are {there}\n"
            f"Install it, or use one of these: flyte.Image.from_debian_base(python_version=(3, N)).\n{error}"
        ) from None
    binaries = work.venv / "bin"
    work.env |= {"VIRTUAL_ENV": str(work.venv), "PATH": f"{binaries}{os.pathsep}{work.env.get('PATH', os.defpath)}"}


def _probe(work: Build) -> tuple[str, str]:
    """The versions of Python and of the SDK that the environment has."""
    python = work.venv / "bin" / "python"
    ran = subprocess.run(
        [python, "-c", _PROBE], env=work.env, cwd=work.place, capture_output=True, text=True, check=False,
        pass_fds=(work.lock,), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if ran.returncode:
        raise BuildFailed(f"tasks cannot start in this image: flyte cannot be imported.\n{ran.stderr.strip()}")
    found_python, found_sdk = ran.stdout.split()[-2:]
    return found_python, found_sdk


def recipe_of(body: bytes, context: Path, permit: Permit) -> Recipe:
    """A recipe from a serialized ImageSpec.

    Raises:
        BuildFailed: it is none.
    """
    try:
        spec = definition_pb2.ImageSpec.FromString(body)
    except DecodeError:
        raise BuildFailed("the specification of the image is no ImageSpec") from None
    return Recipe(images.base(spec.base_image, spec.python_version or permit.python, permit.sdk), spec, context)


def unpack(archive: bytes, folder: Path) -> None:
    """The build context. What leads out of the folder is refused.

    Raises:
        BuildFailed: it is no archive, or a hostile one.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise BuildFailed(f"the build context cannot be unpacked: {error}") from None


def _task(options: argparse.Namespace, permit: Permit) -> None:
    """Build what the SDK asks for; how it ended is in the object store, as with any task."""
    objects = documents.Objects()
    try:
        asked = documents.asked(objects.get(options.inputs))
        spec = objects.get(asked.spec)
        archive = objects.get(asked.context) if asked.context else b""
        with tempfile.TemporaryDirectory() as folder:
            if archive:
                unpack(archive, Path(folder))
            build(recipe_of(spec, Path(folder), permit), permit)
        spec_uri, context_uri = images.recipe(options.images, asked.target)
        if archive:
            objects.put(context_uri, archive)
        objects.put(spec_uri, spec)
        objects.put(f"{options.outputs}/outputs.pb", documents.outputs(images.uri(asked.target)))
    except (BuildFailed, Invalid) as error:
        _say(f"the image cannot be built: {error}")
        objects.put(f"{options.outputs}/error.pb", documents.error(str(error)[-_LONGEST:], users=True))


def _recipe(options: argparse.Namespace, permit: Permit) -> int:
    """Build from files, for the server. The last line is the environment's digest; what is wrong goes to stderr."""
    threading.Thread(target=_end_with_server, daemon=True).start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if archive := options.context.read_bytes():
                unpack(archive, Path(folder))
            _say(build(recipe_of(options.spec.read_bytes(), Path(folder), permit), permit))
    except (BuildFailed, OSError) as error:
        print(str(error)[-_LONGEST:], file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _end_with_server() -> None:
    """Nobody writes to stdin: its end is that of the server."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def _permit(variables: Mapping[str, str]) -> Permit:
    if PERMIT not in variables:
        sys.exit("alula's image builder is started by the server, for the task build-image of project system")
    return Permit(**json.loads(variables[PERMIT]))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the attempt's log


def main() -> None:
    parser = argparse.ArgumentParser(prog="builder")
    kinds = parser.add_subparsers(dest="kind", required=True)
    task = kinds.add_parser("task")
    for name in ("--inputs", "--outputs", "--images"):
        task.add_argument(name, required=True)
    recipe = kinds.add_parser("recipe")
    recipe.add_argument("spec", type=Path)
    recipe.add_argument("context", type=Path)
    options, permit = parser.parse_args(), _permit(os.environ)
    if options.kind == "task":
        _task(options, permit)
    else:
        sys.exit(_recipe(options, permit))


if __name__ == "__main__":
    main()
