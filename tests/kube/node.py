"""A node whose containers are processes of this machine: what a cluster does with the pods of real tasks."""

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from alula.core.launch import Amounts, Launch, Originator, Presence, Resources
from alula.core.quantity import parse
from alula.executors.process.executor import ProcessExecutor
from alula.kube.client import Kube
from alula.kube.objects import PODS, SECRETS, Name, Object
from tests.kube.fates import End, Fate, disrupted, ended, running
from tests.kube.kubelet import Kubelet
from tests.kube.nodelogs import Container, NodeLogs

_STUCK = (End.BAD_IMAGE, End.CREATING, End.UNSCHEDULABLE)  # containers never start


class Node(Kubelet):
    """Runs the first container of each pod; ``folder`` is for them.

    ``script`` says of which pods the containers never start. Its container runtime is the executor of processes.
    """

    def __init__(self, kube: Kube, namespace: str, logs: NodeLogs, folder: Path) -> None:
        super().__init__(kube, namespace, logs)
        self._folder = folder
        self._runtime = ProcessExecutor(folder / "runtime")
        self._programs: dict[str, asyncio.Task[Fate]] = {}  # by uid

    async def __aenter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        await self._runtime.__aenter__()
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self._runtime.__aexit__()
        await asyncio.gather(*self._programs.values())

    async def lose(self, pod: str, *, gone: bool) -> None:
        """Its power is off. Some time later the cluster deletes the pod: its object is ``gone`` if its node's is."""
        found = await self._kube.get(PODS, Name(self._namespace, pod))
        uid = found["metadata"]["uid"]
        self._lost.add(uid)
        self._stop(uid)
        await self._runtime.release(uid)
        now = {"conditions": disrupted(found, "DeletionByTaintManager", ready=False)}
        await self._show(found, now if gone else {**now, "phase": "Unknown", "reason": "NodeLost"})
        await self._kube.delete(PODS, self._name(found), uid=uid, grace=0 if gone else 1)

    async def bury(self, pod: str) -> None:
        """The object of a node that was lost is deleted: that of its pod goes, too."""
        await self._kube.delete(PODS, Name(self._namespace, pod), grace=0)

    def _see(self, name: Name, old: Object | None, new: Object | None) -> None:
        super()._see(name, old, new)
        if new is None and old is not None and old["metadata"]["uid"] in self._programs:
            self._lives[name.name] = asyncio.create_task(self._runtime.release(old["metadata"]["uid"]))

    async def _live(self, pod: Object) -> None:
        if self.script(pod).end in _STUCK:
            await super()._live(pod)
            return
        await self._bind(pod)
        began = datetime.now(UTC)
        program = await self._begin(pod)
        await self._show(pod, running(pod, began))
        fate = await asyncio.shield(program)
        await self._show(pod, ended(pod, fate, began, datetime.now(UTC)))
        self._finish(pod)

    async def _kill(self, pod: Object) -> None:
        """What is deleted is told to end, and killed if it does not."""
        uid, began = pod["metadata"]["uid"], datetime.now(UTC)
        await self._runtime.release(uid)
        if uid in self._programs:
            fate = await asyncio.shield(self._programs[uid])
            await self._show(pod, ended(pod, fate, began, datetime.now(UTC)))
        await super()._kill(pod)

    async def _begin(self, pod: Object) -> "asyncio.Task[Fate]":
        name, uid, spec = self._name(pod), pod["metadata"]["uid"], pod["spec"]["containers"][0]
        work = self._folder / uid
        work.mkdir()
        command = (*(spec.get("command") or []), *(spec.get("args") or []))
        env, grace = await self._environment(pod, spec, work), pod["spec"]["terminationGracePeriodSeconds"]
        memory = parse((spec.get("resources") or {}).get("limits", {}).get("memory", "0"))
        resources = Resources(limits=Amounts(memory=int(memory)))
        await self._runtime.submit(Launch(uid, command, env, grace=grace, resources=resources))
        self.started[name.name] = self.started.get(name.name, 0) + 1
        self._programs[uid] = asyncio.create_task(self._follow(uid, Container(*name, spec["name"])))
        return self._programs[uid]

    async def _follow(self, uid: str, container: Container) -> Fate:
        """Pass on what a program says; how it ended."""
        rest = ""  # of a line that was printed in pieces
        async for lines in self._runtime.logs(uid, follow=True):
            *whole, rest = (rest + "".join(one.text for one in lines if one.originator is Originator.USER)).split("\n")
            self.logs.write(container, *whole)
        if rest:
            self.logs.write(container, rest)
        seen = await self._runtime.observe(uid)
        if seen is None or seen.presence is not Presence.EXITED:
            return Fate(End.FAILED, exit_code=143)  # it was told to end
        if seen.out_of_memory:
            return Fate(End.OOM, last_words=seen.log_tail)
        code = seen.exit_code if seen.signal is None else 128 + seen.signal
        return Fate(End.FAILED, exit_code=code, last_words=seen.log_tail) if code else Fate()

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
