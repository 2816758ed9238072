"""What a notification says: templates, what they are filled in with, and the request or letter that comes of it."""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from alula.core.destination import Destination, destination
from alula.core.errors import Invalid
from alula.core.gotemplate import Data, Renderer
from alula.core.ids import ActionId, RunId
from alula.core.phase import Phase

_JSON = "application/json"
_PLAIN = "text/plain; charset=utf-8"
_NO_HTML = "No HTML body"  # what the SDK sends when its user gave none (`notifications_serde.py`)
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "idempotency-key", "upgrade", "te"})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_NO_BODY = frozenset({"HEAD", "TRACE"})
_LONGEST_LINE = 900  # characters of a header or a subject


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as a rule describes it; its texts are templates."""

    url: str = field(repr=False)
    method: str
    headers: Mapping[str, str] = field(repr=False)
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Content:
    """An e-mail's texts, all of them templates."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail as a rule describes it: with ``content``, or by the name of a template that the server has.

    Addresses are pairs of a name, which may be empty, and an address.
    """

    to: tuple[tuple[str, str], ...]
    cc: tuple[tuple[str, str], ...]
    bcc: tuple[tuple[str, str], ...]
    content: Content | None
    template: str = ""
    values: Mapping[str, str] = field(default_factory=dict)  # what the named template finds as .Data

    @property
    def recipients(self) -> tuple[str, ...]:
        """Every address once."""
        return tuple(dict.fromkeys(address for _, address in (*self.to, *self.cc, *self.bcc)))


@dataclass(frozen=True, slots=True)
class Request:
    """A webhook, ready to be sent."""

    to: Destination
    method: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def shown(self) -> str:
        return f"webhook {self.to.shown}"


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail to one of its recipients, ready to be sent. ``id`` is the same whenever it is tried."""

    recipient: str
    to: tuple[tuple[str, str], ...]
    cc: tuple[tuple[str, str], ...]
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    id: str = ""

    @property
    def shown(self) -> str:
        return f"e-mail to {self.recipient}"


Message: TypeAlias = Request | Letter


def ended_data(run: RunId, org: str, phase: Phase, error: str) -> Data:
    """What templates see of a run that ended (notification.RunCompletedNotificationTemplateData)."""
    return {"Run": _run(run, org), "Phase": phase.name, "Error": error}


def paused_data(action: ActionId, org: str, asked: Mapping[str, str]) -> Data:
    """What templates see of a condition that waits (notification.ActionPausedNotificationTemplateData)."""
    return {"Action": {"Run": _run(action.run, org), "Name": action.name}, **asked}


def request(hook: Hook, data: Data, key: str) -> Request:
    """A rule's webhook. ``key`` is the same whenever it is tried, so that its receiver can tell.

    Raises:
        Invalid: a template is wrong, or what it gives cannot be sent.
    """
    if hook.method == "CONNECT":
        raise Invalid("method: CONNECT opens a tunnel and delivers nothing; use POST")
    renderer = Renderer(data)
    body, kind = _body(renderer, hook.body)
    headers = {name: _line(renderer.render(value)) for name, value in hook.headers.items()}
    for name in headers:
        if not _HEADER.fullmatch(name) or name.lower() in _OURS:
            raise Invalid(f"headers: {name[:50]!r} is not a header that a rule can set")
    to = destination(renderer.render(hook.url))
    return _request(to, hook.method, headers, b"" if hook.method in _NO_BODY else body, (kind, key))


def asking(url: str, payload: Any, callback: str, key: str) -> Request:
    """A condition's webhook: its payload with ``{callback_uri}`` filled in; without a payload, the link alone.

    Raises:
        Invalid: the URL is none that can be called.
    """
    filled = _filled(payload, callback) if payload else {"callback_uri": callback}
    return _request(destination(url), "POST", {}, json.dumps(filled).encode(), (_JSON, key))


def letter(mail: Mail, content: Content, data: Data, recipient: str, key: str) -> Letter:
    """A rule's e-mail, as one of its recipients gets it.

    Raises:
        Invalid: a template is wrong.
    """
    renderer = Renderer(data)
    filled = {name: renderer.render(value) for name, value in mail.values.items()}
    renderer = Renderer({**data, "Data": filled})
    text = renderer.render(content.text)
    rich = renderer.render(content.html, html.escape)
    return Letter(
        recipient=recipient,
        to=mail.to,
        cc=mail.cc,
        subject=_line(renderer.render(content.subject)),
        text=text,
        html="" if text and rich == _NO_HTML else rich,
        id=key,
    )


def _run(run: RunId, org: str) -> Data:
    return {"Org": org, "Project": run.project, "Domain": run.domain, "Name": run.name}


def _body(renderer: Renderer, template: str) -> tuple[bytes, str]:
    """A body and what it is. A template that is JSON stays JSON, whatever its strings are filled in with.

    Go's own rendering would let a quote in an error message break it.
    """
    try:
        document = json.loads(template)
        if isinstance(document, dict | list):
            return json.dumps(_rendered(renderer, document)).encode(), _JSON
    except RecursionError:
        raise Invalid("the template is JSON that is nested too deeply") from None
    except ValueError:
        pass  # it is something else
    return renderer.render(template).encode(), _PLAIN


def _rendered(renderer: Renderer, value: Any) -> Any:
    if isinstance(value, str):
        return renderer.render(value)
    if isinstance(value, dict):
        return {name: _rendered(renderer, inner) for name, inner in value.items()}
    return [_rendered(renderer, inner) for inner in value] if isinstance(value, list) else value


def _filled(value: Any, callback: str) -> Any:
    if isinstance(value, str):
        return value.replace("{callback_uri}", callback)
    if isinstance(value, dict):
        return {name: _filled(inner, callback) for name, inner in value.items()}
    return [_filled(inner, callback) for inner in value] if isinstance(value, list) else value


def _request(to: Destination, method: str, headers: Mapping[str, str], body: bytes, more: tuple[str, str]) -> Request:
    kind, key = more
    given = {name.lower() for name in headers}
    added = {} if "content-type" in given or not body else {"Content-Type": kind}
    return Request(to, method, ((*headers.items(), *added.items(), ("Idempotency-Key", key))), body)


def _line(value: str) -> str:
    """One line: what is filled in can neither begin another header nor go on for ever."""
    return _CONTROL.sub(" ", value).strip()[:_LONGEST_LINE]
