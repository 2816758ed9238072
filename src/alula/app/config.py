"""The configuration file: read strictly, and described. What is allowed is said by `base/settings.py` alone."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, MinLen

from alula.base.settings import Cluster, Secret, Settings
from alula.blobs.uri import check_bucket
from alula.core.errors import Invalid
from alula.core.quantity import parse
from alula.core.route import HERE, Claim, contested
from alula.storage import address

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_CLUSTER = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_HEAD = """\
# Every key that `alula serve --config FILE` knows, with its default. The file is TOML; a key that is not here is
# an error. Paths are relative to the folder of the file. A secret is { env = "NAME" } or { file = "PATH" }, never
# the text itself.
"""


def load(path: Path) -> Settings:
    """The settings of a configuration file.

    Raises:
        Invalid: it cannot be read, or is not as it must be: a line for each mistake names the file and the key.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise Invalid(f"{path}: it cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path}: it is no TOML: {error}") from None
    _forbid_extra(Settings, ConfigDict(extra="forbid"))
    here = path.absolute().parent
    try:
        text = json.dumps(raw, default=str)  # in JSON a list may stand for a tuple, and yet nothing is coerced
        found = TypeAdapter(Settings).validate_json(text, strict=True, context={"folder": here})
    except ValidationError as error:
        mistakes = {_told(one): one["loc"] for one in error.errors(include_input=False)}
        deepest = [text for text, at in mistakes.items() if not any(_within(at, one) for one in mistakes.values())]
        raise Invalid("\n".join(f"{path}: {text}" for text in deepest)) from None
    settings: Settings = _placed(found, here)
    for problem in check(settings):
        raise Invalid(f"{path}: {problem}")
    return settings


def check(settings: Settings) -> Iterator[str]:
    """What is wrong with settings though each by itself is allowed."""
    server, roles = settings.server, settings.server.roles
    for number, text in enumerate(server.listen):
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            yield f"server.listen.{number}: {text!r} is not HOST:PORT, as localhost:30080 or [::1]:30080"
    if "api" in roles and not server.listen:
        yield "server.listen: the role api needs an address to listen on"
    if "apps" in roles and "api" not in roles:
        yield "server.roles: apps are reached through the process that runs them: add api, or leave apps out"
    if "reconciler" in roles and "api" not in roles and not settings.executor.endpoint:
        yield "executor.endpoint: tasks have to reach an api, and this process has none: say the URL of one that has"
    for name, url in (
        ("server.public_url", server.public_url),
        ("executor.endpoint", settings.executor.endpoint),
        ("objects.endpoint", settings.objects.endpoint),
        ("objects.public_endpoint", settings.objects.public_endpoint),
        *((f"executor.connectors.{name}.url", one.url) for name, one in settings.executor.connectors.items()),
    ):
        if url and not url.startswith(("http://", "https://")):
            yield f"{name}: {url!r} is no URL: it starts with http:// or https://"
    if server.name and not server.name.replace("-", "a").replace(".", "a").isalnum():
        yield "server.name: use letters, digits, dots and hyphens"
    for name, amount in (
        ("executor.memory", settings.executor.memory),
        ("executor.disk", settings.executor.disk),
        ("executor.more_memory.cap", settings.executor.more_memory.cap),
    ):
        try:
            parse(amount or "0")
        except Invalid as error:
            yield f"{name}: {error}"
    yield from _check_stores(settings)
    yield from _check_clusters(settings)


def _check_clusters(settings: Settings) -> Iterator[str]:
    claims = {name: Claim(one.queues, one.projects, one.default) for name, one in settings.clusters.items()}
    for problem in contested(claims):
        yield f"clusters: {problem}"
    for name, one in settings.clusters.items():
        if not _CLUSTER.fullmatch(name):
            yield f"clusters.{name}: use at most 63 small letters, digits and hyphens"
        if name == HERE and one != Cluster(queues=one.queues, projects=one.projects, default=one.default):
            yield "clusters.local: it is this machine, of which only queues, projects and default can be said"
        for key, url in (("endpoint", one.endpoint), ("objects", one.objects)):
            if url and not url.startswith(("http://", "https://")):
                yield f"clusters.{name}.{key}: {url!r} is no URL: it starts with http:// or https://"


