"""What keeps a pod from running, seen through the Manager: quotas, rules of the cluster, and what Events say."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from alula.core.taskaction import Stage
from alula.kube.objects import EVENTS, NAMESPACES, PODS, Kind, Name, Object, Refused
from alula.manager import step
from alula.manager.plugins.pod import PodPlugin
from alula.manager.podspec.settings import PodSettings
from tests.kube.apiserver.refusals import Refusal
from tests.kube.cluster import Cluster
from tests.kube.fates import End, Fate
from tests.manager.managed import PATIENCE, Control, control, managing, request

QUOTAS = Kind("", "v1", "ResourceQuota", "resourcequotas")
RIGHTS = 'pods is forbidden: User "manager" cannot create resource "pods" in API group "" in the namespace "work"'
UNSAFE = (
    'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container '
    '"primary" must set securityContext.allowPrivilegeEscalation=false)'
)
FULL = 'pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=3, limited: pods=3'


@asynccontextmanager
async def at_work(cluster: Cluster) -> AsyncIterator[Control]:
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()]):
        yield plane


def refusing(cluster: Cluster, text: str) -> Callable[[], None]:
    """Have the server in memory take no pods; call what is returned to have it take them again."""
    assert cluster.server is not None
    writes, create = cluster.server.writes, cluster.server.writes.create

    def refuse(shelf: Any, namespace: str, value: Object) -> Object:
        if shelf.kind == PODS:
            raise Refusal(403, text, "Forbidden")
        return create(shelf, namespace, value)

    writes.create = refuse  # type: ignore[method-assign]
    return lambda: setattr(writes, "create", create)


async def limited(cluster: Cluster, pods: int, create: bool = False) -> None:
    """What a real server's quota is; its controller, which writes the status, is not there."""
    name, amount = Name(cluster.namespace, "few"), {"pods": str(pods)}
    if create:
        await cluster.kube.create(QUOTAS, {"metadata": name._asdict(), "spec": {"hard": amount}})
    status = {"hard": amount, "used": {"pods": "0"}}
    await cluster.kube.patch(QUOTAS, name, {"spec": {"hard": amount}, "status": status})
    await cluster.kube.patch(QUOTAS, name, {"status": status}, status=True)


async def until_pods_are_refused(cluster: Cluster) -> None:
    """A real server takes a moment until it heeds a new rule."""
    async with asyncio.timeout(PATIENCE):
        for number in range(1000):
            name = Name(cluster.namespace, f"probe-{number}")
            probe = {"metadata": name._asdict(), "spec": {"containers": [{"name": "primary", "image": "i"}]}}
            try:
                await cluster.kube.create(PODS, probe)
            except Refused:
                return
            await cluster.kube.delete(PODS, name, grace=0)


async def test_a_quota_makes_an_attempt_wait_and_costs_no_try(cluster: Cluster) -> None:
    if cluster.server is not None:
        allow = refusing(cluster, FULL)
    else:
        await limited(cluster, 0, create=True)
        await until_pods_are_refused(cluster)
    cluster.kubelet.script = lambda _: Fate(after=0.1)
    async with at_work(cluster) as plane:
        asked = request()
        await plane.submit(asked)
        state = await plane.until(asked.name, lambda state: state.stage is Stage.WAITING)
        assert "exceeded quota: few" in state.reason
        assert (state.cause, state.pods) == (None, ())
        if cluster.server is not None:
            allow()
        else:
            await limited(cluster, 9)
        (state,) = await plane.over([asked.name])
        assert (state.stage, state.cause) == (Stage.SUCCEEDED, None)
        assert Stage.FAILED not in {told.stage for _, told in plane.changes}
    assert cluster.kubelet.started[asked.name] == 1


async def test_a_rule_of_the_cluster_fails_a_task_and_says_what_to_do(cluster: Cluster) -> None:
    if cluster.server is not None:
        refusing(cluster, UNSAFE)
    else:
        rule = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
        await cluster.kube.patch(NAMESPACES, Name("", cluster.namespace), rule)
        await until_pods_are_refused(cluster)
    async with at_work(cluster) as plane:
        asked = request()
        await plane.submit(asked)
        (state,) = await plane.over([asked.name])
    cause = state.cause
    assert cause is not None
    assert (cause.code, cause.system, cause.recoverable) == ("Forbidden", False, False)
    assert 'violates PodSecurity "restricted:latest"' in cause.message
    assert "What to do: have the task keep to this rule" in cause.message


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_a_right_that_the_manager_lacks_is_no_fault_of_the_task(cluster: Cluster) -> None:
    allow = refusing(cluster, RIGHTS)
    async with at_work(cluster) as plane:
        asked = request()
        await plane.submit(asked)
        state = await plane.until(asked.name, lambda state: state.stage is Stage.WAITING)
        assert 'cannot create resource "pods"' in state.reason
        allow()
        (state,) = await plane.over([asked.name])
        assert state.stage is Stage.SUCCEEDED


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "SETTLE", timedelta(seconds=0.3))


