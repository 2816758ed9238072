"""One app's processes: how many there are, whether they serve, and what is said of them."""

import asyncio
import logging
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from alula.control.serving import Serving
from alula.control.traffic import Backend, Traffic
from alula.core import app as decide
from alula.core.app import App, Deployment, Desired, Report, View
from alula.core.errors import LaunchRefused, Unavailable
from alula.core.launch import Observation, Presence
from alula.executors.process.apps import AppProcesses
from alula.wire import apps as wire
from alula.wire.apps import Place

_log = logging.getLogger(__name__)
_DRAIN = 10.0  # seconds that open requests get before their process is ended
_LONGEST_START = 300.0  # seconds until a process that does not listen is ended
_SOONEST, _LATEST = 0.02, 0.25  # seconds between two looks whether a process listens: only the looking tells
_RATED = 2.0  # seconds between two looks at the rate of requests
_UNASKED = 60.0  # seconds between two looks that nothing asks for


@dataclass(eq=False, slots=True)
class _Process:
    name: str
    deployment: str
    port: int
    started: float
    backend: Backend | None = None  # once it listens
    ready: float = 0.0
    leaving: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Past:
    """What has become of the current deployment so far."""

    born: object = None  # when the app was created: its key may come to be another's
    revision: int = 0
    deployment: str = ""
    proven: bool = False
    crashes: int = 0
    next_try: float = 0.0
    trouble: str = ""
    refused: str = ""
    oom: bool = False
    needed_at: dict[int, float] = field(default_factory=dict)


