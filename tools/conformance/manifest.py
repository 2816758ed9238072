"""What is known of examples: what they need, how they are told to run, and what is to come of them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from examples import Example

EXEMPT = frozenset({"gpu", "account", "internet"})


class Unclear(Exception):
    """The manifest says what nobody understands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is to be true of the actions of one task: of all, or of exactly ``count``."""

    task: str = ""  # the function's name; empty: the roots of the runs
    phase: str = ""  # as "succeeded", "timed_out"
    attempts: int = 0
    cache: str = ""  # as "hit", "populated"
    error: str = ""  # a part of its text
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to run one example."""

    file: str
    args: tuple[str, ...] = ()
    task: str = ""  # run this one with `flyte run`, also if the file is a program
    flyte: tuple[str, ...] = ()  # run `flyte` with these words instead
    title: str = ""  # tells the cases of one file apart
    env: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()  # folders of packages that a user has installed, below the folder of examples
    folder: str = ""  # where it is run, below the folder of examples; empty: beside the file
    before: tuple[str, ...] = ()  # programs to run first, in the same project
    project: str = ""  # one that the file names itself
    secrets: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)  # to conditions, by their names
    limit: float = 0  # seconds; 0: as the command line says
    exit: int = 0
    says: str = ""  # a part of what it prints
    expect: tuple[Expected, ...] = ()
    why: str = ""  # where the expectation comes from
    apps: Mapping[str, str] = field(default_factory=dict)  # how they are to be, if not active
    stays: bool = False  # it runs until it is stopped, as a server does: to be alive at its limit is to pass

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.file, self.title or self.task or " ".join(self.args)) if part)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole file."""

    packages: tuple[str, ...]  # what a user has installed
    projects: tuple[str, ...]  # folders of examples that a user has installed
    wheels: tuple[str, ...]  # what a developer of the SDK has built
    needs: tuple[tuple[str, str, tuple[str, ...]], ...]  # a need, what to say of it, the files that have it
    signs: tuple[tuple[str, str, str], ...]  # a need, what to say of it, a part of an error that shows it
    parts: tuple[str, ...]
    alone: tuple[str, ...]  # files that listen on a port of their own choice: one at a time
    cases: tuple[Case, ...]

    def cases_of(self, example: Example) -> list[Case]:
        """How to run a file: as the manifest says, or in the one way that is plain."""
        if told := [case for case in self.cases if case.file == example.name]:
            return told
        if example.kind == "part" or any(fnmatchcase(example.name, pattern) for pattern in self.parts):
            return []
        return [Case(file=example.name, task=example.task if example.kind == "tasks" else "")]

    def is_alone(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.alone)

    def exempt(self) -> frozenset[str]:
        """The reasons that the goal itself names; all others are this manifest's judgement."""
        return frozenset(reason for need, reason, _ in (*self.needs, *self.signs) if need in EXEMPT)

    def lacking(self, name: str, have: frozenset[str]) -> str:
        """Why a file cannot run where only ``have`` is there; empty: it can."""
        for need, reason, files in self.needs:
            if need not in have and any(fnmatchcase(name, pattern) for pattern in files):
                return reason
        return ""

    def shown(self, error: str, have: frozenset[str]) -> str:
        """Why what failed with this error cannot run here; empty: the error shows no need."""
        for need, reason, sign in self.signs:
            if need not in have and sign in error:
                return reason
        return ""


def load(file: Path) -> Manifest:
    """Read a manifest.

    Raises:
        Unclear: a key is unknown, or a value is none of its kind.
    """
    told = tomllib.loads(file.read_text())
    try:
        return Manifest(
            packages=tuple(told.pop("packages", ())),
            projects=tuple(told.pop("projects", ())),
            wheels=tuple(told.pop("wheels", ())),
            needs=tuple((n["need"], n["reason"], tuple(n["files"])) for n in told["needs"] if "files" in n),
            signs=tuple((n["need"], n["reason"], sign) for n in told.pop("needs") for sign in n.get("signs", ())),
            parts=tuple(told.pop("parts", ())),
            alone=tuple(told.pop("alone", ())),
            cases=tuple(_case(case) for case in told.pop("case", ())),
        )
    except (KeyError, TypeError) as wrong:
        raise Unclear(f"{file.name}: {wrong}") from wrong
    finally:
        if told:
            raise Unclear(f"{file.name}: nobody knows {sorted(told)[0]}")


def _case(told: dict[str, Any]) -> Case:
    known = {f.name for f in fields(Case)}
    if unknown := sorted(told.keys() - known):
        raise Unclear(f"the case of {told.get('file')}: nobody knows {unknown[0]}")
    lists = {key: tuple(value) for key, value in told.items() if isinstance(value, list)}
    expect = tuple(Expected(**one) for one in told.get("expect", ()))
    return Case(**{**told, **lists, "expect": expect})
