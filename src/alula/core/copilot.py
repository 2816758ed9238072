"""How values are spelled in the files and arguments of raw containers (the copilot contract, executor.md 6).

A container finds its inputs as text and leaves its outputs as text; Go's spellings are the contract, since that is what
the containers of users were written against.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite

from alula.core.errors import Invalid

Value = None | bool | int | float | str | datetime | timedelta
Tree = Value | Sequence["Tree"] | Mapping[str, "Tree"]

REFUSED = 65  # the copilot's exit code when what it was given, or what the container left, is not as it must be

_INPUT = re.compile(r"\{\{\s*[.$]inputs[.$]([A-Za-z0-9_]+)\s*\}\}", re.IGNORECASE)
_UNITS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")
_FRACTION = re.compile(r"(\.\d{6})\d+")
_EXACT = 6  # digits before the point up to which a float is not spelled with an exponent


def file_text(value: Value) -> str:
    """What stands in an input's file."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return _plain(value)
        case datetime():
            return _instant(value)
        case timedelta():
            return _go_duration(value)
        case _:
            return str(value)


def argument(value: Tree) -> str:
    """What takes the place of ``{{.inputs.name}}``."""
    match value:
        case float():
            return _short(value)
        case timedelta():
            seconds, nanos = divmod(value, timedelta(seconds=1))
            return f"seconds:{seconds}" + (f" nanos:{nanos.microseconds * 1000}" if nanos else "")
        case None | bool() | int() | str() | datetime():
            return file_text(value)
        case Mapping():
            return json.dumps(plain(value))
        case _:
            return f"[{','.join(argument(item) for item in value)}]"


def plain(value: Tree) -> object:
    """A value as JSON has it: numbers and booleans are kept, the rest is spelled as in files."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime() | timedelta():
            return file_text(value)
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case _:
            return [plain(item) for item in value]


def fill(word: str, values: Mapping[str, Tree]) -> str:
    """Fill in the inputs that a word of the command names.

    Raises:
        Invalid: it names an input that there is not.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise Invalid(f"the command names the input {match[1]!r}; the inputs are: {', '.join(values) or 'none'}")
        return argument(values[match[1]])

    return _INPUT.sub(value, word)


def parse(kind: str, text: str) -> Value:
    """Read what a container left in the file of an output; ``kind`` is the name of a simple type, in lower case.

    Raises:
        Invalid: it is not spelled like a value of that type.
    """
    word = text.strip()
    try:
        match kind:
            case "integer":
                return int(word)
            case "float":
                return float(word)
            case "boolean":
                return {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}[word.lower()]
            case "datetime":
                at = datetime.fromisoformat(_FRACTION.sub(r"\1", word).replace("Z", "+00:00"))
                return at if at.tzinfo else at.replace(tzinfo=UTC)
            case "duration":
                return _duration(word)
            case "none":
                return None
            case "string":
                return text
    except (ValueError, KeyError):
        pass
    raise Invalid(f"{word[:80]!r} is no {kind}")


def _plain(value: float) -> str:
    if not isfinite(value):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(repr(value), "NaN")
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _short(value: float) -> str:
    """Go's ``%v``: the shortest digits, with an exponent from 1e+06 on and below 1e-4."""
    if not isfinite(value) or value == 0 or 1e-4 <= abs(value) < 10**_EXACT:
        return _plain(value)
    mantissa, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
    return f"{mantissa}e{int(exponent):+03d}"


def _instant(value: datetime) -> str:
    text = value.astimezone(UTC).isoformat().removesuffix("+00:00")
    return (text.rstrip("0") if "." in text else text) + "Z"


def _go_duration(value: timedelta) -> str:
    micros = value // timedelta(microseconds=1)
    sign, micros = ("-" if micros < 0 else ""), abs(micros)
    if micros == 0:
        return "0s"
    if micros < 1000:
        return f"{sign}{micros}µs"
    if micros < 1_000_000:
        return f"{sign}{_plain(micros / 1000)}ms"
    minutes, micros = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_plain(micros / 1_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


def _duration(word: str) -> timedelta:
    """Go's form, ISO's hours:minutes:seconds (Python's own), or plain seconds."""
    sign, rest = (-1, word[1:]) if word.startswith("-") else (1, word)
    clock = re.fullmatch(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)", rest)
    if clock:
        days, hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return sign * timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if _PART.sub("", rest) == "" and rest:
        return sign * timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(rest)))
    return sign * timedelta(seconds=float(rest))
