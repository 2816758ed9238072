"""The Secret of an attempt: what its pods may know and their specs must not show. It goes with its TaskAction."""

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from alula.core.launch import Launch
from alula.core.naming import attempt_label
from alula.core.taskaction import ATTEMPT, GROUP, KIND, MANAGED, OWNER, VERSION, Request
from alula.core.taskspec import server_labels
from alula.kube.client import Kube
from alula.kube.objects import SECRETS, Exists, Name, NotFound, Object, Selection, name_of

_OLD = timedelta(minutes=10)  # after that, a Secret without an attempt is one that a crash has left


class Secrets:
    """Of one server in a cluster. A Secret is created before its TaskAction, to be there for the first pod."""

    def __init__(self, kube: Kube, owner: str) -> None:
        self._kube, self._owner = kube, owner

    async def create(self, launch: Launch, request: Request, namespace: str) -> None:
        """Have the Secret of an attempt be there."""
        with suppress(Exists):
            await self._kube.create(SECRETS, manifest(launch, request, namespace))

    async def keep(self, name: str, values: Mapping[str, str], namespace: str) -> None:
        """Have a Secret hold these variables, for every attempt of this server; no attempt owns it."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in sorted(values.items())}
        labels = {MANAGED: "true"} | ({OWNER: self._owner} if self._owner else {})
        made = {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "type": "Opaque", "data": data}
        try:
            await self._kube.create(SECRETS, made)
        except Exists:
            await self._kube.patch(SECRETS, Name(namespace, name), {"metadata": {"labels": labels}, "data": data})

    async def values(self, attempt: str, namespace: str) -> list[str]:
        """What the Secret of an attempt holds; nothing if it has none."""
        which = Selection(SECRETS, namespace, f"{ATTEMPT}={attempt_label(attempt)}")
        found, _ = await self._kube.select(which)
        texts = (value for one in found for value in (one.get("data") or {}).values())
        return [base64.b64decode(text).decode(errors="replace") for text in texts]

    async def belong(self, name: str, action: Object) -> None:
        """Have a Secret go when its TaskAction does."""
        owner = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "name": action["metadata"]["name"],
            "uid": action["metadata"]["uid"],
        }
        where = Name(action["metadata"]["namespace"], name)
        await self._kube.patch(SECRETS, where, {"metadata": {"ownerReferences": [owner]}})

    async def sweep(self, namespace: str, find: Callable[[Name], Object | None], now: datetime) -> None:
        """Give Secrets to the attempts that they were made for; delete old ones whose attempt never came to be."""
        labels = f"{MANAGED}=true" + (f",{OWNER}={self._owner}" if self._owner else "")
        found, _ = await self._kube.select(Selection(SECRETS, namespace, labels))
        for one in found:
            meta = one["metadata"]
            attempt = (meta.get("annotations") or {}).get(ATTEMPT)
            if not attempt or meta.get("ownerReferences"):
                continue
            action = find(Name(namespace, attempt))
            if action is not None:
                with suppress(NotFound):
                    await self.belong(meta["name"], action)
            elif now - datetime.fromisoformat(meta["creationTimestamp"]) > _OLD:
                await self._kube.delete(SECRETS, name_of(one), uid=meta["uid"])


def manifest(launch: Launch, request: Request, namespace: str) -> Object:
    """The object. Variables are under their names, files under the keys that the TaskAction says."""
    data = {name: launch.env[name].encode() for name in sorted(launch.hidden)}
    data |= {key: file.body for key, file in zip(request.secret_files, launch.files, strict=True)}
    marks = {ATTEMPT: attempt_label(request.name), MANAGED: "true"}
    return {
        "metadata": {
            "name": request.secret,
            "namespace": namespace,
            "labels": marks | server_labels(request),
            "annotations": {ATTEMPT: request.name},
        },
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
