"""Apps that are really served: started, asked, killed, put to sleep, woken, stopped, by a real server."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from connectrpc.code import Code
from flyteidl2.app import app_definition_pb2 as pb
from flyteidl2.app import app_logs_payload_pb2 as logs_pb
from flyteidl2.app import app_payload_pb2 as payload
from flyteidl2.app.app_logs_service_connect import AppLogsServiceClient
from flyteidl2.app.app_service_connect import AppServiceClient
from flyteidl2.core import tasks_pb2
from flyteidl2.logs.dataplane import payload_pb2
from google.protobuf.duration_pb2 import Duration

from alula.core.app import Deployment, Substate
from tests.api.caller import refused, until
from tests.api.served import Served, free_port

TINY = (Path(__file__).parent / "tiny.py").read_text()
RUNNING = (Deployment.ACTIVE, Substate.RUNNING)
ASLEEP = (Deployment.ACTIVE, Substate.SCALED_TO_ZERO)


def app(name: str, *words: str, least: int = 0, most: int = 1, idle: int = 60, **spec: Any) -> pb.App:
    """An app that runs ``tiny.py``, or other words."""
    made = pb.App()
    made.metadata.id.project, made.metadata.id.domain, made.metadata.id.name = "flytesnacks", "development", name
    container = made.spec.container
    container.args.extend(words or ("python", "-c", TINY, "8080"))
    container.ports.append(tasks_pb2.ContainerPort(container_port=8080))
    made.spec.autoscaling.replicas.min, made.spec.autoscaling.replicas.max = least, most
    made.spec.autoscaling.scaledown_period.CopyFrom(Duration(seconds=idle))
    made.spec.desired_state = pb.Spec.DESIRED_STATE_ACTIVE
    made.spec.MergeFrom(pb.Spec(**spec))
    return made


class Owner:
    """Who has apps on a server, and asks them things."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.apps = AppServiceClient(served.url)
        self.logs = AppLogsServiceClient(served.url)
        self.http = httpx.AsyncClient(base_url=served.url, timeout=30)

    async def create(self, made: pb.App) -> pb.App:
        return (await self.apps.create(payload.CreateRequest(app=made))).app

    async def get(self, made: pb.App) -> pb.App:
        return (await self.apps.get(payload.GetRequest(app_id=made.metadata.id))).app

    async def update(self, made: pb.App) -> pb.App:
        return (await self.apps.update(payload.UpdateRequest(app=made, reason="a test"))).app

    async def reached(self, made: pb.App, status: tuple[int, int], seconds: float = 20) -> pb.App:
        """Watch an app until its last condition is this one."""
        async with asyncio.timeout(seconds):
            async with aclosing(self.apps.watch(payload.WatchRequest(app_id=made.metadata.id))) as events:  # type: ignore[type-var]
                async for event in events:
                    now = event.update_event.updated_app
                    last = now.status.conditions[-1] if now.status.conditions else pb.Condition()
                    if (last.deployment_status, last.substate) == status:
                        return now
        raise AssertionError("the watch ended")

    async def serving(self, made: pb.App) -> pb.App:
        await self.create(made)
        return await self.reached(made, RUNNING)

    async def ask(self, made: pb.App, path: str, **more: Any) -> httpx.Response:
        ident = made.metadata.id
        return await self.http.get(f"/apps/{ident.project}/{ident.domain}/{ident.name}{path}", **more)

    async def said(self, request: logs_pb.TailLogsRequest) -> list[logs_pb.LogLines]:
        """A log that ends."""
        async with asyncio.timeout(20):
            return [log async for said in self.logs.tail_logs(request) for log in said.batches.logs]


def messages(logs: Iterable[logs_pb.LogLines]) -> list[str]:
    return [line.message for log in logs for line in log.structured_lines]


async def _pieces() -> AsyncIterator[bytes]:
    for piece in (b"th", b"re", b"e"):
        yield piece


@pytest.fixture
async def owner(served: Served) -> AsyncIterator[Owner]:
    owner = Owner(served)
    yield owner
    listed = await owner.apps.list(payload.ListRequest(org="o"))
    for made in listed.apps:
        await owner.apps.delete(payload.DeleteRequest(app_id=made.metadata.id))
    await owner.http.aclose()


