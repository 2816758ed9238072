"""What a build does for each layer of an image, and what makes two images the same."""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from flyteidl2.core import security_pb2
from flyteidl2.imagebuilder import definition_pb2 as pb

from alula.core import image as images
from alula.executors.process.environments import uv
from alula.executors.process.environments.uv import BuildFailed

_FORMAT = "1"  # of environments: another builder, another digest
_BASE_PACKAGES = frozenset({"build-essential", "ca-certificates"})  # of the SDK's base image: it asks for them always
_BASE_COMMAND = "useradd --create-home --shell /bin/bash flyte"  # its user; an attempt runs as the server's


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is built: a specification, and the folder of the files that it names."""

    base: images.Base
    spec: pb.ImageSpec
    context: Path

    def digest(self) -> str:
        """The same for images that come to the same environment, wherever their files were."""
        seen = hashlib.sha256(json.dumps([_FORMAT, self.base.python, self.base.sdk]).encode())
        for layer in self.spec.layers:
            plain = pb.Layer.FromString(layer.SerializeToString())
            for path in _paths(plain):
                seen.update(_content(self.context, path))
            _forget_paths(plain)
            seen.update(plain.SerializeToString(deterministic=True))
        return seen.hexdigest()[:40]


@dataclass(slots=True)
class Build:
    """A build under way. ``env`` is the environment of its commands."""

    place: Path
    context: Path
    env: dict[str, str]
    lock: int
    workdir: str = images.WORKDIR
    pairs: list[tuple[str, str]] = field(default_factory=list)

    @property
    def venv(self) -> Path:
        return self.place / "venv"

    def inside(self, path: str) -> Path:
        """Where a path of the image is; it is made if it is to be a folder."""
        return self.place / "root" / images.inside(path, self.workdir).lstrip("/")

    def file(self, path: str) -> Path:
        """A file of the context.

        Raises:
            BuildFailed: it is not there.
        """
        found = (self.context / path).resolve()
        if not found.is_relative_to(self.context.resolve()) or not found.exists():
            raise BuildFailed(f"the build context has no {path!r}")
        return found

    def uv(self, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        uv.uv(*words, env=env or self.env, cwd=cwd or self.context, lock=self.lock)

    def install(self, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        """Install packages into the environment."""
        self.uv("pip", "install", "--python", str(self.venv / "bin" / "python"), *words, cwd=cwd, env=env)


def apply(build: Build, layer: pb.Layer) -> None:
    """Do what a layer says.

    Raises:
        BuildFailed: it cannot be done.
    """
    match layer.WhichOneof("layer"):
        case "pip_packages":
            pip = layer.pip_packages
            if pip.packages:
                with_secrets = _with_secrets(build.env, pip.secret_mounts)
                build.install(*_options(pip.options, with_secrets), "--", *pip.packages, env=with_secrets)
        case "requirements":
            file, env = build.file(layer.requirements.file), _with_secrets(build.env, layer.requirements.secret_mounts)
            build.install(*_options(layer.requirements.options, env), "-r", str(file), cwd=file.parent, env=env)
        case "python_wheels":
            _wheels(build, layer.python_wheels)
        case "uv_project":
            _project(build, layer.uv_project)
        case "poetry_project":
            _poetry(build, layer.poetry_project)
        case "apt_packages":
            _apt(build, layer.apt_packages.packages)
        case "commands":
            _commands(build, layer.commands)
        case "env":
            build.pairs += sorted(layer.env.env_variables.items())
        case "workdir":
            build.workdir = images.inside(layer.workdir.workdir, build.workdir)
        case "copy_config":
            _copy(build, layer.copy_config)
        case other:
            raise BuildFailed(f"this server cannot build a layer of kind {other!r}: it may need a newer alula")


def check(layers: Sequence[pb.Layer], allowed: Collection[str]) -> None:
    """Refuse what builds may not do here, before anything is done.

    Raises:
        BuildFailed: with what the user can do about it.
    """
    apt = _lacking([name for layer in layers for name in layer.apt_packages.packages])
    if apt and "apt" not in allowed:
        raise BuildFailed(
            f"the image asks for apt packages that this machine lacks: {' '.join(apt)}. Images are built without "
            "containers here, so they would be installed for the whole machine. Install them yourself (apt-get install "
            f"{' '.join(apt)}), or let builds do it: [executor] build_apt = true, for a server that is root"
        )
    commands = [command for layer in layers for command in _wanted(layer.commands)]
    if commands and "commands" not in allowed:
        raise BuildFailed(
            f"the image has a command: {commands[0][:200]}. Images are built without containers here, so it would run "
            "on this machine, as the server's user. Use pip, env and copy layers, or allow it: [executor] "
            "build_commands = true"
        )


def _options(options: pb.PipOptions, env: Mapping[str, str]) -> list[str]:
    """Options of pip, as uv spells them. ``$NAME`` in them is a variable, mostly one of a secret, as in a shell."""
    words = []
    if options.index_url:
        words += ["--default-index", options.index_url]
    for url in options.extra_index_urls:
        words += ["--index", url]
    if options.pre:
        words += ["--prerelease", "allow"]
    words += shlex.split(options.extra_args)
    return [Template(word).safe_substitute(env) for word in words]


def _with_secrets(env: Mapping[str, str], mounts: Sequence[security_pb2.Secret]) -> dict[str, str]:
    """The build's variables, and those for the secrets that a layer mounts; the attempt has them as files."""
    found, folder = dict(env), Path(env.get("FLYTE_SECRETS_DEFAULT_DIR", os.devnull))
    for mount in mounts:
        path = folder / mount.group / mount.key
        if not path.is_file():
            raise BuildFailed(
                f"the layer needs the secret {mount.key!r}, which a build on its own does not get: "
                "run a program with this image once more, so that the SDK has it built"
            )
        plain = f"{mount.group}_{mount.key}" if mount.group else mount.key
        text = path.read_text().strip()
        found |= dict.fromkeys((mount.env_var or plain, plain.replace("-", "_").upper()), text)
    return found


