"""The door of the server: paths, queries and bodies in, answers and watches out (ASGI, served by uvicorn)."""

import asyncio
import json
import secrets
import socket
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import uvicorn

from alula.kube.objects import PODS, Happened, Name, Object
from tests.kube.apiserver.faults import Cut, Faults
from tests.kube.apiserver.logs import pod_log
from tests.kube.apiserver.refusals import Refusal
from tests.kube.apiserver.selectors import Fits, selected
from tests.kube.apiserver.storage import Entry, Shelf, Storage
from tests.kube.apiserver.writes import Writes

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_FORMS = ("application/merge-patch+json", "application/apply-patch+yaml")


@dataclass
class Asked:
    """A request. ``part`` is "", "status" or "log"."""

    method: str
    shelf: Shelf
    namespace: str
    name: str
    part: str
    query: dict[str, str]
    form: str
    body: Object

    @property
    def which(self) -> Name:
        return Name(self.namespace, self.name)


class ApiServer:
    """The server, and what tests do to it.

    ``faults``: what goes wrong. ``storage``: what there is; ``storage.forget()`` makes all versions too old.
    ``calls``: how many requests there were by method and path without names, as ("POST", "pods"), ("PUT",
    "taskactions/status"). ``created``: how often an object (plural, namespace, name) was created. ``token``: what
    callers must know. ``mark``: seconds between bookmarks. ``writes``: to write from within, past all faults.
    """

    def __init__(self) -> None:
        self.storage = Storage()
        self.faults = Faults()
        self.calls: dict[tuple[str, str], int] = {}
        self.url = self.token = ""
        self.mark = 1.0
        self.writes = Writes(self.storage)
        self.created = self.writes.created
        self._pages: dict[str, tuple[int, list[bytes]]] = {}  # by token: the version, and what is left
        self._cuts: set[asyncio.Event] = set()

    def cut_watches(self) -> None:
        """Break every watch there is."""
        for cut in self._cuts:
            cut.set()

    def forget_pages(self) -> None:
        """Have lists that are under way be too old to go on (410)."""
        self._pages.clear()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = dict(parse_qsl(scope["query_string"].decode()))
        begun = False

        async def tell(message: dict[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            headers = {key.decode(): value.decode() for key, value in scope["headers"]}
            await self.faults.before(scope["method"], query)
            self._admit(headers.get("authorization", ""))
            if scope["path"] in ("/version", "/readyz"):
                await _answer(tell, 200, b'{"gitVersion":"v0.0.0-memory"}')
                return
            asked = self._parse(scope["method"], scope["path"], query, headers.get("content-type", ""), body)
            await self._serve(asked, receive, tell)
        except Cut:  # uvicorn ends the connection of an answer that raises
            if not begun:
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            raise
        except Refusal as refusal:
            after = [] if refusal.after is None else [(b"retry-after", str(refusal.after).encode())]
            await _answer(tell, refusal.code, msgspec.json.encode(refusal.status()), after)

    def _admit(self, said: str) -> None:
        if self.token and not secrets.compare_digest(said, f"Bearer {self.token}"):
            raise Refusal(401, "Unauthorized")

    def _parse(self, method: str, path: str, query: dict[str, str], form: str, body: bytes) -> Asked:
        words = path.strip("/").split("/")
        if words[0] == "api" and len(words) > 2:
            group, version, rest = "", words[1], words[2:]
        elif words[0] == "apis" and len(words) > 3:
            group, version, rest = words[1], words[2], words[3:]
        else:
            raise Refusal(404, "the server could not find the requested resource")
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] != "status":
            namespace, rest = rest[1], rest[2:]
        plural, name, part, *_ = [*rest, "", ""]
        shelf = self.storage.shelf(group, version, plural)
        key = (method, f"{plural}/{part}" if part else plural)
        self.calls[key] = self.calls.get(key, 0) + 1
        try:
            value = msgspec.json.decode(body) if body else {}
        except msgspec.DecodeError as error:
            raise Refusal(400, f"the body is not JSON: {error}") from None
        return Asked(method, shelf, namespace, name, part, query, form, value)

    async def _serve(self, asked: Asked, receive: Receive, send: Send) -> None:
        if asked.part == "status" and not asked.shelf.has_status:
            raise Refusal(404, "the server could not find the requested resource")
        if asked.method == "GET":
            await self._read(asked, receive, send)
            return
        written = self._write(asked)
        if self.faults.happens(self.faults.lost):
            raise Cut
        await _answer(send, 201 if asked.method == "POST" else 200, msgspec.json.encode(written))

    async def _read(self, asked: Asked, receive: Receive, send: Send) -> None:
        if asked.part == "log" and asked.shelf.kind == PODS:
            await pod_log(self.storage, asked.which, asked.query, receive, send)
        elif asked.name:
            found = asked.shelf.objects.get(asked.which)
            if found is None:
                raise asked.shelf.missing(asked.which)
            await _answer(send, 200, found.data)
        elif asked.query.get("watch") in ("true", "1"):
            await self._watch(asked, receive, send)
        else:
            await _answer(send, 200, self._list(asked))

    def _write(self, asked: Asked) -> Object:
        shelf, status = asked.shelf, asked.part == "status"
        match asked.method:
            case "POST" if asked.part == "binding":
                return self.writes.bind(shelf, asked.which, asked.body)
            case "POST":
                return self.writes.create(shelf, asked.namespace, asked.body)
            case "PUT":
                return self.writes.replace(shelf, asked.which, asked.body, status=status)
            case "PATCH" if asked.form == _FORMS[0]:
                return self.writes.patch(shelf, asked.which, asked.body, status=status)
            case "PATCH" if asked.form == _FORMS[1]:
                return self.writes.apply(shelf, asked.which, asked.body, asked.query.get("fieldManager", ""))
            case "PATCH":
                raise Refusal(415, f"this server knows patches of {', '.join(_FORMS)}")
            case "DELETE" if asked.name:
                return self.writes.delete(shelf, asked.which, asked.body)
        raise Refusal(405, "the server does not allow this method on the requested resource")

    def _list(self, asked: Asked) -> bytes:
        kind, limit = asked.shelf.kind, int(asked.query.get("limit", 0))
        token = asked.query.get("continue", "")
        if token:
            version, items = self._pages.pop(_token(token), (0, []))
            if not version:
                raise Refusal(410, "The provided continue parameter is too old to display a consistent list result")
        else:
            fits, version = _fits(asked), self.storage.version
            found = sorted((name, entry) for name, entry in asked.shelf.objects.items() if fits(entry.new))
            items = [_bare(asked.shelf, entry.data) for _, entry in found]
        meta = {"resourceVersion": str(version)}
        if limit and len(items) > limit:
            key = secrets.token_hex(8)
            self._pages[key] = (version, items[limit:])
            meta["continue"] = urlsafe_b64encode(json.dumps({"key": key}).encode()).decode()
            meta["remainingItemCount"] = str(len(items) - limit)
            items = items[:limit]
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta}
        return msgspec.json.encode(head)[:-1] + b',"items":[' + b",".join(items) + b"]}"

    async def _watch(self, asked: Asked, receive: Receive, send: Send) -> None:
        said, shelf, fits = asked.query.get("resourceVersion", ""), asked.shelf, _fits(asked)
        version = int(said or 0) or self.storage.version
        if version > self.storage.version:
            raise Refusal(504, f"Too large resource version: {version}, current: {self.storage.version}", after=1)
        marks = asked.query.get("allowWatchBookmarks") == "true"
        until = asyncio.get_running_loop().time() + float(asked.query.get("timeoutSeconds", 1800))
        await _begin(send, b"application/json")
        if version < self.storage.oldest:
            told = Refusal(410, f"too old resource version: {version} ({self.storage.oldest})").status()
            await _piece(send, _event("ERROR", msgspec.json.encode(told)))
        else:
            if said in ("", "0"):
                for entry in list(shelf.objects.values()):
                    if fits(entry.new):
                        await _piece(send, _event("ADDED", entry.data))
            cut = asyncio.Event()
            self._cuts.add(cut)
            ends = [asyncio.ensure_future(receive()), asyncio.ensure_future(cut.wait())]
            try:
                async for piece in self._told(shelf, fits, version, until, ends):
                    if marks or not piece.startswith(b'{"type":"BOOKMARK"'):
                        await _piece(send, piece)
            finally:
                self._cuts.discard(cut)
                for end in ends:
                    end.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _told(
        self, shelf: Shelf, fits: Fits, version: int, until: float, ends: Sequence["asyncio.Future[Any]"]
    ) -> AsyncIterator[bytes]:
        """Pieces of a watch until its time is over, its client is gone (the first of ``ends``) or it is cut."""
        place = shelf.after(version)
        while True:
            if place < shelf.skipped:
                yield _event("ERROR", msgspec.json.encode(Refusal(410, "too old resource version").status()))
                return
            news, entries = shelf.news, shelf.log[place - shelf.skipped :]
            place += len(entries)
            for line in filter(None, (_line(entry, fits) for entry in entries)):
                yield line
                if self.faults.happens(self.faults.cut):
                    raise Cut
            left = until - asyncio.get_running_loop().time()
            if not news.is_set() and left > 0:
                waiting = asyncio.ensure_future(news.wait())
                await asyncio.wait([waiting, *ends], timeout=min(self.mark, left), return_when="FIRST_COMPLETED")
                waiting.cancel()
            if ends[1].done():
                raise Cut
            if ends[0].done():
                return
            if not news.is_set():
                yield _mark(shelf, self.storage.version)
                if left <= 0:
                    return


