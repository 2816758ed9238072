"""What people are told: what statuses become, and that all of it arrives, in order, whatever is in the way."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flyteidl2.common import phase_pb2
from flyteidl2.workflow import events_proxy_service_pb2 as pb
from flyteidl2.workflow import run_definition_pb2
from flyteidl2.workflow.events_proxy_service_connect import EventsProxyServiceClient

from alula.base.clock import steady_clock
from alula.core.taskaction import Cause, Container, Link, Pod, Request, Stage, State
from alula.core.taskspec import manifest
from alula.core.taskstatus import status
from alula.kube.objects import Object
from alula.manager import events as module
from alula.manager.events import Events, Rhythm
from alula.manager.reports import report, version
from alula.rpc.app import App
from alula.rpc.errors import Code, RpcError
from alula.rpc.server import Server
from alula.rpc.service import Context, Service
from tests.manager.managed import request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LAUNCHED = State(Stage.INITIALIZING, "its object is being created")
LAUNCHING = replace(LAUNCHED, reason="the container is being created", pods=(Pod("p", "work", (), "main"),))
PODS = (Pod("p", "work", (Container("init", init=True), Container("main", started_at=NOW)), "main"),)
RUNNING = State(Stage.RUNNING, started_at=NOW, pods=PODS, links=(Link("logs", "https://x"),), notes=("pulled",))
DONE = replace(RUNNING, stage=Stage.SUCCEEDED, ended_at=NOW + timedelta(seconds=9))
Event = run_definition_pb2.ActionEvent


@dataclass
class Proxy:
    """A control plane that takes events. ``refuses``: why it does not take one."""

    port: int
    taken: list[Event] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    refuses: Callable[[Event], Code | None] = lambda _: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def take(self, asked: Any) -> pb.RecordResponse:
        self.batches.append(len(asked.events))
        for event in asked.events:
            if (code := self.refuses(event)) is not None:
                raise RpcError(code, f"not {event.id.run.name}")
        self.taken += asked.events
        return pb.RecordResponse()

    def told(self) -> list[tuple[str, int]]:
        return [(event.id.run.name, event.phase) for event in self.taken]

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        listener = socket.create_server(("127.0.0.1", self.port))
        listener.setblocking(False)
        app = App([Service(pb.DESCRIPTOR.services_by_name["EventsProxyService"], _Handler(self))])
        stop = asyncio.Event()
        running = asyncio.create_task(Server(app, [listener], grace=0.1).run(stop))
        try:
            yield
        finally:
            stop.set()
            await running


class _Handler:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def record(self, asked: Any, _context: Context) -> pb.RecordResponse:
        return await self._proxy.take(asked)


@pytest.fixture
def proxy() -> Proxy:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return Proxy(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHORTEST", 0.02)
    monkeypatch.setattr(module, "_LONGEST", 0.1)


@asynccontextmanager
async def sending(proxy: Proxy) -> AsyncIterator[Events]:
    rhythm = Rhythm(lambda: NOW, steady_clock, random.Random(0).random)
    events = Events(EventsProxyServiceClient(proxy.url), "here", rhythm)
    running = asyncio.create_task(events.run())
    try:
        yield events
    finally:
        running.cancel()
        await asyncio.wait([running])


def action(asked: Request, state: State) -> Object:
    made = manifest(asked, "work")
    made["metadata"] |= {"uid": f"uid-of-{asked.name}", "creationTimestamp": "2026-01-02T03:04:00Z"}
    return {**made, "status": status({}, state, asked.attempt, NOW)}


def tell(events: Events, asked: Request, *states: State) -> None:
    for state in states:
        events.tell(action(asked, state), asked, state)


async def sent(events: Events) -> None:
    async with asyncio.timeout(20):
        await events.sent()


async def test_what_has_no_pod_may_have_to_wait(proxy: Proxy) -> None:
    """It is not initializing: the limit of its time in the queue counts."""
    async with proxy.answering(), sending(proxy) as events:
        tell(events, request(), LAUNCHED, replace(LAUNCHING, stage=Stage.WAITING))
        await sent(events)
    queued, waiting = proxy.taken
    assert (queued.phase, waiting.phase) == (
        phase_pb2.ACTION_PHASE_QUEUED,
        phase_pb2.ACTION_PHASE_WAITING_FOR_RESOURCES,
    )
    assert [note.message for note in queued.cluster_events] == ["its object is being created"]


async def test_statuses_arrive_as_events(proxy: Proxy) -> None:
    asked = request()
    async with proxy.answering(), sending(proxy) as events:
        tell(events, asked, State(), LAUNCHING, LAUNCHING, RUNNING, DONE)
        await sent(events)
        assert events.waiting == 0
        assert events.lag == 0.0
    launching, running, done = proxy.taken
    assert [event.phase for event in proxy.taken] == [
        phase_pb2.ACTION_PHASE_INITIALIZING,
        phase_pb2.ACTION_PHASE_RUNNING,
        phase_pb2.ACTION_PHASE_SUCCEEDED,
    ]
    assert proxy.batches == [3]
    assert (launching.id.run.project, launching.id.run.domain) == ("shop", "development")
    assert (launching.id.run.name, launching.id.name, launching.attempt, launching.cluster) == ("r1", "a0", 1, "here")
    assert [note.message for note in launching.cluster_events] == ["the container is being created"]
    assert [note.message for note in running.cluster_events] == ["pulled"]
    assert [(log.name, log.uri) for log in running.log_info] == [("logs", "https://x")]
    (pod,) = running.log_context.pods
    assert (running.log_context.primary_pod_name, pod.pod_name, pod.primary_container_name) == ("p", "p", "main")
    assert [one.container_name for one in pod.containers] == ["main"]
    assert [one.container_name for one in pod.init_containers] == ["init"]
    assert running.updated_time.ToDatetime(UTC) == NOW
    assert done.updated_time.ToDatetime(UTC) == done.end_time.ToDatetime(UTC) == NOW + timedelta(seconds=9)
    assert done.outputs.output_uri == "s3://data/r1/a0/1/outputs.pb"
    assert not done.cluster_events


def test_a_failure_is_told_with_its_cause() -> None:
    state = State(Stage.FAILED, cause=Cause("Interrupted", "node lost", system=True))
    info = report(request(), state, None, NOW).error_info
    assert (info.code, info.message, info.kind) == ("Interrupted", "node lost", info.KIND_SYSTEM)
    assert not report(request(), state, None, NOW).HasField("outputs")


def test_more_that_is_known_is_a_later_version() -> None:
    more = replace(RUNNING, notes=("pulled", "slow"))
    assert version(RUNNING) < version(more)
    assert version(RUNNING) != version(replace(RUNNING, reason="x"))
    assert version(RUNNING) == version(replace(RUNNING))


async def test_what_is_told_again_after_a_restart_is_seen_to_be_old(proxy: Proxy) -> None:
    asked = request()
    async with proxy.answering():
        for _ in range(2):
            async with sending(proxy) as events:
                tell(events, asked, RUNNING)
                await sent(events)
    first, second = proxy.taken
    assert (first.phase, first.version, first.updated_time) == (second.phase, second.version, second.updated_time)


async def test_nothing_is_lost_while_nobody_answers(proxy: Proxy) -> None:
    async with sending(proxy) as events:
        tell(events, request(1), LAUNCHING)
        async with asyncio.timeout(20):
            while events.lag < 0.2:  # it has been tried
                await asyncio.sleep(0.05)
        tell(events, request(1), RUNNING)
        tell(events, request(2), DONE)
        async with proxy.answering():
            await sent(events)
    assert proxy.told() == [("r1", 3), ("r1", 4), ("r2", 5)]


async def test_batches_have_a_bound_and_keep_the_order(proxy: Proxy) -> None:
    refusing = iter([Code.UNAVAILABLE, None, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED])
    proxy.refuses = lambda event: next(refusing, None) if event.id.run.name == "r7" else None
    async with proxy.answering(), sending(proxy) as events:
        for state in (LAUNCHING, RUNNING, DONE):
            for number in range(300):
                tell(events, request(number), state)
        await sent(events)
    assert max(proxy.batches) <= module._BATCH + 2
    for number in range(300):
        assert [phase for run, phase in proxy.told() if run == f"r{number}"] == [3, 4, 5]


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.INVALID_ARGUMENT, Code.INTERNAL, Code.UNKNOWN])
async def test_a_bad_event_is_left_out_and_harms_no_other(proxy: Proxy, code: Code) -> None:
    proxy.refuses = lambda event: code if event.id.run.name == "r5" else None
    async with proxy.answering(), sending(proxy) as events:
        tell(events, request(5), DONE)
        for number in range(20):
            if number != 5:
                tell(events, request(number), LAUNCHING, RUNNING)
        await sent(events)
        assert events.dropped == 1
    told = sorted(proxy.told())
    assert told == sorted((f"r{number}", phase) for number in range(20) if number != 5 for phase in (3, 4))


async def test_a_server_that_fails_at_everything_gets_everything_later(proxy: Proxy) -> None:
    calls = iter([Code.INTERNAL] * 40)
    proxy.refuses = lambda _: next(calls, None)
    async with proxy.answering(), sending(proxy) as events:
        for number in range(5):
            tell(events, request(number), LAUNCHING)
        await sent(events)
        assert events.dropped == 0
    assert sorted(proxy.told()) == [(f"r{number}", 3) for number in range(5)]


async def test_what_waits_is_bounded_by_its_attempts_and_ends_are_kept(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MANY", 10)
    async with sending(proxy) as events:
        for number in range(1, 4):
            for count in range(20):
                notes = tuple(f"note {one}" for one in range(count + 1))
                tell(events, request(number), replace(LAUNCHING, reason="", notes=notes))
            tell(events, request(number), State(Stage.FAILED, cause=Cause("X", "y"), notes=notes))
        assert events.waiting <= 11
        async with proxy.answering():
            await sent(events)
    for number in range(1, 4):
        mine = [event for event in proxy.taken if event.id.run.name == f"r{number}"]
        assert mine[-1].phase == phase_pb2.ACTION_PHASE_FAILED
        told = [note.message for event in mine for note in event.cluster_events]
        assert told == [f"note {one}" for one in range(20)]
