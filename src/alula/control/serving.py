"""What the loop that serves apps reads of them and writes down."""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from dataclasses import dataclass

from alula.base.clock import Clock
from alula.control.apps import reported
from alula.control.secrets import Secrets
from alula.core.app import LOCAL, App, Replica, Report
from alula.storage import apps as store
from alula.storage.changes import Changes
from alula.storage.database import Database, Tx
from alula.wire import apps as wire


@dataclass(frozen=True, slots=True)
class Serving:
    """The verbs of serving. Everything that a crash must not lose is in the rows."""

    database: Database
    changes: Changes
    clock: Clock
    secrets: Secrets

    async def begin(self) -> None:
        """Nothing runs (yet)."""
        await self.database.write(lambda tx: store.end_replicas(tx, self.clock()))

    async def keys(self) -> list[int]:
        """Every app."""
        return await self.database.read(store.keys)

    async def get(self, key: int) -> App | None:
        """An app that this server is to serve; ``None``: there is none, or it is another's."""
        found = await self.database.read(lambda tx: store.get(tx, key))
        return found if found is not None and found.assigned == LOCAL else None

    async def names(self) -> Collection[str]:
        """The replicas whose logs are kept."""
        return await self.database.scan(store.replica_names)

    async def secrets_of(self, app: App) -> Mapping[str, bytes]:
        """The secrets that there are of those an app names.

        Raises:
            LaunchRefused: one cannot be decrypted.
        """
        return await self.secrets.resolve(app.id.project, app.id.domain, wire.secret_keys(app))

    async def report(self, key: int, revision: int, report: Report) -> None:
        """Say what an app is like. Said of a revision that is not the last one, it does not count."""

        async def write(tx: Tx) -> None:
            old = await store.get(tx, key)
            if old is not None and old.revision == revision:
                new = reported(old, report, self.clock())
                if new != old:
                    await store.put(tx, new)

        await self.database.write(write)

    async def start_replica(self, app: App, name: str) -> list[str]:
        """Write down a replica that exists; the ended ones whose logs are to go."""
        replica = Replica(app.key, name, app.revision, self.clock())

        async def write(tx: Tx) -> list[str]:
            if await store.get(tx, app.key) is None:
                return []  # it was deleted meanwhile: the replica will go unrecorded
            return await store.start_replica(tx, replica)

        return await self.database.write(write)

    async def end_replica(self, key: int, name: str) -> None:
        """A replica is no more; its log is."""
        await self.database.write(lambda tx: store.end_replica(tx, key, name, self.clock()))

    async def changed(self) -> AsyncIterator[set[int] | None]:
        """The apps that have changed, as they do; ``None``: any may have, as at first."""
        with self.changes.watch(store.of_apps()) as changed:
            yield None
            while True:
                yield store.keys_of(await changed.next())

    async def replicas(self, key: int) -> AsyncGenerator[list[Replica], None]:
        """An app's replicas, oldest first, with those that have ended and whose logs are kept; again at every change.

        Ends when the app is deleted.
        """
        async for changed in self.changed():
            if changed is not None and key not in changed:
                continue
            if await self.database.read(lambda tx: store.get(tx, key)) is None:
                return
            yield await self.database.read(lambda tx: store.replicas(tx, key))
