"""Jobs elsewhere, driven by a Manager: the SDK's connector service, and an API server in memory and a real one.

Whenever a Manager dies, no job runs twice for an attempt, and none is left that nobody knows of but where it is told.
"""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.core import tasks_pb2
from flyteidl2.task import common_pb2

from alula.base.settings import Connector
from alula.blobs.store import Blobs
from alula.core.errors import Unavailable
from alula.core.taskaction import FINALIZER, Link, Request, Stage, State
from alula.core.taskspec import manifest
from alula.kube.client import Kube
from alula.kube.objects import PODS, SECRETS, Name, Object
from alula.manager import jobs
from alula.manager.metrics import Metrics
from alula.manager.plugins.base import Store
from alula.manager.plugins.pod import PodPlugin
from alula.manager.program import Program
from alula.manager.remote import calls, directory, pace
from alula.manager.settings import Manager
from alula.manager.step import LOST
from alula.manager.world import ACTIONS
from tests.kube.cluster import Cluster
from tests.kube.fates import Fate
from tests.manager.cases import task_template
from tests.manager.connecting import TYPE, P, Warehouse, connector, free_port
from tests.manager.managed import CONTAINER, Control, by_type, control, managing, request


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is told soon, and who was silent is soon asked again."""
    monkeypatch.setattr(jobs, "SETTLE", timedelta(seconds=0.1))
    monkeypatch.setattr(calls, "_SHORTEST", 0.1)
    monkeypatch.setattr(calls, "_LONGEST", 0.2)
    monkeypatch.setattr(directory, "_SOON", 0.2)
    monkeypatch.setattr(pace, "_SOONEST", timedelta(seconds=0.1))


@pytest.fixture
def store(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "objects")


def query(number: int = 1, attempt: int = 1, **said: Any) -> Request:
    template = task_template({"type": said.pop("kind", TYPE), "custom": said.pop("custom", {})})
    base = f"s3://alula/r{number}/a0/{attempt}"
    known = {"task_type": template.type, "template": template.SerializeToString(), "output_uri": base}
    return request(number, attempt, **{**known, **said})


def settings(url: str, **said: Any) -> dict[str, Any]:
    return {"connectors": {"one": Connector(url=url, timeout=1.0, **said)}}


def finalizers(action: Object | None) -> list[str]:
    return [] if action is None else action["metadata"].get("finalizers") or []


@asynccontextmanager
async def mortal(cluster: Cluster, store: Store, **said: Any) -> AsyncIterator[Callable[[], bool]]:
    """A Manager that can be killed: what it is about to do is not done, and it gives nothing back."""
    told = Manager(namespace=cluster.namespace, groups=1, workers=4, listen="", replica="mortal", **said)
    async with Kube.connect(cluster.kubeconfig, namespace=cluster.namespace) as kube:
        program = Program(told, by_type([PodPlugin()]), kube, Metrics(), store)
        running = asyncio.create_task(program.run(asyncio.Event(), lambda _: None))
        try:
            yield running.cancel
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@asynccontextmanager
async def connecting(cluster: Cluster, store: Store, there: Warehouse) -> AsyncIterator[Control]:
    """A connector, a control plane and a Manager."""
    async with (
        connector(there) as url,
        control(cluster) as plane,
        managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()], store, **settings(url)),
    ):
        yield plane


async def test_a_job_runs_and_ends(cluster: Cluster, store: Blobs) -> None:
    there = Warehouse()
    async with connecting(cluster, store, there) as plane:
        asked = query()
        await plane.submit(asked)
        state = await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING)
        assert state.handle
        assert state.links == (Link("Console", "https://query.example.org/r1.0.1"),)
        assert finalizers(await plane.there(ACTIONS, asked.name)) == [FINALIZER]
        there.phases["r1.0.1"] = P.SUCCEEDED
        (state,) = await plane.over([asked.name])
        assert (state.stage, state.cause) == (Stage.SUCCEEDED, None)
        assert state.started_at is not None
        left = common_pb2.Outputs.FromString(await store.get(f"{asked.output_uri}/outputs.pb"))
        assert [(one.name, one.value.scalar.primitive.integer) for one in left.literals] == [("o0", 42)]
        await plane.release(asked.name)
        await plane.gone(ACTIONS)
    assert (there.begun, there.ended) == ({"r1.0": 1}, [])


@pytest.mark.parametrize(
    ("phase", "recoverable"), [(P.FAILED, False), (P.RETRYABLE_FAILED, True)], ids=["for-good", "for-now"]
)
async def test_a_job_that_fails_says_why(cluster: Cluster, store: Blobs, phase: Any, recoverable: bool) -> None:
    there = Warehouse()
    there.phases["r1.0.1"] = phase
    async with connecting(cluster, store, there) as plane:
        asked = query()
        await plane.submit(asked)
        (state,) = await plane.over([asked.name])
        assert state.cause
        assert (state.cause.message, state.cause.recoverable, state.cause.system) == ("as told", recoverable, False)


async def test_an_abort_ends_the_job(cluster: Cluster, store: Blobs) -> None:
    there = Warehouse()
    async with connecting(cluster, store, there) as plane:
        asked = query()
        await plane.submit(asked)
        await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING)
        await plane.release(asked.name)
        await plane.gone(ACTIONS)
    assert there.ended == ["r1.0.1"]


async def test_an_abort_waits_for_a_manager_and_for_the_connector(cluster: Cluster, store: Blobs) -> None:
    there, port, asked = Warehouse(), free_port(), query()
    async with control(cluster) as plane:
        async with connector(there, port) as url, mortal(cluster, store, **settings(url)) as kill:
            await plane.submit(asked)
            await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING)
            kill()
        await plane.release(asked.name)
        assert await plane.there(ACTIONS, asked.name) is not None
        async with managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()], store, **settings(url)):
            state = await plane.until(asked.name, lambda state: "cannot be ended" in state.reason)
            assert url in state.reason
            async with connector(there, port):
                await plane.gone(ACTIONS)
    assert there.ended == ["r1.0.1"]


async def test_a_connector_that_is_away_is_waited_for(cluster: Cluster, store: Blobs) -> None:
    """Before the job is there, and after."""
    there, port, asked = Warehouse(), free_port(), query()
    url = f"http://127.0.0.1:{port}"
    async with (
        control(cluster) as plane,
        managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()], store, **settings(url)),
    ):
        await plane.submit(asked)
        state = await plane.until(asked.name, lambda state: state.stage is Stage.WAITING)
        assert "do not say what they are for" in state.reason
        async with connector(there, port):
            await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING)
        state = await plane.until(asked.name, lambda state: "does not answer" in state.reason)
        assert state.stage is Stage.RUNNING
        there.phases["r1.0.1"] = P.SUCCEEDED
        async with connector(there, port):
            (state,) = await plane.over([asked.name])
    assert state.stage is Stage.SUCCEEDED
    assert there.begun == {"r1.0": 1}


@pytest.mark.parametrize("again", [False, True], ids=["no-second-try", "found-again"])
async def test_a_manager_that_dies_while_a_job_begins(cluster: Cluster, store: Blobs, again: bool) -> None:
    there, asked = Warehouse(again=again, slow=asyncio.Event()), query()
    async with connector(there) as url, control(cluster) as plane:
        async with mortal(cluster, store, **settings(url)) as kill:
            await plane.submit(asked)
            async with asyncio.timeout(20):
                await there.asked.wait()
            kill()
        assert there.slow
        there.slow.set()
        said = settings(url, idempotent=again)
        async with managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()], store, **said):
            if again:
                await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING)
                there.phases["r1.0.1"] = P.SUCCEEDED
            (state,) = await plane.over([asked.name])
    assert there.begun == {"r1.0": 1}
    if again:
        assert state.stage is Stage.SUCCEEDED
    else:
        assert state.cause
        assert (state.cause.code, state.cause.system) == (LOST, True)


async def test_a_manager_that_dies_while_a_job_runs(cluster: Cluster, store: Blobs) -> None:
    there, asked = Warehouse(), query()
    async with connector(there) as url, control(cluster) as plane:
        async with mortal(cluster, store, **settings(url)) as kill:
            await plane.submit(asked)
            await plane.until(asked.name, lambda state: bool(state.handle))
            kill()
        there.phases["r1.0.1"] = P.SUCCEEDED
        async with managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()], store, **settings(url)):
            (state,) = await plane.over([asked.name])
    assert state.stage is Stage.SUCCEEDED
    assert there.begun == {"r1.0": 1}


async def test_a_job_of_an_attempt_that_others_hold_for_lost_is_ended(cluster: Cluster, store: Blobs) -> None:
    there, asked = Warehouse(slow=asyncio.Event()), query()
    async with connecting(cluster, store, there) as plane:
        await plane.submit(asked)
        async with asyncio.timeout(20):
            await there.asked.wait()
        status = {
            "pluginPhase": "PermanentFailure",
            "errorState": {"code": LOST, "message": "lost", "kind": "SYSTEM"},
        }
        await cluster.kube.patch(ACTIONS, Name(cluster.namespace, asked.name), {"status": status}, status=True)
        assert there.slow
        there.slow.set()
        await plane.release(asked.name)
        await plane.gone(ACTIONS)
    assert there.ended == ["r1.0.1"]


async def test_secrets_are_read_when_they_are_needed_and_told_nowhere(
    cluster: Cluster, store: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "alula")
    there = Warehouse()
    async with connecting(cluster, store, there) as plane:
        data = {"TOKEN": base64.b64encode(b"hush-hush").decode()}
        meta = {"name": "r1-secrets", "namespace": cluster.namespace}
        await cluster.kube.create(SECRETS, {"metadata": meta, "data": data})
        asked = query(custom={"secrets": {"token": "TOKEN"}}, secret="r1-secrets", secret_env=["TOKEN"])
        await plane.submit(asked)
        there.phases["r1.0.1"] = P.SUCCEEDED
        await plane.over([asked.name])
        action = await plane.there(ACTIONS, asked.name)
    assert there.secrets == ["hush-hush"]
    assert "hush" not in repr(action) + caplog.text
    assert base64.b64encode(b"hush-hush").decode() not in repr(action)


async def test_who_is_there_for_what(cluster: Cluster, store: Blobs) -> None:
    """Types that nobody knows, types of connectors, sleep and echo, and what a cluster has nothing to do with."""
    there = Warehouse()
    async with connecting(cluster, store, there) as plane:
        unknown, echo, sleep = query(1, kind="weather"), query(2, kind="echo"), query(3, kind="core-sleep")
        for asked in (unknown, echo, sleep):
            await plane.submit(asked)
        condition = await _condition(plane)
        names = [unknown.name, echo.name, sleep.name, condition]
        states = dict(zip(names, await plane.over(names), strict=True))
        causes = {name: state.cause.code for name, state in states.items() if state.cause}
        assert causes == {
            unknown.name: "PluginNotFound",
            sleep.name: "BadTaskSpecification",
            condition: "InvalidSpec",
        }
        assert states[echo.name].stage is Stage.SUCCEEDED
        assert "settled by the control plane" in states[condition].reason


async def _condition(plane: Control) -> str:
    asked = request(9)
    made = manifest(asked, plane.namespace)
    made["spec"]["actionType"] = "condition"
    await plane.kube.create(ACTIONS, made)
    return asked.name


class Moody:
    """A store that is away at first."""

    def __init__(self, store: Blobs) -> None:
        self.store, self.away, self.read = store, True, 0

    async def get(self, uri: str, *, limit: int = 1 << 20) -> bytes:
        self.read += 1
        if self.away:
            raise Unavailable("the store is away")
        return await self.store.get(uri, limit=limit)

    async def put(self, uri: str, data: bytes) -> None:
        await self.store.put(uri, data)


async def test_a_large_template_is_read_where_it_is(cluster: Cluster, store: Blobs) -> None:
    cluster.kubelet.script = lambda _: Fate()
    template = tasks_pb2.TaskTemplate()
    template.CopyFrom(CONTAINER)
    template.container.args.append("x" * 200_000)
    body = template.SerializeToString()
    digest, uri, moody = hashlib.sha256(body).hexdigest(), "s3://alula/r1/task_template.pb", Moody(store)
    await store.put(uri, body)
    await store.put("s3://alula/r2/task_template.pb", body + b"x")
    by_reference: dict[str, Any] = {"template": b"", "template_digest": digest}
    fine = request(1, template_uri=uri, **by_reference)
    other = request(2, template_uri="s3://alula/r2/task_template.pb", **by_reference)
    nowhere = request(3, template_uri="s3://alula/r3/task_template.pb", **by_reference)
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()], moody):
        for asked in (fine, other, nowhere):
            await plane.submit(asked)
        state = await plane.until(fine.name, lambda state: state.stage is Stage.WAITING)
        assert state.reason == "the store is away"
        moody.away = False
        states = await plane.over([fine.name, other.name, nowhere.name])
        pod = await plane.there(PODS, fine.name)
    assert pod is not None
    assert len(pod["spec"]["containers"][0]["args"][-1]) == 200_000
    assert [state.stage for state in states] == [Stage.SUCCEEDED, Stage.FAILED, Stage.FAILED]
    assert [_said(state) for state in states[1:]] == [
        ("InvalidSpec", "its digest is another"),
        ("InvalidSpec", "there is no object"),
    ]


def _said(state: State) -> tuple[str, str]:
    assert state.cause
    known = ("its digest is another", "there is no object")
    return state.cause.code, next((text for text in known if text in state.cause.message), state.cause.message)


async def test_without_a_store_a_large_template_fails_and_says_what_to_do(cluster: Cluster) -> None:
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
        asked = request(template=b"", template_uri="s3://alula/r1/task_template.pb")
        await plane.submit(asked)
        (state,) = await plane.over([asked.name])
    assert state.cause
    assert state.cause.code == "InvalidSpec"
    assert "manager.objects" in state.cause.message
