"""Triggers: deploy, switch, delete, look."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alula.base.clock import Clock
from alula.blobs.store import Blobs
from alula.control.projects import Projects
from alula.core import artifact
from alula.core.errors import Invalid, NotFound
from alula.core.ids import TaskId
from alula.core.pages import Page
from alula.core.trigger import (
    Automation,
    Fire,
    NewTrigger,
    Revision,
    Step,
    Trigger,
    TriggerId,
    TriggerScope,
    check_revision,
    matches,
)
from alula.storage import fires, specs, tasks
from alula.storage import triggers as store
from alula.storage.database import Database, Tx
from alula.wire import triggers as wire


@dataclass(frozen=True, slots=True)
class Triggers:
    """The verbs of triggers. What they change holds from the commit on, whatever a scheduler has begun before."""

    database: Database
    projects: Projects
    blobs: Blobs
    clock: Clock

    async def deploy(self, new: NewTrigger, revision: int, by: str) -> Trigger:
        """Make a trigger, or a new revision of one. ``revision`` is the one the caller has seen, or 0.

        Raises:
            Invalid: it is never due, or names what its task does not have.
            NotFound: there is no such project, domain or version of the task.
            Conflict: there is a newer revision, or the project is archived.
        """
        await self.projects.require(new.id.project, new.id.domain)

        async def write(tx: Tx) -> Trigger:
            task = TaskId(new.id.project, new.id.domain, new.id.task, new.task_version)
            version = await tasks.find(tx, task)
            if version is None:
                raise NotFound(f"spec.task_version: task {task} does not exist; deploy it with `flyte deploy`")
            wire.check_arguments(new, await specs.get(tx, version.spec))
            known = await store.find(tx, new.id)
            check_revision(known, revision)
            return await _deploy(tx, known, new, by, self.clock())

        return await self.database.write(write)

    async def get(self, name: TriggerId) -> Trigger:
        """A trigger.

        Raises:
            NotFound: there is none of that name, or not any more.
        """
        return await self.database.read(lambda tx: _get(tx, name))

    async def revision(self, name: TriggerId, number: int) -> Trigger:
        """A trigger as it was.

        Raises:
            NotFound: it has no such revision.
        """
        found = await self.database.read(lambda tx: store.revision(tx, name, number))
        if found is None:
            raise NotFound(f"trigger {name} has no revision {number}")
        return found.trigger

    async def inputs(self, name: TriggerId, revision: int) -> bytes | None:
        """What a trigger starts its runs with (serialised task.Inputs); its latest revision, if none is named (0).

        Raises:
            NotFound: there is no such trigger, or it has no such revision.
        """
        found = await (self.revision(name, revision) if revision else self.get(name))
        uri = wire.stored_at(found)
        return await self.blobs.get(uri) if uri else wire.inline_inputs(found)

    async def page(self, scope: TriggerScope, asked: Page) -> tuple[list[Trigger], str]:
        """One page of triggers and the token of the next."""
        return await self.database.scan(lambda tx: store.page(tx, scope, asked))

    async def history(self, name: TriggerId, asked: Page) -> tuple[list[Revision], str]:
        """One page of a trigger's revisions, of a deleted one's too, and the token of the next.

        Raises:
            NotFound: there never was such a trigger.
        """

        async def read(tx: Tx) -> tuple[list[Revision], str]:
            found = await store.find(tx, name)
            if found is None:
                raise _missing([name])
            return await store.history(tx, found.key, asked)

        return await self.database.scan(read)

    async def switch(self, names: Sequence[TriggerId], *, active: bool, by: str) -> None:
        """Turn triggers on or off, all or none. What would have been due while one was off is not made up for.

        Raises:
            NotFound: one of them does not exist.
            Invalid: one of them will never be due.
        """

        async def write(tx: Tx) -> None:
            now = self.clock()
            for known in await _all(tx, names):
                if known.new.active is not active:
                    new = replace(known.new, active=active)
                    step = Step.ACTIVATE if active else Step.DEACTIVATE
                    changed = replace(known, new=new, next_at=_next(new, known.deployed_at, now))
                    await _revise(tx, changed, step, by, now)

        await self.database.write(write)

    async def delete(self, names: Sequence[TriggerId], by: str) -> None:
        """Delete triggers, all or none.

        Raises:
            NotFound: one of them does not exist.
        """

        async def write(tx: Tx) -> None:
            now = self.clock()
            for known in await _all(tx, names):
                await _delete(tx, known, by, now)

        await self.database.write(write)


def check_bundle(news: Sequence[NewTrigger], spec: bytes, now: datetime) -> None:
    """Refuse triggers that their task, of which this is the spec, cannot be deployed with.

    Raises:
        Invalid: one of them is never due, or gives the task what it does not take.
    """
    for new in news:
        try:
            wire.check_arguments(new, spec)
            _next(new, now, now)
        except Invalid as error:
            raise Invalid(f"triggers.{new.id.name}.{error}") from None


async def bundle(tx: Tx, task: TaskId, news: Sequence[NewTrigger], by: str, now: datetime) -> None:
    """Bring a task's triggers in line with those it is deployed with.

    One that came with an earlier deployment and does not with this one is deleted; those that were deployed by
    themselves stay.
    """
    known = {trigger.id: trigger for trigger in await store.of_task(tx, task.project, task.domain, task.name)}
    for new in news:
        await _deploy(tx, known.pop(new.id, None) or await store.find(tx, new.id), new, by, now, bundled=True)
    for left in known.values():
        if left.bundled:
            await _delete(tx, left, by, now)


async def published(tx: Tx, version: artifact.Published) -> None:
    """Write down the runs that triggers owe to a new version of an artifact, in the transaction that publishes it."""
    found = version.artifact
    name = found.id.name
    for trigger in await store.waiting_for(tx, name.project, name.domain, name.name):
        if matches(wire.wanted(trigger), found.id.version, found.partition.values):
            inputs = wire.artifact_inputs(trigger, version)
            fire = Fire(trigger, version.created_at, f"artifact {found.id}", inputs)
            await fires.add(tx, fire, version.created_at)


async def _deploy(
    tx: Tx, known: Trigger | None, new: NewTrigger, by: str, now: datetime, *, bundled: bool = False
) -> Trigger:
    first = known.deployed_at if known else now
    next_at = _next(new, first, now)
    if known and known.next_at and known.next_at <= now and next_at and known.new.automation == new.automation:
        next_at = known.next_at  # it is due, and only the moment of firing lies ahead
    if known and known.new.automation != new.automation:
        await fires.forget(tx, known.key)
    fresh = Trigger(
        key=0,
        new=new,
        revision=known.revision if known else 0,
        bundled=bundled,
        deployed_by=by,
        updated_by=by,
        deployed_at=first,
        updated_at=now,
        fired_at=known.fired_at if known else None,
        deleted_at=None,
        next_at=next_at,
    )
    return await _revise(tx, fresh, Step.DEPLOY, by, now)


def _next(new: NewTrigger, first: datetime, now: datetime) -> datetime | None:
    """When a trigger is due next. A rate counts from the trigger's first deployment, if nothing else is said."""
    schedule = wire.schedule(new.automation, first)
    if schedule is None:
        return None
    found = schedule.after(now)
    if found is None:
        raise Invalid("automation_spec.schedule: it is never due from now on")
    return found if new.active else None