def _wheels(build: Build, wheels: pb.PythonWheels) -> None:
    """Its dependencies come from the index; then the package itself is exactly the wheel, whatever the index has."""
    folder, env = str(build.file(wheels.dir)), _with_secrets(build.env, wheels.secret_mounts)
    options = [*_options(wheels.options, env), "--find-links", folder]
    build.install(*options, "--", wheels.package_name, env=env)
    build.install(*options, "--no-deps", "--no-index", "--reinstall", "--", wheels.package_name, env=env)


def _project(build: Build, project: pb.UVProject) -> None:
    """`uv sync` of a copy: what it builds is installed, and nothing leads back to the sources."""
    found = build.file(project.pyproject)
    folder = found if found.is_dir() else found.parent
    if project.uvlock and not (folder / "uv.lock").exists():
        shutil.copyfile(build.file(project.uvlock), folder / "uv.lock")
    env = _with_secrets(build.env, project.secret_mounts)
    build.uv("sync", "--active", "--inexact", "--no-editable", *_options(project.options, env), cwd=folder, env=env)


def _poetry(build: Build, project: pb.PoetryProject) -> None:
    """`poetry install` by a poetry that is not in the environment. It would only link to the project itself."""
    found = build.file(project.pyproject)
    folder = found if found.is_dir() else found.parent
    if project.poetry_lock and not (folder / "poetry.lock").exists():
        shutil.copyfile(build.file(project.poetry_lock), folder / "poetry.lock")
    words = shlex.split(project.extra_args)
    options = [word for word in words if word != "--no-root"]
    env = {**_with_secrets(build.env, project.secret_mounts), "POETRY_NO_INTERACTION": "1"}
    build.uv("tool", "run", "--from", "poetry", "poetry", "install", "--no-root", *options, cwd=folder, env=env)
    if options == words:
        build.install("--no-deps", str(folder), env=env)


def _apt(build: Build, packages: Sequence[str]) -> None:
    needed = _lacking(packages)
    if len(needed) < len(packages):
        _say(f"apt packages that are here, or that this needs none of: {' '.join(sorted(set(packages) - set(needed)))}")
    if needed:
        uv.run(["apt-get", "update"], env=build.env, cwd=build.place, lock=build.lock)
        words = ["apt-get", "install", "-y", "--no-install-recommends", "--", *needed]
        uv.run(words, env={**build.env, "DEBIAN_FRONTEND": "noninteractive"}, cwd=build.place, lock=build.lock)


def _lacking(packages: Sequence[str]) -> list[str]:
    """Which apt packages the machine has neither by dpkg nor as a program of that name."""
    return [name for name in packages if name not in _BASE_PACKAGES and not _there(name.partition("=")[0])]


def _there(package: str) -> bool:
    listed = Path("/var/lib/dpkg/info")
    return any(listed.glob(f"{package}.list")) or any(listed.glob(f"{package}:*.list")) or bool(shutil.which(package))


def _commands(build: Build, commands: pb.Commands) -> None:
    folder = build.inside(".")
    for command in _wanted(commands):
        folder.mkdir(parents=True, exist_ok=True)
        env = images.expand(build.pairs, _with_secrets(build.env, commands.secret_mounts), lambda path: path)
        _say(f"$ {command}")
        uv.run(["/bin/sh", "-c", command], env=env, cwd=folder, lock=build.lock)


def _wanted(commands: pb.Commands) -> list[str]:
    return [command for command in commands.cmd if _BASE_COMMAND not in command]


def _copy(build: Build, copy: pb.CopyConfig) -> None:
    """As ``COPY``: of a folder its content; a file keeps its name if the target is a folder."""
    source, target = build.file(copy.src), build.inside(copy.dst)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        return
    if copy.dst.endswith(("/", ".")) or target.is_dir():
        target = target / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the attempt's log


# What makes two images the same

_WITH_PATHS = {
    "requirements": ("file",),
    "python_wheels": ("dir",),
    "uv_project": ("pyproject", "uvlock", "source_dir"),
    "poetry_project": ("pyproject", "poetry_lock"),
    "copy_config": ("src",),
}


def _paths(layer: pb.Layer) -> list[str]:
    kind = layer.WhichOneof("layer") or ""
    return [path for name in _WITH_PATHS.get(kind, ()) if (path := getattr(getattr(layer, kind), name))]


def _forget_paths(layer: pb.Layer) -> None:
    kind = layer.WhichOneof("layer") or ""
    for name in _WITH_PATHS.get(kind, ()):
        getattr(layer, kind).ClearField(name)


def _content(context: Path, path: str) -> bytes:
    """A digest of a file, or of all files of a folder and what they are called."""
    top = context / path
    files = sorted(file for file in top.rglob("*") if file.is_file()) if top.is_dir() else [top]
    seen = hashlib.sha256()
    for file in files:
        body = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        seen.update(json.dumps([str(file.relative_to(top)) if file != top else file.name, body]).encode())
    return seen.digest()
