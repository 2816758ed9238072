"""The Manager in a cluster: every test runs on the API server in memory, and on a real one where it is found."""

import re
from datetime import datetime
from typing import Any

import pytest

from alula.core.taskaction import ATTEMPT, MANAGED, Stage
from alula.kube.objects import PODS, Kind, Name, Object, Selection, labels_of, owner_of
from alula.manager.plugins.base import Task
from alula.manager.plugins.pod import PodPlugin
from alula.manager.plugins.ray import RayPlugin
from alula.manager.podspec.copilot import GRACE
from alula.manager.world import ACTIONS
from tests.kube.cluster import Cluster
from tests.kube.fates import End, Fate
from tests.manager.managed import RAY_CRD, control, managing, request

NEVER = Fate(End.NEVER)


async def test_an_attempt_runs_and_ends(cluster: Cluster) -> None:
    asked = request()
    cluster.kubelet.script = lambda _: Fate(after=0.2)
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
        action = await plane.submit(asked)
        state = await plane.until(asked.name, lambda state: state.stage.over)
        assert (state.stage, state.exit_code, state.cause) == (Stage.SUCCEEDED, 0, None)
        assert [pod.name for pod in state.pods] == [asked.name]
        pod = await cluster.kube.get(PODS, Name(cluster.namespace, asked.name))
        assert owner_of(pod) == action["metadata"]["uid"]
        assert labels_of(pod)[MANAGED] == "true"
        assert labels_of(pod)[ATTEMPT] == asked.name
        assert [state.stage for _, state in plane.changes] == [Stage.INITIALIZING, Stage.RUNNING, Stage.SUCCEEDED]
        await plane.release(asked.name)
        await plane.gone(PODS)


async def test_a_successful_attempt_costs_six_writes(cluster: Cluster) -> None:
    """The control plane's two, and the four of the Manager: what is over is collected by the cluster itself."""
    cluster.kubelet.script = lambda _: Fate(after=0.2)
    async with control(cluster) as plane:
        async with managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]) as program:
            asked = request()
            await plane.submit(asked)
            await plane.over([asked.name])
            await plane.release(asked.name)
            await plane.gone(PODS)
        text = program.metrics.text().decode()
    found = re.findall(r'kube_seconds_count\{code="2..",kind="(\w+)",verb="(\w+)"\} (\S+)', text)
    reads = ("get", "list", "watch")
    writes = {(verb, kind): float(count) for kind, verb, count in found if verb not in reads and kind != "leases"}
    assert writes == {("replace", "taskactions"): 3.0, ("create", "pods"): 1.0}


async def test_a_failure_says_why(cluster: Cluster) -> None:
    cluster.kubelet.script = lambda _: Fate(End.FAILED, exit_code=3)
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
        asked = request()
        await plane.submit(asked)
        (state,) = await plane.over([asked.name])
        assert state.stage is Stage.FAILED
        assert state.cause is not None
        assert (state.cause.code, state.cause.system, state.exit_code) == ("ContainerFailed", False, 3)


async def test_an_abort_ends_the_pod(cluster: Cluster) -> None:
    cluster.kubelet.script = lambda _: NEVER
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
        asked = request()
        await plane.submit(asked)
        await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING)
        await plane.release(asked.name)
        await plane.gone(PODS)


async def test_what_was_made_for_nobody_goes_when_a_manager_starts(cluster: Cluster) -> None:
    """The TaskAction was deleted while there was no Manager; the collector of tests does not see this owner."""
    cluster.kubelet.script = lambda _: NEVER
    async with control(cluster) as plane:
        asked = request()
        async with managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
            await plane.submit(asked)
            await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING)
        orphan = request(2)
        gone = await plane.submit(orphan)
        await plane.release(orphan.name)
        pod = await cluster.kube.get(PODS, Name(cluster.namespace, asked.name))
        await cluster.kube.create(PODS, _copy(pod, orphan.name, gone["metadata"]["uid"]))
        async with managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
            (left,) = await plane.gone(PODS, 1)
            assert left["metadata"]["name"] == asked.name
            state = plane.state(asked.name)
            assert state is not None
            assert state.stage is Stage.RUNNING


async def test_a_pod_that_somebody_deletes_is_not_made_again(cluster: Cluster) -> None:
    cluster.kubelet.script = lambda _: NEVER
    async with control(cluster) as plane:
        asked = request()
        async with managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
            await plane.submit(asked)
            await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING)
        await cluster.kube.delete(PODS, Name(cluster.namespace, asked.name), grace=0)
        async with managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
            (state,) = await plane.over([asked.name])
        assert state.cause is not None
        assert (state.stage, state.cause.code, state.cause.system) == (Stage.FAILED, "ResourceDeletedExternally", True)
        assert await plane.there(PODS, asked.name) is None
        assert cluster.kubelet.started == {asked.name: 1}


class Uploads(PodPlugin):
    """Its pods may take an hour to end by themselves, and two seconds when they are aborted."""

    def build(self, task: Task) -> Object:
        pod = super().build(task)
        pod["metadata"].setdefault("annotations", {})[GRACE] = "2"
        pod["spec"]["terminationGracePeriodSeconds"] = 3600
        return pod


