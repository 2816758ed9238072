"""The part of Go's text/template that messages are written in: fields, pipes, functions, ``if`` and ``with``.

A template sees values, never objects: names are looked up in mappings, and there is nothing else to reach. What it may
cost is bounded, whoever wrote it. Left out are loops, variables and templates within templates: they are refused.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, Union

from alula.core.errors import Invalid
from alula.core.gofunctions import FUNCTIONS, Value, text, truth

Data: TypeAlias = Mapping[str, Union[Value, "Data"]]
Escape = Callable[[str], str]

LONGEST = 1 << 20  # characters that one message may come to, everything computed on the way counted
_LONGEST_SOURCE = 1 << 18  # characters
_DEEPEST = 20  # parentheses and blocks within each other
_OPEN = re.compile(r"\{\{(?:-(?=\s))?")
_COMMENT = re.compile(r"\s*/\*.*?\*/(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<end>\s-\}\}|\}\}) | (?P<space>\s+) | (?P<string>"(?:[^"\\\n]|\\.)*") | (?P<raw>`[^`]*`)
    | (?P<field>\$?(?:\.[^\W\d]\w*)+|\$(?!\w)|\.(?!\w)) | (?P<number>[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?(?![\w.]))
    | (?P<word>[^\W\d]\w*)
    | (?P<mark>[|()])""",
    re.VERBOSE,
)
_UNESCAPED = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}
_CONSTANTS: dict[str, Value] = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class _Field:
    path: tuple[str, ...]
    root: bool


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Value


@dataclass(frozen=True, slots=True)
class _Call:
    """A function, or a lone operand when ``function`` is empty."""

    function: str
    operands: tuple["_Operand", ...]


@dataclass(frozen=True, slots=True)
class _Pipe:
    calls: tuple[_Call, ...]


_Operand: TypeAlias = _Field | _Constant | _Pipe


@dataclass(frozen=True, slots=True)
class _Branch:
    """``if``, and ``with``, which also makes what it asks for the dot."""

    rebinds: bool
    condition: _Pipe
    then: tuple["_Node", ...]
    otherwise: tuple["_Node", ...]


_Node: TypeAlias = str | _Pipe | _Branch
_Token: TypeAlias = tuple[str, str]