async def test_an_app_serves_under_its_path_and_its_name(owner: Owner) -> None:
    made = await owner.serving(app("one"))
    assert made.status.current_replicas == 1
    assert (await owner.http.get(f"{made.status.ingress.public_url}/x%2Fy?q=%41")).text == "/x%2Fy?q=%41"
    assert (await owner.http.get(made.status.ingress.public_url)).text == "/"
    host = made.status.ingress.cname_url.removeprefix("http://")
    named = await owner.http.get("/headers", headers={"host": host, "connection": "x-mine", "x-mine": "1"})
    assert f"x-forwarded-host: {host}" in named.text.lower()
    assert "x-mine" not in named.text.lower()
    assert "x-hop" not in named.headers
    for size in (3_000_000, 0):
        sent = b"b" * size
        assert (await owner.http.post(f"{made.status.ingress.public_url}/", content=sent)).content == sent
    assert (await owner.http.post(f"{made.status.ingress.public_url}/", content=_pieces())).content == b"three"
    found = await owner.apps.get(payload.GetRequest(ingress=pb.Ingress(public_url=made.status.ingress.cname_url)))
    assert found.app.metadata.id == made.metadata.id
    moved = await owner.ask(made, "/leave")
    assert moved.headers["location"] == "/apps/flytesnacks/development/one/arrived"
    browser = await owner.ask(made, "/x?y", headers={"sec-fetch-mode": "navigate"})
    assert (browser.status_code, browser.headers["location"]) == (307, f"{made.status.ingress.cname_url}/x?y")


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("nothing.localhost", "", 404),
        ("two-flytesnacks-development.localhost", "", 200),
        ("two-flytesnacks-development.localhost", "http://localhost:1", 200),
        ("two-flytesnacks-development.localhost", "https://evil.example", 403),
        ("two.evil.example", "", 403),
    ],
)
async def test_who_may_call_an_app(owner: Owner, host: str, origin: str, status: int) -> None:
    await owner.serving(app("two"))
    headers = {"host": host, **({"origin": origin} if origin else {})}
    answer = await owner.http.get("/", headers=headers)
    assert answer.status_code == status
    assert status == 200 or answer.json()["message"]


async def test_an_app_sleeps_when_idle_and_its_next_request_wakes_it(owner: Owner) -> None:
    made = await owner.serving(app("sleepy", idle=1))
    asleep = await owner.reached(made, ASLEEP)
    assert asleep.status.current_replicas == 0
    begun = time.monotonic()
    answers = await asyncio.gather(*(owner.ask(made, "/pid") for _ in range(10)))
    took = time.monotonic() - begun
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1  # one process, for all who waited
    assert took < 5
    print(f"woken and answered in {took * 1000:.0f} ms")
    await owner.reached(made, ASLEEP)


async def test_a_long_request_keeps_its_app_awake(owner: Owner) -> None:
    made = await owner.serving(app("busy", idle=1))
    assert (await owner.ask(made, "/slow?2.5")).text == "/slow?2.5"


async def test_a_killed_app_is_started_again(owner: Owner) -> None:
    made = await owner.serving(app("killed", least=1))
    pid = int((await owner.ask(made, "/pid")).text)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        again = await owner.ask(made, "/pid")
        while again.status_code != 200 or int(again.text) == pid:
            again = await owner.ask(made, "/pid")
    told = await owner.reached(made, RUNNING)
    assert "ended by signal 9" in " ".join(c.message for c in told.status.conditions)
    broken = await owner.ask(made, "/die")
    assert (broken.status_code, broken.json()["code"]) == (502, "unavailable")


