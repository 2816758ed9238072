"""The loop that keeps a cluster in line with its TaskActions: a queue, workers, and what failed is tried again."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from alula.base.clock import Clock, Steady
from alula.core.errors import DomainError
from alula.kube.objects import Busy, Conflict, KubeError, Name
from alula.kube.queue import Queue
from alula.manager.attempts import Attempts, Far, NotOurs
from alula.manager.jobs import Later
from alula.manager.world import World

_log = logging.getLogger(__name__)
_SWEEP = 300.0  # seconds; everything is looked at: what the queue missed, and what no TaskAction owns
_GRACE = 10.0  # seconds for the turns under way at the end
_LOUD = 5.0  # seconds until the next try, from which on people should know


@dataclass(frozen=True, slots=True)
class Pace:
    """``workers`` turns at once, each of which mostly waits for the cluster. ``took`` hears a turn's seconds."""

    clock: Clock
    steady: Steady
    dice: Callable[[], float]
    took: Callable[[float], None] = lambda _: None
    workers: int = 64


class Controller:
    """Works until it is cancelled: then it writes nothing more. Started again, it goes on."""

    def __init__(self, world: World, attempts: Attempts, pace: Pace) -> None:
        self._world = world
        self._attempts = attempts
        self._pace = pace
        self._queue: Queue[Name] = Queue(pace.steady, pace.dice)
        self._far: Queue[Name] = Queue(pace.steady, pace.dice)  # who is slow there holds up nobody here
        self._turns: dict[tuple[Name, bool], asyncio.Future[None]] = {}
        self._stopping = False

    @property
    def depth(self) -> int:
        """How many attempts wait for their turn."""
        return len(self._queue) + len(self._far)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._world.run(self._queue.add))
            tasks.create_task(self._sweep())
            for _ in range(self._pace.workers):
                tasks.create_task(self._work(self._queue))
                tasks.create_task(self._work(self._far))

    def look(self, names: Iterable[Name]) -> None:
        """Have TaskActions looked at soon."""
        for name in names:
            self._queue.add(name)

    def look_at_all(self) -> None:
        """Have everything looked at soon."""
        self._attempts.let_go()
        self.look(list(self._world.names()))

    async def drain(self, which: Callable[[Name], bool] = lambda _: True) -> None:
        """Return once no turn of these is under way. Of those that begin meanwhile nothing is said."""
        under_way = [turn for (name, _), turn in self._turns.items() if which(name)]
        if under_way:
            await asyncio.wait(under_way)

    async def stop(self) -> None:
        """Begin no more turns; return when those under way have ended, or should have."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await self.drain()

    async def _work(self, queue: Queue[Name]) -> None:
        await self._world.actions.ready.wait()
        while True:
            name = await queue.take()
            turn = asyncio.get_running_loop().create_future()
            try:
                if not self._stopping:
                    self._turns[name, queue is self._far] = turn
                    await self._turn(name, queue)
            finally:
                self._turns.pop((name, queue is self._far), None)
                turn.set_result(None)
                queue.done(name)

    async def _turn(self, name: Name, queue: Queue[Name]) -> None:
        began = perf_counter()
        try:
            until = await self._attempts.turn(name, far=queue is self._far)
        except Far:
            queue.succeed(name)
            self._far.add(name)
        except NotOurs:
            queue.succeed(name)
        except Later as later:
            queue.fail(name, later.after)
        except Conflict:
            queue.fail(name)
        except (KubeError, DomainError) as error:
            pause = queue.fail(name, (error.after or 0.0) if isinstance(error, Busy) else 0.0)
            _log.log(logging.WARNING if pause > _LOUD else logging.DEBUG, "%s: %s; trying again", name.name, error)
        except Exception:
            _log.exception("%s: a step failed; trying again", name.name)
            queue.fail(name)
        else:
            queue.succeed(name)
            if until is not None:
                queue.later(name, max(0.0, (until - self._pace.clock()).total_seconds()))
        self._pace.took(perf_counter() - began)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self.look_at_all()