def _check_stores(settings: Settings) -> Iterator[str]:
    objects = settings.objects
    scheme, named, _ = objects.bucket.partition("://")
    if objects.remote and objects.folder:
        yield "objects.folder: it is a folder or a bucket (objects.endpoint, or the URI of a bucket), not both"
    if not objects.remote and (objects.buckets or objects.public_endpoint):
        yield "objects.buckets, objects.public_endpoint: they are for a bucket, and these objects are in a folder"
    if not named or scheme == "s3":
        if bool(objects.key_id) != bool(objects.secret):
            yield "objects.key_id, objects.secret: say both or none"
        elif objects.endpoint and not named and not objects.secret:
            yield "objects.key_id, objects.secret: both are needed for a bucket, unless it is s3://NAME (an identity)"
    elif objects.key_id:
        yield "objects.key_id: it is for S3; the others have a secret alone, or none"
    if (scheme == "abfs") != bool(objects.account):
        yield "objects.account: it is for abfs://CONTAINER, which needs it"
    for bucket in objects.buckets:
        if not bucket.startswith(objects.uri.partition("://")[0] + "://"):
            yield f"objects.buckets: {bucket!r} is not of the same store as {objects.uri}"
    try:
        for bucket in (objects.uri, *objects.buckets):
            check_bucket(bucket)
        address.parse(settings.database.url or "alula.db")
    except Invalid as error:
        yield f"{'objects.bucket' if 'bucket' in str(error) else 'database.url'}: {error}"


def _within(outer: tuple[Any, ...], inner: tuple[Any, ...]) -> bool:
    """Whether a mistake is only that of something in it."""
    return len(outer) < len(inner) and inner[: len(outer)] == outer


def _forbid_extra(kind: type, config: Any) -> None:
    for field in fields(kind):
        hint = _bare(get_type_hints(kind)[field.name])
        for one in (hint, *get_args(hint)):
            if is_dataclass(one) and isinstance(one, type):
                _forbid_extra(one, config)
    kind.__pydantic_config__ = config  # type: ignore[attr-defined]


def _placed(value: Any, folder: Path) -> Any:
    """Settings with their paths made absolute."""
    changed: dict[str, Any] = {}
    for field in fields(value):
        inner = getattr(value, field.name)
        if isinstance(inner, Path):
            changed[field.name] = folder / inner.expanduser()
        elif is_dataclass(inner):
            changed[field.name] = _placed(inner, folder)
        elif isinstance(inner, Mapping) and any(map(is_dataclass, inner.values())):
            changed[field.name] = {key: _placed(one, folder) for key, one in inner.items()}
    return replace(value, **changed) if changed else value


def _told(error: "ErrorDetails") -> str:
    """A mistake in a line: where, what, and what is allowed there."""
    where = [str(part) for part in error["loc"]]
    path = ".".join(where)
    hint, siblings = _hint(where)
    if error["type"] in _UNKNOWN:
        return f"{path}: there is no such key; known here are {', '.join(siblings)}"
    if error["type"] == "missing":
        return f"{path}: it is missing; {_allowed(hint)} is needed"
    if error["type"] == "value_error":
        return f"{path}: {error['msg'].removeprefix('Value error, ')}"
    return f"{path}: it has to be {_allowed(hint)}" if hint is not None else f"{path}: {error['msg']}"


