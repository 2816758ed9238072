"""Where apps are reached: a name below `.localhost`, or a path on the server itself."""

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from alula.core.app import AppId

_SUFFIX = ".localhost"
PREFIX = "/apps/"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


@dataclass(frozen=True, slots=True)
class Address:
    """What a request says of the app it is for: one of ``host`` and ``app``. ``prefix`` is the path that led here."""

    host: str = ""
    app: AppId | None = None
    prefix: str = ""


def name_of(host: str) -> str:
    """A Host header without its port, in lower case."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


def address(host: str, path: str) -> Address | None:
    """Which app a request is for; ``None``: it is for none. ``path`` is as it was sent, percent signs and all."""
    name = name_of(host)
    if name.endswith(_SUFFIX):
        return Address(host=name.removesuffix(_SUFFIX))
    parts = path.split("/", 5)
    if path.startswith(PREFIX) and len(parts) >= 5 and all(parts[2:5]):
        project, domain, app = (unquote(part) for part in parts[2:5])
        return Address(app=AppId(project, domain, app), prefix="/".join(parts[:5]))
    return None


def friendly(origin: str) -> bool:
    """Whether pages of an origin may call apps: those of this machine may, and no others."""
    name = name_of(origin.partition("://")[2])
    return name in LOOPBACK or name.endswith(_SUFFIX)


def of_url(url: str) -> Address | None:
    """Which app a URL is of."""
    try:
        parts = urlsplit(url)
        return address(parts.netloc, parts.path)
    except ValueError:
        return None


def path_of(app: AppId) -> str:
    """The path of an app."""
    return PREFIX + "/".join(quote(part, safe="") for part in (app.project, app.domain, app.name))


def public_url(app: AppId, port: int) -> str:
    """The URL that every program on this machine can reach, whatever its resolver knows."""
    return f"http://localhost:{port}{path_of(app)}"


def host_url(host: str, port: int) -> str:
    """The URL at which the app has an origin of its own. Browsers know every name below `.localhost`."""
    return f"http://{host}{_SUFFIX}:{port}"


def endpoint_pattern(project: str, domain: str, port: int) -> str:
    """The SDK's pattern for apps that call each other (`INTERNAL_APP_ENDPOINT_PATTERN`)."""
    return f"http://localhost:{port}{PREFIX}{quote(project, safe='')}/{quote(domain, safe='')}/{{app_fqdn}}"


def location(value: str, prefix: str, host: str) -> str:
    """A `Location` of an app that knows nothing of its prefix, as a client has to follow it."""
    for start in ("", f"http://{host}"):
        rest = value.removeprefix(start)
        if prefix and value.startswith(start) and rest.startswith("/") and not rest.startswith("//"):
            return value if rest.startswith(f"{prefix}/") else f"{start}{prefix}{rest}"
    return value
