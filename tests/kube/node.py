"""A node whose containers are processes of this machine: what a cluster does with the pods of real tasks."""

import asyncio
import base64
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alula.kube.client import Kube
from alula.kube.objects import SECRETS, Name, Object
from tests.kube.fates import End, Fate, ended, running
from tests.kube.kubelet import Kubelet
from tests.kube.nodelogs import Container, NodeLogs

_BIN = Path(sys.executable).parent


class Node(Kubelet):
    """Runs the first container of each pod; ``folder`` is for their working directories."""

    def __init__(self, kube: Kube, namespace: str, logs: NodeLogs, folder: Path) -> None:
        super().__init__(kube, namespace, logs)
        self._folder = folder
        self.processes: dict[str, asyncio.subprocess.Process] = {}  # by pod

    async def _live(self, pod: Object) -> None:
        await self._bind(pod)
        name, spec = self._name(pod), pod["spec"]["containers"][0]
        began = datetime.now(UTC)
        work = self._folder / pod["metadata"]["uid"]
        work.mkdir(parents=True)
        env = {"PATH": f"{_BIN}:/usr/bin:/bin", "HOME": str(work), **await self._environment(pod, spec, work)}
        command = [*(spec.get("command") or []), *(spec.get("args") or [])]
        self.started[name.name] = self.started.get(name.name, 0) + 1
        process = await asyncio.create_subprocess_exec(
            *command, env=env, cwd=work, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self.processes[name.name] = process
        try:
            await self._show(pod, running(pod, began))
            assert process.stdout is not None
            async for line in process.stdout:
                self.logs.write(Container(*name, spec["name"]), line.decode().rstrip("\n"))
            code = await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        fate = Fate(End.FAILED, exit_code=128 - code if code < 0 else code) if code else Fate()
        await self._show(pod, ended(pod, fate, began, datetime.now(UTC)))
        self._finish(pod)

    async def _environment(self, pod: Object, spec: Object, work: Path) -> dict[str, str]:
        found: dict[str, str] = {}
        for one in spec.get("env") or []:
            found[one["name"]] = await self._value(pod, one)
        for volume in pod["spec"].get("volumes") or []:
            if "secret" in volume:
                data = await self._secret(volume["secret"]["secretName"])
                for item in volume["secret"]["items"]:
                    file = work / "secrets" / item["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data[item["key"]])
                found["FLYTE_SECRETS_DEFAULT_DIR"] = str(work / "secrets")
        return found

    async def _value(self, pod: Object, one: Object) -> str:
        source: dict[str, Any] = one.get("valueFrom") or {}
        if "secretKeyRef" in source:
            return (await self._secret(source["secretKeyRef"]["name"]))[source["secretKeyRef"]["key"]].decode()
        if "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "metadata.name"
            return str(pod["metadata"]["name"])
        return str(one.get("value", ""))

    async def _secret(self, name: str) -> dict[str, bytes]:
        found = await self._kube.get(SECRETS, Name(self._namespace, name))
        return {key: base64.b64decode(value) for key, value in found["data"].items()}
