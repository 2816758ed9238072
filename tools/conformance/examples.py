"""What the files below a folder are: programs to run, tasks to run by their names, or parts of others."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["program", "tasks", "part"]


@dataclass(frozen=True, slots=True)
class Example:
    """A file, and how its user would run it."""

    name: str  # its path below the folder of examples, as `basics/hello.py`
    kind: Kind
    tasks: tuple[str, ...] = ()  # in the order of the file

    @property
    def task(self) -> str:
        """The task to run if nothing else is said: ``main``, or the last one, which calls those before."""
        return "main" if "main" in self.tasks else self.tasks[-1]


def find(folder: Path) -> list[Example]:
    """Every Python file below a folder, in the order of their names."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py"))
    return [read(name, (folder / name).read_text()) for name in names]


def read(name: str, source: str) -> Example:
    """What a file is; one that no Python can read is a part of nothing, and fails when it is run."""
    try:
        module = ast.parse(source)
    except SyntaxError:
        return Example(name, "program")
    if not _uses_flyte(module):
        return Example(name, "part")
    tasks = tuple(_tasks(module))
    if any(_is_guard(node) for node in module.body):
        return Example(name, "program", tasks)
    return Example(name, "tasks" if tasks else "part", tasks)


def _uses_flyte(module: ast.Module) -> bool:
    for node in ast.walk(module):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(origin), level=0):
                found = [origin]
            case _:
                continue
        if any(name.partition(".")[0] in ("flyte", "flyteplugins") for name in found):
            return True
    return False


def _is_guard(node: ast.stmt) -> bool:
    """Whether this is ``if __name__ == "__main__":``."""
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test)
    )


def _tasks(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_makes_a_task, node.decorator_list)):
            yield node.name


def _makes_a_task(decorator: ast.expr) -> bool:
    made = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(made, ast.Attribute) and made.attr == "task"
