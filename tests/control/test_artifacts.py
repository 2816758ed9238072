"""Artifacts, on both databases: versions that never change, what is latest, partitions, lists, what actions produce."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest
from flyteidl2.artifact import artifact_pb2
from flyteidl2.core import artifact_id_pb2, literals_pb2, types_pb2
from flyteidl2.task import common_pb2

from alula.control.artifacts import Artifacts
from alula.control.domains import Domains
from alula.control.projects import Projects
from alula.core.action import Action
from alula.core.artifact import Artifact, ArtifactId, ArtifactName, ArtifactScope, Granularity, Published, Schema
from alula.core.errors import AlreadyExists, Conflict, Invalid, NotFound
from alula.core.ids import ActionId, RunId
from alula.core.pages import Order, Page, Where
from alula.core.pages import Test as By
from alula.core.project import Project
from alula.storage.address import Address
from alula.storage.changes import Changes
from alula.storage.database import Tx
from alula.wire import artifacts as wire
from tests.core.builders import action

from .world import Ticking

MODEL = ArtifactName("p", "development", "model")
EVERYTHING = ArtifactScope("p", "development")
PRODUCER = action(id=ActionId(RunId("p", "development", "run1"), "a1"), attempt=2, created_by="ada")


@dataclass
class Shelf:
    """The verbs, and what the transaction that publishes was told."""

    artifacts: Artifacts
    clock: Ticking
    told: list[Published] = field(default_factory=list)
    fails: bool = False

    async def created(self, tx: Tx, published: Published) -> None:
        if self.fails:
            raise Conflict("the trigger is broken")
        self.told.append(published)

    async def publish(self, version: str, name: str = "model", **fields: Any) -> Published:
        return await self.artifacts.publish(made(version, name, **fields))

    async def versions(self, scope: ArtifactScope = EVERYTHING, *where: Where, limit: int = 0) -> list[str]:
        page, _ = await self.artifacts.page(scope, Page(limit=limit, where=where))
        return [one.artifact.id.version for one in page]


def spec(
    value: str = "s3://b/1",
    parts: dict[str, str] | None = None,
    at: str = "",
    unit: Granularity = Granularity.DAY,
    **fields: Any,
) -> artifact_pb2.ArtifactSpec:
    """A specification, with everything that a version can say of itself."""
    message = artifact_pb2.ArtifactSpec(
        value=literals_pb2.Literal(hash=fields.get("hash", "")),
        type=types_pb2.LiteralType(simple=types_pb2.STRING),
        info=artifact_id_pb2.ArtifactInfo(user_metadata=fields.get("metadata", {})),
        parent_artifacts=fields.get("parents", []),
    )
    message.value.scalar.primitive.string_value = value
    for key, text in (parts or {}).items():
        message.partitions.value[key].static_value = text
    if at:
        message.time_partition.value.time_value.FromJsonString(at)
        message.time_partition.granularity = int(unit)  # type: ignore[assignment]
        message.time_partition.key = "date"
    if run := fields.get("run"):
        task = message.source.task_action
        task.action.run.project, task.action.run.domain, task.action.run.name = "p", "development", run
        task.action.name = fields.get("action", "a0")
    if "external" in fields:
        message.source.external_ref = fields["external"]
    return message


def made(version: str, name: str = "model", **fields: Any) -> Artifact:
    project = fields.pop("project", "p")
    return wire.artifact(ArtifactId(ArtifactName(project, "development", name), version), spec(**fields), "ada")


@pytest.fixture
async def shelf(address: Address) -> AsyncIterator[Shelf]:
    async with address.database(Changes()) as database:
        clock = Ticking()
        domains = Domains(database, clock)
        await domains.seed(["development"])
        projects = Projects(database, clock, domains)
        await projects.create(Project("p", "p", "", {}, 0))
        await projects.create(Project("q", "q", "", {}, 0))
        artifacts = Artifacts(database, projects, clock)
        shelf = Shelf(artifacts, clock)
        shelf.artifacts = Artifacts(database, projects, clock, shelf.created)
        yield shelf


async def test_a_version_is_what_was_published(shelf: Shelf) -> None:
    published = await shelf.publish(
        "1", metadata={"team": "a", "x": '"; --'}, external="hf://x", at="2026-08-01T05:06:07Z"
    )
    assert await shelf.artifacts.get(MODEL, "1") == published
    assert published.artifact.partition.time == datetime.fromisoformat("2026-08-01T00:00:00Z")
    assert (published.artifact.created_by, published.artifact.external_ref) == ("ada", "hf://x")
    assert published.artifact.metadata == {"team": "a", "x": '"; --'}
    for name, version in [(MODEL, "2"), (replace(MODEL, name="other"), ""), (replace(MODEL, project="q"), "1")]:
        with pytest.raises(NotFound, match="flyte create artifact"):
            await shelf.artifacts.get(name, version)


async def test_the_same_again_is_the_same_and_something_else_is_refused(shelf: Shelf) -> None:
    first = await shelf.publish("1", run="r1")
    assert await shelf.publish("1", run="r2") == first, "where it comes from is not what it is"
    with pytest.raises(AlreadyExists, match="another version"):
        await shelf.publish("1", value="s3://b/2")
    with pytest.raises(AlreadyExists):
        await shelf.publish("1", metadata={"k": "v"})
    assert shelf.told == [first]
    hashed = await shelf.publish("h", hash="h1", value="s3://b/1")
    assert await shelf.publish("h", hash="h1", value="s3://b/uploaded-again") == hashed
    with pytest.raises(AlreadyExists):
        await shelf.publish("h", hash="h2", value="s3://b/1")


async def test_concurrent_publishers(shelf: Shelf) -> None:
    outcomes = await asyncio.gather(
        *(shelf.publish("1", value=f"s3://b/{n % 3}") for n in range(9)), return_exceptions=True
    )
    assert sum(isinstance(o, AlreadyExists) for o in outcomes) == 6
    assert {p.artifact.digest for p in shelf.told} == {(await shelf.artifacts.get(MODEL, "1")).artifact.digest}
    group = (await shelf.artifacts.page_of_names(EVERYTHING, Page()))[0][0]
    assert group.versions == 1


async def test_what_hangs_on_a_new_version_belongs_to_its_transaction(shelf: Shelf) -> None:
    shelf.fails = True
    with pytest.raises(Conflict, match="trigger"):
        await shelf.publish("1")
    with pytest.raises(NotFound):
        await shelf.artifacts.get(MODEL, "")
    with pytest.raises(NotFound):
        await shelf.artifacts.schema(MODEL)


async def test_latest_is_what_was_published_last(shelf: Shelf) -> None:
    for version in ("2", "10", "1"):
        await shelf.publish(version)
    shelf.clock.now = shelf.clock.now.replace(year=2020)  # a clock that is set back changes nothing
    last = await shelf.publish("0")
    assert await shelf.artifacts.get(MODEL, "") == await shelf.artifacts.get(MODEL, "latest") == last
    assert await shelf.versions() == ["0", "1", "10", "2"]
    await shelf.artifacts.delete(last.artifact.id)
    assert (await shelf.artifacts.get(MODEL, "")).artifact.id.version == "1"


async def test_delete(shelf: Shelf) -> None:
    one = await shelf.publish("1", parents=[artifact_id_pb2.ArtifactVersionId(version="0")])
    await shelf.artifacts.delete(one.artifact.id)
    await shelf.artifacts.delete(one.artifact.id)
    with pytest.raises(NotFound):
        await shelf.artifacts.schema(MODEL)
    again = await shelf.publish("1", value="s3://b/2", parts={"region": "eu"})
    assert again.schema == Schema(keys=("region",)), "a name that nobody uses is free"
    await shelf.artifacts.declare(MODEL, again.schema)
    await shelf.artifacts.delete(again.artifact.id)
    assert await shelf.artifacts.schema(MODEL) == (again.schema, True)
    assert (await shelf.artifacts.page_of_names(EVERYTHING, Page()))[0] == []


async def test_the_first_version_or_a_declaration_fixes_the_partitions(shelf: Shelf) -> None:
    await shelf.publish("1", parts={"region": "eu"}, at="2026-08-01T00:00:00Z")
    daily = Schema("date", Granularity.DAY, ("region",))
    assert await shelf.artifacts.schema(MODEL) == (daily, False)
    for wrong in ({}, {"parts": {"region": "eu"}}, {"parts": {"team": "a"}, "at": "2026-08-01T00:00:00Z"}):
        with pytest.raises(Conflict, match=r"partitioned by date \(day\), region"):
            await shelf.publish("2", **wrong)
    with pytest.raises(Conflict):
        await shelf.artifacts.declare(MODEL, Schema(keys=("region",)))
    assert await shelf.artifacts.declare(MODEL, daily) == daily
    assert await shelf.artifacts.schema(MODEL) == (daily, True)
    other = replace(MODEL, name="other")
    both = Schema(keys=("b", "a"))
    assert await shelf.artifacts.declare(other, both) == both
    assert await shelf.artifacts.declare(other, Schema(keys=("a", "b"))) == both, "the order means nothing"
    with pytest.raises(Conflict):
        await shelf.publish("1", "other", parts={"a": "1"})
    await shelf.publish("1", "other", parts={"a": "1", "b": "2"})
    with pytest.raises(NotFound, match="project"):
        await shelf.artifacts.declare(replace(MODEL, project="missing"), both)


async def test_lists_are_of_one_project_and_paged(shelf: Shelf) -> None:
    for n in range(7):
        await shelf.publish(f"{n}", f"name{n % 2}")
    await shelf.publish("0", "name0", project="q")
    seen, token = [], ""
    while True:
        page, token = await shelf.artifacts.page(EVERYTHING, Page(limit=2, token=token))
        seen += [one.artifact.id.version for one in page]
        if not token:
            break
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]
    assert await shelf.versions(replace(EVERYTHING, name="name1")) == ["5", "3", "1"]
    assert await shelf.versions(ArtifactScope("q", "development")) == ["0"]
    order = Page(order=(Order("name", descending=False), Order("version", descending=True)))
    page, _ = await shelf.artifacts.page(EVERYTHING, order)
    assert [one.artifact.id.version for one in page] == ["6", "4", "2", "0", "5", "3", "1"]


def where(name: str, test: By, *values: str) -> Where:
    return Where(name, test, values)


FILTERS: list[tuple[list[Where], list[str]]] = [
    ([where("name", By.CONTAINS, "vent")], ["e3", "e2", "e1"]),
    ([where("name", By.CONTAINS, "%")], []),
    ([where("partition.region", By.EQUAL, "eu")], ["e3", "e1"]),
    ([where("partition.region", By.VALUE_IN, "eu", "us")], ["e3", "e2", "e1"]),
    ([where("partition.region", By.EXISTS)], ["e3", "e2", "e1"]),
    ([where("partition.nothing", By.EQUAL, "x")], []),
    ([where("time_partition", By.EQUAL, "2026-08-02T00:00:00Z")], ["e2"]),
    ([where("time_partition", By.EQUAL, "2026-08-02T02:00:00+02:00")], ["e2"]),
    ([where("time_partition", By.LESS_THAN_OR_EQUAL, "2026-08-02T00:00:00Z")], ["e2", "e1"]),
    ([where("time_partition", By.NOT_EXISTS)], ["m2", "m1"]),
    ([where("user_metadata.flyte.io/kind", By.VALUE_IN, "model", "data")], ["m2"]),
    ([where("source_run", By.EQUAL, "r7")], ["m2", "m1"]),
    ([where("source_run", By.EQUAL, "r7"), where("source_action", By.EQUAL, "a5")], ["m2"]),
    ([where("source_external_ref", By.EQUAL, "hf://x")], ["e1"]),
    ([where("created_at", By.GREATER_THAN, "2000-01-01T00:00:00Z")], ["e3", "e2", "e1", "m2", "m1"]),
    ([where("created_at", By.GREATER_THAN, "2100-01-01T00:00:00Z")], []),
    ([where("parent_name", By.EQUAL, "model"), where("parent_version", By.EQUAL, "m1")], ["e2", "m2"]),
    ([where("parent_name", By.EQUAL, "model"), where("parent_version", By.EQUAL, "0")], []),
]  # fmt: skip


async def test_filters(shelf: Shelf) -> None:
    m1 = artifact_id_pb2.ArtifactVersionId(version="m1")
    elsewhere = artifact_id_pb2.ArtifactVersionId(key=artifact_id_pb2.ArtifactKey(name="model"), version="m1")
    await shelf.publish("m1", run="r7")
    await shelf.publish("m2", run="r7", action="a5", metadata={"flyte.io/kind": "model"}, parents=[m1])
    await shelf.publish("e1", "events", parts={"region": "eu"}, at="2026-08-01T10:00:00Z", external="hf://x")
    await shelf.publish("e2", "events", parts={"region": "us"}, at="2026-08-02T10:00:00Z", parents=[elsewhere])
    await shelf.publish("e3", "events", parts={"region": "eu"}, at="2026-08-03T10:00:00Z")
    for asked, versions in FILTERS:
        assert await shelf.versions(EVERYTHING, *asked) == versions, asked


REFUSED = [
    (where("spec", By.EQUAL, "x"), "'spec' is not a field"),
    (where("partition.a'b", By.EQUAL, "x"), "not a field"),
    (where("created_at", By.EQUAL, "yesterday"), "does not fit"),
    (where("parent_name", By.EQUAL, "x"), "go together"),
    (where("parent_name", By.CONTAINS, "x"), "EQUAL"),
]


async def test_filters_that_are_refused(shelf: Shelf) -> None:
    for asked, why in REFUSED:
        with pytest.raises(Invalid, match=why):
            await shelf.versions(EVERYTHING, asked)


async def test_the_latest_of_each_partition(shelf: Shelf) -> None:
    for n, (region, day) in enumerate([("eu", 1), ("us", 1), ("eu", 1), ("eu", 2), ("us", 1), ("eu", 1)]):
        await shelf.publish(f"v{n}", parts={"region": region}, at=f"2026-08-0{day}T00:00:00Z")
    each = replace(EVERYTHING, name="model", latest_per_partition=True)
    assert await shelf.versions(each) == ["v5", "v4", "v3"]
    assert await shelf.versions(each, where("partition.region", By.EQUAL, "eu")) == ["v5", "v3"]
    assert await shelf.versions(each, where("time_partition", By.EQUAL, "2026-08-02T00:00:00Z")) == ["v3"]


async def test_names_with_their_latest_versions(shelf: Shelf) -> None:
    await shelf.publish("1", "plain")
    for n, (region, day) in enumerate([("eu", 1), ("us", 3), ("eu", 3), ("us", 3), ("eu", 2)]):
        await shelf.publish(f"v{n}", parts={"region": region}, at=f"2026-08-0{day}T00:00:00Z")
    await shelf.artifacts.declare(replace(MODEL, name="declared"), Schema())
    groups, token = await shelf.artifacts.page_of_names(EVERYTHING, Page())
    assert [(g.latest.artifact.id.name.name, g.latest.artifact.id.version, g.versions) for g in groups] == [
        ("model", "v4", 5),
        ("plain", "1", 1),
    ]
    assert (groups[0].time, groups[1].time) == (datetime.fromisoformat("2026-08-03T00:00:00Z"), None)
    assert [dict(p) for p in groups[0].partitions] == [{"region": "eu"}, {"region": "us"}]
    assert token == ""
    found, _ = await shelf.artifacts.page_of_names(EVERYTHING, Page(where=(where("name", By.CONTAINS, "lai"),)))
    assert [g.latest.artifact.id.name.name for g in found] == ["plain"]
    first, token = await shelf.artifacts.page_of_names(EVERYTHING, Page(limit=1))
    second, end = await shelf.artifacts.page_of_names(EVERYTHING, Page(limit=1, token=token))
    assert (first + second, end) == (groups, "")


async def test_metadata_keys(shelf: Shelf) -> None:
    await shelf.publish("1", metadata={"b": "1", "a": "2"})
    await shelf.publish("2", "other", metadata={"c": "1", "a": "3"})
    assert await shelf.artifacts.metadata_keys(EVERYTHING) == ["a", "b", "c"]
    assert await shelf.artifacts.metadata_keys(replace(EVERYTHING, name="other")) == ["a", "c"]


async def test_the_values_of_partitions(shelf: Shelf) -> None:
    for n in range(230):
        day = f"2026-0{1 + n % 2}-0{1 + n % 3}T00:00:00Z"
        await shelf.publish(f"{n}", parts={"region": f"r{n % 210:03}", "kind": f"k{n % 2}"}, at=day)
    values = shelf.artifacts.partition_values
    assert await values(MODEL, "kind", Page()) == ["k0", "k1"]
    assert await values(MODEL, "region", Page()) == [f"r{n:03}" for n in range(210)], "more than one page has"
    assert await values(MODEL, "region", Page(limit=3)) == ["r000", "r001", "r002"]
    one = Page(where=(where("partition.region", By.EQUAL, "r001"),))
    assert await values(MODEL, "kind", one) == ["k1"]
    times = [datetime.fromisoformat(f"2026-0{m}-0{d}T00:00:00Z") for m in (1, 2) for d in (1, 2, 3)]
    assert await values(MODEL, "date", Page()) == times
    january = Page(where=(where("time_partition", By.LESS_THAN, "2026-02-01T00:00:00Z"),))
    assert await values(MODEL, "date", january) == times[:3]
    with pytest.raises(Invalid, match="not by 'team'"):
        await values(MODEL, "team", Page())
    with pytest.raises(Invalid, match="limit"):
        await values(MODEL, "kind", Page(limit=10_001))
    with pytest.raises(NotFound):
        await values(replace(MODEL, name="other"), "kind", Page())


def outputs(*produced: common_pb2.ProducedArtifact, **values: str) -> bytes:
    message = common_pb2.Outputs(produced_artifacts=produced)
    for name, text in values.items():
        message.literals.add(name=name).value.scalar.primitive.string_value = text
    return message.SerializeToString()


def declared(output: str, name: str = "model", **fields: Any) -> common_pb2.ProducedArtifact:
    kind = types_pb2.LiteralType(simple=types_pb2.STRING)
    return common_pb2.ProducedArtifact(output=output, name=name, type=kind, **fields)


async def test_what_an_action_produces_is_registered_once(shelf: Shelf) -> None:
    info = artifact_id_pb2.ArtifactInfo(user_metadata={"k": "v"})
    body = outputs(declared("o0", info=info), declared("o1", "data", version="7"), o0="s3://b/0", o1="s3://b/1")
    assert await shelf.artifacts.register_from(PRODUCER, body) == []
    assert await shelf.artifacts.register_from(PRODUCER, body) == []
    model = (await shelf.artifacts.get(MODEL, "")).artifact
    assert model.id.version == "run1-a1-1"
    assert (model.run, model.action, model.created_by, model.metadata) == ("run1", "a1", "ada", {"k": "v"})
    told = wire.message(await shelf.artifacts.get(replace(MODEL, name="data"), "7"), "org")
    assert told.spec.value.scalar.primitive.string_value == "s3://b/1"
    assert told.spec.source.task_action.attempt == 1
    assert [p.artifact.id.name.name for p in shelf.told] == ["model", "data"]
    again: Action = replace(PRODUCER, attempt=3)
    await shelf.artifacts.register_from(again, body)
    assert (await shelf.artifacts.get(MODEL, "")).artifact.id.version == "run1-a1-2"


async def test_two_outputs_of_one_name(shelf: Shelf) -> None:
    body = outputs(declared("o0"), declared("o1"), o0="s3://b/0", o1="s3://b/1")
    assert await shelf.artifacts.register_from(PRODUCER, body) == []
    assert await shelf.versions() == ["run1-a1-1-o1", "run1-a1-1"]


async def test_a_bad_declaration_is_told_and_stops_no_other(shelf: Shelf) -> None:
    await shelf.publish("taken")
    body = outputs(
        declared("o9"), declared("o0", "a/b"), declared("o0", version="taken"), declared("o0", "good"), o0="s3://b/0"
    )
    refused = await shelf.artifacts.register_from(PRODUCER, body)
    assert [why.partition(" of output")[0] for why in refused] == [
        "artifact 'model'",
        "artifact 'a/b'",
        "artifact 'model'",
    ]
    assert (await shelf.artifacts.get(replace(MODEL, name="good"), "")).artifact.run == "run1"
    assert await shelf.artifacts.register_from(PRODUCER, b"\xff no outputs") == []
    assert await shelf.artifacts.register_from(PRODUCER, b"") == []


async def test_a_produced_version_that_is_no_partition_says_so(shelf: Shelf) -> None:
    await shelf.publish("1", parts={"region": "eu"})
    assert await shelf.artifacts.register_from(PRODUCER, outputs(declared("o0"), o0="s3://b/0")) == []
    told = wire.message(await shelf.artifacts.get(MODEL, ""), "")
    assert "partitioned by region" in told.partition_schema_mismatch.message
    assert list(told.partition_schema_mismatch.expected.partition_keys) == ["region"]
    assert not wire.message(await shelf.artifacts.get(MODEL, "1"), "").HasField("partition_schema_mismatch")