async def _delete(tx: Tx, known: Trigger, by: str, now: datetime) -> None:
    gone = replace(known, new=replace(known.new, active=False), next_at=None, deleted_at=now)
    await _revise(tx, gone, Step.DELETE, by, now)


async def _revise(tx: Tx, trigger: Trigger, step: Step, by: str, now: datetime) -> Trigger:
    revised = replace(trigger, revision=trigger.revision + 1, updated_by=by, updated_at=now)
    key = await store.put(tx, revised, step)
    if not revised.new.active or revised.new.kind is not Automation.ARTIFACT:
        await fires.forget(tx, key)
    return replace(revised, key=key)


async def _get(tx: Tx, name: TriggerId) -> Trigger:
    found = await store.find(tx, name)
    if found is None or found.deleted_at is not None:
        raise _missing([name])
    return found


async def _all(tx: Tx, names: Sequence[TriggerId]) -> list[Trigger]:
    found = [await store.find(tx, name) for name in dict.fromkeys(names)]
    missing = [n for n, known in zip(dict.fromkeys(names), found, strict=True) if known is None or known.deleted_at]
    if missing:
        raise _missing(missing)
    return [known for known in found if known is not None]


def _missing(names: Sequence[TriggerId]) -> NotFound:
    few = ", ".join(map(str, names[:10]))
    return NotFound(f"no trigger {few}; `flyte get trigger` lists those that exist")
