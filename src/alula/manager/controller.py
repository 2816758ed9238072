"""The loop that keeps a cluster in line with its TaskActions: a queue, workers, and what failed is tried again."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from alula.base.clock import Clock, Steady
from alula.core.errors import DomainError
from alula.kube.objects import Conflict, KubeError, Name
from alula.kube.queue import Queue
from alula.manager.attempts import Attempts, Later, NotOurs
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
        self._turns: dict[Name, asyncio.Future[None]] = {}
        self._stopping = False

    @property
    def depth(self) -> int:
        """How many attempts wait for their turn."""
        return len(self._queue)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._world.run(self._queue.add))
            tasks.create_task(self._sweep())
            for _ in range(self._pace.workers):
                tasks.create_task(self._work())

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
        under_way = [turn for name, turn in self._turns.items() if which(name)]
        if under_way:
            await asyncio.wait(under_way)

    async def stop(self) -> None:
        """Begin no more turns; return when those under way have ended, or should have."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await self.drain()

    async def _work(self) -> None:
        await self._world.actions.ready.wait()
        while True:
            name = await self._queue.take()
            turn = asyncio.get_running_loop().create_future()
            try:
                if not self._stopping:
                    self._turns[name] = turn
                    await self._turn(name)
            finally:
                self._turns.pop(name, None)
                turn.set_result(None)
                self._queue.done(name)

    async def _turn(self, name: Name) -> None:
        began = perf_counter()
        try:
            until = await self._attempts.turn(name)
        except NotOurs:
            self._queue.succeed(name)
        except (Later, Conflict):
            self._queue.fail(name)
        except (KubeError, DomainError) as error:
            pause = self._queue.fail(name)
            _log.log(logging.WARNING if pause > _LOUD else logging.DEBUG, "%s: %s; trying again", name.name, error)
        except Exception:
            _log.exception("%s: a step failed; trying again", name.name)
            self._queue.fail(name)
        else:
            self._queue.succeed(name)
            if until is not None:
                self._queue.later(name, max(0.0, (until - self._pace.clock()).total_seconds()))
        self._pace.took(perf_counter() - began)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self.look_at_all()
