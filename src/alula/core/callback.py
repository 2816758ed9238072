"""Links that answer a condition. Whoever has one may answer that condition, and nothing else."""

import base64
import binascii
import hashlib
import hmac
import json

from alula.core.errors import NotFound
from alula.core.ids import ActionId, RunId

PATH = "/v2/callbacks/"
_MAC = 32  # bytes
_LONGEST = 1000  # characters


def key(secret: str) -> bytes:
    """The key that links are signed with, made from a secret of the server that serves other purposes too."""
    return hmac.digest(secret.encode(), b"alula callbacks", "sha256")


def uri(server: str, signing: bytes, action: ActionId) -> str:
    """The link for a condition. ``server`` is how others reach this one: ``https://flyte.example.com``."""
    return f"{server.rstrip('/')}{PATH}{token(signing, action)}"


def token(signing: bytes, action: ActionId) -> str:
    """The part of a link that names its condition and proves that this server made it."""
    run = action.run
    named = json.dumps([run.project, run.domain, run.name, action.name], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mac(signing, named) + named).rstrip(b"=").decode()


def verified(signing: bytes, given: str) -> ActionId:
    """Which condition a token is for.

    Raises:
        NotFound: this server has not made it.
    """
    try:
        raw = base64.b64decode(given[:_LONGEST].encode("ascii") + b"=" * (-len(given) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _unknown() from None
    mac, named = raw[:_MAC], raw[_MAC:]
    if not hmac.compare_digest(mac, _mac(signing, named)):
        raise _unknown()
    project, domain, run, action = json.loads(named)
    return ActionId(RunId(project, domain, run), action)


def _mac(signing: bytes, named: bytes) -> bytes:
    return hmac.digest(signing, named, hashlib.sha256)


def _unknown() -> NotFound:
    return NotFound("this link is not one of this server's: use it whole, as it was sent")