async def test_an_app_that_keeps_crashing_fails_and_says_why(owner: Owner) -> None:
    made = await owner.create(app("loop", "python", "-c", "print('no luck'); raise SystemExit(3)"))
    failed = await owner.reached(made, (Deployment.FAILED, Substate.CRASH_LOOP))
    message = failed.status.conditions[-1].message
    assert "exit code 3" in message
    assert "no luck" in message
    answer = await owner.ask(made, "/")
    assert answer.status_code == 503
    assert "no luck" in answer.json()["message"]
    mended = app("loop")
    mended.metadata.revision = failed.metadata.revision
    await owner.update(mended)
    told = await owner.reached(made, RUNNING)
    assert told.metadata.revision == 2


async def test_what_cannot_be_started(owner: Owner) -> None:
    asked = app("secretive")
    asked.spec.security_context.secrets.add(key="no-such-secret")
    made = await owner.create(asked)
    failed = await owner.reached(made, (Deployment.FAILED, Substate.SECRET_MOUNT_ERROR))
    assert "flyte create secret no-such-secret" in failed.status.conditions[-1].message


async def test_a_port_in_the_code_is_found_and_one_that_is_taken_is_named(owner: Owner) -> None:
    port = free_port()
    hard = TINY.replace("int(sys.argv[1])", str(port))
    first, second = (app(name, "python", "-c", hard, least=1) for name in ("hard", "harder"))
    for one in (first, second):
        one.spec.container.ports[0].container_port = port
    await owner.serving(first)
    assert (await owner.ask(first, "/hello")).text == "/hello"
    await owner.create(second)
    failed = await owner.reached(second, (Deployment.FAILED, Substate.CRASH_LOOP))
    assert "listen on the port in the variable PORT" in failed.status.conditions[-1].message
    # A new deployment of the first has to wait until the old one has let go of the port.
    first.spec.container.args.append("again")
    await owner.update(first)
    await owner.reached(first, RUNNING)
    assert (await owner.ask(first, "/hello")).text == "/hello"


async def test_replicas_share_the_requests(owner: Owner) -> None:
    made = await owner.serving(app("many", least=2, most=2))
    answers = await asyncio.gather(*(owner.ask(made, "/pid") for _ in range(20)))
    assert len({answer.text for answer in answers}) == 2


async def test_more_requests_at_once_than_the_target_make_more_replicas(owner: Owner) -> None:
    target = pb.ScalingMetric(concurrency=pb.Concurrency(target_value=1))
    made = app("wide", most=3)
    made.spec.autoscaling.scaling_metric.CopyFrom(target)
    await owner.serving(made)
    slow = [asyncio.create_task(owner.ask(made, "/slow?3")) for _ in range(3)]
    async with asyncio.timeout(10):
        while (await owner.get(made)).status.current_replicas < 3:
            await asyncio.sleep(0.05)
    assert {answer.status_code for answer in await asyncio.gather(*slow)} == {200}


async def test_a_stream_comes_as_it_is_written_and_ends_when_the_client_leaves(owner: Owner, tmp_path: Path) -> None:
    made = await owner.serving(app("stream"))
    url, gate = f"{made.status.ingress.public_url}/stream?", tmp_path / "gate"
    async with owner.http.stream("GET", f"{url}{gate}") as response:
        lines = response.aiter_lines()
        assert await anext(lines) == "data: first"
        gate.touch()
        assert "data: second" in [line async for line in lines]
    async with owner.http.stream("GET", f"{url}{tmp_path / 'never'}") as response:
        assert await anext(response.aiter_lines()) == "data: first"
    tail = owner.logs.tail_logs(logs_pb.TailLogsRequest(app_id=made.metadata.id))
    await until(tail, lambda said: "the client left\n" in messages(said.batches.logs))


async def test_an_app_that_is_too_slow(owner: Owner) -> None:
    timeouts = pb.TimeoutConfig(request_timeout=Duration(seconds=1))
    made = await owner.serving(app("slow", timeouts=timeouts))
    answer = await owner.ask(made, "/slow?5")
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    never = await owner.create(app("never", "sleep", "60", timeouts=timeouts))
    assert (await owner.ask(never, "/")).status_code == 504


