"""The links that answer conditions: whoever opens one is shown the question, whoever posts to it answers."""

import html
import json
import logging
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from alula.control.conditions import Conditions
from alula.core.action import Action
from alula.core.callback import PATH, verified
from alula.core.errors import Conflict, DomainError, Exhausted, Invalid, NotFound, Unavailable
from alula.core.ids import ActionId
from alula.rpc.asgi import Disconnected, Receive, Scope, Send
from alula.rpc.body import Body
from alula.rpc.errors import RpcError
from alula.wire import conditions as wire

_log = logging.getLogger(__name__)
_MOST = 1 << 16  # bytes of an answer
_BY = "callback link"  # who answered, as far as this server knows
_STATUS: dict[type[DomainError], int] = {Invalid: 400, NotFound: 404, Conflict: 409, Exhausted: 413, Unavailable: 503}
_FORM = "application/x-www-form-urlencoded"
_TRUE, _FALSE = frozenset({"true", "yes", "1", "approve"}), frozenset({"false", "no", "0", "reject"})
_INPUTS = {
    "BOOLEAN": '<button name="value" value="true">Yes</button> <button name="value" value="false">No</button>',
    "INTEGER": '<input name="value" type="number" step="1" required> <button>Answer</button>',
    "FLOAT": '<input name="value" type="number" step="any" required> <button>Answer</button>',
    "STRING": '<textarea name="value" rows="4" cols="60"></textarea><br><button>Answer</button>',
}
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
]


class _Asked(NamedTuple):
    """A question and where it stands."""

    action: Action
    spec: bytes

    @property
    def type(self) -> str:
        return self.action.task.type


class Callbacks:
    """An ASGI app for every path below `core.callback.PATH`. ``signing`` is the key of the links."""

    def __init__(self, conditions: Conditions, signing: bytes) -> None:
        self._conditions = conditions
        self._signing = signing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        page = "text/html" in headers.get("accept", "")
        try:
            action = verified(self._signing, scope["path"].removeprefix(PATH))
            status, told = await self._answer(action, scope["method"], headers.get("content-type", ""), receive)
        except Disconnected:
            return
        except RpcError:
            status, told = 413, {"error": f"an answer has at most {_MOST} bytes"}
        except DomainError as error:
            status, told = _STATUS.get(type(error), 400), {"error": str(error)}
        except Exception:
            _log.exception("a callback failed")
            status, told = 500, {"error": "something broke in this server; its log tells more"}
        await _respond(send, status, told, page=page, head=scope["method"] == "HEAD")

    async def _answer(self, action: ActionId, method: str, kind: str, receive: Receive) -> tuple[int, dict[str, Any]]:
        asked = _Asked(*await self._conditions.asked(action))
        if method in ("GET", "HEAD"):
            return 200, _shown(asked)
        if method not in ("POST", "PUT"):
            return 405, {"error": "GET shows the question, POST answers it"}
        given = _given(await Body(receive).all(_MOST), kind.partition(";")[0].strip().lower(), asked.type)
        await self._conditions.signal(action, wire.parsed(asked.spec, given), _BY)
        return 200, _shown(_Asked(*await self._conditions.asked(action)))


def _given(body: bytes, kind: str, wanted: str) -> Any:
    """The value that was posted: a JSON value, ``{"value": ...}``, a form's field, or plain text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Invalid("the answer is not UTF-8") from None
    if kind == _FORM:
        return _typed(_field(text), wanted)
    if kind == "text/plain":
        return _typed(text, wanted)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(f'send the answer as JSON: {{"value": ...}} with {_article(wanted)}') from None
    if isinstance(value, dict):
        if set(value) != {"value"}:
            raise Invalid(f'the answer is an object without the field value: send {{"value": ...}}, {_article(wanted)}')
        return value["value"]
    return value


def _field(form: str) -> str:
    try:
        found = parse_qs(form, keep_blank_values=True, max_num_fields=100).get("value", [])
    except ValueError:
        found = []
    if len(found) != 1:
        raise Invalid("the form has to have one field named value")
    return found[0]


def _typed(text: str, wanted: str) -> Any:
    """What somebody typed, as a value of the type that was asked for."""
    typed = text.strip()
    try:
        match wanted:
            case "BOOLEAN" if typed.lower() in _TRUE | _FALSE:
                return typed.lower() in _TRUE
            case "INTEGER":
                return int(typed)
            case "FLOAT":
                return float(typed)
            case "STRING":
                return text
    except ValueError:
        pass
    raise Invalid(f"{typed[:80]!r} is not {_article(wanted)}")


def _article(wanted: str) -> str:
    return {"BOOLEAN": "true or false", "INTEGER": "a whole number", "FLOAT": "a number"}.get(wanted, "a text")


def _shown(asked: _Asked) -> dict[str, Any]:
    action, question = asked.action, wire.opened(asked.spec)
    return {
        "action": str(action.id),
        "prompt": question.prompt,
        "description": question.description,
        "type": asked.type.lower(),
        "phase": action.phase.name,
        "answered_by": action.by,
    }


async def _respond(send: Send, status: int, told: dict[str, Any], *, page: bool, head: bool) -> None:
    body = _page(told).encode() if page else json.dumps(told).encode() + b"\n"
    kind = b"text/html; charset=utf-8" if page else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


def _page(told: dict[str, Any]) -> str:
    """The same for a browser. Everything that others wrote is text here, never markup."""
    if "error" in told:
        return _document(f"<p>{html.escape(told['error'])}</p>")
    asked = f"<h1>{html.escape(told['prompt'])}</h1><p>{html.escape(told['description'])}</p>"
    where = f"<p><small>{html.escape(told['action'])}</small></p>"
    if told["phase"] == "PAUSED":
        return _document(f'{asked}<form method="post">{_INPUTS[told["type"].upper()]}</form>{where}')
    how = "answered. Thank you." if told["phase"] == "SUCCEEDED" else f"over: {told['phase'].lower()}."
    return _document(f"{asked}<p>This question is {html.escape(how)}</p>{where}")


def _document(content: str) -> str:
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>alula</title><body>{content}</body></html>\n'