async def test_an_abort_does_not_wait_for_what_comes_after_a_good_end(cluster: Cluster) -> None:
    cluster.kubelet.script = lambda _: NEVER
    told: list[int | None] = []

    def see(_: Name, __: Object | None, new: Object | None) -> None:
        if new is not None and "deletionTimestamp" in new["metadata"]:
            told.append(new["metadata"].get("deletionGracePeriodSeconds"))

    cluster.kubelet.mirror.subscribe(see)
    cluster.kubelet.slow = 1.0
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [Uploads()]):
        asked = request()
        await plane.submit(asked)
        await plane.until(asked.name, lambda state: state.stage is Stage.RUNNING)
        await plane.release(asked.name)
        await plane.gone(PODS)
    assert 2 in told


async def test_a_launch_that_was_recorded_by_one_who_died_is_lost(cluster: Cluster) -> None:
    async with control(cluster) as plane:
        asked = request()
        await plane.submit(asked)
        status = {
            "pluginPhase": "Initializing",
            "attempts": 1,
            "conditions": [],
            "phaseHistory": [{"phase": "Initializing", "occurredAt": "2026-01-01T00:00:00Z"}],
        }
        await cluster.kube.patch(ACTIONS, Name(cluster.namespace, asked.name), {"status": status}, status=True)
        async with managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
            (state,) = await plane.over([asked.name])
        assert state.cause is not None
        assert (state.cause.code, state.cause.system) == ("ResourceDeletedExternally", True)
        assert cluster.kubelet.started == {}


async def test_something_else_of_its_name_has_to_go_first(cluster: Cluster) -> None:
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
        asked = request()
        cluster.kubelet.script = lambda _: NEVER
        spec = {"containers": [{"name": "x", "image": "y"}]}
        name = Name(cluster.namespace, asked.name)
        await cluster.kube.create(PODS, {"metadata": name._asdict(), "spec": spec})
        await plane.submit(asked)
        state = await plane.until(asked.name, lambda state: state.stage is Stage.WAITING)
        assert "has to go first" in state.reason
        cluster.kubelet.script = lambda _: Fate()
        await cluster.kube.delete(PODS, name, grace=0)
        (state,) = await plane.over([asked.name])
        assert state.stage is Stage.SUCCEEDED


async def test_unknown_types_and_bad_tasks_fail_at_once(cluster: Cluster) -> None:
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
        unknown, empty, garbled = (
            request(1, task_type="weather"),
            request(2, template=b""),
            request(3, template=b"\xff"),
        )
        for asked in (unknown, empty, garbled):
            await plane.submit(asked)
        states = await plane.over([unknown.name, empty.name, garbled.name])
        causes = [state.cause for state in states if state.cause]
        assert [cause.code for cause in causes] == ["PluginNotFound", "InvalidSpec", "InvalidSpec"]
        assert "it knows actor, container" in causes[0].message
        assert not any(cause.system or cause.recoverable for cause in causes)


async def test_a_kind_that_is_not_installed_fails_clearly_and_is_found_later(cluster: Cluster) -> None:
    kind = RayPlugin().kind
    if cluster.server is None and await _is_installed(cluster, kind):
        pytest.skip("another test has installed the kind in this server")
    asked = request(task_type="echo-ray")
    plugin = Echo(kind)
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [plugin]):
        await plane.submit(asked)
        (state,) = await plane.over([asked.name])
        assert state.cause is not None
        assert state.cause.code == "PluginNotFound"
        assert "not installed" in state.cause.message
    async with control(cluster) as plane:
        await cluster.install(RAY_CRD)
        async with managing(cluster.kubeconfig, cluster.namespace, [plugin]):
            again = request(2, task_type="echo-ray")
            await plane.submit(again)
            await plane.come(kind, again.name)
            await cluster.kube.patch(kind, Name(cluster.namespace, again.name), {"status": {"done": True}}, status=True)
            (state,) = await plane.over([again.name])
            assert state.stage is Stage.SUCCEEDED
            await plane.release(again.name)
            await plane.gone(kind)


class Echo:
    """A plugin of tests: its object says by itself when it is done."""

    types = ("echo-ray",)
    parts = (PODS,)

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def build(self, task: Any) -> Object:
        return {"spec": {"of": task.request.run}}

    def observe(self, task: Any, found: Object, parts: Any, now: datetime) -> Any:
        from alula.core.taskaction import State
        from alula.manager.plugins.base import Seen

        done = (found.get("status") or {}).get("done")
        return Seen(
            State(Stage.SUCCEEDED if done else Stage.QUEUED, ended_at=now.replace(microsecond=0) if done else None)
        )


async def _is_installed(cluster: Cluster, kind: Kind) -> bool:
    from alula.kube.objects import NotFound

    try:
        await cluster.kube.select(Selection(kind, cluster.namespace))
    except NotFound:
        return False
    return True


def _copy(pod: Object, name: str, owner: str) -> Object:
    meta = pod["metadata"]
    references = [{**meta["ownerReferences"][0], "name": name, "uid": owner}]
    kept = {"labels": {**meta["labels"], ATTEMPT: name}, "namespace": meta["namespace"], "ownerReferences": references}
    containers = [{"name": one["name"], "image": one["image"]} for one in pod["spec"]["containers"]]
    return {"metadata": {"name": name, **kept}, "spec": {"containers": containers}}
