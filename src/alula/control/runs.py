"""Runs: create, look, list, watch."""

import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from alula.base.clock import Clock
from alula.blobs.store import Blobs
from alula.blobs.uri import join, parse
from alula.control import recovery
from alula.control.once import Get, alone
from alula.control.settings import ScopedSettings
from alula.control.tasks import Tasks
from alula.core import naming
from alula.core.action import Action, Kind, NewAction
from alula.core.errors import AlreadyExists, NotFound
from alula.core.ids import ROOT, RunId, TaskId
from alula.core.pages import Page
from alula.core.run import Creation, Run, RunScope, in_scope
from alula.core.trigger import Trigger
from alula.storage import actions as action_store
from alula.storage import runs as store
from alula.storage import specs, starts
from alula.storage import triggers as trigger_store
from alula.storage.changes import Changes, of_roots
from alula.storage.database import Database, Tx
from alula.wire import inputs as wire_inputs
from alula.wire import notices as wire_notices
from alula.wire import tasks as wire_tasks
from alula.wire import triggers as wire_triggers
from alula.wire.actions import output_prefix
from alula.wire.defaults import complete

_log = logging.getLogger(__name__)
_SNAPSHOT = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """A run with everything that it needs outside of the database: now it can be written."""

    asked: Creation
    run: Run
    root: NewAction
    spec: bytes


class Runs:
    """The verbs of runs. Aborting one is aborting its root action: see `Actions`."""

    def __init__(
        self, database: Database, changes: Changes, blobs: Blobs, settings: ScopedSettings, tasks: Tasks, clock: Clock
    ) -> None:
        self._database = database
        self._changes = changes
        self._blobs = blobs
        self._settings = settings
        self._tasks = tasks
        self._clock = clock

    async def create(self, asked: Creation, random: Callable[[int], bytes]) -> Action:
        """Accept a run; it is on disk when this returns. The same request for the same name is the same run.

        Raises:
            Invalid: the name is not one, or the inputs do not fit.
            NotFound: there is no such project, domain, task or trigger.
            AlreadyExists: there is another run of that name.
        """
        trigger = await self._trigger(asked)
        plan = await self.plan(asked, trigger, random)

        async def write(tx: Tx) -> Action:
            created = await _create(tx, plan)
            if trigger is not None:
                await trigger_store.fired(tx, trigger.id, created.created_at)
            return created

        created = await self._database.write(write)
        _log.debug("run %s accepted: %s", created.id.run, created.task.name)
        return created

    async def _trigger(self, asked: Creation) -> Trigger | None:
        name = asked.trigger
        if name is None:
            return None
        found = await self._database.read(lambda tx: trigger_store.find(tx, name))
        if found is None or found.deleted_at is not None:
            raise NotFound(f"trigger {name} does not exist; `flyte get trigger` lists those that do")
        return found

    async def plan(
        self, asked: Creation, trigger: Trigger | None, random: Callable[[int], bytes], get: Get = alone
    ) -> Plan:
        """Make everything ready for a run of a task, or of a trigger: its inputs are stored. Nothing is written yet.

        ``get`` shares what is the same for several runs that are planned together.

        Raises:
            Invalid: the name is not one, or the inputs do not fit.
            NotFound: there is no such project, domain or task.
            Conflict: the project is archived.
        """
        said = str(asked.trigger).encode() if trigger else asked.spec
        launched = await self._launched(asked, trigger)
        spec = launched.spec or (await self._spec(launched.task, get) if launched.task else b"")
        digest = _digest(asked, said or spec)
        name = asked.name or _invented_name(asked, digest, random)
        naming.check_run_name(name)
        project, domain = launched.project, launched.domain
        settings = await get(("settings", project, domain), lambda: self._settings.values(project, domain))
        asked = complete(launched, settings)  # the digest is of what was asked, not of what it came to
        run = RunId(asked.project, asked.domain, name)
        base = join(asked.base_dir or self._blobs.join("runs"), run.project, run.domain, run.name)
        parse(base, self._blobs.buckets)
        input_uri = await self._input_uri(asked, spec, get)
        now = self._clock()
        row = Run(
            key=0,
            id=run,
            org=asked.org,
            digest=digest,
            spec=asked.run_spec,
            labels=asked.labels,
            relation=asked.relation,
            source=asked.source,
            starts_at=asked.starts_at or now,
            created_at=now,
            seq=0,
            created_by=asked.created_by,
            queue=asked.queue,
            max_concurrency=asked.max_concurrency,
            overwrite_cache=asked.overwrite_cache,
            cache_everywhere=asked.cache_everywhere,
            notify=wire_notices.wants_notices(asked.run_spec),
            trigger=asked.fired_by,
        )
        root = replace(_root(spec, base, input_uri), queue=asked.queue, cache_key=_cache_key(asked, spec, input_uri))
        return Plan(asked, row, root, spec)

    async def _launched(self, asked: Creation, trigger: Trigger | None) -> Creation:
        if trigger is None:
            return asked
        uri = wire_triggers.stored_at(trigger)
        stored = await self._blobs.get(uri) if uri and wire_triggers.reads_stored(asked, trigger) else b""
        return wire_triggers.launch(asked, trigger, stored, self._clock())

    async def _spec(self, task: TaskId, get: Get) -> bytes:
        return await get(("spec", task), lambda: self._tasks.spec(task))

    async def _input_uri(self, asked: Creation, spec: bytes, get: Get) -> str:
        if asked.input_uri:  # a prefix, or (as an earlier answer spelled it) the file itself
            uri = asked.input_uri.rstrip("/")
            return uri if uri.endswith(".pb") else f"{uri}/inputs.pb"
        inputs = wire_tasks.with_defaults(asked.inputs, wire_tasks.spec(spec))
        content = hashlib.sha256(inputs).hexdigest()
        uri = self._blobs.join(f"inputs/{asked.project}/{asked.domain}/{content}/inputs.pb")
        await get(("inputs", uri), lambda: self._blobs.put(uri, inputs))
        return uri

    async def get(self, run: RunId) -> Run:
        """A run's row.

        Raises:
            NotFound: there is no such run.
        """
        found = await self._database.read(lambda tx: store.find(tx, run))
        if found is None:
            raise NotFound(f"run {run} does not exist")
        return found

    async def page(self, scope: RunScope, asked: Page) -> tuple[list[Action], str]:
        """One page of runs, each as its root action, and the token of the next."""
        return await self._database.scan(lambda tx: store.page(tx, scope, asked))

    async def watch(self, scope: RunScope) -> AsyncIterator[list[Action]]:
        """The newest runs of a scope, then every one that is created or changes, for ever."""
        with self._changes.watch(of_roots()) as changed:
            page, _ = await self.page(scope, Page(limit=_SNAPSHOT))
            yield page
            while True:
                changes = await changed.next()
                if changes is None:  # what changed is not known: the newest may have
                    yield (await self.page(scope, Page(limit=_SNAPSHOT)))[0]
                    continue
                for change in changes:
                    root = await self._database.read(lambda tx, key=change.run: action_store.get(tx, key, ROOT))  # type: ignore[misc]
                    if root is not None and in_scope(scope, root):
                        yield [root]


