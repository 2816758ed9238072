"""A client of one cluster's API. Objects are plain values, as they are on the wire; every failure is a `KubeError`.

lightkube finds the cluster (a kubeconfig, a service account); requests and watches are raw: a Manager sees thousands of
objects a second and needs a few of their fields.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import msgspec
import yaml
from lightkube import KubeConfig
from lightkube.core.exceptions import ConfigError

from alula.kube.http import Answer, Http
from alula.kube.objects import (
    PODS,
    Busy,
    Conflict,
    Exists,
    Gone,
    Happened,
    Kind,
    KubeError,
    Name,
    NotFound,
    Object,
    Refused,
    Selection,
)

_PAGE = 500  # objects of a list at a time
_WATCH = 290  # seconds that a watch lasts before it is begun anew: shorter than what load balancers cut
_MOST = 4000  # characters of what a cluster says

Call = Callable[[str, str, str, float], None]  # verb, plural, how it ended ("200", "error"), seconds until it answered

_METHODS = {"create": "POST", "replace": "PUT", "patch": "PATCH", "apply": "PATCH", "delete": "DELETE"}  # others: GET
_FORMS = {"patch": "application/merge-patch+json", "apply": "application/apply-patch+yaml"}  # others: JSON
_NOTHING: Mapping[str, str] = {}

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder().decode


class Kube:
    """Use `connect`, in an ``async with``. ``namespace`` is the one that its configuration names."""

    def __init__(self, http: Http, namespace: str, count: Call | None = None) -> None:
        self._http = http
        self.namespace = namespace
        self._count = count

    @classmethod
    def connect(
        cls, kubeconfig: Path | None = None, context: str = "", namespace: str = "", count: Call | None = None
    ) -> Self:
        """A client by a kubeconfig, by the one that ``$KUBECONFIG`` names, or by the service account of the pod.

        Raises:
            KubeError: there is none, or it makes no sense.
        """
        named = kubeconfig or (Path(os.environ["KUBECONFIG"]) if os.environ.get("KUBECONFIG") else None)
        try:
            found = KubeConfig.from_file(named) if named else KubeConfig.from_service_account()
            config = found.get(context_name=context or None)
            if config is None:
                raise KubeError(f"{named} names no context")
            return cls(Http.of(config), namespace or config.namespace, count)
        except (ConfigError, OSError) as error:
            hint = f" ({named})" if named else "; outside of a pod name a kubeconfig, or set KUBECONFIG"
            raise KubeError(f"the configuration of the cluster cannot be used: {error}{hint}") from None
        except (
            yaml.YAMLError,
            msgspec.MsgspecError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            AssertionError,
        ):
            # Not what they say: that may show what is in it.
            raise KubeError(f"{named or 'the service account of the pod'} is no usable kubeconfig") from None

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__()

    async def get(self, kind: Kind, name: Name) -> Object:
        """One object.

        Raises:
            NotFound: there is none.
        """
        return await self._ask("get", kind, _path(kind, name.namespace, name.name))

    async def select(
        self, which: Selection, slim: Callable[[Object], Object] | None = None
    ) -> tuple[list[Object], str]:
        """All objects of a selection, and the version from which a watch goes on.

        ``slim`` makes of each what is kept of it: there are never more whole ones here than those of a page.
        """
        found: list[Object] = []
        token, restarted = "", False
        while True:
            asked = _given({"limit": _PAGE, **_selectors(which), "continue": token})
            try:
                page = await self._ask("list", which.kind, _path(which.kind, which.namespace), asked)
            except Gone:
                if not token or restarted:
                    raise
                found, token, restarted = [], "", True  # the pages that are left are not known any more
                continue
            items = page.get("items") or []
            found += items if slim is None else map(slim, items)
            token = page["metadata"].get("continue", "")
            if not token:
                return found, page["metadata"]["resourceVersion"]

    async def create(self, kind: Kind, value: Object) -> Object:
        """Create an object.

        Raises:
            Exists: there is one of that name.
            Refused: it is not a valid one, or not allowed.
        """
        return await self._ask("create", kind, _path(kind, _namespace(value)), body=_stamped(kind, value))

    async def replace(self, kind: Kind, value: Object, *, status: bool = False) -> Object:
        """Write an object as a whole, or only its status, if it still has the version it was read with.

        Raises:
            Conflict: it has changed.
            NotFound: it is gone.
        """
        path = _path(kind, _namespace(value), value["metadata"]["name"]) + ("/status" if status else "")
        return await self._ask("replace", kind, path, body=_stamped(kind, value))

    async def patch(self, kind: Kind, name: Name, change: Mapping[str, Any], *, status: bool = False) -> Object:
        """Change what ``change`` has; ``None`` removes (RFC 7386).

        Raises:
            NotFound: there is none.
        """
        path = _path(kind, name.namespace, name.name) + ("/status" if status else "")
        return await self._ask("patch", kind, path, body=change)

    async def apply(self, kind: Kind, value: Object, manager: str) -> Object:
        """Have an object be so, as far as ``value`` says (server-side apply); what others have set, is overwritten."""
        path = _path(kind, _namespace(value), value["metadata"]["name"])
        asked = {"fieldManager": manager, "force": "true"}
        return await self._ask("apply", kind, path, asked, _stamped(kind, value))

    async def delete(
        self, kind: Kind, name: Name, *, uid: str = "", grace: int | None = None, propagation: str = "Background"
    ) -> bool:
        """Delete an object, only the one with this uid if one is given; whether there was one."""
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            await self._ask("delete", kind, _path(kind, name.namespace, name.name), body=body)
        except NotFound:
            return False
        except Conflict:
            if uid:
                return False  # there is another one of that name
            raise
        return True

    async def watch(self, which: Selection, version: str = "") -> AsyncGenerator[tuple[Happened, Object], None]:
        """What happens to objects from a version on. It ends after some minutes: go on from the last version.

        Raises:
            Gone: the version is too old: list again.
        """
        asked = _given({**_selectors(which), "resourceVersion": version})
        asked |= {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH)}
        async with self._open("watch", which.kind, _path(which.kind, which.namespace), asked) as answer:
            async for line in _lines(answer):
                told = _decode(line)
                if told["type"] == "ERROR":
                    raise _error(told["object"].get("code", 500), told["object"])
                yield Happened(told["type"]), told["object"]

    async def logs(
        self, name: Name, container: str, *, follow: bool, previous: bool = False, since: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """The log of a pod's container, in pieces; each line begins with its time.

        ``since`` is a time, too (RFC 3339), of which clusters heed the second: lines of that second come again.

        Raises:
            NotFound: there is no such pod.
            Refused: the container has not started yet, or is none of the pod.
            Busy: it was cut, also after minutes of silence: go on by ``since``.
        """
        asked = _given({"container": container, "sinceTime": since, "timestamps": "true"})
        asked |= {key: "true" for key, on in (("follow", follow), ("previous", previous)) if on}
        async with self._open("logs", PODS, _path(PODS, name.namespace, name.name) + "/log", asked) as answer:
            async for piece in answer.content.iter_any():
                yield piece

    async def version(self) -> str:
        """The cluster's own version, to see whether it answers."""
        async with self._http.ask("GET", "/version", {}, long=False) as answer:
            content = await answer.read()
        told: str = _checked(answer, content)["gitVersion"]
        return told

    async def _ask(
        self, verb: str, kind: Kind, path: str, asked: Mapping[str, str] = _NOTHING, body: object = None
    ) -> Object:
        sent = None if body is None else (_FORMS.get(verb, "application/json"), _encode(body))
        with self._counted(verb, kind) as counted:
            async with self._http.ask(_METHODS.get(verb, "GET"), path, asked, sent, long=False) as answer:
                content = await answer.read()
            counted.append(str(answer.status))
        return _checked(answer, content)

    @asynccontextmanager
    async def _open(self, verb: str, kind: Kind, path: str, asked: Mapping[str, str]) -> AsyncIterator[Answer]:
        async with AsyncExitStack() as stack:
            with self._counted(verb, kind) as counted:
                answer = await stack.enter_async_context(self._http.ask("GET", path, asked, long=True))
                counted.append(str(answer.status))
            if answer.status != 200:
                _checked(answer, await answer.read())
            yield answer

    @contextmanager
    def _counted(self, verb: str, kind: Kind) -> Iterator[list[str]]:
        began, ended = perf_counter(), list[str]()
        try:
            yield ended
        finally:
            if self._count is not None:
                self._count(verb, kind.plural, "".join(ended) or "error", perf_counter() - began)


