"""The table of every rpc: what it does here (its handler's docstring), and what upstream's server does."""

import importlib
import inspect
import pkgutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import flyteidl2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from alula.rpc.service import KINDS, snake_case

PREFIX = "flyteidl2."
Table = dict[str, dict[str, str]]
LONGEST = 100  # characters of a docstring that is to fit into a table
# Where a class is that is not found by the name of its service.
PLACES = {
    "dataproxy.DataProxyService": ("dataproxy_service", "DataProxyService"),
    "cacheservice.v2.CacheService": ("cache_service", "ScopedCacheService"),
}


class Undocumented(Exception):
    """An rpc of which nothing is said."""


def services() -> Iterator[ServiceDescriptor]:
    """Every service of the installed protocol package."""
    for module in sorted(pkgutil.walk_packages(flyteidl2.__path__, PREFIX), key=lambda m: m.name):
        if module.name.endswith("_pb2"):
            yield from importlib.import_module(module.name).DESCRIPTOR.services_by_name.values()


def short(service: ServiceDescriptor) -> str:
    """A service's name within the protocol package."""
    return service.full_name.removeprefix(PREFIX)


def read(name: str) -> Table:
    """One of the tables beside this file."""
    return tomllib.loads(Path(__file__).with_name(name).read_text())


def protocol() -> str:
    """The table.

    Raises:
        Undocumented: an rpc is neither served nor declined, has no docstring here, or nothing is said of upstream's.
    """
    declined, upstream = read("declined.toml"), read("upstream.toml")
    parts, served, known = [], 0, 0
    for service in services():
        name = short(service)
        rows = [_row(name, rpc, declined, upstream) for rpc in service.methods]
        known += len(rows)
        served += 0 if name in declined else len(rows)
        head = f"### {name}\n\n| rpc | kind | here | upstream |\n| --- | --- | --- | --- |"
        parts.append("\n".join((head, *rows)))
    gone = [name for name in upstream if not any(short(service) == name for service in services())]
    if gone:
        raise Undocumented(f"tools/upstream.toml: there is no service {gone[0]}")
    return "\n\n".join((f"{served} of {known} rpcs are served.", *parts))


def _row(
    service: str, rpc: MethodDescriptor, declined: dict[str, dict[str, str]], upstream: dict[str, dict[str, str]]
) -> str:
    there = upstream.get(service, {}).get(rpc.name)
    if not there:
        raise Undocumented(f"tools/upstream.toml: say what upstream's server does with {service}.{rpc.name}")
    here = f"Not served: {declined[service]['reason']}" if service in declined else _said(service, rpc)
    kind = KINDS[rpc.client_streaming, rpc.server_streaming].value
    return f"| {rpc.name} | {kind} | {here} | {there} |"


def _said(service: str, rpc: MethodDescriptor) -> str:
    """The first line of the handler's docstring."""
    name = service.rpartition(".")[2]
    module, kind = PLACES.get(service, (snake_case(name), name))
    try:
        handler = getattr(importlib.import_module(f"alula.api.{module}"), kind)
        doc = inspect.getdoc(getattr(handler, snake_case(rpc.name))) or ""
    except (ModuleNotFoundError, AttributeError):
        raise Undocumented(
            f"{service}.{rpc.name} is not served: serve it, or say why not in tools/declined.toml"
        ) from None
    first = doc.partition("\n")[0]
    if not first or len(first) > LONGEST:
        where = f"{kind}.{snake_case(rpc.name)} in src/alula/api/{module}.py"
        raise Undocumented(f"{where}: say what it does in a docstring of at most {LONGEST} characters")
    return first
