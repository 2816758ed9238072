"""Budgets hold tails: a file has at most 600 lines, a function 60, arguments 6. No exceptions."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(p for folder in ("src", "tests", "tools", "examples") for p in (ROOT / folder).rglob("*.py"))
FILE_LINES, FUNCTION_LINES, ARGUMENTS = 600, 60, 6
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "misc", "base_classes"}


def _names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", FILES, ids=_names)
def test_a_file_and_its_functions_are_within_budget(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= FILE_LINES
    for function in _functions(path):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= FUNCTION_LINES, f"{function.name} has {length} lines"
        arguments = [a for a in (*function.args.posonlyargs, *function.args.args) if a.arg not in ("self", "cls")]
        count = len(arguments) + len(function.args.kwonlyargs)
        assert count <= ARGUMENTS or "tests" in path.parts, f"{function.name} has {count} arguments"


def test_no_module_is_a_drawer() -> None:
    found = [_names(p) for p in FILES if "src" in p.parts and p.stem in FORBIDDEN_NAMES]
    assert found == []


def test_the_layout_is_the_one_of_the_plan() -> None:
    """Every package below `src/alula` stands in `docs/architecture.md`."""
    plan = (ROOT / "docs" / "architecture.md").read_text()
    packages = [p.parent.name for p in (ROOT / "src" / "alula").glob("*/__init__.py")]
    assert packages
    assert [name for name in packages if f"{name}/" not in plan] == []


def test_every_file_of_the_walk_exists() -> None:
    """`docs/walk.md` names files below `src/alula`; each is there."""
    import re

    text = (ROOT / "docs" / "walk.md").read_text()
    named = set(re.findall(r"`((?:[a-z0-9_]+/)+[a-z0-9_]+\.py)", text))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / "src" / "alula" / name).exists()] == []
