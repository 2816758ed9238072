"""How single values are spelled in JSON. Nothing is rounded: what a JSON number cannot hold is a string."""

import base64
import binascii
import math
import re
from fractions import Fraction

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from alula.wire.forms.trail import Json, Trail, brief

EXACT = 2**53 - 1  # a Struct's numbers are doubles: from 2**53 on, two integers share one
INT64 = (-(2**63), 2**63 - 1)
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][01][0-9]:[0-5][0-9])")
_NUMBER = r"[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}"
_GO = re.compile(rf"[+-]?(?:(?:{_NUMBER})(?:h|ms|m|s|us|µs|μs|ns))+")
_GO_PART = re.compile(rf"({_NUMBER})(h|ms|m|s|us|µs|μs|ns)")
_ISO_PARTS = "WDHMS"
_ISO = re.compile(
    r"[+-]?P(?=.)" + "".join(rf"(?:({_NUMBER}){unit})?" for unit in "WD")
    + r"(?:T(?=.)" + "".join(rf"(?:({_NUMBER}){unit})?" for unit in "HMS") + ")?"
)  # fmt: skip
_SECOND = 10**9  # nanoseconds
_GO_UNITS = {"h": 3600 * _SECOND, "m": 60 * _SECOND, "s": _SECOND, "ms": 10**6, "us": 1000, "ns": 1}
_GO_UNITS |= {"µs": 1000, "μs": 1000}  # both letters that are called mu
_ISO_UNITS = dict(
    zip(_ISO_PARTS, (604800 * _SECOND, 86400 * _SECOND, 3600 * _SECOND, 60 * _SECOND, _SECOND), strict=True)
)
_LONGEST = 315_576_000_000 * _SECOND  # protobuf's Duration: 10,000 years


def integer_json(value: int) -> Json:
    """An integer: a number, or decimal digits where a double would round it."""
    return value if -EXACT <= value <= EXACT else str(value)


def integer(value: Json, trail: Trail, bounds: tuple[int, int] = INT64) -> int:
    """A whole number, or decimal digits. `Invalid` for a fraction, and for a number that may have been rounded."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise trail.invalid(f"{brief(value)} is no integer")
    elif not math.isfinite(value) or value != int(value):
        raise trail.invalid(f"{value} is no whole number")
    elif abs(value) > EXACT:
        raise trail.invalid(f"{value:.0f} may have been rounded: give integers beyond 2**53 as strings of digits")
    else:
        number = int(value)
    if not bounds[0] <= number <= bounds[1]:
        raise trail.invalid(f"{number} does not fit into 64 bits")
    return number


def number_json(value: float) -> Json:
    """A float: a number, or its name where JSON has no number for it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def number(value: Json, trail: Trail) -> float:
    """A number; ``NaN``, ``Infinity`` and ``-Infinity`` are strings."""
    if isinstance(value, str) and value in _NUMBERS:
        return _NUMBERS[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise trail.invalid(f"{brief(value)} is no number")
    return float(value)


def string(value: Json, trail: Trail) -> str:
    if not isinstance(value, str):
        raise trail.invalid(f"{brief(value)} is no string")
    return value


def boolean(value: Json, trail: Trail) -> bool:
    if not isinstance(value, bool):
        raise trail.invalid(f"{brief(value)} is not true or false")
    return value


def time_json(value: Timestamp, trail: Trail) -> str:
    """A time in UTC, as RFC 3339 says, with as many digits after the second as it needs."""
    try:
        return value.ToJsonString()
    except ValueError:
        raise trail.invalid("is no time between the years 1 and 9999") from None


def time(value: Json, trail: Trail) -> Timestamp:
    """A time with its offset from UTC, to the nanosecond."""
    text = value.upper() if isinstance(value, str) else ""
    made = Timestamp()
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)  # noqa: TRY301
        made.FromJsonString(text)
    except ValueError:
        raise trail.invalid(f"{brief(value)} is no time: write it as 2026-01-31T12:30:00.5Z or ...+02:00") from None
    return made


def duration_json(value: Duration) -> str:
    """A duration as Go writes it: ``1h30m0.5s``, ``2ms``."""
    total = value.seconds * _SECOND + value.nanos
    sign, rest = "-" if total < 0 else "", abs(total)
    if 0 < rest < _SECOND:
        unit, size = ("ms", 10**6) if rest >= 10**6 else ("µs", 1000) if rest >= 1000 else ("ns", 1)
        return f"{sign}{_decimal(rest, size)}{unit}"
    minutes, nanos = divmod(rest, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    large = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{large}{_decimal(nanos, _SECOND)}s"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{part:0{digits}}".rstrip("0") if part else str(whole)


def duration(value: Json, trail: Trail) -> Duration:
    """A duration in Go's or ISO 8601's spelling; bare digits, or a number, are seconds."""
    total = _nanoseconds(value)
    if total is None or total.denominator != 1:
        raise trail.invalid(f"{brief(value)} is no duration: write it as 1h30m0.5s, as PT1H30M0.5S, or in seconds")
    if abs(total) > _LONGEST:
        raise trail.invalid(f"{brief(value)} is longer than 10,000 years")
    sign = -1 if total < 0 else 1
    seconds, nanos = divmod(abs(int(total)), _SECOND)
    return Duration(seconds=sign * seconds, nanos=sign * nanos)


def _nanoseconds(value: Json) -> Fraction | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Fraction(round(Fraction(value) * _SECOND)) if math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    sign = -1 if value.startswith("-") else 1
    if _GO.fullmatch(value):
        return sign * sum((Fraction(_digits(n)) * _GO_UNITS[unit] for n, unit in _GO_PART.findall(value)), Fraction())
    if found := _ISO.fullmatch(value):
        parts = zip(found.groups(), _ISO_UNITS.values(), strict=True)
        return sign * sum((Fraction(_digits(n)) * unit for n, unit in parts if n), Fraction())
    if re.fullmatch(rf"[+-]?(?:{_NUMBER})", value):
        return sign * Fraction(_digits(value.lstrip("+-"))) * _SECOND
    return None


def _digits(text: str) -> str:
    return f"0{text}0" if "." in text else text


def binary_json(value: bytes) -> str:
    return base64.b64encode(value).decode()


def binary(value: Json, trail: Trail) -> bytes:
    """Bytes in base64."""
    try:
        return base64.b64decode(string(value, trail), validate=True)
    except (binascii.Error, ValueError) as error:
        raise trail.invalid(f"{brief(value)} is no base64") from error
