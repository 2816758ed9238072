"""Tasks that need images of their own, each with another kind of layer."""

import asyncio
import os
import sys
import zipfile
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import flyte
import flyte.errors
from flyte._image import PythonWheels
from flyte.remote import Run
from telling import end, tell  # type: ignore[import-not-found]

FILES = Path(__file__).parent / "imaged"
PACKAGE = "iniconfig"


def debian(name: str, **options: Any) -> flyte.Image:
    return flyte.Image.from_debian_base(name=name, **options)


def wheel(folder: Path) -> Path:
    """A package that no index has, as small as one can be."""
    folder.mkdir(exist_ok=True)
    info = "alula_e2e_wheel-1.dist-info"
    with zipfile.ZipFile(folder / "alula_e2e_wheel-1-py3-none-any.whl", "w") as file:
        for name, text in (
            ("alula_e2e_wheel.py", "NAME = 'a wheel'\n"),
            (f"{info}/METADATA", "Metadata-Version: 2.1\nName: alula-e2e-wheel\nVersion: 1\n"),
            (f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            (f"{info}/RECORD", ""),
        ):
            file.writestr(zipfile.ZipInfo(name), text)
    return folder


def project(folder: Path) -> Path:
    """A copy: the SDK's uv leaves its lock beside it."""
    folder.mkdir(exist_ok=True)
    text = (FILES / "pyproject.toml").read_text() if FILES.exists() else ""  # where tasks run, images are only names
    (folder / "pyproject.toml").write_text(text)
    return folder / "pyproject.toml"


def images(scratch: Path) -> dict[str, flyte.Image]:
    return {
        "pip": debian("pip")
        .with_pip_packages(f"{PACKAGE}==2.0.0")
        .with_env_vars({"COLOUR": "green", "BOTH": "image", "PATH": "/more:$PATH", "DATA": "/app/greeting.txt"})
        .with_source_file(FILES / "data" / "greeting.txt", "/app/"),
        "requirements": debian("requirements").with_requirements(FILES / "requirements.txt"),
        "project": debian("project").with_uv_project(project(scratch / "project")),
        "script": flyte.Image.from_uv_script(FILES / "script.py", name="script"),
        "wheel": debian("wheel").clone(
            addl_layer=PythonWheels(wheel_dir=wheel(scratch / "wheels"), package_name="alula-e2e-wheel")
        ),
        "sources": debian("sources")
        .with_source_folder(FILES / "data", copy_contents_only=True)
        .with_pip_packages(PACKAGE),
        "nowhere": debian("nowhere").with_pip_packages("alula-there-is-no-such-package==1"),
        "apt": debian("apt").with_apt_packages("alula-there-is-no-such-program"),
        "commands": debian("commands").with_commands(["touch /alula-was-here"]),
        "python": debian("python", python_version=(3, 99)).with_pip_packages(PACKAGE),
    }


async def look() -> dict[str, str]:
    """What an attempt finds in its environment."""
    found = {name: os.environ.get(name, "") for name in ("COLOUR", "BOTH", "PATH", "DATA", "VIRTUAL_ENV")}
    found["python"] = ".".join(map(str, sys.version_info[:2]))
    for package in (PACKAGE, "flyte", "alula-e2e-wheel", "alula"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    found["files"] = " ".join(sorted(name for name in os.listdir() if not name.startswith(".")))
    if "greeting.txt" in found["files"]:
        found["greeting"] = Path("greeting.txt").read_text()
        found["module"] = import_module("imaged_module").NAME
    if found["DATA"]:
        found["data"] = Path(found["DATA"]).read_text()
    return found


def environments(scratch: Path) -> dict[str, Any]:
    """A task for every image."""
    tasks = {}
    for name, image in images(scratch).items():
        env = flyte.TaskEnvironment(name=f"images-{name}", image=image, env_vars={"BOTH": "task"})
        globals()[f"look_{name}"] = tasks[name] = env.task(short_name=name)(named(f"look_{name}"))
    return tasks


def named(name: str) -> Any:
    """The task's function under a name of its own: by that a worker finds it again."""

    async def found() -> dict[str, str]:
        return await look()

    found.__name__ = found.__qualname__ = name
    return found


tasks = environments(Path(os.environ.get("ALULA_SCRATCH", os.environ.get("TMPDIR", "/tmp"))))


async def told_of(task: Any) -> dict[str, Any]:
    try:
        run = await flyte.run.aio(task)
    except flyte.errors.ImageBuildError as error:
        if "/runs/" not in str(error):
            return {"refused": str(error)}
        run = await Run.get.aio(str(error).rpartition("/")[2])
        return {"refused": str(error), **await asyncio.to_thread(end, run)}
    return await asyncio.to_thread(end, run)


async def main(names: list[str]) -> None:
    found = await asyncio.gather(*(told_of(tasks[name]) for name in names))
    tell(**dict(zip(names, found, strict=True)))


if __name__ == "__main__":
    flyte.init_from_config()
    asyncio.run(main(sys.argv[1:]))
