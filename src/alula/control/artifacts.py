"""Artifacts: publish, find, list, declare; and register what actions produce."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from alula.base.clock import Clock
from alula.control.projects import Projects
from alula.core import artifact as core
from alula.core.action import Action
from alula.core.artifact import Artifact, ArtifactId, ArtifactName, ArtifactScope, Group, Published, Schema
from alula.core.errors import AlreadyExists, Conflict, DomainError, Invalid, NotFound, Unavailable
from alula.core.pages import Page
from alula.storage import artifacts as store
from alula.storage import catalogue
from alula.storage.database import Database, Tx
from alula.wire import artifacts as wire

_log = logging.getLogger(__name__)
VALUES_DEFAULT = 1000  # partition values told when nobody says how many; the SDK's number
VALUES_LIMIT = 10_000

Created = Callable[[Tx, Published], Awaitable[None]]  # called in the transaction that publishes a version


async def _nobody(tx: Tx, published: Published) -> None:
    """Nobody wants to know."""


class Artifacts:
    """The verbs of artifacts."""

    def __init__(self, database: Database, projects: Projects, clock: Clock, created: Created = _nobody) -> None:
        self._database = database
        self._projects = projects
        self._clock = clock
        self._created = created

    async def publish(self, artifact: Artifact) -> Published:
        """Publish a version. The same again is the same version, wherever it came from.

        Raises:
            Invalid: it can be no artifact.
            NotFound: there is no such project or domain.
            AlreadyExists: the version is taken by something different.
            Conflict: its name is partitioned by something else, or the project is archived.
        """
        core.check(artifact)
        await self._projects.require(artifact.id.name.project, artifact.id.name.domain)

        async def write(tx: Tx) -> Published:
            known = await store.schema(tx, artifact.id.name)
            found = artifact.partition.schema
            if known is not None and (why := core.mismatch(artifact.id.name, known[0], found)):
                raise Conflict(why)
            return await self._publish(tx, artifact)

        return await self._database.write(write)

    async def _publish(self, tx: Tx, artifact: Artifact) -> Published:
        known = await store.find(tx, artifact.id)
        if known is not None and known.artifact.digest != artifact.digest:
            raise AlreadyExists(f"artifact {artifact.id} is published with other content: choose another version")
        if known is not None:
            return known
        published = await store.insert(tx, artifact, self._clock())
        await self._created(tx, published)
        return published

    async def register_from(self, action: Action, outputs: bytes) -> list[str]:
        """Publish what an action declares in its outputs (serialised task.Outputs); what was refused, and why.

        The same outputs again publish nothing new, so call it before the action's success is recorded. A version whose
        partition is not one of its name is published all the same, and says so: the work is done.

        Raises:
            Unavailable: nothing can be written now; try again.
        """
        refused = []
        for declared in wire.declarations(outputs):
            try:
                await self._register(wire.produced(declared, action))
            except Unavailable:
                raise
            except DomainError as refusal:
                refused.append(f"artifact {declared.name!r} of output {declared.output!r} is not registered: {refusal}")
        for why in refused:
            _log.warning("action %s: %s", action.id, why)
        return refused

    async def _register(self, artifact: Artifact) -> None:
        core.check(artifact)
        await self._database.write(lambda tx: self._publish(tx, artifact))

    async def get(self, name: ArtifactName, version: str) -> Published:
        """One version; "" or "latest" is the one published last.

        Raises:
            NotFound: it was never published.
        """
        if version in ("", core.LATEST):
            found = await self._database.read(lambda tx: store.latest(tx, name))
        else:
            found = await self._database.read(lambda tx: store.find(tx, ArtifactId(name, version)))
        if found is None:
            what = f"{name}@{version}" if version else str(name)
            raise NotFound(f"artifact {what} does not exist; publish it with `flyte create artifact {name.name}`")
        return found

    async def delete(self, artifact: ArtifactId) -> None:
        """Forget one version; its data stays. Fine if it is not there."""
        await self._database.write(lambda tx: store.remove(tx, artifact))

    async def page(self, scope: ArtifactScope, asked: Page) -> tuple[list[Published], str]:
        """One page of versions, the newest first, and the token of the next."""
        return await self._database.scan(lambda tx: catalogue.page(tx, scope, asked))

    async def page_of_names(self, scope: ArtifactScope, asked: Page) -> tuple[list[Group], str]:
        """One page of names, the last published first, and the token of the next."""
        return await self._database.scan(lambda tx: catalogue.page_of_names(tx, scope, asked))

    async def metadata_keys(self, scope: ArtifactScope) -> list[str]:
        """The metadata keys of recent versions, sorted."""
        return await self._database.scan(lambda tx: catalogue.metadata_keys(tx, scope))

    async def declare(self, name: ArtifactName, wanted: Schema) -> Schema:
        """Fix what a name is partitioned by, ahead of any version. The same again is fine.

        Raises:
            Invalid: nothing can be partitioned by that.
            NotFound: there is no such project or domain.
            Conflict: it is partitioned by something else already.
        """
        core.check_schema(wanted)
        await self._projects.require(name.project, name.domain)

        async def write(tx: Tx) -> Schema:
            known = await store.schema(tx, name)
            if known is not None and (why := core.mismatch(name, known[0], wanted)):
                raise Conflict(why)
            await store.declare(tx, name, wanted)
            return wanted if known is None else known[0]

        return await self._database.write(write)

    async def schema(self, name: ArtifactName) -> tuple[Schema, bool]:
        """What a name is partitioned by, and whether that was declared.

        Raises:
            NotFound: the name has neither a declaration nor a version.
        """
        found = await self._database.read(lambda tx: store.schema(tx, name))
        if found is None:
            raise NotFound(f"artifact {name} has neither a declaration nor a version")
        return found

    async def partition_values(self, name: ArtifactName, key: str, asked: Page) -> list[str] | list[datetime]:
        """The values of one key of a name's partitions, ascending: texts, or times for the time key.

        Raises:
            NotFound: there is no such name.
            Invalid: it is not partitioned by that key.
        """
        schema, _ = await self.schema(name)
        if key not in (schema.time_key, *schema.keys):
            raise Invalid(f"key: artifact {name} is partitioned by {schema}, not by {key!r}")
        if asked.limit > VALUES_LIMIT:
            raise Invalid(f"request.limit: {asked.limit} is over {VALUES_LIMIT}")
        asked = replace(asked, limit=asked.limit or VALUES_DEFAULT)
        scope = ArtifactScope(name.project, name.domain, name.name)
        if key == schema.time_key:
            return await self._database.scan(lambda tx: catalogue.partition_times(tx, scope, asked))
        return await self._database.scan(lambda tx: catalogue.partition_values(tx, scope, key, asked))
