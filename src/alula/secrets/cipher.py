"""Secrets are encrypted with AES-256-GCM: what is read back is what was written, by this server, for this name."""

import base64
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from alula.core.errors import Conflict
from alula.core.secret import Sealed, SecretId

_KEY_BYTES = 32
_NONCE_BYTES = 12
_MAKE = "make one with `openssl rand -base64 32`"


class Cipher:
    """Seals with the first of its keys, opens with any: a key is replaced by putting a new one before it.

    Raises:
        Conflict: there is no key.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = {hashlib.sha256(b"alula key " + key).hexdigest()[:16]: AESGCM(key) for key in keys}
        if not self._keys:
            raise Conflict(f"there is no key to encrypt secrets with: {_MAKE}")
        self._current = next(iter(self._keys))

    def seal(self, secret: SecretId, value: bytes) -> Sealed:
        """Encrypt the value of a secret; it can be opened only as that of the same secret."""
        nonce = os.urandom(_NONCE_BYTES)
        return Sealed(self._current, nonce, self._keys[self._current].encrypt(nonce, value, _bound(secret)))

    def open(self, secret: SecretId, sealed: Sealed) -> bytes:
        """The value of a secret.

        Raises:
            Conflict: it was encrypted with a key that is gone, or is not what was written.
        """
        key = self._keys.get(sealed.key)
        if key is None:
            raise Conflict(
                f"{secret} was encrypted with a key that this server does not have: put that key back behind the "
                "current one, or set the secret again"
            )
        try:
            return key.decrypt(sealed.nonce, sealed.text, _bound(secret))
        except InvalidTag:
            raise Conflict(f"{secret} is not what was stored: somebody else changed it; set it again") from None


def _bound(secret: SecretId) -> bytes:
    return json.dumps(["alula secret", secret.scope.domain, secret.scope.project, secret.name]).encode()


def keys(path: Path, given: str) -> list[bytes]:
    """The keys of a server, the one to encrypt with first: those ``given``, then those in the file.

    Both hold keys of 32 bytes in base64, separated by white space. Without any, a file with one is made.

    Raises:
        Conflict: one of them is no key.
    """
    if not path.exists() and not given.split():
        _create(path)
    kept = path.read_text() if path.exists() else ""
    return [
        *(_key(word, "ALULA_SECRET_KEY") for word in given.split()),
        *(_key(word, str(path)) for word in kept.split()),
    ]


def _key(word: str, where: str) -> bytes:
    try:
        key = base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise Conflict(f"{where} holds something that is no key of {_KEY_BYTES} bytes in base64: {_MAKE}")
    return key


def _create(path: Path) -> None:
    """Make the file, readable by its owner only; a crash leaves a whole one or none."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.b64encode(os.urandom(_KEY_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
