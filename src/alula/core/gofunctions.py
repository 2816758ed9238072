"""The functions of Go's text/template that messages may use (pkg.go.dev/text/template, "Functions")."""

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote_plus

from alula.core.errors import Invalid

Value: TypeAlias = str | bool | int | float

_VERB = re.compile(r"%(?P<flags>[-+ 0#]*)(?P<width>\d{0,3})(?:\.(?P<precision>\d{1,3}))?(?P<verb>[A-Za-z%])|%")
_UNSAFE = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&'="}


class Function(Protocol):
    """Takes values, gives one. ``most`` is how many characters a result may come to."""

    def __call__(self, *values: Any, most: int) -> Value: ...


def text(value: object) -> str:
    """A value as it is shown.

    Raises:
        Invalid: it is something with fields, of which one has to be named.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        raise Invalid(f"the template shows something with fields: name one of {', '.join(f'.{key}' for key in value)}")
    return f"{value:g}" if isinstance(value, float) else str(value)


def truth(value: object) -> bool:
    """Whether ``if`` takes a value for true: it is not empty."""
    return bool(value)


def _html(*values: Any, most: int) -> str:
    return html.escape(_print(*values, most=most))


def _js(*values: Any, most: int) -> str:
    """For the inside of a string of JavaScript or JSON."""
    return json.dumps(_print(*values, most=most))[1:-1].translate(_UNSAFE)


def _urlquery(*values: Any, most: int) -> str:
    return quote_plus(_print(*values, most=most))


def _print(*values: Any, most: int) -> str:
    return _joined((text(value) for value in values), most)


def _println(*values: Any, most: int) -> str:
    return _joined((f"{' ' if n else ''}{text(value)}" for n, value in enumerate(values)), most) + "\n"


def _printf(*values: Any, most: int) -> str:
    form, arguments = _text_of("printf", values[:1]), list(values[1:])
    shown = _joined(_formatted(form, arguments), most)
    if arguments:
        raise Invalid(f"printf {form[:80]!r} is given more values than it shows")
    return shown


def _formatted(form: str, arguments: list[Any]) -> Iterator[str]:
    at = 0
    for found in _VERB.finditer(form):
        yield form[at : found.start()]
        at = found.end()
        verb = found["verb"]
        if verb == "%":
            yield "%"
            continue
        if verb is None or verb not in "svqdtfg":
            raise Invalid(f"printf {form[:80]!r}: {found[0]!r} is none of %s %v %q %d %t %f %g %%")
        if not arguments:
            raise Invalid(f"printf {form[:80]!r} shows more values than it is given")
        yield _shown(found, arguments.pop(0))
    yield form[at:]


def _shown(found: re.Match[str], value: Any) -> str:
    verb, precision = found["verb"], found["precision"]
    if verb in "fg" or (verb == "d" and not isinstance(value, int)):
        if isinstance(value, bool | str | Mapping):
            raise Invalid(f"printf: {found[0]!r} shows numbers only")
        shown = f"{value:.{precision or 6}{verb}}" if verb != "d" else f"{value:g}"
    else:
        shown = text(value)
        shown = shown[: int(precision)] if precision and verb in "svq" else shown
        shown = json.dumps(shown, ensure_ascii=False) if verb == "q" else shown
    width = int(found["width"] or 0)
    if "-" in found["flags"]:
        return shown.ljust(width)
    return shown.zfill(width) if "0" in found["flags"] and verb in "dfg" else shown.rjust(width)


def _joined(pieces: Iterator[str], most: int) -> str:
    """What they come to, stopped as soon as that is too much."""
    taken = []
    for piece in pieces:
        most -= len(piece)
        if most < 0:
            raise Invalid("the template comes to more characters than a message may have")
        taken.append(piece)
    return "".join(taken)


def _len(*values: Any, most: int) -> int:
    return len(_text_of("len", values))


def _slice(*values: Any, most: int) -> str:
    """``slice .Error 0 200``: a part of a text, in characters; an end beyond the text's is its end."""
    bounds = values[1:]
    if not 1 <= len(bounds) <= 2 or any(isinstance(b, bool) or not isinstance(b, int) or b < 0 for b in bounds):
        raise Invalid("slice takes a text and one or two whole numbers")
    return _text_of("slice", values[:1])[slice(*bounds) if len(bounds) == 2 else slice(bounds[0], None)]


def _not(*values: Any, most: int) -> bool:
    if len(values) != 1:
        raise Invalid("not takes one value")
    return not truth(values[0])


def _and(*values: Any, most: int) -> Value:
    result: Value = next((value for value in values if not truth(value)), values[-1] if values else False)
    return result


def _or(*values: Any, most: int) -> Value:
    result: Value = next((value for value in values if truth(value)), values[-1] if values else False)
    return result


def _eq(*values: Any, most: int) -> bool:
    """Whether the first is any of the others."""
    if len(values) < 2:
        raise Invalid("eq takes two values or more")
    return any(_comparable(values[0], other) and values[0] == other for other in values[1:])


def _ne(*values: Any, most: int) -> bool:
    return not _eq(*_two("ne", values), most=most)


def _order(name: str, wanted: tuple[int, ...]) -> Function:
    def compare(*values: Any, most: int) -> bool:
        left, right = _two(name, values)
        _comparable(left, right)
        return (left > right) - (left < right) in wanted

    return compare


def _comparable(left: Any, right: Any) -> bool:
    for kind in (bool, str, int | float):
        if isinstance(left, kind) and isinstance(right, kind):
            return True
    raise Invalid("a template compares texts with texts, and numbers with numbers")


def _two(name: str, values: tuple[Any, ...]) -> tuple[Any, Any]:
    if len(values) != 2:
        raise Invalid(f"{name} takes two values")
    return values[0], values[1]


def _text_of(name: str, values: tuple[Any, ...]) -> str:
    if len(values) != 1 or not isinstance(values[0], str):
        raise Invalid(f"{name} takes a text")
    return values[0]


FUNCTIONS: Mapping[str, Function] = {
    "and": _and,
    "eq": _eq,
    "ge": _order("ge", (0, 1)),
    "gt": _order("gt", (1,)),
    "html": _html,
    "js": _js,
    "le": _order("le", (-1, 0)),
    "len": _len,
    "lt": _order("lt", (-1,)),
    "ne": _ne,
    "not": _not,
    "or": _or,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "urlquery": _urlquery,
}
