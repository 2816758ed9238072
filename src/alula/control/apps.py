"""Apps: create, look, change, list, watch; and what a cluster elsewhere asks and tells of those it serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alula.base.clock import Clock
from alula.control.projects import Projects
from alula.core.app import (
    LOCAL,
    App,
    AppId,
    AppScope,
    Condition,
    Deployment,
    Desired,
    NewApp,
    Report,
    appended,
    first_condition,
    host_label,
)
from alula.core.errors import Aborted, AlreadyExists, Conflict, Invalid, NotFound
from alula.core.ingress import Address
from alula.core.pages import Page
from alula.storage import apps as store
from alula.storage.changes import Changes
from alula.storage.database import Database, Tx

_LEASE = timedelta(seconds=60)  # a cluster has so long to report on what it was given


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a watch. Created: ``old`` is None. Deleted: ``new`` is None."""

    new: App | None
    old: App | None


class Apps:
    """The verbs of apps.

    Args:
        user: who calls, as long as callers do not say.
        local: this server itself serves the apps that are pinned to no other cluster.
    """

    def __init__(
        self, database: Database, changes: Changes, projects: Projects, clock: Clock, user: str, *, local: bool = True
    ) -> None:
        self._database = database
        self._changes = changes
        self._projects = projects
        self._clock = clock
        self._user = user
        self._local = local

    async def create(self, asked: NewApp) -> App:
        """Make an app; it is on disk when this returns.

        Raises:
            AlreadyExists: there is one of that name. The SDK then updates it.
            Conflict: the subdomain is another app's.
            NotFound: there is no such project or domain.
        """
        await self._projects.require(asked.id.project, asked.id.domain)
        return await self._database.write(lambda tx: self._create(tx, asked))

    async def _create(self, tx: Tx, asked: NewApp) -> App:
        if await store.find(tx, asked.id) is not None:
            raise AlreadyExists(f"app {asked.id} exists: update it, or choose another name")
        now = self._clock()
        assigned = self._assigned(asked)
        status, message = first_condition(assigned, asked.desired)
        first = Condition(status, 0, message, now, deployment=asked.plan.deployment, actor=self._user)
        app = App(
            key=0,
            id=asked.id,
            org=asked.org,
            host=await _host(tx, asked),
            revision=1,
            desired=asked.desired,
            spec=asked.spec,
            meta=asked.meta,
            plan=asked.plan,
            created_by=self._user,
            assigned=assigned,
            lease_until=None,
            replicas=0,
            conditions=appended((), first),
            created_at=now,
            updated_at=now,
        )
        return await store.insert(tx, app, "created")

    def _assigned(self, asked: NewApp) -> str:
        return LOCAL if self._local and asked.plan.cluster in ("", LOCAL) else ""

    async def get(self, app: AppId) -> App:
        """An app.

        Raises:
            NotFound: there is none of that name.
        """
        found = await self._database.read(lambda tx: store.find(tx, app))
        if found is None:
            raise _missing(app)
        return found

    async def at(self, address: Address) -> App:
        """The app that is reached at an address.

        Raises:
            NotFound: there is none.
        """
        if address.app is not None:
            return await self.get(address.app)
        found = await self._database.read(lambda tx: store.at_host(tx, address.host))
        if found is None:
            raise NotFound(f"no app is served at {address.host!r}: see `flyte get app` for those there are")
        return found

    async def update(self, asked: NewApp, reason: str) -> App:
        """Change what is wanted of an app. A request that changes nothing makes no revision.

        Raises:
            Aborted: it is based on a revision that is not the last one.
            Conflict: the subdomain is another app's.
            NotFound: there is none of that name.
        """
        return await self._database.write(lambda tx: self._update(tx, asked, reason))

    async def _update(self, tx: Tx, asked: NewApp, reason: str) -> App:
        old = await _based_on(tx, asked.id, asked.revision)
        if (asked.spec, asked.meta, asked.desired) == (old.spec, old.meta, old.desired):
            return old
        moved = asked.plan.cluster != old.plan.cluster
        new = replace(
            old,
            revision=old.revision + 1,
            desired=asked.desired,
            spec=asked.spec,
            meta=asked.meta,
            plan=asked.plan,
            host=await _host(tx, asked) if asked.plan.subdomain != old.plan.subdomain else old.host,
            assigned=self._assigned(asked) if moved else old.assigned,
            lease_until=None if moved else old.lease_until,
            updated_at=self._clock(),
        )
        if moved or _starts_anew(old, new):
            status, message = first_condition(new.assigned, new.desired)
            actor, deployment = self._user, new.plan.deployment
            said = Condition(status, 0, reason or message, new.updated_at, deployment=deployment, actor=actor)
            new = replace(new, conditions=appended(old.conditions, said))
        await store.put(tx, new, reason)
        return new

    async def update_status(self, app: AppId, revision: int, cluster: str, report: Report) -> App:
        """Take what the cluster that serves an app says of it; its lease begins anew.

        Raises:
            Aborted: it is about a revision that is not the last one.
            Conflict: the app is another cluster's to serve, or this server's.
            NotFound: there is none of that name.
        """

        async def write(tx: Tx) -> App:
            old = await _based_on(tx, app, revision)
            if old.assigned == LOCAL:
                raise Conflict(f"app {app} is served by this server, which tells its status itself")
            if cluster != old.assigned:
                raise Conflict(f"app {app} is not leased to cluster {cluster!r}: lease it first")
            now = self._clock()
            new = replace(reported(old, report, now), lease_until=now + _LEASE)
            await store.put(tx, new)
            return new

        return await self._database.write(write)

    async def delete(self, app: AppId) -> None:
        """Delete an app; its processes end soon. One that does not exist is deleted already."""

        async def write(tx: Tx) -> None:
            found = await store.find(tx, app)
            if found is not None:
                await store.remove(tx, found.key)

        await self._database.write(write)

    async def page(self, scope: AppScope, asked: Page, *, counted: bool) -> tuple[list[App], str, int]:
        """One page of apps, the token of the next, and (if asked for) how many there are on all pages."""

        async def read(tx: Tx) -> tuple[list[App], str, int]:
            found, token = await store.page(tx, scope, asked)
            return found, token, await store.count(tx, scope, asked.where) if counted else 0

        return await self._database.scan(read)

    async def watch(self, scope: AppScope) -> AsyncIterator[Happened]:
        """The apps of a scope, then all that happens to them, for ever.

        Each app that is there is told twice, as created and as updated: clients wait for updates alone, and what they
        wait for may be true already (other-services.md 5.4).
        """
        with self._changes.watch(store.of_apps()) as changed:
            known: dict[int, App] = {}
            for app in await self._database.scan(lambda tx: store.matching(tx, scope)):
                known[app.key] = app
                yield Happened(app, None)
                yield Happened(app, app)
            while True:
                keys = store.keys_of(await changed.next())
                if keys is None:
                    keys = {*known, *await self._database.read(store.keys)}
                for key in sorted(keys):
                    new, old = await self._now(key, scope), known.pop(key, None)
                    if new is not None:
                        known[key] = new
                    if new is not None and old is not None and new.created_at != old.created_at:
                        yield Happened(None, old)  # deleted, and another created, which has got its key
                        old = None
                    if new != old:
                        yield Happened(new, old)

    async def _now(self, key: int, scope: AppScope) -> App | None:
        found = await self._database.read(lambda tx: store.get(tx, key))
        return found if found is not None and scope.covers(found) else None

    async def lease(self, cluster: str) -> AsyncIterator[list[App]]:
        """The apps that a cluster is to serve: first all, then each that changes, for ever.

        What no cluster serves, or one whose lease has run out without a word, becomes this one's.

        Raises:
            Invalid: the cluster is this server.
        """
        if cluster == LOCAL:
            raise Invalid(f"id.name: {LOCAL!r} is this server itself, which leases nothing")
        with self._changes.signal(store.of_apps()) as changed:
            sent: dict[int, int] = {}
            while True:
                leased = await self._database.write(lambda tx: self._lease(tx, cluster))
                fresh = [app for app in leased if sent.get(app.key) != app.revision]
                if fresh or not sent:
                    yield fresh
                sent = {0: 0, **{app.key: app.revision for app in leased}}
                with suppress(TimeoutError):  # leases run out without anybody's doing
                    async with asyncio.timeout(_LEASE.total_seconds()):
                        await changed.next()

    async def _lease(self, tx: Tx, cluster: str) -> list[App]:
        now = self._clock()
        leased = []
        for app in await store.matching(tx, AppScope()):
            silent = app.status.status == Deployment.ASSIGNED and app.lease_until is not None and app.lease_until < now
            if (not app.assigned or silent) and app.plan.cluster in ("", cluster) and app.desired is Desired.ACTIVE:
                said = Condition(Deployment.ASSIGNED, 0, f"leased to {cluster}", now, deployment=app.plan.deployment)
                app = replace(
                    app, assigned=cluster, lease_until=now + _LEASE, conditions=appended(app.conditions, said)
                )
                await store.put(tx, app)
            if app.assigned == cluster:
                leased.append(app)
        return leased


