"""Domains: the partitions that every project has."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from alula.base.clock import Clock
from alula.core.domain import Domain
from alula.core.errors import AlreadyExists, Conflict, NotFound
from alula.storage import domains as store
from alula.storage import secrets, settings
from alula.storage.database import Database, Tx


@dataclass(frozen=True, slots=True)
class Domains:
    """The verbs of domains."""

    database: Database
    clock: Clock

    async def seed(self, names: Iterable[str]) -> None:
        """Make the first domains of a new database, listed in this order. One that has some keeps those that it has."""
        now = self.clock()
        first = [Domain(name, name, now + n * timedelta(microseconds=1)) for n, name in enumerate(names)]

        async def write(tx: Tx) -> None:
            if not await store.every(tx):
                for domain in first:
                    await store.insert(tx, domain)

        await self.database.write(write)

    async def every(self) -> list[Domain]:
        """All of them."""
        return await self.database.read(store.every)

    async def get(self, name: str) -> Domain:
        """One of them.

        Raises:
            NotFound: there is none of that name; the message has the names that there are.
        """
        found = await self.database.read(lambda tx: store.find(tx, name))
        if found is None:
            names = ", ".join([domain.name for domain in await self.every()])
            raise NotFound(f"domain {name!r} does not exist; there are: {names}")
        return found

    async def create(self, name: str, title: str) -> Domain:
        """Make one.

        Raises:
            AlreadyExists: there is one of that name.
        """
        domain = Domain(name, title or name, self.clock())
        if not await self.database.write(lambda tx: store.insert(tx, domain)):
            raise AlreadyExists(f"domain {name!r} exists")
        return domain

    async def rename(self, name: str, title: str) -> Domain:
        """Give one another title; an empty one leaves it as it is.

        Raises:
            NotFound: there is none of that name.
        """
        domain = await self.get(name)
        if title:
            await self.database.write(lambda tx: store.rename(tx, name, title))
        return replace(domain, title=title or domain.title)

    async def delete(self, name: str) -> None:
        """Remove one, and the settings that were made for it.

        Raises:
            NotFound: there is none of that name.
            Conflict: there are runs, tasks or secrets in it, or it is the last one.
        """
        await self.get(name)

        async def write(tx: Tx) -> None:
            if await store.used(tx, name):
                raise Conflict(f"domain {name!r} has runs or tasks: it cannot be deleted")
            if await secrets.in_domain(tx, name):
                raise Conflict(f"domain {name!r} has secrets: delete them first, with `flyte delete secret`")
            if len(await store.every(tx)) == 1:
                raise Conflict(f"domain {name!r} is the last one: create another one first")
            await settings.delete_domain(tx, name)
            await store.delete(tx, name)

        await self.database.write(write)
