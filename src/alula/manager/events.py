"""What people are told of attempts: ActionEvents, sent to the control plane in batches, in order, until it has them.

What is dropped from memory by a restart is told again: events are made from statuses, and every status is looked at
when a Manager starts.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.workflow import events_proxy_service_pb2, run_definition_pb2
from flyteidl2.workflow.events_proxy_service_connect import EventsProxyServiceClient
from google.protobuf.timestamp_pb2 import Timestamp

from alula.base.clock import Clock, Steady
from alula.core.taskaction import Request, State
from alula.kube.objects import Object
from alula.manager.reports import report

_log = logging.getLogger(__name__)
_BATCH = 200  # events of a request
_WINDOW = 0.05  # seconds for which the first event of a batch waits for others
_MANY = 20_000  # events that wait, from which on an attempt's are made one
_TIMEOUT = 30_000  # milliseconds
_SHORTEST, _LONGEST = 0.5, 30.0  # seconds between two tries
_STUBBORN = 5  # tries of a batch that the server fails at, until its events are tried one by one

# Of an event, or of what it is about: asking again changes nothing.
_BAD = frozenset({Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.OUT_OF_RANGE, Code.DATA_LOSS})
_FAILING = frozenset({Code.INTERNAL, Code.UNKNOWN})  # of the server; if it stays, most likely of an event

Event = run_definition_pb2.ActionEvent


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Time and chance. ``dice`` gives numbers from 0 to 1."""

    clock: Clock
    steady: Steady
    dice: Callable[[], float]


class Events:
    """Hears what statuses say, and sends what is new. Run `run` beside those who tell."""

    def __init__(self, client: EventsProxyServiceClient, cluster: str, rhythm: Rhythm) -> None:
        self._client = client
        self._cluster = cluster
        self._rhythm = rhythm
        self._told: dict[str, State] = {}  # by the uid of a TaskAction
        self._waiting: dict[str, list[tuple[float, Event]]] = {}  # since when, by the uid
        self._count = 0
        self._sending_since: float | None = None
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()
        self.dropped = 0  # bad ones

    def tell(self, action: Object, request: Request, state: State) -> None:
        """What the status of a TaskAction says. Told again it is nothing new."""
        uid = action["metadata"]["uid"]
        before = self._told.get(uid)
        if state in (before, State()):
            return
        event = report(request, state, before, _since(action) or self._rhythm.clock())
        self._told[uid] = state
        now = self._stamp(event)
        event.cluster = self._cluster
        for note in event.cluster_events:
            note.occurred_at.CopyFrom(now)
        self._waiting.setdefault(uid, []).append((self._rhythm.steady(), event))
        self._count += 1
        if self._count > _MANY:
            self._coalesce()
        self._none.clear()
        self._some.set()

    def forget(self, uid: str) -> None:
        """A TaskAction is gone. What waits to be told of it still is."""
        self._told.pop(uid, None)

    @property
    def waiting(self) -> int:
        """How many events are not sent yet."""
        return self._count

    @property
    def lag(self) -> float:
        """Seconds that the oldest event which is not sent has waited for."""
        oldest = min((events[0][0] for events in self._waiting.values()), default=None)
        since = min((at for at in (oldest, self._sending_since) if at is not None), default=None)
        return 0.0 if since is None else self._rhythm.steady() - since

    async def sent(self) -> None:
        """Return once everything is sent."""
        await self._none.wait()

    async def run(self) -> None:
        """Send until it is cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(_WINDOW)
            while batch := self._next():
                await self._deliver(batch)
                self._sending_since = None
            self._some.clear()
            self._none.set()

    def _next(self) -> list[Event]:
        """The oldest events that wait, an attempt's in their order."""
        batch: list[Event] = []
        since = [] if self._sending_since is None else [self._sending_since]
        while self._waiting and len(batch) < _BATCH:
            uid = next(iter(self._waiting))
            events = self._waiting.pop(uid)
            since.append(events[0][0])
            batch += [event for _, event in events]
            self._count -= len(events)
        self._sending_since = min(since, default=None)
        return batch

    async def _deliver(self, batch: list[Event]) -> None:
        """Send a batch, however long it takes. What the control plane will never take is left out."""
        failures = 0
        while error := await self._refusal(batch):
            if error.code in _BAD or (error.code in _FAILING and failures >= _STUBBORN):
                bad = await self._bad(batch)
                if len(bad) < len(batch) or error.code in _BAD:
                    batch = await self._without_bad(bad)
                else:
                    batch += self._next()  # beside others it will be seen whose fault it is
            if not batch:
                return
            if failures == 0:
                told = (len(batch), error.code.value, error.message)
                _log.warning("%d events cannot be sent (%s: %s); trying again", *told)
            longest = min(_LONGEST, _SHORTEST * 2.0 ** min(failures, 10))
            failures += 1
            await asyncio.sleep(longest * (0.5 + self._rhythm.dice() / 2))

    async def _refusal(self, batch: Sequence[Event]) -> ConnectError | None:
        """Send a batch once; why it was not taken."""
        for event in batch:
            self._stamp(event)
        refused = None
        try:
            await self._client.record(events_proxy_service_pb2.RecordRequest(events=batch), timeout_ms=_TIMEOUT)
        except ConnectError as error:
            refused = error
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError from refused  # of which the client may make an error, or nothing
        return refused

    async def _bad(self, batch: Sequence[Event]) -> list[Event]:
        """A batch is refused as a whole. Send its parts: those events that are not taken by themselves either."""
        if len(batch) == 1:
            return [*batch]
        middle = len(batch) // 2
        bad: list[Event] = []
        for part in (batch[:middle], batch[middle:]):
            if await self._refusal(part) is not None:
                bad += await self._bad(part)
        return bad

    async def _without_bad(self, suspects: Sequence[Event]) -> list[Event]:
        """Send these one by one, now that others are taken; what is to be tried again later."""
        left = []
        for event in suspects:
            error = await self._refusal([event])
            if error is not None and error.code in _BAD | _FAILING:
                self.dropped += 1
                run = event.id.run
                name = f"{run.project}/{run.domain}/{run.name}/{event.id.name}"
                _log.warning("an event of %s is not taken (%s: %s)", name, error.code.value, error.message)
            elif error is not None:
                left.append(event)
        return left

    def _stamp(self, event: Event) -> Timestamp:
        event.reported_time.FromDatetime(self._rhythm.clock())
        return event.reported_time

    def _coalesce(self) -> None:
        """Make one event of what waits of each attempt: its latest, with all that was told before."""
        for events in self._waiting.values():
            notes = [note for _, event in events[:-1] for note in event.cluster_events]
            (_, last), since = events[-1], events[0][0]
            notes += last.cluster_events
            del last.cluster_events[:]
            last.cluster_events.extend(notes)
            events[:] = [(since, last)]
        self._count = len(self._waiting)


def _since(action: Object) -> datetime | None:
    """When a TaskAction came to the stage that it is in."""
    history = (action.get("status") or {}).get("phaseHistory")
    told = history[-1]["occurredAt"] if history else action["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(told).astimezone(UTC) if told else None
