"""A Kubernetes cluster as an executor: a TaskAction for each attempt, which the Manager in the cluster carries out."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn, Self

from alula.base.clock import system_clock
from alula.base.news import News
from alula.core.errors import LaunchRefused, Unavailable
from alula.core.launch import Launch, LogLine, Observation
from alula.core.naming import attempt_label
from alula.core.taskaction import ATTEMPT, GROUP, KIND, OWNER, PLURAL, RUN_KEY, VERSION, Request, State
from alula.core.taskspec import manifest
from alula.executors.cluster import podlogs, secret
from alula.executors.cluster.hiding import Hiding
from alula.executors.cluster.sight import observation, slim, state_of
from alula.kube.client import Kube
from alula.kube.mirror import Mirror
from alula.kube.objects import (
    PODS,
    Exists,
    Happened,
    Kind,
    KubeError,
    Name,
    NotFound,
    Object,
    Refused,
    Selection,
    labels_of,
    name_of,
    version_of,
)

_log = logging.getLogger(__name__)
ACTIONS = Kind(GROUP, VERSION, KIND, PLURAL)
_READY = 10.0  # seconds that are waited for a cluster to say what it has
_GONE = 30.0  # seconds beyond the grace in which the pods of an attempt that was ended have to go
_GRACE = 30.0  # seconds, of an attempt that an earlier life of this server started
_LATER = 600.0  # seconds between two sweeps
_LARGEST = 150_000  # bytes of a template that is kept in the resource; with its status it has to fit etcd
_MOST = 400_000  # bytes of an environment
_TRIES, _PAUSE = 3, 1.0  # to read a log that is to be archived; seconds between them


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where things go that a cluster does not keep: ``log`` archives all of an attempt's, ``put`` writes at a URI."""

    log: Callable[[str, AsyncIterator[list[LogLine]]], Awaitable[None]]
    put: Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Common:
    """Variables of all attempts that are in one Secret there: the keys of the object store."""

    secret: str = ""
    values: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Share:
    """Which attempts of a namespace are this server's.

    ``owner`` tells them from those of other servers, "" takes all. ``mine``: which runs, by their keys, this replica
    works on.
    """

    owner: str = ""
    mine: Callable[[int], bool] = lambda _: True
    common: Common = Common()


