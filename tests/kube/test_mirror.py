"""Mirrors: what they hold is what there is, whatever happens to the connection."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from alula.kube.client import Kube
from alula.kube.mirror import Mirror
from alula.kube.objects import Name, Object, Selection, labels_of, version_of
from tests.kube.cluster import Cluster
from tests.kube.widgets import CRD, WIDGETS, widget

Change = tuple[str, int | None, int | None]  # name, size before, size after


class Seen:
    """What a mirror has told."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.changes: list[Change] = []
        self._news = asyncio.Event()
        mirror.subscribe(self._told)

    def _told(self, name: Name, old: Object | None, new: Object | None) -> None:
        self.changes.append((name.name, _size(old), _size(new)))
        self._news.set()

    async def until(self, fits: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not fits():
                self._news.clear()
                await self._news.wait()


def _size(found: Object | None) -> int | None:
    return None if found is None else int(found["spec"]["size"])


def mirrored(cluster: Cluster, **more: object) -> Mirror:
    dice = random.Random(1).random
    return Mirror(cluster.kube, Selection(WIDGETS, cluster.namespace), dice=dice, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def running(mirror: Mirror) -> AsyncIterator[None]:
    task = asyncio.create_task(mirror.run())
    try:
        async with asyncio.timeout(20):
            await mirror.ready.wait()
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_has_what_was_there_and_what_comes(cluster: Cluster) -> None:
    await cluster.install(CRD)
    one, two = Name(cluster.namespace, "one"), Name(cluster.namespace, "two")
    await cluster.kube.create(WIDGETS, widget(one))
    mirror = mirrored(cluster)
    seen = Seen(mirror)
    async with running(mirror):
        assert [found["metadata"]["name"] for found in mirror.values()] == ["one"]
        await cluster.kube.create(WIDGETS, widget(two, size=2))
        await cluster.kube.patch(WIDGETS, two, {"spec": {"size": 3}})
        await cluster.kube.delete(WIDGETS, one)
        await seen.until(lambda: mirror.get(one) is None)
    assert seen.changes == [("one", None, 1), ("two", None, 2), ("two", 2, 3), ("one", 1, None)]


async def test_a_gap_is_closed_wherever_it_goes_on(cluster: Cluster) -> None:
    """Once by the last version, once (in memory) by a list, as that version is too old: differences are told alike."""
    await cluster.install(CRD)
    names = [Name(cluster.namespace, name) for name in ("changed", "gone", "same", "again", "new")]
    for name in names[:4]:
        await cluster.kube.create(WIDGETS, widget(name))
    mirror = mirrored(cluster)
    seen = Seen(mirror)
    async with running(mirror):
        pass
    await cluster.kube.patch(WIDGETS, names[0], {"spec": {"size": 5}})
    await cluster.kube.delete(WIDGETS, names[1])
    await cluster.kube.delete(WIDGETS, names[3])
    await cluster.kube.create(WIDGETS, widget(names[3], size=7))
    await cluster.kube.create(WIDGETS, widget(names[4], size=9))
    if cluster.server is not None:
        cluster.server.storage.forget()
    seen.changes.clear()
    mirror.ready.clear()
    task = asyncio.create_task(mirror.run())
    await seen.until(lambda: mirror.get(names[4]) is not None and len(seen.changes) == 5)
    task.cancel()
    expected = [("again", 1, None), ("again", None, 7), ("changed", 1, 5), ("gone", 1, None), ("new", None, 9)]
    assert sorted(seen.changes, key=str) == sorted(expected, key=str)
    assert seen.changes.index(("again", 1, None)) < seen.changes.index(("again", None, 7))


async def test_what_is_kept_can_be_less_and_is_found_by_its_labels(cluster: Cluster) -> None:
    await cluster.install(CRD)

    def slim(found: Object) -> Object:
        return {"metadata": found["metadata"], "spec": {"size": found["spec"]["size"]}}

    mirror = mirrored(cluster, slim=slim, indexes={"colour": lambda found: [labels_of(found).get("colour", "")]})
    seen = Seen(mirror)
    async with running(mirror):
        for name, colour in (("b", "red"), ("a", "red"), ("c", "blue")):
            value = widget(Name(cluster.namespace, name), labels={"colour": colour}, text="x" * 1000)
            await cluster.kube.create(WIDGETS, value)
        await seen.until(lambda: len(mirror) == 3)
        assert all("text" not in found["spec"] for found in mirror.values())
        assert [found["metadata"]["name"] for found in mirror.under("colour", "red")] == ["a", "b"]
        await cluster.kube.patch(WIDGETS, Name(cluster.namespace, "a"), {"metadata": {"labels": {"colour": "blue"}}})
        await cluster.kube.delete(WIDGETS, Name(cluster.namespace, "c"))
        await seen.until(lambda: mirror.get(Name(cluster.namespace, "c")) is None)
        assert [found["metadata"]["name"] for found in mirror.under("colour", "blue")] == ["a"]
        assert mirror.under("colour", "nothing") == []


async def test_what_was_written_is_seen_at_once_and_nothing_older_after_it(cluster: Cluster) -> None:
    await cluster.install(CRD)
    name = Name(cluster.namespace, "one")
    mirror = mirrored(cluster)
    seen = Seen(mirror)
    async with running(mirror):
        first = await cluster.kube.create(WIDGETS, widget(name))
        mirror.put(first)
        assert mirror.get(name) == first
        second = await cluster.kube.patch(WIDGETS, name, {"spec": {"size": 2}})
        mirror.put(second)
        mirror.put(first)
        assert mirror.get(name) == second
        await cluster.kube.create(WIDGETS, widget(Name(cluster.namespace, "later"), size=3))
        await seen.until(lambda: ("later", None, 3) in seen.changes)
    assert seen.changes == [("one", None, 1), ("one", 1, 2), ("later", None, 3)]


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_who_has_written_need_not_be_told(cluster: Cluster) -> None:
    mirror = mirrored(cluster)
    seen = Seen(mirror)
    written = {**widget(Name(cluster.namespace, "one")), "apiVersion": "tests.alula/v1"}
    written["metadata"] |= {"uid": "u", "resourceVersion": "5"}
    mirror.put(written, quietly=True)
    assert mirror.get(Name(cluster.namespace, "one")) == written
    assert seen.changes == []
    mirror.put({**written, "metadata": {**written["metadata"], "resourceVersion": "6"}})
    assert seen.changes == [("one", 1, 1)]


async def test_what_has_come_and_gone_does_not_come_back(cluster: Cluster) -> None:
    """The answer to a write is read after the watch, or a list, has told that the object went."""
    await cluster.install(CRD)
    name = Name(cluster.namespace, "one")
    mirror = mirrored(cluster)
    written = await cluster.kube.create(WIDGETS, widget(name))
    await cluster.kube.delete(WIDGETS, name)
    await cluster.kube.create(WIDGETS, widget(Name(cluster.namespace, "other")))
    async with running(mirror):
        mirror.put(written)
        assert mirror.get(name) is None


async def test_a_kind_that_comes_later_is_found(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.kube.mirror._MISSING", 0.05)
    names = {"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "listKind": "GadgetList"}
    group = f"g{cluster.namespace[5:]}.alula"
    crd = {**CRD, "metadata": {"name": f"gadgets.{group}"}, "spec": {**CRD["spec"], "group": group, "names": names}}
    kind = WIDGETS.__class__(group, "v1", "Gadget", "gadgets")
    mirror = Mirror(cluster.kube, Selection(kind, cluster.namespace), dice=lambda: 0.5)
    seen = Seen(mirror)
    async with running(mirror):
        assert len(mirror) == 0
        await cluster.install(crd)
        await cluster.kube.create(kind, widget(Name(cluster.namespace, "one")))
        await seen.until(lambda: len(mirror) == 1)


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_through_faults_and_gaps_it_ends_up_with_what_there_is(cluster: Cluster) -> None:
    """Every fifth request fails, every tenth event cuts the watch, versions are forgotten, and objects come and go."""
    await cluster.install(CRD)
    assert cluster.server is not None
    server, dice = cluster.server, random.Random(7)
    shelf = server.storage.of(WIDGETS)
    mirror = mirrored(cluster)
    seen = Seen(mirror)
    server.faults.rate, server.faults.cut = 0.2, 0.1
    async with running(mirror):
        for step in range(600):
            name = Name(cluster.namespace, f"w{dice.randrange(30)}")
            if name not in shelf.objects:
                server.writes.create(shelf, name.namespace, widget(name, size=0))
            elif dice.random() < 0.3:
                server.writes.delete(shelf, name, {})
            else:
                server.writes.patch(shelf, name, {"spec": {"size": dice.randrange(10)}}, status=False)
            if step % 100 == 50:
                server.storage.forget()
                server.cut_watches()
            await asyncio.sleep(0)
        server.faults.rate = server.faults.cut = 0
        truth = {name: version_of(entry.new) for name, entry in shelf.objects.items()}
        await seen.until(lambda: {n: version_of(o) for n in shelf.objects if (o := mirror.get(n))} == truth)
        assert len(mirror) == len(truth)
    sizes: dict[str, int | None] = {}
    for which, before, after in seen.changes:  # each change begins where the one before has ended
        assert sizes.get(which) == before
        sizes[which] = after


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
@pytest.mark.parametrize("code", [410, 429, 500])
async def test_a_cluster_in_trouble_is_not_asked_without_pause(cluster: Cluster, code: int) -> None:
    """The second try comes at once, others after pauses that grow, also if the list works and the watch does not."""
    await cluster.install(CRD)
    assert cluster.server is not None
    times: list[float] = []
    enough = asyncio.Event()

    def count(verb: str, _plural: str, _ended: str, _took: float) -> None:
        if verb == "watch":
            times.append(asyncio.get_running_loop().time())
            if len(times) == 5:
                enough.set()

    async with Kube.connect(cluster.kubeconfig, count=count) as kube:
        mirror = Mirror(kube, Selection(WIDGETS, cluster.namespace), dice=lambda: 0.0)
        async with running(mirror):
            cluster.server.faults.rate, cluster.server.faults.codes = 1.0, (code,)
            cluster.server.cut_watches()
            async with asyncio.timeout(20):
                await enough.wait()
    assert times[-1] - times[0] >= 0.1 + 0.2