def _fits(asked: Asked) -> Fits:
    inner = selected(asked.query.get("labelSelector", ""), asked.query.get("fieldSelector", ""))
    if not asked.namespace:
        return inner
    return lambda one: one["metadata"].get("namespace") == asked.namespace and inner(one)


def _bare(shelf: Shelf, data: bytes) -> bytes:
    """Objects of built-in kinds do not say their kind in a list."""
    said = msgspec.json.encode({"apiVersion": shelf.kind.api_version, "kind": shelf.kind.kind})[:-1] + b","
    return b"{" + data[len(said) :] if shelf.schema is None and data.startswith(said) else data


def _line(entry: Entry, fits: Fits) -> bytes:
    """An event as a watch with this selection sees it: what fits no more is gone, what fits now has come."""
    now = fits(entry.new) and entry.happened is not Happened.DELETED
    before = entry.old is not None and fits(entry.old)
    if now:
        return _event("MODIFIED" if before else "ADDED", entry.data)
    return _event("DELETED", entry.data) if before else b""


def _mark(shelf: Shelf, version: int) -> bytes:
    mark = {"kind": shelf.kind.kind, "apiVersion": shelf.kind.api_version}
    return _event("BOOKMARK", msgspec.json.encode({**mark, "metadata": {"resourceVersion": str(version)}}))


def _event(happened: str, data: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (happened.encode(), data)


def _token(told: str) -> str:
    try:
        return str(json.loads(urlsafe_b64decode(told))["key"])
    except (ValueError, KeyError):
        raise Refusal(400, "continue key is not valid") from None


async def _begin(send: Send, form: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", form)]})


async def _piece(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _answer(send: Send, code: int, data: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    start = [(b"content-type", b"application/json"), *(headers or [])]
    await send({"type": "http.response.start", "status": code, "headers": start})
    await send({"type": "http.response.body", "body": data})


@asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    """A server on a free port of loopback, for as long as the block lasts."""
    server = ApiServer()
    async with listening(server, server.cut_watches) as server.url:
        yield server


@asynccontextmanager
async def listening(app: Any, cut: Callable[[], None]) -> AsyncIterator[str]:
    """The URL of an ASGI application; ``cut`` ends the answers that do not end by themselves."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        running.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
        task = asyncio.create_task(running.serve([listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            running.should_exit = True
            cut()
            await task
