"""Names of runs and actions. The organisation is no part of a key: callers disagree about it (sdk-contract)."""

from dataclasses import dataclass

ROOT = "a0"  # the name of every run's root action; clients rely on it


@dataclass(frozen=True, slots=True, order=True)
class RunId:
    """One run. Unique within its project and domain, not beyond."""

    project: str
    domain: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.domain}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class ActionId:
    """One action of a run. Action names recur across runs."""

    run: RunId
    name: str

    def __str__(self) -> str:
        return f"{self.run}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class TaskId:
    """One version of a deployed task."""

    project: str
    domain: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.project}/{self.domain}/{self.name}@{self.version}"
