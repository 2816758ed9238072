"""Tracked runs: orchestrated elsewhere, told of here. Nothing of them is ever brought about by this server."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from alula.base.clock import Clock
from alula.blobs.store import Blobs
from alula.blobs.uri import parse
from alula.control import reports
from alula.control.cascade import Why, abort_all
from alula.control.settings import ScopedSettings
from alula.control.tasks import Tasks
from alula.core import naming
from alula.core.action import Action, Kind, NewAction
from alula.core.errors import Aborted, AlreadyExists, Conflict, DomainError, Invalid, NotFound
from alula.core.ids import ROOT, RunId
from alula.core.phase import Phase
from alula.core.run import Creation, Run
from alula.core.tracked import Report
from alula.storage import actions as store
from alula.storage import runs, specs
from alula.storage.database import Database, Tx
from alula.wire import tasks as wire_tasks
from alula.wire.actions import output_prefix

_SOME = 100  # rows written in one transaction: bounds how long others wait for theirs


class Tracked:
    """The verbs of tracked runs that change them; looking at them is as with any other (`Runs`, `Actions`)."""

    def __init__(self, database: Database, blobs: Blobs, settings: ScopedSettings, tasks: Tasks, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._tasks = tasks
        self._clock = clock

    async def create(self, asked: Creation, random: Callable[[int], bytes]) -> Action:
        """Register a run. The same request for the same name is the same run.

        Raises:
            Invalid: the name is not one.
            NotFound: there is no such project, domain or task.
            AlreadyExists: there is another run of that name.
        """
        spec = asked.spec or (await self._tasks.spec(asked.task) if asked.task else b"")
        digest = _digest(asked, spec)
        run = RunId(asked.project, asked.domain, asked.name or _invented_name(asked, digest, random))
        naming.check_run_name(run.name)
        if asked.input_uri:
            parse(asked.input_uri, self._blobs.buckets)
        await self._settings.values(asked.project, asked.domain)
        began = asked.starts_at or self._clock()
        row = Run(
            key=0,
            id=run,
            org=asked.org,
            digest=digest,
            spec=asked.run_spec,
            labels=asked.labels,
            relation=b"",
            source=asked.source,
            starts_at=began,
            created_at=began,
            seq=0,
            created_by=asked.created_by,
            hosted=False,
        )
        root = self._action(run, ROOT, None, spec)
        root = replace(root, task=wire_tasks.reference(wire_tasks.spec(spec)))
        if asked.input_uri:
            root = replace(root, input_uri=asked.input_uri)
        return await self._database.write(lambda tx: _create(tx, row, root))

    async def require(self, run: RunId) -> None:
        """Make sure that a run is tracked.

        Raises:
            NotFound: there is no such run, or this server brings it about itself.
        """
        await self._database.read(lambda tx: _require(tx, run))

    async def report(self, run: RunId, told: Sequence[Report | DomainError]) -> list[DomainError | None]:
        """Take reports, in order; what is wrong with each, if anything. One that was taken before is right again.

        Raises:
            NotFound: there is no such run.
        """
        await self.require(run)
        outcomes: list[DomainError | None] = []
        for start in range(0, len(told), _SOME):
            some = told[start : start + _SOME]

            async def write(tx: Tx, some: Sequence[Report | DomainError] = some) -> list[DomainError | None]:
                row = await _require(tx, run)
                return [await self._outcome(tx, row, one) for one in some]

            outcomes += await self._database.write(write)
        return outcomes

    async def abort(self, run: RunId, reason: str, by: str) -> None:
        """Mark everything in a run that has not ended as aborted. A run that has ended stays as it is.

        Raises:
            NotFound: there is no such run.
        """
        why = Why(reason or "aborted", by)

        async def begin(tx: Tx) -> int | None:
            row = await _require(tx, run)
            root = await store.get(tx, row.key, ROOT)
            assert root is not None, "a run has a root"
            if root.phase.terminal:
                return None
            await abort_all(tx, [root], why, self._clock())
            return row.key

        key, after = await self._database.write(begin), ""
        while key is not None:

            async def some(tx: Tx, key: int = key, after: str = after) -> list[Action]:
                unfinished = await store.unfinished_after(tx, key, after, _SOME)
                await abort_all(tx, unfinished, why, self._clock())
                return unfinished

            aborted = await self._database.write(some)
            if len(aborted) < _SOME:
                return
            after = aborted[-1].id.name

    async def _outcome(self, tx: Tx, run: Run, told: Report | DomainError) -> DomainError | None:
        if isinstance(told, DomainError):
            return told
        try:
            await self._take(tx, run, told)
        except DomainError as error:  # raised before anything was written
            return error
        return None

    async def _take(self, tx: Tx, run: Run, told: Report) -> None:
        if told.action.run != run.id:
            raise Invalid(f"event.id.run: {told.action.run} is not the run of this request, {run.id}")
        if told.event.output_uri:
            parse(told.event.output_uri, self._blobs.buckets)
        now = self._clock()
        action = await store.get(tx, run.key, told.action.name)
        if action is not None and await store.told(tx, run.key, [store.telling(told.event)]):
            return
        if action is None:
            action = await self._introduce(tx, run, told)
        _check(action, told)
        if told.event.output_uri:
            action = replace(action, output_uri=_prefix(told.event.output_uri, action.kind))
        step = await reports.take(tx, action, told.event, now)
        await store.write(tx, [step] if step else [], now)

    async def _introduce(self, tx: Tx, run: Run, told: Report) -> Action:
        """Write an action down that was not told of before. Its parent may be told of later."""
        root = await store.get(tx, run.key, ROOT)
        if root is not None and root.phase is Phase.ABORTED:
            raise _aborted(root)
        new = told.introduction
        began = new.began or told.event.at
        runs = told.event.phase.terminal or told.event.phase is Phase.RUNNING
        made = replace(
            self._action(run.id, told.action.name, new.parent, new.spec),
            kind=new.kind,
            group=new.group,
            task=new.task,
            phase=Phase.RUNNING if runs else Phase.QUEUED,
            started_at=began if runs else None,
        )
        digest = await specs.put(tx, new.spec)
        await store.insert(tx, run.key, made, parent_attempt=1, spec=digest, now=began)
        action = await store.get(tx, run.key, made.name)
        assert action is not None, "it was just written"
        return action

    def _action(self, run: RunId, name: str, parent: str | None, spec: bytes) -> NewAction:
        """An action whose data lies where the SDK puts it (SDK: `_remote_upload.py`)."""
        base = self._blobs.join(f"uploads/{run.project}/{run.domain}/tracked-runs/{run.name}")
        return NewAction(
            name=name,
            parent=parent,
            kind=Kind.TASK,
            group="",
            input_uri=f"{base}/{name}/inputs.pb",
            output_uri=output_prefix(base, name, 1),
            base_uri=base,
            spec=spec,
            hosted=False,
        )


def _check(action: Action, told: Report) -> None:
    """Whether an action still takes reports."""
    if action.phase is Phase.ABORTED:
        raise _aborted(action)
    if action.phase.terminal and not reports.takes(action, told.event.attempt):
        raise Conflict(f"action {action.id} has ended ({action.phase.name}): attempt {told.event.attempt} is over")


def _aborted(action: Action) -> Aborted:
    return Aborted(f"action {action.id} was aborted ({action.abort_reason}): it takes no more reports")


def _prefix(uri: str, kind: Kind) -> str:
    """How a row keeps where outputs are: of a task the folder."""
    return uri if kind is Kind.TRACE else uri.removesuffix("/outputs.pb")


def _digest(asked: Creation, spec: bytes) -> bytes:
    """What makes two requests for one name the same request."""
    digest = hashlib.sha256(b"tracked")
    for part in (spec, asked.input_uri.encode(), asked.run_spec):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _invented_name(asked: Creation, digest: bytes, random: Callable[[int], bytes]) -> str:
    """A name in the way of the SDK's own (`generate_tracked_run_name`); for the same request the same name."""
    try:
        seed = uuid.UUID(asked.request).bytes + asked.project.encode() + b"\0" + asked.domain.encode() + digest
    except ValueError:
        seed = random(32)
    return f"local-{hashlib.sha256(seed).hexdigest()[:16]}"


async def _create(tx: Tx, run: Run, root: NewAction) -> Action:
    key = await runs.insert(tx, run)
    if key is None:
        known = await runs.find(tx, run.id)
        if known is None or known.digest != run.digest:
            raise AlreadyExists(f"run {run.id} exists and is something else: choose another name")
        key = known.key
    else:
        digest = await specs.put(tx, root.spec)
        await store.insert(tx, key, root, parent_attempt=0, spec=digest, now=run.created_at)
    created = await store.get(tx, key, ROOT)
    assert created is not None, "a run has a root"
    return created


async def _require(tx: Tx, run: RunId) -> Run:
    found = await runs.find(tx, run)
    if found is None or found.hosted:
        raise NotFound(f"tracked run {run} does not exist" + ("; RunService has a run of this name" if found else ""))
    return found
