"""How a client proves who asks: by a token that stays, that a file has, or that a program tells; or by a password."""

import asyncio
import os
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
from lightkube.config.kubeconfig import StrOrPath
from lightkube.config.models import User, UserExec
from lightkube.core.exceptions import ConfigError

_EXEC = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_INFO = "KUBERNETES_EXEC_INFO"  # the variable in which such a program finds what it is asked
_PATIENCE = 60.0  # seconds that a program has to tell a token


class Proof:
    """The ``Authorization`` of requests: found when it is first needed, and anew when the cluster does not take it."""

    def __init__(self, find: Callable[[], Awaitable[str]]) -> None:
        self._find = find
        self._found: str | None = None
        self._finding = asyncio.Lock()

    async def header(self) -> str:
        """It; "" if there is none.

        Raises:
            ConfigError: it cannot be found. Of a token nothing is said.
        """
        return await self._anew(None) if self._found is None else self._found

    async def renewed(self, refused: str) -> bool:
        """Whether there is another one than this, which the cluster did not take.

        Raises:
            ConfigError: see `header`.
        """
        return await self._anew(refused) != refused

    async def _anew(self, refused: str | None) -> str:
        async with self._finding:
            if self._found == refused:
                self._found = _checked(await self._find())
            return self._found or ""


def proof(user: User | None, beside: Callable[[str], StrOrPath]) -> Proof:
    """What a kubeconfig, or a pod's service account, has for a user. (Certificates are none of it: they go with TLS.)

    ``beside`` makes of the path of a file in a kubeconfig one that holds everywhere.

    Raises:
        ConfigError: it is of a kind that is not known here.
    """
    if user is None:
        return _always("")
    if user.token_file:
        path = Path(beside(user.token_file))
        return Proof(lambda: _read(path))
    if user.token:
        return _always(f"Bearer {user.token}")
    if (program := user.exec) is not None:
        if program.apiVersion not in _EXEC:
            raise ConfigError(f"exec of {program.apiVersion} is not known here, but {', '.join(_EXEC)}")
        return Proof(lambda: _told(program))
    if user.username and user.password:
        return _always("Basic " + b64encode(f"{user.username}:{user.password}".encode()).decode())
    if user.auth_provider:
        raise ConfigError("auth-provider is not known here: Kubernetes has done away with it; use exec")
    return _always("")


def _always(header: str) -> Proof:
    async def find() -> str:
        return header

    return Proof(find)


async def _read(path: Path) -> str:
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise ConfigError(f"the token's file {path} cannot be read: {error.strerror}") from None
    return "Bearer " + content.decode("latin-1").strip()  # `_checked` refuses what is no ASCII, and shows none of it


async def _told(program: UserExec) -> str:
    asked = {"apiVersion": program.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
    env = os.environ | {var.name: var.value for var in program.env or ()} | {_INFO: msgspec.json.encode(asked).decode()}
    try:
        code, out = await _run([program.command, *(program.args or ())], env)
    except OSError as error:
        raise ConfigError(f"{program.command}, which is to tell a token, cannot be run: {error.strerror}") from None
    try:
        if code == 0:
            return "Bearer " + str(msgspec.json.decode(out)["status"]["token"])
    except (msgspec.DecodeError, LookupError, TypeError):
        pass  # what it has said instead is for nobody's eyes
    raise ConfigError(f"{program.command} tells no token (it ended with {code}); see what it says to stderr")


async def _run(command: list[str], env: Mapping[str, str]) -> tuple[int | None, bytes]:
    """How a program ended, and what it has printed."""
    devnull, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(*command, env=env, stdin=devnull, stdout=pipe)
    try:
        async with asyncio.timeout(_PATIENCE):
            out, _ = await running.communicate()
    except TimeoutError:
        raise ConfigError(f"{command[0]}, which is to tell a token, took longer than {_PATIENCE:.0f} s") from None
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    return running.returncode, out


def _checked(header: str) -> str:
    if not (header.isascii() and header.isprintable()):
        raise ConfigError("the token has characters that no token has")
    return header