def reported(app: App, report: Report, now: datetime) -> App:
    """An app's row with what was said of it; nothing is appended that holds already."""
    said = Condition(report.status, report.substate, report.message, now, deployment=app.plan.deployment)
    last = app.status
    same = (last.status, last.substate, last.message, last.deployment)
    if (said.status, said.substate, said.message, said.deployment) == same:
        return replace(app, replicas=report.replicas)
    starts = report.replicas > 0 and app.replicas == 0
    return replace(
        app,
        replicas=report.replicas,
        conditions=appended(app.conditions, said),
        started_at=now if starts else app.started_at,
    )


def _starts_anew(old: App, new: App) -> bool:
    """Whether what was said of an app does not hold any more."""
    if new.desired is Desired.STOPPED:
        return not new.assigned
    other = old.plan.deployment != new.plan.deployment
    return other or old.desired is Desired.STOPPED or old.status.status == Deployment.FAILED


async def _based_on(tx: Tx, app: AppId, revision: int) -> App:
    old = await store.find(tx, app)
    if old is None:
        raise _missing(app)
    if revision and revision != old.revision:
        raise Aborted(f"app {app} is at revision {old.revision}, not at {revision}: read it again, then change it")
    return old


async def _host(tx: Tx, asked: NewApp) -> str:
    host = host_label(asked.id, asked.plan.subdomain)
    holder = await store.at_host(tx, host)
    if holder is None or holder.id == asked.id:
        return host
    if asked.plan.subdomain:
        raise Conflict(f"spec.ingress.subdomain: {host!r} is the subdomain of app {holder.id}: choose another")
    return host_label(asked.id, taken=True)


def _missing(app: AppId) -> NotFound:
    return NotFound(f"app {app} does not exist; serve it with `flyte serve`")
