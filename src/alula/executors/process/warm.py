"""What every attempt would compute anew, computed once before the fork. Nothing here changes what an attempt sees.

Each step touches private names of the SDK or of a library, and is skipped when they are not what they were.
"""

# ruff: noqa: SLF001

import importlib
import logging
import os
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

_SPARE_CONTEXTS = 2  # the SDK makes two HTTP clients in every attempt

_log = logging.getLogger(__name__)


def warm() -> None:
    """Do every step that is possible."""
    for step in (
        _scan_entry_points,
        _prepare_tls_contexts,
        _spare_roots_for_plain_http,
        _spare_roots_for_plain_objects,
        _spare_git_outside_of_it,
        _hash_functions_once,
    ):
        try:
            step()
        except (KeyError, AttributeError, TypeError) as error:
            _log.warning("%s was skipped: %r", step.__name__, error)


def _scan_entry_points() -> None:
    """The metadata of every installed distribution, which the SDK caches. 8 ms."""
    module: Any = sys.modules["flyte._utils.entry_points"]
    module._installed_entry_points()


def _prepare_tls_contexts() -> None:
    """An HTTP client parses the CA roots when it is made, also for plain HTTP. 20 ms each.

    Each prepared context is handed out once: no two clients share one. None is ever freed: that would copy its memory.
    """
    module: Any = sys.modules["httpx._transports.default"]
    create: Callable[..., ssl.SSLContext] = module.create_ssl_context
    roots = _root_variables()
    kept = [create() for _ in range(_SPARE_CONTEXTS)]
    spare = list(kept)

    def create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        if verify is True and cert is None and trust_env and roots == _root_variables():
            with suppress(IndexError):
                return spare.pop()
        return create(verify=verify, cert=cert, trust_env=trust_env)

    create_ssl_context._kept = kept  # type: ignore[attr-defined]
    module.create_ssl_context = create_ssl_context


def _root_variables() -> tuple[str | None, ...]:
    return tuple(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))


def _spare_roots_for_plain_http() -> None:
    """A transport to an ``http://`` endpoint needs no CA roots. 7 ms each, two for every attempt.

    The SDK resolves the endpoint's certificate and then, in the same thread and without another step between, builds
    the transport; the first tells the second by a flag that is good for one use.
    """
    session: Any = sys.modules["flyte.remote._client.auth._session"]
    resolve, supports = session._resolve_tls_ca_cert, session._supports_system_certs
    supports()  # inspects a signature, and caches the answer
    plain = threading.local()

    async def resolve_tls_ca_cert(endpoint: str, **options: Any) -> bytes | None:
        certificate: bytes | None = await resolve(endpoint, **options)
        plain.next = certificate is None and endpoint.startswith("http://")
        return certificate

    def supports_system_certs() -> bool:
        flag, plain.next = getattr(plain, "next", False), False
        return not flag and bool(supports())

    session._resolve_tls_ca_cert, session._supports_system_certs = resolve_tls_ca_cert, supports_system_certs


def _spare_roots_for_plain_objects() -> None:
    """An object store at an ``http://`` endpoint needs no CA roots either. 5 ms.

    There is no option to do without them but the one that accepts any certificate; here there is none to accept. One
    store is made and dropped: the library's code is at work then, and no thread of it.
    """
    module: Any = importlib.import_module("obstore.fsspec")
    make: Callable[..., Any] = module.from_url

    def from_url(url: str, *, config: Any = None, client_options: Any = None, **options: Any) -> Any:
        if isinstance(config, dict) and str(config.get("endpoint", "")).startswith("http://"):
            client_options = {**(client_options or {}), "allow_invalid_certificates": True}
        return make(url, config=config, client_options=client_options, **options)

    module.from_url = from_url
    nobody = {"endpoint": "http://localhost", "region": "none", "access_key_id": "none", "secret_access_key": "none"}
    from_url("s3://none", config=nobody, client_options={"allow_http": True})


def _spare_git_outside_of_it() -> None:
    """The SDK asks `git` for the root of the repository it may be in. 6 ms, and seldom is there one.

    Git looks for a ``.git`` here and above; where there is none it need not be started to say so.
    """
    module: Any = importlib.import_module("flyte.git")
    ask: Callable[..., Any] = module.config_from_root

    def config_from_root(*args: Any, **options: Any) -> Any:
        return ask(*args, **options) if _may_be_in_a_repository() else None

    module.config_from_root = config_from_root


def _hash_functions_once() -> None:
    """The SDK parses and hashes a task's function each time that the task is called. 0.4 ms."""
    policy: Any = importlib.import_module("flyte._cache.policy_function_body").FunctionBodyPolicy
    compute: Callable[..., str] = policy.get_version
    known: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()

    def get_version(self: Any, salt: str, params: Any) -> str:
        if not isinstance(params.func, FunctionType):
            return compute(self, salt, params)
        versions = known.setdefault(params.func, {})
        if salt not in versions:
            versions[salt] = compute(self, salt, params)
        return versions[salt]

    policy.get_version = get_version


def _may_be_in_a_repository() -> bool:
    if any(name.startswith("GIT_") for name in os.environ):
        return True
    here = Path.cwd()
    return any(os.path.lexists(folder / ".git") for folder in (here, *here.parents))
