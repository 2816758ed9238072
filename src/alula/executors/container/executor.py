"""The container executor: attempts that need a container are run as a process that runs it; all others pass through."""

import asyncio
import json
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from alula.core.launch import Launch, LogLine, Observation, Resources, Staging
from alula.executors.base import Executor
from alula.executors.container.engine import Choice, Engine, find

PLAN = "ALULA_CONTAINER"  # the variable that tells the program what to do (see `program.py`)

# What docker and podman themselves heed in the environment of their command.
_ENGINE_VARIABLES = (
    "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "CONTAINER_HOST",
    "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
)  # fmt: skip


class ContainerExecutor:
    """Keeps the promise of `Executor` by another that runs processes.

    Raw container tasks, and tasks whose image is none of ours, run in a container if there is an engine, and else in
    the local environment, which their notes say. The engine is looked for when it is first needed.

    Args:
        processes: runs the processes.
        choice: which engine may be used.
        home: a name for this server; its containers carry it.
        ours: whether an image is an environment of this server.
        environment: the server's variables.
    """

    def __init__(
        self,
        processes: Executor,
        choice: Choice,
        home: str,
        ours: Callable[[str], bool],
        environment: Mapping[str, str],
    ) -> None:
        self._processes = processes
        self._choice: Choice = choice
        self._home = home
        self._ours = ours
        self._environment = {name: environment[name] for name in _ENGINE_VARIABLES if name in environment}
        self._found: asyncio.Task[Engine | None] | None = None
        self._contained: set[str] = set()
        self._sweeping: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._sweeping = asyncio.create_task(self._sweep(), name="container-sweep")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sweeping
        for name in list(self._contained):
            await self._remove(name)

    async def submit(self, launch: Launch) -> None:
        """See `Executor.submit`."""
        if launch.staging is None and (not launch.image or self._ours(launch.image)):
            await self._processes.submit(launch)
            return
        engine = await self._engine()
        if engine is None and launch.staging is None:
            await self._processes.submit(launch)  # its environment tells what it runs in
            return
        if engine is not None:
            self._contained.add(launch.name)
        await self._processes.submit(self._wrapped(launch, engine))

    async def release(self, name: str) -> None:
        """See `Executor.release`."""
        await self._processes.release(name)
        if name in self._contained:
            await self._remove(name)

    async def observe(self, name: str) -> Observation | None:
        """See `Executor.observe`."""
        return await self._processes.observe(name)

    async def forget_log(self, name: str) -> bool:
        """See `Executor.forget_log`."""
        return await self._processes.forget_log(name)

    def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """See `Executor.logs`."""
        return self._processes.logs(name, follow=follow)

    def changes(self) -> AsyncIterator[str]:
        """See `Executor.changes`."""
        return self._processes.changes()

    async def names(self) -> list[str]:
        """See `Executor.names`."""
        return await self._processes.names()

    async def _sweep(self) -> None:
        """Remove the containers of attempts that an earlier life left and that are no more.

        Beside the start of the server: an engine may take its time, and names are never used twice.
        """
        engine = await self._engine()
        if engine is None:
            return
        for name in await engine.left(self._home):
            self._contained.add(name)
            if name not in await self._processes.names():
                await self._remove(name)

    async def _engine(self) -> Engine | None:
        if self._found is None:
            self._found = asyncio.create_task(find(self._choice), name="container-engine")
        return await asyncio.shield(self._found)

    async def _remove(self, name: str) -> None:
        engine = await self._engine()
        if engine is not None:
            await engine.remove(name)
        self._contained.discard(name)

    def _wrapped(self, launch: Launch, engine: Engine | None) -> Launch:
        limits = launch.resources.limits
        plan = {
            "name": launch.name,
            "home": self._home,
            "engine": engine.program if engine else "",
            "image": launch.image,
            "entry": launch.entry,
            "command": launch.command,
            "env": [*launch.env, *(file.variable for file in launch.files if file.variable)],
            "memory": limits.memory,
            "cpu": limits.cpu,
            "shared_memory": launch.resources.shared_memory,
            "devices": launch.devices,
            "staging": _staging(launch.staging),
        }
        env = {**(self._environment if engine else {}), **launch.env, PLAN: json.dumps(plan)}
        code = "import sys; sys.path.pop(0); from alula.executors.container.program import main; main()"
        return replace(
            launch,
            command=(sys.executable, "-c", code),
            env=env,
            image="",
            reuse=None,
            resources=Resources() if engine else launch.resources,  # the engine sees to them, and its client needs some
            notes=(*launch.notes, _note(launch, engine)),
        )


def _staging(staging: Staging | None) -> dict[str, Any] | None:
    if staging is None:
        return None
    return {
        "inputs": staging.inputs,
        "outputs": staging.outputs,
        "raw": staging.raw,
        "interface": b64encode(staging.interface).decode(),
        "input_folder": staging.input_folder,
        "output_folder": staging.output_folder,
        "form": staging.form,
        "named": staging.named,
    }


def _note(launch: Launch, engine: Engine | None) -> str:
    if engine is not None:
        return f"running in a container of the image {launch.image}, by {engine.name}"
    return (
        f"no container engine answers here: the command runs on this machine, without the image {launch.image}; "
        f"paths below {launch.staging.input_folder if launch.staging else ''} are mapped"
    )


def label(home: Path) -> str:
    """The name by which a server's containers are known."""
    return str(home.resolve())