class ClusterExecutor:
    """Keeps the promise of an executor by TaskActions in one namespace.

    ``called`` is what people call the cluster; ``dice`` gives numbers from 0 to 1.
    """

    def __init__(self, called: str, kube: Kube, keeping: Keeping, share: Share, dice: Callable[[], float]) -> None:
        self.called = called
        self._kube = kube
        self._namespace = kube.namespace
        self._keeping, self._share = keeping, share
        ours = f"{OWNER}={share.owner}" if share.owner else ""
        self._mirror = Mirror(kube, Selection(ACTIONS, kube.namespace, ours), dice=dice, slim=slim)
        self._mirror.subscribe(self._told)
        self._secrets = secret.Secrets(kube, share.owner)
        self._news = News()
        self._changes: dict[str, asyncio.Event] = {}  # of attempts whose log is followed
        self._graces: dict[str, float] = {}
        self._hidings: dict[str, Hiding] = {}
        self._common_is_there = False
        self._patience = 0.0  # until when it is waited for what there is
        self._leaving: set[str] = set()  # what is archived, and about to be gone
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._patience = asyncio.get_running_loop().time() + _READY
        self._running = [
            asyncio.create_task(self._mirror.run(), name=f"cluster {self.called}"),
            asyncio.create_task(self._sweep(), name=f"sweep {self.called}"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def submit(self, launch: Launch) -> None:
        """See `Executor.submit`.

        Raises:
            LaunchRefused: the cluster does not take such a TaskAction.
            Unavailable: the cluster cannot be reached, has no room for it, or is not set up for it.
        """
        assert launch.request is not None, "what goes to a cluster has been described for one"
        request = await self._fitting(replace(launch.request, owner=self._share.owner, grace=launch.grace))
        self._graces[launch.name] = launch.grace
        self._hidings[launch.name] = Hiding([*launch.secrets, *(launch.env[name] for name in launch.hidden)])
        try:
            if not self._common_is_there:
                await self._keep_common()
            if request.secret:
                await self._secrets.create(launch, request, self._namespace)
            try:
                made = await self._kube.create(ACTIONS, manifest(request, self._namespace))
            except Exists:
                made = await self._kube.get(ACTIONS, Name(self._namespace, request.name))
            self._mirror.put(made)
            if request.secret:
                await self._secrets.belong(request.secret, made)
        except KubeError as error:
            self._refuse(error)

    async def observe(self, name: str) -> Observation | None:
        """See `Executor.observe`.

        Raises:
            Unavailable: nothing is known of it here, and the cluster cannot be reached.
        """
        found = await self._find(name)
        if found is None:
            return None
        seen = observation(found, self.called)
        return (await self._hiding(name)).seen(seen) if seen.cause or seen.notes else seen

    async def release(self, name: str) -> None:
        """See `Executor.release`. The log is archived first: the pods go with the attempt.

        Raises:
            Unavailable: the cluster cannot be reached.
        """
        found = await self._find(name)
        if found is None:
            return
        state, hiding = state_of(found), await self._hiding(name)  # its secrets go with it
        try:
            if state.stage.over:
                await self._archive(name, state, hiding)
                self._leaving.add(name)
                await self._delete(found)
            else:
                await self._end(name, found, state, hiding)
        except KubeError as error:
            raise Unavailable(f"cluster {self.called}: {error}") from error
        finally:
            self._leaving.discard(name)
        self._graces.pop(name, None)
        self._mirror.drop(found)

    async def forget_log(self, name: str) -> bool:
        """See `Executor.forget_log`. It is in the archive."""
        return False

    async def logs(self, name: str, *, follow: bool) -> AsyncIterator[list[LogLine]]:
        """See `Executor.logs`: of an attempt that was not released yet; after that it is in the archive.

        Raises:
            Unavailable: the cluster cannot be reached.
        """
        if (state := self._state(name)) is None:
            return
        hiding = await self._hiding(name)
        said = podlogs.read(self._kube, state)
        if follow:
            said = podlogs.follow(self._kube, lambda: self._state(name), lambda: self._changed(name))
        try:
            async for lines in hiding.lines(said):
                yield lines
        except KubeError as error:
            raise Unavailable(f"cluster {self.called}: {error}") from error

    def changes(self) -> AsyncIterator[str]:
        """See `Executor.changes`."""
        return self._news.names()

    async def names(self) -> list[str]:
        """See `Executor.names`. Of a cluster that does not answer: those that were known before.

        It is waited for once, in all: others have attempts that are to be looked after, too.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._patience):
                await self._mirror.ready.wait()
        return [name_of(found).name for found in self._mirror.values() if self._is_mine(found)]

    def known(self) -> Iterator[str]:
        """Every attempt of this server, as far as is known, whichever replica it belongs to."""
        return (name_of(found).name for found in self._mirror.values())

    def has(self, name: str) -> bool:
        """Whether it is one of these."""
        return self._mirror.get(Name(self._namespace, name)) is not None

    def _is_mine(self, found: Object) -> bool:
        key = labels_of(found).get(RUN_KEY, "")
        return key.isdecimal() and self._share.mine(int(key))

    async def _find(self, name: str) -> Object | None:
        found = self._mirror.get(Name(self._namespace, name))
        if found is not None:
            return found
        try:
            found = await self._kube.get(ACTIONS, Name(self._namespace, name))
        except NotFound:
            return None
        except KubeError as error:
            raise Unavailable(f"cluster {self.called}: {error}") from error
        self._mirror.put(found)
        return found

    async def _fitting(self, request: Request) -> Request:
        """The request in a size that a cluster takes."""
        if sum(len(key) + len(value.encode()) for key, value in request.env.items()) > _MOST:
            raise LaunchRefused(f"the variables of the task take more than {_MOST} bytes: pass large texts as inputs")
        if len(request.template) <= _LARGEST:
            return request
        uri = f"{request.output_uri}/task_template.pb"
        await self._keeping.put(uri, request.template)
        digest = hashlib.sha256(request.template).hexdigest()
        return replace(request, template=b"", template_uri=uri, template_digest=digest)

    def _refuse(self, error: KubeError) -> NoReturn:
        text = f"cluster {self.called}: {error}"
        match error:
            case NotFound():
                hint = f"is there the namespace {self._namespace}, and was `alula crd install` run?"
                raise Unavailable(f"{text}: {hint}") from error
            case Refused(reason="Forbidden" | "Unauthorized"):  # a quota, or this server's own rights
                raise Unavailable(text) from error
            case Refused():
                raise LaunchRefused(text, code=error.reason or "BadRequest") from error
        raise Unavailable(text) from error

    async def _delete(self, found: Object) -> None:
        await self._kube.delete(ACTIONS, name_of(found), uid=found["metadata"]["uid"])

    async def _end(self, name: str, found: Object, state: State, hiding: Hiding) -> None:
        """End what is not over, and wait until its pods are gone; what they say to the last is archived."""
        grace = self._graces.get(name, _GRACE)
        saying = asyncio.create_task(self._archive(name, state, hiding, follow=True)) if state.pods else None
        try:
            async with asyncio.timeout(grace + _GONE):
                await self._delete(found)
                await self._until_gone(name)
                if saying is not None:
                    await saying
        except TimeoutError:
            _log.warning("cluster %s: the pods of %s are still there; the cluster will end them", self.called, name)
        finally:
            if saying is not None:
                saying.cancel()
                await asyncio.gather(saying, return_exceptions=True)

    async def _until_gone(self, name: str) -> None:
        """Wait until the pods of an attempt are gone."""
        which = Selection(PODS, self._namespace, f"{ATTEMPT}={attempt_label(name)}")
        pods, version = await self._kube.select(which)
        left = {name_of(pod) for pod in pods}
        while left:
            async for happened, pod in self._kube.watch(which, version):
                version = version_of(pod)
                if happened is Happened.DELETED:
                    left.discard(name_of(pod))
                if not left:
                    return

    async def _archive(self, name: str, state: State, hiding: Hiding, *, follow: bool = False) -> None:
        """Put the log into the archive; what cannot be read, because its node is gone, is said to be lost."""
        if not podlogs.sources(state):
            return
        for left in reversed(range(_TRIES)):
            try:
                said = podlogs.read(self._kube, state, follow=follow, patient=left > 0)
                await self._keeping.log(name, hiding.lines(said))
            except KubeError:
                await asyncio.sleep(_PAUSE)
            else:
                return

    def _state(self, name: str) -> State | None:
        found = self._mirror.get(Name(self._namespace, name))
        return None if found is None or name in self._leaving else state_of(found)

    async def _changed(self, name: str) -> None:
        await self._changes.setdefault(name, asyncio.Event()).wait()

    async def _hiding(self, name: str) -> Hiding:
        """What keeps the secrets of an attempt out of what it says: all of it, where they may not be looked at.

        Raises:
            Unavailable: they are not known here, and the cluster cannot be reached.
        """
        if name not in self._hidings:
            try:
                self._hidings[name] = Hiding(await self._secrets.values(name, self._namespace))
            except Refused as error:
                _log.warning(
                    "cluster %s: what %s says is not shown, as its secrets are not known: %s; "
                    "let this server list the Secrets of namespace %s",
                    *(self.called, name, error, self._namespace),
                )
                return Hiding.everything()
            except KubeError as error:
                raise Unavailable(f"cluster {self.called}: {error}") from error
        return self._hidings[name]

    def _told(self, name: Name, _old: Object | None, new: Object | None) -> None:
        if new is None:
            self._hidings.pop(name.name, None)
        self._news.tell(name.name)
        if (event := self._changes.pop(name.name, None)) is not None:
            event.set()

    async def _keep_common(self) -> None:
        common = self._share.common
        if common.values:
            await self._secrets.keep(common.secret, common.values, self._namespace)
        self._common_is_there = True

    async def _sweep(self) -> None:
        """Have the common Secret be there, and none of which a crash came before it belonged to its attempt."""
        while True:
            await self._mirror.ready.wait()
            try:
                await self._keep_common()
                await self._secrets.sweep(self._namespace, self._mirror.get, system_clock())
            except KubeError as error:
                _log.warning("cluster %s: Secrets cannot be swept: %s", self.called, error)
            await asyncio.sleep(_LATER)
