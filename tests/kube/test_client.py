"""The client against a cluster: the same on the one in memory and on a real one."""

import asyncio
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import pytest

from alula.kube.client import Kube
from alula.kube.objects import (
    CRDS,
    LEASES,
    PODS,
    SECRETS,
    Busy,
    Conflict,
    Exists,
    Gone,
    Happened,
    KubeError,
    Name,
    NotFound,
    Object,
    Refused,
    Selection,
    labels_of,
    version_of,
)
from tests.kube.cluster import Cluster
from tests.kube.real import kubeconfig
from tests.kube.widgets import CRD, WIDGETS, pod, widget


async def test_what_is_created_is_there_and_is_so_once(cluster: Cluster) -> None:
    await cluster.install(CRD)
    name = Name(cluster.namespace, "one")
    made = await cluster.kube.create(WIDGETS, widget(name, labels={"a": "b"}, colour="red"))
    assert made["apiVersion"] == "tests.alula/v1"
    assert made["metadata"]["uid"]
    assert made["metadata"]["generation"] == 1
    assert await cluster.kube.get(WIDGETS, name) == made
    with pytest.raises(Exists):
        await cluster.kube.create(WIDGETS, widget(name))
    with pytest.raises(NotFound):
        await cluster.kube.get(WIDGETS, Name(cluster.namespace, "two"))


