"""Settings that are inherited from all domains to a domain to a project, and are applied to every new run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flyteidl2.settings import settings_definition_pb2

from alula.base.clock import Clock
from alula.blobs.uri import join, parse
from alula.control.projects import Projects
from alula.core.errors import AlreadyExists, Conflict, Invalid, NotFound
from alula.core.permissible import check
from alula.core.run import Creation
from alula.core.scope import Level, Scope
from alula.core.setting import Layer, Record, resolve, values
from alula.storage import settings as store
from alula.storage.database import Database, Tx
from alula.wire import settings as wire
from alula.wire.defaults import complete


@dataclass(frozen=True, slots=True)
class ScopedSettings:
    """The verbs of settings. ``buckets`` are where this server can keep the data of runs."""

    database: Database
    clock: Clock
    projects: Projects
    buckets: Sequence[str]

    async def levels(self, scope: Scope) -> list[Record]:
        """What a scope and those it inherits from say, broadest first; where nothing was said the version is 0.

        Raises:
            NotFound: there is no such domain.
        """
        if scope.domain:
            await self.projects.domains.get(scope.domain)
        found = {record.scope: record for record in await self.database.read(lambda tx: store.chain(tx, scope))}
        return [found.get(level, Record(level, b"", 0)) for level in scope.chain()]

    async def resolved(self, scope: Scope) -> tuple[Layer, int]:
        """What applies in a scope, and the version of the scope's own record.

        Raises:
            NotFound: there is no such domain.
        """
        levels = await self.levels(scope)
        return _resolved(tuple(levels)), levels[-1].version

    async def create(self, scope: Scope, said: settings_definition_pb2.Settings) -> Record:
        """Say something in a scope for the first time.

        Raises:
            Invalid: a value cannot be what it is.
            NotFound: there is no such project or domain.
            AlreadyExists: the scope has settings.
        """
        record = Record(scope, self._checked(said), 1)
        await self.projects.require_scope(scope)
        if not await self.database.write(lambda tx: store.insert(tx, record, self.clock())):
            raise AlreadyExists(f"{scope} has settings: update them, with the version that they have")
        return record

    async def update(self, scope: Scope, said: settings_definition_pb2.Settings, version: int) -> Record:
        """Replace what is said in a scope. ``version`` is the one that the caller has seen.

        Raises:
            Invalid: a value cannot be what it is.
            NotFound: the scope has no settings.
            Conflict: somebody else has changed them meanwhile.
        """
        body = self._checked(said)

        async def write(tx: Tx) -> Record:
            known = next((r for r in await store.chain(tx, scope) if r.scope == scope), None)
            if known is None:
                raise NotFound(f"{scope} has no settings: create them first")
            if known.version != version:
                raise Conflict(
                    f"the settings of {scope} are at version {known.version}, and not {version}: somebody else has "
                    "changed them; get them again and repeat the change"
                )
            record = Record(scope, body, version + 1)
            await store.update(tx, record, self.clock())
            return record

        return await self.database.write(write)

    def _checked(self, said: settings_definition_pb2.Settings) -> bytes:
        layer = wire.layer(said, Level.ORG)
        check(layer)
        base = values(layer).get("run.run_base_dir")
        if base is not None:
            self._check_base("settings.run.run_base_dir", base)
        return wire.body(layer)

    def _check_base(self, path: str, base: str) -> None:
        try:
            parse(join(base, "project"), self.buckets)
        except Invalid as error:
            raise Invalid(f"{path}: {error}") from None

    async def values(self, project: str, domain: str) -> dict[str, Any]:
        """What applies to new things in a project and domain: path to value.

        Raises:
            NotFound: there is no such project or domain.
            Conflict: the project is archived.
        """
        await self.projects.require(project, domain)
        return await self.database.read(lambda tx: applied(tx, Scope(domain, project)))

    async def complete(self, asked: Creation) -> Creation:
        """A request for a run with all that it leaves open.

        Raises:
            NotFound: there is no such project or domain.
            Conflict: the project is archived.
        """
        return complete(asked, await self.values(asked.project, asked.domain))


async def applied(tx: Tx, scope: Scope) -> dict[str, Any]:
    """What applies in a scope, whether or not there is such a one: path to value."""
    return values(_resolved(tuple(await store.chain(tx, scope))))


@lru_cache(maxsize=256)  # runs are many, settings few
def _resolved(records: tuple[Record, ...]) -> Layer:
    return resolve([wire.stored(record) for record in records])
