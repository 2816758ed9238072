"""Deleting a run, which the protocol has no call for: `DELETE /api/runs/<project>/<domain>/<name>`.

The answer is a line of JSON for every step, each with what has gone so far; the last one is the whole.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from urllib.parse import unquote

from alula.api.errors import translate
from alula.control.retention import Retention
from alula.core.errors import DomainError
from alula.core.ids import RunId
from alula.rpc.asgi import Receive, Scope, Send
from alula.rpc.errors import Code

PREFIX = "/api/runs/"
_STATUS = {Code.NOT_FOUND: 404, Code.FAILED_PRECONDITION: 409, Code.UNAVAILABLE: 503}


class Deletions:
    """The door for deletions."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = scope["path"].removeprefix(PREFIX).split("/")
        if scope["method"] != "DELETE" or len(names) != 3:
            await _answer(
                send, 405, [{"code": "unimplemented", "message": f"DELETE {PREFIX}<project>/<domain>/<name>"}]
            )
            return
        run = RunId(*(unquote(name) for name in names))
        begun = False
        try:
            async for removed in self._retention.delete(run):
                if not begun:
                    await _begin(send, 200)
                    begun = True
                await _line(send, asdict(removed))
        except DomainError as error:
            told = translate(error)
            body = {"code": told.code.name.lower() if told else "internal", "message": str(error)}
            if not begun:
                await _answer(send, _STATUS.get(told.code, 400) if told else 500, [body])
                return
            await _line(send, body)
        await send({"type": "http.response.body", "body": b""})


async def _begin(send: Send, status: int) -> None:
    headers = [(b"content-type", b"application/x-ndjson")]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _line(send: Send, body: object) -> None:
    await send({"type": "http.response.body", "body": json.dumps(body).encode() + b"\n", "more_body": True})


async def _answer(send: Send, status: int, lines: Iterable[object]) -> None:
    await _begin(send, status)
    for line in lines:
        await _line(send, line)
    await send({"type": "http.response.body", "body": b""})