class Keeper:
    """Set ``look`` to have it look at its app. All times are seconds of the event loop."""

    def __init__(self, key: int, serving: Serving, traffic: Traffic, processes: AppProcesses, place: Place) -> None:
        self.key = key
        self.look = asyncio.Event()
        self._serving = serving
        self._traffic = traffic
        self._processes = processes
        self._place = place
        self._running: dict[str, _Process] = {}
        self._past = _Past()

    def has(self, name: str) -> bool:
        """Whether a process is this app's."""
        return name in self._running

    async def run(self) -> None:
        """Keep the app until it is deleted, or another's to serve; then nothing of it is left.

        ``look`` is set in the end if the app's key has become that of another app.
        """
        while (app := await self._serving.get(self.key)) is not None and self._past.born in (None, app.created_at):
            patience = await self._step(app)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.look.wait()
            self.look.clear()
        self._traffic.forget(self.key)
        known = self._past.born is not None
        self._past = _Past()
        for process in self._running.values():
            self._retire(process)
        await asyncio.gather(*(one.leaving for one in self._running.values() if one.leaving is not None))
        if known:
            await self._processes.keep(await self._serving.names())
        if app is not None:
            self.look.set()

    async def _step(self, app: App) -> float:
        """Look, decide, act, and say what came of it; seconds until the next look."""
        now = asyncio.get_running_loop().time()
        self._notice(app, now)
        for process in list(self._present()):
            await self._observe(app, process, now)
        wanted = self._wanted(app, now)
        self._thin_out(app, wanted)
        self._offer(app, wanted)
        await self._fill_up(app, wanted, now)
        await self._tell(app, wanted)
        return self._patience(app, wanted, now)

    def _notice(self, app: App, now: float) -> None:
        """Whether the app is to begin anew: its last condition says so, and its first replica proves it."""
        past = self._past
        began, pending = past.born is None, app.status.status == Deployment.PENDING
        if began or app.plan.deployment != past.deployment:
            served = (c.status == Deployment.ACTIVE and c.deployment == app.plan.deployment for c in app.conditions)
            self._past = past = _Past(proven=any(served), needed_at=past.needed_at)
        if pending and app.revision != past.revision:
            past.crashes, past.next_try, past.trouble, past.refused = 0, 0.0, "", ""
        if (pending and app.revision != past.revision) or (began and app.status.status == Deployment.DEPLOYING):
            past.needed_at[1] = now
        past.born, past.revision, past.deployment = app.created_at, app.revision, app.plan.deployment

    # Looking

    def _present(self) -> Iterator[_Process]:
        return (process for process in self._running.values() if process.leaving is None)

    def _current(self, app: App) -> list[_Process]:
        return [process for process in self._present() if process.deployment == app.plan.deployment]

    async def _observe(self, app: App, process: _Process, now: float) -> None:
        seen = await self._processes.observe(process.name)
        if seen is None or seen.presence in (Presence.EXITED, Presence.LOST):
            self._crashed(app, process, decide.ended(_how(seen), seen.log_tail if seen else "", app.plan.port), now)
            self._past.oom = seen is not None and seen.out_of_memory
        elif process.backend is None:
            await self._listens(app, process, now)
        elif self._past.crashes and now - process.ready > decide.STEADY:
            self._past.crashes, self._past.trouble = 0, ""

    async def _listens(self, app: App, process: _Process, now: float) -> None:
        ports = (process.port, app.plan.port)
        found = await self._processes.listeners(process.name, ports)
        for port in ports:
            for listener in found:
                if listener.port == port and process.backend is None:
                    process.backend, process.ready = Backend(process.name, listener.host, port), now
                    self._past.proven |= process.deployment == app.plan.deployment
        if process.backend is None and now - process.started > _LONGEST_START:
            others = ", ".join(str(listener.port) for listener in found) or "none"
            problem = f"it listens neither on the port in the variable PORT nor on {app.plan.port}, but on: {others}"
            self._crashed(app, process, problem, now)

    def _crashed(self, app: App, process: _Process, trouble: str, now: float) -> None:
        _log.info("app %s: replica %s: %s", app.id, process.name, trouble.partition("\n")[0])
        self._retire(process)
        if process.deployment == app.plan.deployment:
            self._past.crashes += 1
            self._past.trouble = trouble
            self._past.next_try = now + decide.backoff(self._past.crashes)

    # Deciding and acting

    def _wanted(self, app: App, now: float) -> int:
        load, busy = self._traffic.load(self.key)
        needed_at = self._past.needed_at
        if count := decide.needed(app.plan.scaling, load):
            needed_at[count] = max(busy, needed_at.get(count, busy))
        for count in [count for count, at in needed_at.items() if now - at >= app.plan.scaling.idle]:
            del needed_at[count]
        return 0 if app.desired is Desired.STOPPED else decide.wanted(app.plan.scaling, needed_at, now)

    def _thin_out(self, app: App, wanted: int) -> None:
        """End what is too many, and what is of an earlier deployment as soon as it can be spared."""
        current = self._current(app)
        replaced = wanted == 0 or any(process.backend for process in current)
        for process in list(self._present()):
            holds_the_port = process.backend is not None and process.backend.port == app.plan.port
            if process not in current and (replaced or holds_the_port):
                self._retire(process)
        for process in sorted(current, key=lambda one: (one.backend is None, one.started))[wanted:]:
            self._retire(process)

    def _offer(self, app: App, wanted: int) -> None:
        ready = [process.backend for process in self._current(app) if process.backend is not None]
        older = [process.backend for process in self._present() if process.backend is not None]
        scaling, past = app.plan.scaling, self._past
        room = len(ready) * scaling.concurrency if scaling.concurrency else 100 * len(ready)
        self._traffic.offer(
            self.key,
            ready or older,
            room=room if wanted < scaling.most else 1 << 30 if ready else 0,
            trouble=f"app {app.id} is stopped: activate it first"
            if app.desired is Desired.STOPPED
            else f"app {app.id} cannot be started: {past.trouble}"
            if past.refused or past.crashes >= decide.CRASH_LOOP
            else "",
        )

    async def _fill_up(self, app: App, wanted: int, now: float) -> None:
        past = self._past
        missing = wanted - len(self._current(app))
        if missing <= 0 or past.refused or now < past.next_try:
            return
        for _ in range(1 if past.crashes else missing):
            try:
                await self._start(app, now)
            except LaunchRefused as refusal:
                past.refused, past.trouble = refusal.code, str(refusal)
                return
            except Unavailable as problem:
                past.trouble, past.next_try = str(problem), now + decide.backoff(3)
                return

    async def _start(self, app: App, now: float) -> None:
        name = f"{app.id.name}-{app.revision}-{secrets.token_hex(5)}".lower()
        port = await self._processes.free_port(app.plan.port)
        launch = wire.launch(app, name, port, self._place, await self._serving.secrets_of(app))
        await self._processes.submit(launch)
        self._running[name] = _Process(name, app.plan.deployment, port, now)
        # Written down once it exists: who hears of it finds its log. A crash before this line ends it with the server.
        await self._processes.forget(await self._serving.start_replica(app, name))

    def _retire(self, process: _Process) -> None:
        if process.leaving is None:
            process.leaving = asyncio.create_task(self._end(process), name=f"end-{process.name}")

    async def _end(self, process: _Process) -> None:
        if process.backend is not None and await self._alive(process):
            await process.backend.drained(_DRAIN)
        await self._processes.release(process.name)
        del self._running[process.name]
        self.look.set()
        try:
            await self._serving.end_replica(self.key, process.name)
        except Unavailable as problem:  # the next server's start says it of all of them
            _log.warning("the end of replica %s was not written down: %s", process.name, problem)

    async def _alive(self, process: _Process) -> bool:
        seen = await self._processes.observe(process.name)
        return seen is not None and seen.presence is Presence.RUNNING

    # Saying

    async def _tell(self, app: App, wanted: int) -> None:
        current, past = self._current(app), self._past
        ready = sum(process.backend is not None for process in current)
        view = View(
            desired=app.desired,
            wanted=wanted,
            ready=ready,
            starting=len(current) - ready,
            leaving=len(self._running) - len(current),
            proven=past.proven,
            crashes=past.crashes,
            refused=past.refused,
            oom=past.oom,
            trouble=past.trouble,
        )
        said = decide.verdict(view)
        if said is None:
            return
        last = app.status
        new = (*said, ready, app.plan.deployment)
        if new != (last.status, last.substate, last.message, app.replicas, last.deployment):
            await self._serving.report(self.key, app.revision, Report(*said, replicas=ready))

    def _patience(self, app: App, wanted: int, now: float) -> float:
        """When something is to be looked at that nobody tells of."""
        past, scaling = self._past, app.plan.scaling
        waits = [_UNASKED, *(at + scaling.idle - now for at in past.needed_at.values())]
        waits += [
            min(max((now - process.started) / 10, _SOONEST), _LATEST)
            for process in self._present()
            if process.backend is None
        ]
        if past.crashes:
            waits += [process.ready + decide.STEADY - now for process in self._current(app) if process.backend]
        if wanted > len(self._current(app)) and not past.refused:
            waits.append(past.next_try - now)
        if scaling.rate and past.needed_at:
            waits.append(_RATED)
        return max(min(waits), _SOONEST)


def _how(seen: Observation | None) -> str:
    """How a process ended."""
    if seen is None or seen.presence is Presence.LOST:
        return "the process was lost"
    if seen.signal is not None:
        return f"the process was ended by signal {seen.signal}" + (" (out of memory)" if seen.out_of_memory else "")
    return f"the process ended with exit code {seen.exit_code}, though an app is to go on serving"
