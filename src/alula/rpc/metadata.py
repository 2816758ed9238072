"""Headers, timeouts and the text encodings of the protocols. Pure functions."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from alula.rpc.asgi import Headers
from alula.rpc.errors import Code, RpcError

_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff]*")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_LONGEST = 100 * 365 * 86400.0  # seconds; an event loop's clock takes no more


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lower-case names to values. A repeated name is joined with ", " (RFC 9110, section 5.3)."""
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name = name_bytes.decode("latin-1")
        value = value_bytes.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def write_headers(values: Mapping[str, str], prefix: str = "") -> Headers:
    """Metadata a handler set, for the wire. Raises ValueError for what would break the response apart."""
    return [(f"{prefix}{name}".encode(), value.encode("latin-1")) for name, value in checked(values)]


def checked(values: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """The pairs of ``values`` with lower-case names. Raises ValueError for a name or value that no header can have."""
    for name, value in values.items():
        lower = name.lower()
        if not _NAME.fullmatch(lower) or not _VALUE.fullmatch(value):
            raise ValueError(f"not a header: {name!r}")  # the value may be a secret
        yield lower, value


def encode_binary(value: bytes) -> str:
    """The text of a ``-bin`` header: base64 without padding."""
    return base64.b64encode(value).rstrip(b"=").decode()


def decode_binary(value: str) -> bytes:
    """The bytes of a ``-bin`` header. Raises ValueError for what is not base64."""
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("a -bin header is base64") from error


def percent_encode(text: str) -> str:
    """``grpc-message``: printable ASCII as it is, the rest of the UTF-8 as %XX."""
    return quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", errors="replace")


def connect_timeout(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Connect client gives. Raises INVALID_ARGUMENT for a head that is not of this protocol."""
    if headers.get("connect-protocol-version", "1") != "1":
        raise RpcError(Code.INVALID_ARGUMENT, "connect-protocol-version must be 1")
    value = headers.get("connect-timeout-ms")
    if value is None:
        return None
    if len(value) > 10 or not (value.isascii() and value.isdigit()):
        raise RpcError(Code.INVALID_ARGUMENT, "connect-timeout-ms is a number of milliseconds, at most ten digits")
    return int(value) / 1000


def grpc_timeout(headers: Mapping[str, str]) -> float | None:
    """Seconds that a gRPC client gives: at most eight digits and a unit. Raises INVALID_ARGUMENT."""
    value = headers.get("grpc-timeout")
    if value is None:
        return None
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise RpcError(Code.INVALID_ARGUMENT, "grpc-timeout is at most eight digits and one of H, M, S, m, u, n")
    return min(int(match[1]) * _UNITS[match[2]], _LONGEST)