async def _lines(answer: Answer) -> AsyncIterator[bytes]:
    """JSON in a stream of bytes, a line each."""
    rest = b""
    async for piece in answer.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n") if rest else piece.split(b"\n")
        for line in lines:
            if line:
                yield line


def _path(kind: Kind, namespace: str = "", name: str = "") -> str:
    root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
    place = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"{root}{place}/{kind.plural}" + (f"/{name}" if name else "")


def _namespace(value: Object) -> str:
    namespace: str = value["metadata"].get("namespace", "")
    return namespace


def _stamped(kind: Kind, value: Object) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind, **value}


def _selectors(which: Selection) -> dict[str, str]:
    return {"labelSelector": which.labels, "fieldSelector": which.fields}


def _given(asked: Mapping[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in asked.items() if value}


def _checked(answer: Answer, content: bytes) -> Object:
    """What a cluster has answered; a refusal is raised."""
    try:
        told: Any = _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = {"message": content.decode(errors="replace")}
        if answer.status < 300:
            raise Busy("what answers is no Kubernetes API: something is between it and us") from None
    if answer.status < 300:
        found: Object = told
        return found
    after = answer.headers.get("Retry-After", "")
    raise _error(answer.status, told if isinstance(told, dict) else {}, float(after) if after.isdigit() else None)


def _error(code: int, status: Mapping[str, Any], after: float | None = None) -> KubeError:
    """What a `metav1.Status` means."""
    text, reason = str(status.get("message") or f"HTTP {code}")[:_MOST], str(status.get("reason") or "")
    if after is None:
        after = (status.get("details") or {}).get("retryAfterSeconds")
    if code == 404:
        return NotFound(text, reason)
    if code == 409:
        return Exists(text, reason) if reason == "AlreadyExists" else Conflict(text, reason)
    if code == 410:
        return Gone(text, reason)
    if code in (401, 408, 429) or code >= 500:  # 401: tokens expire and are renewed, it says nothing of the request
        return Busy(text, reason, after)
    return Refused(text, reason)