async def say(cluster: Cluster, pod: Object, reason: str, message: str, number: int = 1) -> None:
    """An Event as kubelets and schedulers make them."""
    name = Name(cluster.namespace, f"{pod['metadata']['name']}.{reason.lower()}.{number}")
    about = {"kind": "Pod", "apiVersion": "v1", **name_and_uid(pod)}
    event = {
        "metadata": name._asdict(),
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "type": "Warning",
        "count": number,
        "source": {"component": "kubelet"},
    }
    await cluster.kube.create(EVENTS, event)


def name_and_uid(found: Object) -> dict[str, str]:
    return {key: found["metadata"][key] for key in ("namespace", "name", "uid")}


@pytest.mark.usefixtures("hasty")
async def test_what_the_cluster_says_of_a_pod_reaches_its_user(cluster: Cluster) -> None:
    """Once, however often it is said; what is the usual course of things is not told, nor what is said already."""
    cluster.kubelet.script = lambda _: Fate(End.CREATING)
    mount = 'MountVolume.SetUp failed for volume "data" : secret "r1-data" not found'
    async with at_work(cluster) as plane:
        asked, other = request(1), request(2)
        await plane.submit(asked)
        await plane.submit(other)
        await plane.until(asked.name, lambda state: bool(state.pods))
        pod = await cluster.kube.get(PODS, Name(cluster.namespace, asked.name))
        await say(cluster, pod, "Scheduled", "Successfully assigned work/r1 to node-1")
        await say(cluster, pod, "Failed", "Error: ErrImagePull")
        await say(cluster, pod, "FailedMount", mount)
        for number in range(2, 12):
            await say(cluster, pod, "FailedMount", mount, number)
        await say(cluster, pod, "FailedCreatePodSandBox", "Failed to create pod sandbox: plugin returned error 17")
        await say(cluster, pod, "FailedCreatePodSandBox", "Failed to create pod sandbox: plugin returned error 23", 2)
        await say(cluster, {"metadata": {**pod["metadata"], "name": "x", "uid": "y"}}, "FailedMount", "no pod of ours")
        state = await plane.until(asked.name, lambda state: len(state.notes) >= 2)
        assert state.notes == (
            f"FailedMount: {mount}",
            "FailedCreatePodSandBox: Failed to create pod sandbox: plugin returned error 17",
        )
        assert state.stage is Stage.INITIALIZING
        told = plane.state(other.name)
        assert told is not None
        assert told.notes == ()
        writes = [state for name, state in plane.changes if name == asked.name and state.notes]
        assert len(writes) <= 2


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_a_pod_that_never_starts_fails_with_what_the_cluster_says_is_missing(cluster: Cluster) -> None:
    """Its own status would only say ContainerCreating."""
    cluster.kubelet.script = lambda _: Fate(End.CREATING)
    pods = PodSettings(creating_timeout=timedelta(seconds=2))
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace, [PodPlugin()], pods=pods):
        asked = request()
        await plane.submit(asked)
        pod = await plane.come(PODS, asked.name)
        await say(cluster, pod, "FailedMount", 'MountVolume.SetUp failed for volume "data" : secret "data" not found')
        (state,) = await plane.over([asked.name])
    cause = state.cause
    assert cause is not None
    assert (cause.code, cause.system) == ("ContainersNotReady|ContainerCreating", True)
    assert 'The cluster says: FailedMount: MountVolume.SetUp failed for volume "data" : secret "data"' in cause.message


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_what_is_said_twice_in_the_same_words_is_told_once(cluster: Cluster) -> None:
    """The scheduler writes it into the pod's status, and says it."""
    cluster.kubelet.script = lambda _: Fate(End.UNSCHEDULABLE, message="0/3 nodes are available: 3 Insufficient cpu.")
    async with at_work(cluster) as plane:
        asked = request()
        await plane.submit(asked)
        pod = await plane.come(PODS, asked.name)
        await say(cluster, pod, "FailedScheduling", "0/3 nodes are available: 3 Insufficient cpu.")
        await say(cluster, pod, "NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached")
        state = await plane.until(asked.name, lambda state: bool(state.notes) and state.stage is Stage.WAITING)
    assert state.reason.startswith("0/3 nodes")
    assert state.notes == ("NotTriggerScaleUp: pod didn't trigger scale-up: 1 max node group size reached",)


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_a_preemption_costs_no_try_of_the_task(cluster: Cluster) -> None:
    cluster.kubelet.script = lambda _: Fate(End.PREEMPTED, after=0.1)
    async with at_work(cluster) as plane:
        asked = request()
        await plane.submit(asked)
        (state,) = await plane.over([asked.name])
    cause = state.cause
    assert cause is not None
    assert (cause.system, cause.recoverable) == (True, True)
    assert cause.code in ("Interrupted", "ResourceDeletedExternally")
