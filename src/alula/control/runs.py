"""Runs: create, look, list, watch."""

import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable

from alula.base.clock import Clock
from alula.blobs.store import Blobs
from alula.blobs.uri import join, parse
from alula.control.projects import Projects
from alula.control.tasks import Tasks
from alula.core import naming
from alula.core.action import Action, Kind, NewAction
from alula.core.errors import AlreadyExists, NotFound
from alula.core.ids import ROOT, RunId
from alula.core.pages import Page
from alula.core.run import Creation, Run, RunScope, in_scope
from alula.storage import actions as action_store
from alula.storage import runs as store
from alula.storage import specs
from alula.storage.changes import Changes, of_roots
from alula.storage.database import Database, Tx
from alula.wire import tasks as wire_tasks
from alula.wire.actions import output_prefix

_log = logging.getLogger(__name__)
_SNAPSHOT = 100


class Runs:
    """The verbs of runs. Aborting one is aborting its root action: see `Actions`."""

    def __init__(
        self, database: Database, changes: Changes, blobs: Blobs, projects: Projects, tasks: Tasks, clock: Clock
    ) -> None:
        self._database = database
        self._changes = changes
        self._blobs = blobs
        self._projects = projects
        self._tasks = tasks
        self._clock = clock

    async def create(self, asked: Creation, random: Callable[[int], bytes]) -> Action:
        """Accept a run; it is on disk when this returns. The same request for the same name is the same run.

        Raises:
            Invalid: the name is not one, or the inputs do not fit.
            NotFound: there is no such project, domain or task.
            AlreadyExists: there is another run of that name.
        """
        spec = asked.spec or (await self._tasks.spec(asked.task) if asked.task else b"")
        digest = _digest(asked, spec)
        name = asked.name or _invented_name(asked, digest, random)
        naming.check_run_name(name)
        await self._projects.require(asked.project, asked.domain)
        run = RunId(asked.project, asked.domain, name)
        base = join(asked.base_dir or self._blobs.join("runs"), run.project, run.domain, run.name)
        parse(base, self._blobs.bucket)
        input_uri = await self._input_uri(asked, spec)
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
        )
        root = _root(spec, base, input_uri)
        created = await self._database.write(lambda tx: _create(tx, row, root, spec))
        _log.debug("run %s accepted: %s", run, root.task.name)
        return created

    async def _input_uri(self, asked: Creation, spec: bytes) -> str:
        if asked.input_uri:  # a prefix, or (as an earlier answer spelled it) the file itself
            uri = asked.input_uri.rstrip("/")
            return uri if uri.endswith(".pb") else f"{uri}/inputs.pb"
        inputs = wire_tasks.with_defaults(asked.inputs, wire_tasks.spec(spec))
        content = hashlib.sha256(inputs).hexdigest()
        uri = self._blobs.join(f"inputs/{asked.project}/{asked.domain}/{content}/inputs.pb")
        await self._blobs.put(uri, inputs)
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
                for change in await changed.next():
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


async def _create(tx: Tx, run: Run, root: NewAction, spec: bytes) -> Action:
    key = await store.insert(tx, run)
    if key is None:
        known = await store.find(tx, run.id)
        if known is None or known.digest != run.digest:
            raise AlreadyExists(f"run {run.id} exists and runs something else: choose another name")
        key = known.key
    else:
        digest = await specs.put(tx, spec)
        await action_store.insert(tx, key, root, parent_attempt=0, spec=digest, now=run.created_at)
    created = await action_store.get(tx, key, ROOT)
    assert created is not None, "a run has a root"
    return created
