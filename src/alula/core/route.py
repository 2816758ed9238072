"""Which cluster runs an action: who claims its queue, else its project, else everything that nobody claims."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from alula.core.ids import RunId

HERE = "local"  # this machine, where clusters are named


@dataclass(frozen=True, slots=True)
class Claim:
    """What a cluster runs.

    ``queues``: NAME in every project and domain, or PROJECT/DOMAIN/NAME. ``projects``: PROJECT or PROJECT/DOMAIN.
    ``rest``: whatever no other claims.
    """

    queues: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    rest: bool = False

    def marks(self) -> Iterator[tuple[str, str]]:
        """What it claims, each as a kind and a name."""
        yield from (("queue", queue) for queue in self.queues)
        yield from (("project", project) for project in self.projects)
        if self.rest:
            yield "default", ""


class Routes:
    """Where actions go, by the claims of clusters. What is told in more words goes before what is told in fewer."""

    def __init__(self, claims: Mapping[str, Claim]) -> None:
        self._by = {mark: name for name, claim in claims.items() for mark in claim.marks()}

    def find(self, run: RunId, queue: str) -> str:
        """The cluster for an action of a run; "" for this machine."""
        scope = f"{run.project}/{run.domain}"
        marks: Iterable[tuple[str, str]] = (
            *([("queue", f"{scope}/{queue}"), ("queue", queue)] if queue else []),
            ("project", scope),
            ("project", run.project),
            ("default", ""),
        )
        found = next((self._by[mark] for mark in marks if mark in self._by), HERE)
        return "" if found == HERE else found


def contested(claims: Mapping[str, Claim]) -> Iterator[str]:
    """What is claimed twice, in words."""
    seen: dict[tuple[str, str], str] = {}
    for name, claim in claims.items():
        for kind, what in claim.marks():
            first = seen.setdefault((kind, what), name)
            if first != name:
                yield f"both {first} and {name} claim the {kind} {what}".rstrip()