async def test_a_name_can_be_made_by_the_cluster(cluster: Cluster) -> None:
    value = pod(Name(cluster.namespace, ""))
    value["metadata"] = {"namespace": cluster.namespace, "generateName": "some-"}
    names = {(await cluster.kube.create(PODS, value))["metadata"]["name"] for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("some-") and len(name) == 10 for name in names)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"size": 11}, "spec.size"),
        ({"size": -1}, "spec.size"),
        ({"colour": "green"}, "spec.colour"),
        ({"size": "one"}, "spec.size"),
        ({"words": {"a": 1}}, "spec.words.a"),
    ],
)
async def test_what_the_schema_forbids_is_refused(cluster: Cluster, spec: Object, words: str) -> None:
    await cluster.install(CRD)
    with pytest.raises(Refused, match=words) as refused:
        await cluster.kube.create(WIDGETS, widget(Name(cluster.namespace, "bad"), **spec))
    assert refused.value.reason == "Invalid"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": [{"name": "Main", "image": "x"}]}, "name"),
        ({"containers": [{"name": "main"}]}, "image"),
        ({"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]}, "Duplicate"),
        (
            {"containers": [{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
            "Not found",
        ),
        ({"restartPolicy": "Sometimes"}, "restartPolicy"),
    ],
)
async def test_pods_that_make_no_sense_are_refused(cluster: Cluster, change: Object, words: str) -> None:
    with pytest.raises(Refused, match=words):
        await cluster.kube.create(PODS, pod(Name(cluster.namespace, "bad"), **change))


@pytest.mark.parametrize("meta", [{"name": "Upper"}, {"labels": {"a": "x" * 64}}, {"labels": {"a": "b c"}}])
async def test_names_and_labels_have_rules(cluster: Cluster, meta: Object) -> None:
    value = pod(Name(cluster.namespace, "fine"))
    value["metadata"] |= meta
    with pytest.raises(Refused):
        await cluster.kube.create(PODS, value)


async def test_fields_that_the_schema_does_not_know_are_dropped(cluster: Cluster) -> None:
    await cluster.install(CRD)
    made = await cluster.kube.create(WIDGETS, widget(Name(cluster.namespace, "one"), unknown=1))
    assert "unknown" not in made["spec"]


async def test_a_status_is_written_apart_and_by_version(cluster: Cluster) -> None:
    await cluster.install(CRD)
    value = widget(Name(cluster.namespace, "one")) | {"status": {"phase": "ignored"}}
    first = await cluster.kube.create(WIDGETS, value)
    assert "status" not in first
    second = await cluster.kube.replace(WIDGETS, {**first, "spec": {"size": 9}, "status": {"phase": "a"}}, status=True)
    assert (second["status"], second["spec"]["size"]) == ({"phase": "a"}, 1)
    assert second["metadata"]["generation"] == 1
    with pytest.raises(Conflict):
        await cluster.kube.replace(WIDGETS, {**first, "status": {"phase": "b"}}, status=True)
    third = await cluster.kube.replace(WIDGETS, {**second, "spec": {"size": 2}, "status": {"phase": "c"}})
    assert (third["status"], third["spec"]["size"], third["metadata"]["generation"]) == ({"phase": "a"}, 2, 2)
    same = await cluster.kube.replace(WIDGETS, third)
    assert version_of(same) == version_of(third)
    with pytest.raises(Refused):
        await cluster.kube.replace(WIDGETS, widget(Name(cluster.namespace, "one")))
    with pytest.raises(NotFound):
        await cluster.kube.replace(WIDGETS, {**widget(Name(cluster.namespace, "no")), "status": {}}, status=True)


async def test_a_merge_patch_changes_what_it_has(cluster: Cluster) -> None:
    await cluster.install(CRD)
    name = Name(cluster.namespace, "one")
    await cluster.kube.create(WIDGETS, widget(name, labels={"a": "1", "b": "2"}, colour="red"))
    change = {"metadata": {"labels": {"a": None, "c": "3"}}, "spec": {"colour": "blue"}}
    changed = await cluster.kube.patch(WIDGETS, name, change)
    assert labels_of(changed) == {"b": "2", "c": "3"}
    assert changed["spec"] == {"size": 1, "colour": "blue"}
    shown = await cluster.kube.patch(WIDGETS, name, {"status": {"phase": "x"}}, status=True)
    assert shown["status"] == {"phase": "x"}
    with pytest.raises(NotFound):
        await cluster.kube.patch(WIDGETS, Name(cluster.namespace, "no"), change)


async def test_applying_has_it_so_and_takes_back_what_is_left_out(cluster: Cluster) -> None:
    await cluster.install(CRD)
    name = Name(cluster.namespace, "one")
    await cluster.kube.apply(WIDGETS, widget(name, words={"a": "1", "b": "2"}, colour="red"), "us")
    await cluster.kube.apply(WIDGETS, {"metadata": name._asdict(), "spec": {"size": 1, "text": "t"}}, "them")
    now = await cluster.kube.apply(WIDGETS, widget(name, words={"a": "9"}), "us")
    assert now["spec"] == {"size": 1, "words": {"a": "9"}, "text": "t"}


async def test_deleting_is_idempotent_and_of_the_one_that_is_meant(cluster: Cluster) -> None:
    await cluster.install(CRD)
    name = Name(cluster.namespace, "one")
    made = await cluster.kube.create(WIDGETS, widget(name))
    assert not await cluster.kube.delete(WIDGETS, name, uid="0c1be0bd-1b0d-4f4c-9d3e-7d3a4b2b8b43")
    assert await cluster.kube.get(WIDGETS, name)
    assert await cluster.kube.delete(WIDGETS, name, uid=made["metadata"]["uid"])
    assert not await cluster.kube.delete(WIDGETS, name)


async def test_a_finalizer_holds_what_is_deleted(cluster: Cluster) -> None:
    await cluster.install(CRD)
    name = Name(cluster.namespace, "one")
    value = widget(name)
    value["metadata"]["finalizers"] = ["tests.alula/held"]
    await cluster.kube.create(WIDGETS, value)
    assert await cluster.kube.delete(WIDGETS, name)
    held = await cluster.kube.get(WIDGETS, name)
    assert held["metadata"]["deletionTimestamp"]
    await cluster.kube.patch(WIDGETS, name, {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await cluster.kube.get(WIDGETS, name)


async def test_a_list_selects_by_labels_and_comes_in_pages(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.kube.client._PAGE", 7)
    for number in range(20):
        name = Name(cluster.namespace, f"lease-{number:02}")
        labels = {"parity": "even" if number % 2 == 0 else "odd", "third": str(number % 3)}
        await cluster.kube.create(LEASES, {"metadata": {**name._asdict(), "labels": labels}, "spec": {}})

    async def numbers(labels: str) -> list[int]:
        found, _ = await cluster.kube.select(Selection(LEASES, cluster.namespace, labels))
        return [int(one["metadata"]["name"][-2:]) for one in found]

    assert await numbers("") == list(range(20))
    assert await numbers("parity=even") == list(range(0, 20, 2))
    assert await numbers("parity!=even,third in (0,1)") == [n for n in range(20) if n % 2 and n % 3 in (0, 1)]
    assert await numbers("third notin (0,1)") == list(range(2, 20, 3))
    assert await numbers("nothing") == []
    assert await numbers("!nothing,parity") == list(range(20))
    with pytest.raises(Refused):
        await numbers("a b c")


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_a_list_whose_rest_is_forgotten_begins_anew(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    server = cluster.server
    assert server is not None
    monkeypatch.setattr("alula.kube.client._PAGE", 7)
    pages = []

    def count(_verb: str, _plural: str, ended: str, _took: float) -> None:
        pages.append(ended)
        if len(pages) == 2:
            server.forget_pages()

    for number in range(20):
        await cluster.kube.create(LEASES, {"metadata": {**Name(cluster.namespace, f"n{number}")._asdict()}, "spec": {}})
    async with Kube.connect(cluster.kubeconfig, count=count) as kube:
        found, _ = await kube.select(Selection(LEASES, cluster.namespace))
    assert len({one["metadata"]["name"] for one in found}) == len(found) == 20
    assert pages == ["200", "200", "410", "200", "200", "200"]


async def test_a_watch_tells_of_everything_after_a_version(cluster: Cluster) -> None:
    await cluster.install(CRD)
    kube, name = cluster.kube, Name(cluster.namespace, "one")
    which = Selection(WIDGETS, cluster.namespace, "a=b")
    _, version = await kube.select(which)
    await kube.create(WIDGETS, widget(Name(cluster.namespace, "other")))
    await kube.create(WIDGETS, widget(name, labels={"a": "b"}))
    await kube.patch(WIDGETS, name, {"spec": {"size": 2}})
    await kube.patch(WIDGETS, name, {"metadata": {"labels": {"a": "c"}}})
    await kube.patch(WIDGETS, name, {"metadata": {"labels": {"a": "b"}}})
    await kube.delete(WIDGETS, name)
    told = await _told(kube, which, version, 5)
    assert [happened for happened, _ in told] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    versions = [int(version_of(one)) for _, one in told]
    assert versions == sorted(set(versions))
    rest = await _told(kube, which, version_of(told[1][1]), 3)
    assert [version_of(one) for _, one in rest] == [str(version) for version in versions[2:]]


async def _told(kube: Kube, which: Selection, version: str, number: int) -> list[tuple[Happened, Object]]:
    told: list[tuple[Happened, Object]] = []
    async with asyncio.timeout(20), aclosing(kube.watch(which, version)) as watch:
        async for happened, one in watch:
            if happened is not Happened.BOOKMARK:
                told.append((happened, one))
            if len(told) == number:
                break
    return told


async def test_a_version_too_old_is_gone(cluster: Cluster) -> None:
    """In memory all of them are forgotten; a real server knows none from before the kind."""
    await cluster.install(CRD)
    await cluster.kube.create(WIDGETS, widget(Name(cluster.namespace, "one")))
    if cluster.server is not None:
        cluster.server.storage.forget()
    with pytest.raises(Gone):
        await _told(cluster.kube, Selection(WIDGETS, cluster.namespace), "1", 2)


async def test_a_kind_that_is_not_installed_is_not_found(cluster: Cluster) -> None:
    unknown = Selection(WIDGETS.__class__("nowhere.alula", "v1", "Thing", "things"), cluster.namespace)
    with pytest.raises(NotFound):
        await cluster.kube.select(unknown)
    with pytest.raises(NotFound):
        await _told(cluster.kube, unknown, "", 1)


async def test_objects_go_where_there_is_a_namespace(cluster: Cluster) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        await cluster.kube.create(SECRETS, {"metadata": {"namespace": "nowhere", "name": "x"}})


async def test_calls_are_counted(cluster: Cluster) -> None:
    counted: Counter[tuple[str, str, str]] = Counter()
    seconds = []

    def count(verb: str, plural: str, ended: str, took: float) -> None:
        counted[verb, plural, ended] += 1
        seconds.append(took)

    async with Kube.connect(cluster.kubeconfig, count=count) as kube:
        await kube.select(Selection(CRDS))
        with pytest.raises(NotFound):
            await kube.get(PODS, Name(cluster.namespace, "no"))
    assert counted == {("list", "customresourcedefinitions", "200"): 1, ("get", "pods", "404"): 1}
    assert all(0 < took < 10 for took in seconds)


async def test_who_is_not_known_is_told_to_wait(cluster: Cluster, tmp_path: Path) -> None:
    """A token that has expired says nothing of the request: it is tried again."""
    import yaml

    url = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    path = kubeconfig(tmp_path / "other", url, "another-token-secret")
    async with Kube.connect(path) as kube:
        with pytest.raises(Busy) as busy:
            await kube.get(PODS, Name("default", "x"))
        assert "another-token-secret" not in f"{busy.value!r} {kube!r} {vars(kube)!r}"


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
@pytest.mark.parametrize("token", ["a\nb-secret", "a b\x00-secret"])
async def test_no_error_shows_a_token(cluster: Cluster, token: str, tmp_path: Path) -> None:
    """A token that cannot be sent: the library that refuses it shows it."""
    assert cluster.server is not None
    path = kubeconfig(tmp_path / "config", cluster.server.url, token)
    async with Kube.connect(path) as kube:
        with pytest.raises(KubeError) as error:
            await kube.get(PODS, Name("default", "x"))
    told: BaseException | None = error.value
    while told is not None:
        assert "-secret" not in f"{told!r} {told}"
        told = None if told.__suppress_context__ else told.__context__


async def test_nobody_there_is_busy(tmp_path: Path) -> None:
    async with Kube.connect(kubeconfig(tmp_path / "config", "http://127.0.0.1:9", "t")) as kube:
        with pytest.raises(Busy, match="does not answer"):
            await kube.select(Selection(PODS))


@pytest.mark.parametrize(
    "text", ["", "a: [", "clusters: 1", "apiVersion: v1\nclusters: []\ncontexts: []\n", "users:\n- token: my-secret\n"]
)
def test_a_bad_kubeconfig_is_said_to_be_one(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeError) as error:
        Kube.connect(path)
    assert "my-secret" not in str(error.value)
    assert str(path) in str(error.value)


def test_outside_of_a_cluster_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(KubeError, match="KUBECONFIG"):
        Kube.connect()


def test_the_environment_names_a_kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", "http://127.0.0.1:9", "t", "mine")))
    assert Kube.connect().namespace == "mine"


async def test_two_writers_never_overwrite_each_other(cluster: Cluster) -> None:
    """Compare and set: of two at once, one is told."""
    await cluster.install(CRD)
    made = await cluster.kube.create(WIDGETS, widget(Name(cluster.namespace, "one")))
    writes = [cluster.kube.replace(WIDGETS, {**made, "status": {"phase": str(n)}}, status=True) for n in range(5)]
    ended = await asyncio.gather(*writes, return_exceptions=True)
    assert Counter(type(one) for one in ended) == {dict: 1, Conflict: 4}