def _hint(where: list[str]) -> tuple[Any, list[str]]:
    """What is allowed at a key, and the keys there are beside it."""
    hint: Any = Settings
    siblings: list[str] = []
    for part in where:
        if hint is not None and get_origin(_bare(hint)) is Mapping:
            hint = get_args(_bare(hint))[1]
            continue
        kind = next((one for one in (_bare(hint), *get_args(_bare(hint))) if is_dataclass(one)), None)
        if kind is not None:
            hints = get_type_hints(kind, include_extras=True)
            siblings, hint = list(hints), hints.get(part)
        elif hint is not None and get_origin(_bare(hint)) is tuple and get_args(_bare(hint)):
            hint = get_args(_bare(hint))[0]
    return hint, siblings


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _allowed(hint: Any) -> str:
    """What may stand there, in words."""
    limits = [_limit(one) for one in get_args(hint)[1:]] if get_origin(hint) is Annotated else []
    bare = _bare(hint)
    if get_origin(bare) is tuple:
        return f"a list{' that is not empty' if any(limits) else ''}, each of which is {_allowed(get_args(bare)[0])}"
    return " ".join([_kind(bare), *filter(None, limits)])


def _kind(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(json.dumps(one) for one in inner)
    if origin is Mapping or hint is Mapping:
        return f"a table, each value of which is {_allowed(inner[1])}"
    if origin in (Union, UnionType):
        return _allowed(next(one for one in inner if one is not NoneType))
    if is_dataclass(hint):
        return "a table"
    return _WORDS[hint]


_WORDS: Mapping[Any, str] = {
    str: "a text",
    Path: "a path",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Secret: 'a secret: { env = "NAME" } or { file = "PATH" }',
    Any: "anything",
}


def _limit(limit: Any) -> str:
    match limit:
        case Interval():
            return f"from {limit.ge} to {limit.le}"
        case Ge():
            return f"of at least {limit.ge}"
        case Gt():
            return f"above {limit.gt}"
        case MinLen(1):
            return "that is not empty"
    return ""


def reference() -> str:
    """Every key with its type, default and meaning: itself a configuration file, which says what holds anyway."""
    return "\n".join([_HEAD, *_section(Settings, ())])


def _section(kind: Any, path: tuple[str, ...]) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    tables: list[tuple[Any, tuple[str, ...], str]] = []
    for field in fields(kind):
        hint = hints[field.name]
        inner = next((one for one in (_bare(hint), *get_args(_bare(hint))) if is_dataclass(one)), None)
        if inner is not None:
            several = get_origin(_bare(hint)) is Mapping
            tables += [(None, (*path, field.name), _meaning(hint))] * several
            tables.append((inner, (*path, field.name, *["NAME"] * several), ""))
        elif get_origin(_bare(hint)) is Mapping:
            tables.append((None, (*path, field.name), f"{_meaning(hint)} ({_kind(_bare(hint))})"))
        else:
            yield from _key(field, hint)
    for inner, where, words in tables:
        needed = inner is not None and any(f.default is f.default_factory is MISSING for f in fields(inner))
        shown = "# " if needed or where[-1] == "NAME" else ""  # a table that is only there if it is asked for
        yield f"{shown}[{'.'.join(where)}]"
        yield from _comment(words or " ".join((inner.__doc__ or "").replace("``", "`").split()))
        yield ""
        if inner is not None:
            yield from (f"{shown}{line}" if line[:1] not in ("", "#") else line for line in _section(inner, where))


def _key(field: "Field[Any]", hint: Any) -> Iterator[str]:
    yield from _comment(_meaning(hint))
    yield from _comment(f"It is {_allowed(hint)}.")
    default = field.default
    if default is MISSING:
        yield f"# {field.name} = ...  (needed)"
    elif default is None or isinstance(default, Secret):
        yield f"# {field.name} = ..."
    else:
        yield f"{field.name} = {json.dumps(default, default=str)}"
    yield ""


def _meaning(hint: Any) -> str:
    return next((one for one in get_args(hint)[1:] if isinstance(one, str)), "")


def _comment(text: str) -> Iterator[str]:
    import textwrap

    for line in textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"