def _digest(asked: Creation, spec: bytes) -> bytes:
    """What makes two requests for one name the same request."""
    digest = hashlib.sha256()
    for part in (spec, asked.inputs, asked.input_uri.encode(), asked.run_spec):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _invented_name(asked: Creation, digest: bytes, random: Callable[[int], bytes]) -> str:
    """A name for a run that has none.

    A client that lost our answer sends its request again under the same id, and must find the run it made. Ids that are
    no UUIDs are not unique enough to tell one request from another (SDK: `default_metadata.py`).
    """
    try:
        unique = uuid.UUID(asked.request).bytes
    except ValueError:
        return naming.run_name(random(32))
    return naming.run_name(b"\0".join((unique, asked.project.encode(), asked.domain.encode(), digest)))


def _cache_key(asked: Creation, spec: bytes, input_uri: str) -> str:
    """Under what the root's result is cached. Offloaded inputs are what their client says they are."""
    template = wire_tasks.spec(spec).task_template
    if asked.input_uri:
        return wire_inputs.cache_key(template, asked.inputs_hash or input_uri)
    inputs = wire_tasks.with_defaults(asked.inputs, wire_tasks.spec(spec))
    return wire_inputs.cache_key(template, wire_inputs.content_hash(inputs, template))


def _root(spec: bytes, base: str, input_uri: str) -> NewAction:
    opened = wire_tasks.spec(spec)
    return NewAction(
        name=ROOT,
        parent=None,
        kind=Kind.TASK,
        group="",
        input_uri=input_uri,
        output_uri=output_prefix(base, ROOT, 1),
        base_uri=base,
        spec=spec,
        policy=wire_tasks.policy(opened.task_template),
        task=wire_tasks.reference(opened),
    )


async def insert(tx: Tx, plans: Sequence[Plan]) -> int:
    """Write runs, none of which recovers another; how many there are now. Those whose names are taken are left out."""
    return await starts.insert(tx, [starts.Start(plan.run, plan.root, plan.spec) for plan in plans])


async def _insert(tx: Tx, plan: Plan) -> int | None:
    run = replace(plan.run, recovers=await recovery.source(tx, plan.asked))
    key = await store.insert(tx, run)
    if key is not None:
        digest = await specs.put(tx, plan.spec)
        await action_store.insert(tx, key, plan.root, parent_attempt=0, spec=digest, now=run.created_at)
    return key


async def _create(tx: Tx, plan: Plan) -> Action:
    run = plan.run
    key = await _insert(tx, plan)
    if key is None:
        known = await store.find(tx, run.id)
        if known is None or known.digest != run.digest:
            raise AlreadyExists(f"run {run.id} exists and runs something else: choose another name")
        key = known.key
    created = await action_store.get(tx, key, ROOT)
    assert created is not None, "a run has a root"
    await recovery.take_traces(tx, created, run.created_at)
    return created
