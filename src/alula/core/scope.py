"""Where a thing that is inherited was said: for everybody, for a domain, or for one project in a domain."""

from dataclasses import dataclass
from enum import IntEnum

from alula.core.errors import Invalid


class Level(IntEnum):
    """How narrow a scope is. Numbers are those of `settings.ScopeLevel`."""

    ORG = 0
    DOMAIN = 1
    PROJECT = 2


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """A scope; both fields empty is everything there is. `Invalid` for a project without a domain."""

    domain: str = ""
    project: str = ""

    def __post_init__(self) -> None:
        if self.project and not self.domain:
            raise Invalid(f"domain: missing; a scope that names project {self.project!r} has to name a domain too")

    @property
    def level(self) -> Level:
        return Level.PROJECT if self.project else Level.DOMAIN if self.domain else Level.ORG

    def chain(self) -> tuple["Scope", ...]:
        """This scope and those it inherits from, broadest first."""
        return (*(Scope(), Scope(self.domain))[: self.level], self)

    def __str__(self) -> str:
        match self.level:
            case Level.ORG:
                return "all domains"
            case Level.DOMAIN:
                return f"domain {self.domain!r}"
            case Level.PROJECT:
                return f"project {self.project!r} in domain {self.domain!r}"