class Renderer:
    """Renders the templates of one message from its data. All of them share what the message may cost."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._left = LONGEST

    def render(self, source: str, escape: Escape | None = None) -> str:
        """Fill in a template. ``escape`` is applied to what is filled in, unless the template did so by ``html``.

        Raises:
            Invalid: it is no template, names something unknown, or comes to more than a message may be.
        """
        nodes = _Parser(source).template()
        return "".join(self._nodes(nodes, self._data, escape))

    def _nodes(self, nodes: Sequence[_Node], dot: Value | Data, escape: Escape | None) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, str):
                yield self._counted(node)
            elif isinstance(node, _Pipe):
                shown = text(self._pipe(node, dot))
                escaped = escape is not None and node.calls[-1].function != "html"
                yield self._counted(escape(shown) if escaped and escape else shown)
            else:
                asked = self._pipe(node.condition, dot)
                if truth(asked):
                    yield from self._nodes(node.then, asked if node.rebinds else dot, escape)
                else:
                    yield from self._nodes(node.otherwise, dot, escape)

    def _pipe(self, pipe: _Pipe, dot: Value | Data) -> Value | Data:
        value: Value | Data = ""
        for number, call in enumerate(pipe.calls):
            operands = [self._operand(operand, dot) for operand in call.operands]
            if not call.function:
                value = operands[0]
                continue
            value = FUNCTIONS[call.function](*operands, *([value] if number else []), most=self._left)
            if isinstance(value, str):
                self._counted(value)
        return value

    def _operand(self, operand: _Operand, dot: Value | Data) -> Value | Data:
        if isinstance(operand, _Constant):
            return operand.value
        if isinstance(operand, _Pipe):
            return self._pipe(operand, dot)
        value: Value | Data = self._data if operand.root else dot
        for name in operand.path:
            if not isinstance(value, Mapping):
                raise Invalid(f"the template asks for .{'.'.join(operand.path)}, but there is nothing below that text")
            if name not in value:
                asked, known = ".".join(operand.path), ", ".join(f".{key}" for key in value)
                raise Invalid(f"the template asks for .{asked}: there is no {name!r} here, only {known}")
            value = value[name]
        return value

    def _counted(self, piece: str) -> str:
        self._left -= len(piece)
        if self._left < 0:
            raise Invalid(f"the template comes to more than {LONGEST} characters")
        return piece


class _Parser:
    """One pass over a template's tokens, descending into blocks and parentheses."""

    def __init__(self, source: str) -> None:
        if len(source) > _LONGEST_SOURCE:
            raise Invalid(f"the template is longer than {_LONGEST_SOURCE} characters")
        self._tokens = list(_tokens(source))
        self._next = 0
        self._depth = 0

    def template(self) -> tuple[_Node, ...]:
        nodes, stop = self._block()
        if stop:
            _refuse(f"{{{{{stop}}}}} ends nothing")
        return nodes

    def _block(self) -> tuple[tuple[_Node, ...], str]:
        """Everything until ``else``, ``end`` or the template's end, and which of them it was."""
        nodes: list[_Node] = []
        self._deeper()
        while self._next < len(self._tokens):
            kind, value = self._take()
            if kind == "text":
                nodes.append(value)
                continue
            kind, value = self._peek()
            if (kind, value) in (("word", "end"), ("word", "else")):
                self._take()
                self._depth -= 1
                return tuple(nodes), value
            if (kind, value) in (("word", "if"), ("word", "with")):
                self._take()
                nodes.append(self._branch(value))
            else:
                nodes.append(self._pipe("end"))
        self._depth -= 1
        return tuple(nodes), ""

    def _branch(self, word: str) -> _Branch:
        condition = self._pipe("end")
        then, stop = self._block()
        otherwise: tuple[_Node, ...] = ()
        if stop == "else":
            if self._peek() in (("word", "if"), ("word", "with")):
                self._deeper()
                _, again = self._take()
                otherwise, stop = (self._branch(again),), "end"
                self._depth -= 1
                return _Branch(word == "with", condition, then, otherwise)
            self._expect_end()
            otherwise, stop = self._block()
        if stop != "end":
            _refuse(f"{{{{{word}}}}} has no {{{{end}}}}")
        self._expect_end()
        return _Branch(word == "with", condition, then, otherwise)

    def _pipe(self, closing: str) -> _Pipe:
        """Commands joined by ``|``, up to and with what closes them: "end" of the action, or ")"."""
        self._deeper()
        calls: list[_Call] = []
        while True:
            calls.append(self._call(first=not calls))
            kind, value = self._take()
            if value == "|" and kind == "mark":
                continue
            if closing in (kind, value):
                self._depth -= 1
                return _Pipe(tuple(calls))
            _refuse(f"{value!r} is not expected there")

    def _call(self, *, first: bool) -> _Call:
        kind, word = self._peek()
        function = ""
        if kind == "word" and word not in _CONSTANTS:
            if word not in FUNCTIONS:
                known = ", ".join(sorted(FUNCTIONS))
                _refuse(f"{word!r} is no function that messages know; they know {known}, if, with")
            self._take()
            function = word
        operands = []
        while (operand := self._operand()) is not None:
            operands.append(operand)
        if not function and (len(operands) != 1 or not first):
            _refuse("a command is one value, or a function and its arguments")
        return _Call(function, tuple(operands))

    def _operand(self) -> _Operand | None:
        kind, value = self._peek()
        if kind == "field":
            self._take()
            return _Field(tuple(name for name in value.removeprefix("$").split(".") if name), value.startswith("$"))
        if kind in ("string", "raw", "number") or value in _CONSTANTS:
            self._take()
            return _Constant(_constant(kind, value))
        if value == "(":
            self._take()
            return self._pipe(")")
        return None

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            _refuse(f"it goes deeper than {_DEEPEST} levels")

    def _expect_end(self) -> None:
        kind, value = self._take()
        if kind != "end":
            _refuse(f"{value!r} is not expected there")

    def _peek(self) -> _Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("", "")

    def _take(self) -> _Token:
        token = self._peek()
        self._next += 1
        return token


def _constant(kind: str, value: str) -> Value:
    if kind == "word":
        return _CONSTANTS[value]
    if kind == "raw":
        return value[1:-1]
    if kind == "number":
        return float(value) if "." in value else int(value)
    return re.sub(r"\\(.)", lambda found: _UNESCAPED.get(found[1], found[0]), value[1:-1], flags=re.DOTALL)


def _tokens(source: str) -> Iterator[_Token]:
    """Text, and for each action "open", its tokens, and "end". Trim marks are applied to the text beside them."""
    at, trim = 0, False
    while (found := _OPEN.search(source, at)) is not None:
        trimmed = found[0].endswith("-")
        yield "text", _trimmed(source[at : found.start()], left=trim, right=trimmed)
        at = found.end()
        if comment := _COMMENT.match(source, at):
            at, trim = comment.end(), comment[1] is not None
            continue
        yield "open", ""
        while True:
            token = _TOKEN.match(source, at)
            if token is None:
                left = source[at : at + 20]
                _refuse(f"{left!r} is not understood there" if left else "an action is not closed by }}")
            at = token.end()
            kind = str(token.lastgroup)
            if kind != "space":
                yield kind, token[0]
            if kind == "end":
                trim = "-" in token[0]
                break
    yield "text", _trimmed(source[at:], left=trim, right=False)


def _trimmed(piece: str, *, left: bool, right: bool) -> str:
    piece = piece.lstrip() if left else piece
    return piece.rstrip() if right else piece


def _refuse(why: str) -> NoReturn:
    raise Invalid(f"the template is not one that messages can be written in: {why}")
