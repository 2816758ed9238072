"""What a pod says of its secrets to an admission webhook that injects them: upstream's label and annotations.

A name is all that is told; the values are the webhook's (executor.md 7).
"""

from base64 import b32encode
from collections.abc import Iterable, Mapping

from flyteidl2.core import security_pb2
from google.protobuf import text_format

LABEL: Mapping[str, str] = {"inject-flyte-secrets": "true"}
_USUAL, _THEIRS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"abcdefghijklmnopqrstuvwxyz123456"
_ALPHABET = bytes.maketrans(_USUAL, _THEIRS)


def annotations(contexts: Iterable[security_pb2.SecurityContext]) -> dict[str, str]:
    """An annotation for each secret that a run or a task asks for."""
    asked = [secret for context in contexts for secret in context.secrets]
    return {f"flyte.secrets/s{number}": _encoded(secret) for number, secret in enumerate(asked)}


def _encoded(secret: security_pb2.Secret) -> str:
    text = text_format.MessageToString(secret).encode()
    return b32encode(text).rstrip(b"=").translate(_ALPHABET).decode()
