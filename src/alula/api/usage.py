"""What attempts used, which the protocol has no call for.

`GET /api/v1/usage/<project>/<domain>/<run>/<action>/<attempt>`

The answer is JSON. Times are in seconds, those of samples since the start; memory and disk in bytes; CPU in cores; what
has no limit is null. `exact`: the kernel has counted all of the attempt's processes as one, and shared memory once.
"""

import json
from typing import Any

from alula.api.door import respond
from alula.api.errors import translate
from alula.control.usage import Usages
from alula.core.errors import DomainError
from alula.core.ids import ActionId, RunId
from alula.core.usage import Usage, cores
from alula.rpc.asgi import Receive, Scope, Send
from alula.rpc.errors import Code

PREFIX = "/api/v1/usage/"
_LONGEST = 9  # digits of an attempt's number


class UsageDoor:
    """The door for who draws curves."""

    def __init__(self, usages: Usages) -> None:
        self._usages = usages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = scope["path"].removeprefix(PREFIX).split("/")
        if scope["method"] != "GET" or len(names) != 5:
            text = f"GET {PREFIX}<project>/<domain>/<run>/<action>/<attempt>"
            await respond(send, 405 if scope["method"] != "GET" else 404, "unimplemented", text)
            return
        project, domain, run, action, attempt = names
        if not attempt.isdecimal() or len(attempt) > _LONGEST or int(attempt) == 0:
            await respond(send, 400, "invalid_argument", f"{attempt[:64]!r} is not the number of an attempt: 1, 2, ...")
            return
        try:
            found = await self._usages.get(ActionId(RunId(project, domain, run), action), int(attempt))
        except DomainError as error:
            told = translate(error)
            code = told.code if told is not None else Code.INTERNAL
            await respond(send, 404 if code is Code.NOT_FOUND else 503, code.name.lower(), str(error))
            return
        body = json.dumps(document(found)).encode() + b"\n"
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def document(usage: Usage) -> dict[str, Any]:
    """The answer."""
    limits = usage.limits
    samples = []
    for sample, used in zip(usage.samples, cores(usage.samples), strict=True):
        told: dict[str, Any] = {"at": sample.at, "cpu": round(used, 4), "memory": sample.memory}
        if sample.devices:
            told["gpus"] = [{"name": one.name, "busy": one.busy, "memory": one.memory} for one in sample.devices]
        samples.append(told)
    return {
        "started_at": usage.started_at.isoformat(),
        "ended_at": None if usage.ended_at is None else usage.ended_at.isoformat(),
        "limits": {"cpu": limits.cpu or None, "memory": limits.memory or None, "disk": limits.disk or None},
        "cpu_seconds": usage.cpu,
        "peak_memory": usage.peak,
        "exact": usage.exact,
        "timings": dict(usage.timings),
        "samples": samples,
    }
