"""Projects and their domains."""

import logging
from dataclasses import dataclass

from alula.base.clock import Clock
from alula.control.domains import Domains
from alula.core.errors import AlreadyExists, Conflict, Invalid, NotFound
from alula.core.pages import Page
from alula.core.project import ARCHIVED, Project
from alula.core.scope import Scope
from alula.storage import projects as store
from alula.storage.database import Database

_log = logging.getLogger(__name__)
_NAME_LIMIT = 63


@dataclass(frozen=True, slots=True)
class Projects:
    """The verbs of projects. ``create_missing`` makes a project when a run first names it (embedded mode)."""

    database: Database
    clock: Clock
    domains: Domains
    create_missing: bool = False

    async def create(self, project: Project) -> None:
        """Make a project.

        Raises:
            Invalid: the identifier cannot be one.
            AlreadyExists: there is one of that name.
        """
        _check(project.name)
        if not await self.database.write(lambda tx: store.insert(tx, project, self.clock())):
            raise AlreadyExists(f"project {project.name!r} exists")

    async def update(self, project: Project) -> None:
        """Replace what is said of a project.

        Raises:
            Invalid: there can be none of that name.
            NotFound: there is none of that name.
        """
        _check(project.name)
        if not await self.database.write(lambda tx: store.update(tx, project, self.clock())):
            raise _missing(project.name)

    async def get(self, name: str) -> Project:
        """A project, archived or not.

        Raises:
            Invalid: there can be none of that name.
            NotFound: there is none of that name.
        """
        _check(name)
        found = await self.database.read(lambda tx: store.find(tx, name))
        if found is None:
            raise _missing(name)
        return found

    async def page(self, asked: Page) -> tuple[list[Project], str]:
        """One page of projects and the token of the next."""
        return await self.database.scan(lambda tx: store.page(tx, asked))

    async def require(self, name: str, domain: str) -> None:
        """Make sure that things can be put into a project and domain.

        Raises:
            NotFound: there is no such project or domain.
            Conflict: the project is archived.
        """
        await self.domains.get(domain)
        _check(name)
        found = await self.database.read(lambda tx: store.find(tx, name))
        if found is None and not self.create_missing:
            raise _missing(name)
        if found is None:
            await self._make(name)
        elif found.state == ARCHIVED:
            raise Conflict(f"project {name!r} is archived: restore it with `flyte update project {name} --unarchive`")

    async def require_scope(self, scope: Scope) -> None:
        """Make sure that things can be put into a scope.

        Raises:
            NotFound: there is no such project or domain.
            Conflict: the project is archived.
        """
        if scope.project:
            await self.require(scope.project, scope.domain)
        elif scope.domain:
            await self.domains.get(scope.domain)

    async def _make(self, name: str) -> None:
        project = Project(name=name, title=name, description="", labels={}, state=0)
        if await self.database.write(lambda tx: store.insert(tx, project, self.clock())):
            _log.info("project %s did not exist: created it", name)


def _missing(name: str) -> NotFound:
    return NotFound(f"project {name!r} does not exist; create it with `flyte create project --id {name} --name {name}`")


def _check(name: str) -> None:
    if not 0 < len(name) <= _NAME_LIMIT or "/" in name or name in (".", "..") or not name.isprintable():
        raise Invalid(f"project.id: {name!r} cannot be a project; use 1 to {_NAME_LIMIT} letters, digits, '-' and '_'")
