"""The simulated kubelet and garbage collector, on both servers: what other tests rely on."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from alula.kube.objects import PODS, Name, NotFound, Object, Refused, Selection
from tests.kube.cluster import Cluster
from tests.kube.fates import End, Fate
from tests.kube.nodelogs import Container
from tests.kube.widgets import CRD, WIDGETS, pod, widget


async def pod_until(cluster: Cluster, name: Name, fits: Callable[[Object | None], bool]) -> Object | None:
    """The pod, as soon as it is so; None if it is gone."""
    found, version = await cluster.kube.select(Selection(PODS, cluster.namespace))
    now = next((one for one in found if one["metadata"]["name"] == name.name), None)
    if fits(now):
        return now
    which = Selection(PODS, cluster.namespace)
    async with asyncio.timeout(20), aclosing(cluster.kube.watch(which, version)) as watch:
        async for happened, one in watch:
            if one["metadata"].get("name") == name.name:
                now = None if happened == "DELETED" else one
                if fits(now):
                    return now
    raise AssertionError("the watch ended")


def phase(*phases: str) -> Callable[[Object | None], bool]:
    return lambda found: found is not None and found["status"].get("phase") in phases


def reason(word: str) -> Callable[[Object | None], bool]:
    return lambda found: found is not None and word in str(found["status"])


@pytest.mark.parametrize(
    ("fate", "ends", "code", "words"),
    [
        (Fate(), "Succeeded", 0, "Completed"),
        (Fate(after=0.05), "Succeeded", 0, "Completed"),
        (Fate(End.FAILED, exit_code=3), "Failed", 3, "Error"),
        (Fate(End.OOM), "Failed", 137, "OOMKilled"),
        (Fate(End.EVICTED), "Failed", 137, "Evicted"),
    ],
)
async def test_pods_end_as_their_script_says(cluster: Cluster, fate: Fate, ends: str, code: int, words: str) -> None:
    name = Name(cluster.namespace, "one")
    cluster.kubelet.script = lambda _: fate
    await cluster.kube.create(PODS, pod(name))
    found = await pod_until(cluster, name, phase("Succeeded", "Failed"))
    assert found is not None
    assert found["spec"]["nodeName"]
    assert found["status"]["phase"] == ends
    assert found["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == code
    assert words in str(found["status"])
    assert cluster.kubelet.started == {"one": 1}


@pytest.mark.parametrize(
    ("end", "words", "node"),
    [
        (End.BAD_IMAGE, "ImagePullBackOff", True),
        (End.CREATING, "ContainerCreating", True),
        (End.UNSCHEDULABLE, "Unschedulable", False),
    ],
)
async def test_pods_can_be_stuck_and_are_deleted_at_once(cluster: Cluster, end: End, words: str, node: bool) -> None:
    name = Name(cluster.namespace, "one")
    cluster.kubelet.script = lambda _: Fate(end)
    await cluster.kube.create(PODS, pod(name))
    found = await pod_until(cluster, name, reason(words))
    assert found is not None
    assert (found["status"]["phase"], bool(found["spec"].get("nodeName"))) == ("Pending", node)
    await cluster.kube.delete(PODS, name)
    assert await pod_until(cluster, name, lambda found: found is None) is None


@pytest.mark.parametrize(("end", "why"), [(End.NODE_LOST, "DeletionByTaintManager"), (End.PREEMPTED, "Preemption")])
async def test_pods_go_with_their_node(cluster: Cluster, end: End, why: str) -> None:
    name = Name(cluster.namespace, "one")
    cluster.kubelet.script = lambda _: Fate(end, after=0.05)
    await cluster.kube.create(PODS, pod(name))
    found = await pod_until(cluster, name, lambda found: found is None or why in str(found["status"]))
    assert found is None or found["status"]["phase"] == "Running"
    assert await pod_until(cluster, name, lambda found: found is None) is None


async def test_a_pod_that_runs_stays_until_its_kubelet_has_ended_it(cluster: Cluster) -> None:
    name = Name(cluster.namespace, "one")
    cluster.kubelet.script = lambda _: Fate(End.NEVER)
    await cluster.kube.create(PODS, pod(name))
    await pod_until(cluster, name, phase("Running"))
    cluster.kubelet.slow = 0.2
    await cluster.kube.delete(PODS, name)
    going = await cluster.kube.get(PODS, name)
    assert going["metadata"]["deletionTimestamp"]
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    assert await pod_until(cluster, name, lambda found: found is None) is None


async def test_the_log_of_a_pod_is_read_through_the_cluster(cluster: Cluster) -> None:
    name = Name(cluster.namespace, "one")
    cluster.kubelet.script = lambda _: Fate(End.NEVER, log=("first", "second"))
    await cluster.kube.create(PODS, pod(name))
    running = await pod_until(cluster, name, phase("Running"))
    assert running is not None
    lines = await log(cluster, name)
    assert [line.partition(" ")[2] for line in lines] == ["first", "second"]
    reading = asyncio.create_task(log(cluster, name, follow=True, since=lines[-1].partition(" ")[0]))
    cluster.kubelet.logs.write(Container(*name, "main"), "third")
    cluster.kubelet.end(running, Fate())
    assert (await asyncio.wait_for(reading, 20))[-1].endswith(" third")
    assert await log(cluster, name, since="2099-01-01T00:00:00Z") == []
    with pytest.raises(Refused):
        await log(cluster, name, container="unknown")
    with pytest.raises(NotFound):
        await log(cluster, Name(cluster.namespace, "unknown"))


async def test_the_log_of_a_container_that_waits_is_refused(cluster: Cluster) -> None:
    name = Name(cluster.namespace, "one")
    cluster.kubelet.script = lambda _: Fate(End.CREATING)
    await cluster.kube.create(PODS, pod(name))
    await pod_until(cluster, name, reason("ContainerCreating"))
    with pytest.raises(Refused, match="waiting to start"):
        await log(cluster, name)


async def log(
    cluster: Cluster, name: Name, container: str = "main", *, follow: bool = False, since: str = ""
) -> list[str]:
    read = b""
    async for piece in cluster.kube.logs(name, container, follow=follow, since=since):
        read += piece
    return read.decode().splitlines()


async def test_what_is_owned_goes_with_its_owner_down_to_the_last(cluster: Cluster) -> None:
    await cluster.install(CRD)
    cluster.kubelet.script = lambda _: Fate(End.NEVER)
    owner = await cluster.kube.create(WIDGETS, widget(Name(cluster.namespace, "owner")))
    middle = await cluster.kube.create(WIDGETS, owned(widget(Name(cluster.namespace, "middle")), owner))
    name = Name(cluster.namespace, "one")
    await cluster.kube.create(PODS, owned(pod(name), middle))
    await pod_until(cluster, name, phase("Running"))
    await cluster.kube.delete(WIDGETS, Name(cluster.namespace, "owner"))
    assert await pod_until(cluster, name, lambda found: found is None) is None
    found, _ = await cluster.kube.select(Selection(WIDGETS, cluster.namespace))
    assert found == []


async def test_what_is_made_for_an_owner_that_is_gone_goes_too(cluster: Cluster) -> None:
    await cluster.install(CRD)
    owner = await cluster.kube.create(WIDGETS, widget(Name(cluster.namespace, "owner")))
    await cluster.kube.delete(WIDGETS, Name(cluster.namespace, "owner"))
    name = Name(cluster.namespace, "late")
    await cluster.kube.create(PODS, owned(pod(name), owner))
    assert await pod_until(cluster, name, lambda found: found is None) is None


@pytest.mark.parametrize(("propagation", "left"), [("Foreground", False), ("Orphan", True)])
async def test_how_far_a_deletion_reaches_can_be_chosen(cluster: Cluster, propagation: str, left: bool) -> None:
    await cluster.install(CRD)
    owner_name, name = Name(cluster.namespace, "owner"), Name(cluster.namespace, "one")
    owner = await cluster.kube.create(WIDGETS, widget(owner_name))
    await cluster.kube.create(WIDGETS, owned(widget(name), owner))
    which = Selection(WIDGETS, cluster.namespace)
    _, version = await cluster.kube.select(which)
    await cluster.kube.delete(WIDGETS, owner_name, propagation=propagation)
    gone = []
    async with asyncio.timeout(20), aclosing(cluster.kube.watch(which, version)) as watch:
        async for happened, one in watch:
            if happened == "DELETED":
                gone.append(one["metadata"]["name"])
                if gone[-1] == "owner":
                    break
    assert gone == (["owner"] if left else ["one", "owner"])


def owned(value: Object, owner: Object) -> Object:
    meta = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"]}
    value["metadata"]["ownerReferences"] = [{**reference, "controller": True, "blockOwnerDeletion": True}]
    return value
