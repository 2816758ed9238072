"""The numbered cases: which tests stand for each. Tests say so in their docstrings: "Case C17: ...".

A case counts for a test, for all tests of a class, or for all tests of a file, as its docstring does.
"""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = re.compile(r"\b[Cc]ases?((?:(?:,| and)? [CO]\d+)+)")
NUMBER = re.compile(r"[CO]\d+")
TITLES = {"C": "Runs, actions, watches, triggers and caches", "O": "Everything else"}


class Unaccounted(Exception):
    """A case that no test stands for and that no reason is given for, or a number that is no case's."""


def cases() -> str:
    """A table of all cases.

    Raises:
        Unaccounted: as its words say.
    """
    known: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("cases.toml").read_text())
    found = collected()
    for number in sorted(set(found) - set(known)):
        raise Unaccounted(f"{found[number][0]}: there is no case {number} (tools/cases.toml)")
    for number, case in known.items():
        if number not in found and not case.keys() & {"elsewhere", "open"}:
            raise Unaccounted(f"no test says that it is of case {number}: {case['is']}")
        if number in found and "elsewhere" in case:
            raise Unaccounted(f"{found[number][0]}: tools/cases.toml says that case {number} is none of a server's")
    parts = []
    for letter, title in TITLES.items():
        rows = [_row(number, case, found.get(number, [])) for number, case in known.items() if number[0] == letter]
        parts.append("\n".join((f"## {title}", "", "| case | what holds | tests |", "| --- | --- | --- |", *rows)))
    return "\n\n".join((_summary(known, found), *parts))


def collected() -> dict[str, list[str]]:
    """The tests of each case."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = str(path.relative_to(ROOT))
        for number, where in _cases_of(ast.parse(path.read_text()), name):
            if where not in found[number]:
                found[number].append(where)
    return found


def _cases_of(node: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, str]]:
    yield from ((number, name) for number in _numbers(node))
    for inner in node.body:
        if isinstance(inner, ast.ClassDef):
            yield from _cases_of(inner, f"{name}::{inner.name}")
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.name.startswith("test_"):
            yield from ((number, f"{name}::{inner.name}") for number in _numbers(inner))


def _numbers(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    said = NUMBERS.findall(ast.get_docstring(node) or "")
    return [number for text in said for number in NUMBER.findall(text)]


def _row(number: str, case: dict[str, str], tests: list[str]) -> str:
    told = [_link(test) for test in tests]
    told += [f"None of a server's: {case['elsewhere']}"] if "elsewhere" in case else []
    told += [f"Open: {case['open']}"] if "open" in case else []
    return f"| {number} | {case['is']} | {'<br>'.join(told)} |"


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{name or 'all'} in {path.removeprefix('tests/')}](../{path})"


def _summary(known: dict[str, dict[str, str]], found: dict[str, list[str]]) -> str:
    open_ = sum("open" in case for case in known.values())
    elsewhere = sum("elsewhere" in case for case in known.values())
    return (
        f"{len(known)} cases: {sum(number in found for number in known)} have tests, of which {open_} leave something "
        f"open; {elsewhere} are none of a server's."
    )