async def test_the_log_goes_on_across_replicas(owner: Owner) -> None:
    """The replicas first; then the lines of those that have ended, and of those that run, each time in order."""
    made = await owner.serving(app("told", least=1))
    await owner.ask(made, "/before")
    logs: list[logs_pb.LogLines] = []
    replicas: list[list[str]] = []

    def heard(said: logs_pb.TailLogsResponse, text: str, times: int) -> bool:
        logs.extend(said.batches.logs)
        if said.WhichOneof("resp") == "replicas":
            replicas.append([one.name for one in said.replicas.replicas])
        return messages(logs).count(text) == times

    pid = int((await owner.ask(made, "/pid")).text)
    async with aclosing(owner.logs.tail_logs(logs_pb.TailLogsRequest(app_id=made.metadata.id))) as tail:  # type: ignore[type-var]
        async with asyncio.timeout(20):
            async for said in tail:
                if heard(said, "asked for /pid\n", 1):
                    break
            assert replicas  # told before any line
            os.kill(pid, signal.SIGKILL)
            async for said in tail:
                if heard(said, "starting\n", 2):
                    break
    lines = [line for log in logs for line in log.structured_lines]
    assert [len(names) for names in replicas] == [1, 2]
    assert replicas[0] == replicas[1][:1]
    stamps = [(line.timestamp.seconds, line.timestamp.nanos) for line in lines]
    assert stamps == sorted(stamps)
    assert stamps[0] > (0, 0)
    persisted = logs_pb.TailLogsRequest(app_id=made.metadata.id, source=payload_pb2.PERSISTED_ONLY)
    batches = await owner.said(persisted)
    assert {log.replica_id.name for log in batches} == {replicas[0][0]}
    assert {log.source for log in batches} == {payload_pb2.LOG_LINE_SOURCE_PERSISTED}
    one = logs_pb.TailLogsRequest()
    one.replica_id.app_id.CopyFrom(made.metadata.id)
    one.replica_id.name = replicas[0][0]
    assert "starting\n" in messages(await owner.said(one))
    one.replica_id.name = "nobody"
    with refused(Code.NOT_FOUND, "no replica 'nobody'"):
        await owner.said(one)


async def test_stopped_started_and_deleted(owner: Owner) -> None:
    made = await owner.serving(app("ended", least=1))
    pid = int((await owner.ask(made, "/pid")).text)
    made.spec.desired_state = pb.Spec.DESIRED_STATE_STOPPED
    stopped = await owner.update(made)
    told = await owner.reached(made, (Deployment.STOPPED, Substate.NONE))
    assert not psutil.pid_exists(pid)
    assert told.status.current_replicas == 0
    assert (await owner.ask(made, "/")).status_code == 503
    stopped.spec.desired_state = pb.Spec.DESIRED_STATE_STARTED
    await owner.update(stopped)
    await owner.reached(made, RUNNING)
    process = psutil.Process(int((await owner.ask(made, "/pid")).text))
    await owner.apps.delete(payload.DeleteRequest(app_id=made.metadata.id))
    assert (await owner.ask(made, "/")).status_code == 404
    assert await asyncio.to_thread(psutil.wait_procs, [process], 15) == ([process], [])


async def test_a_server_that_is_killed_leaves_nothing_and_its_successor_goes_on(tmp_path: Path) -> None:
    """Case O19, of apps."""
    with Served(tmp_path / "home") as served:
        owner = Owner(served)
        kept = await owner.serving(app("kept", least=1))
        idle = await owner.serving(app("idle"))
        pids = [int((await owner.ask(made, "/pid")).text) for made in (kept, idle)]
        processes = [psutil.Process(pid) for pid in pids]
        served.stop(signal.SIGKILL)
        assert (await asyncio.to_thread(psutil.wait_procs, processes, 15))[1] == []
        served.start()
        owner = Owner(served)
        told = await owner.reached(kept, RUNNING)
        assert told.metadata.revision == 1
        assert (await owner.ask(kept, "/pid")).text not in map(str, pids)
        await owner.reached(idle, ASLEEP)
        assert (await owner.ask(idle, "/pid")).status_code == 200
        log = await owner.said(logs_pb.TailLogsRequest(app_id=kept.metadata.id, source=payload_pb2.PERSISTED_ONLY))
        assert "starting\n" in messages(log)
