"""Partitions of artifacts, and what can be none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flyte.artifacts._partitions import floor_time
from hypothesis import given
from hypothesis import strategies as st

from alula.core.artifact import (
    SPEC_LIMIT,
    Artifact,
    ArtifactId,
    ArtifactName,
    Granularity,
    Partition,
    Schema,
    check,
    check_schema,
    floor,
    mismatch,
)
from alula.core.errors import Invalid

NAME = ArtifactName("p", "development", "raw.events_v1-a")
BLANK = Artifact(ArtifactId(NAME, "1"), b"", b"", {}, Partition({}))
DAILY = Schema("date", Granularity.DAY, ("region", "team"))


@pytest.mark.parametrize(
    ("granularity", "start"),
    [
        (Granularity.UNSET, "2026-08-13T00:00:00"),
        (Granularity.MINUTE, "2026-08-13T14:15:00"),
        (Granularity.HOUR, "2026-08-13T14:00:00"),
        (Granularity.DAY, "2026-08-13T00:00:00"),
        (Granularity.WEEK, "2026-08-10T00:00:00"),  # a Monday
        (Granularity.MONTH, "2026-08-01T00:00:00"),
    ],
)
def test_the_start_of_a_partition(granularity: Granularity, start: str) -> None:
    at = datetime(2026, 8, 13, 14, 15, 16, 17, tzinfo=UTC)
    assert floor(at, granularity).isoformat() == f"{start}+00:00"


@given(
    st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 8)),
    st.sampled_from(["hour", "day", "week", "month"]),
)
def test_partitions_start_as_the_sdk_says(at: datetime, unit: str) -> None:
    start = floor(at, Granularity[unit.upper()])
    assert start == floor_time(at, unit)  # type: ignore[arg-type]
    assert floor(start, Granularity[unit.upper()]) == start


def test_the_first_week_there_is() -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert floor(first + timedelta(hours=5), Granularity.WEEK) == first


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Schema("date", Granularity.DAY, ("team", "region")), ""),
        (Schema("date", Granularity.HOUR, ("region", "team")), "date (hour)"),
        (Schema("day", Granularity.DAY, ("region", "team")), "day (day)"),
        (Schema("date", Granularity.DAY, ("region",)), "not by date (day), region"),
        (Schema(keys=("region", "team")), "not by region, team"),
        (Schema(), "not by nothing"),
    ],
)
def test_what_is_a_partition_of_a_name(found: Schema, why: str) -> None:
    told = mismatch(NAME, DAILY, found)
    assert (why in told) if why else not told


def test_what_a_version_is_partitioned_by() -> None:
    partition = Partition({"team": "a", "region": "eu"}, "date", Granularity.DAY, datetime(2026, 8, 1, tzinfo=UTC))
    assert partition.schema == DAILY
    assert Partition({}).schema == Schema()


@pytest.mark.parametrize(
    ("artifact", "why"),
    [
        (replace(BLANK, id=ArtifactId(replace(NAME, name="a/b"), "1")), r"artifact_id.name.name: .*a/b"),
        (replace(BLANK, id=ArtifactId(replace(NAME, name=""), "1")), r"artifact_id.name.name"),
        (replace(BLANK, id=ArtifactId(replace(NAME, name="n" * 256), "1")), r"255"),
        (replace(BLANK, id=ArtifactId(NAME, "")), r"artifact_id.version"),
        (replace(BLANK, id=ArtifactId(NAME, "v" * 256)), r"artifact_id.version"),
        (replace(BLANK, id=ArtifactId(NAME, "latest")), r"latest"),
        (replace(BLANK, spec=bytes(SPEC_LIMIT + 1)), r"spec: has more"),
        (replace(BLANK, parents=(BLANK.id,)), r"its own parent"),
        (replace(BLANK, parents=tuple(ArtifactId(NAME, f"v{n}") for n in range(33))), r"more than 32"),
        (replace(BLANK, parents=(ArtifactId(NAME, ""),)), r"no version"),
        (replace(BLANK, parents=(ArtifactId(NAME, "v" * 256),)), r"too long"),
        (replace(BLANK, parents=(ArtifactId(replace(NAME, project="p" * 65), "1"),)), r"too long"),
        (replace(BLANK, partition=Partition({"region": ""})), r"'region' needs a value"),
        (replace(BLANK, partition=Partition({"region": "x" * 1025})), r"'region' needs a value"),
        (replace(BLANK, partition=Partition({'a"b': "x"})), r"is no key"),
        (replace(BLANK, partition=Partition({"date": "x"}, "date", Granularity.DAY)), r"named twice"),
        (replace(BLANK, partition=Partition({f"k{n}": "x" for n in range(17)})), r"more than 16"),
    ],
)
def test_what_can_be_no_artifact(artifact: Artifact, why: str) -> None:
    check(BLANK)
    with pytest.raises(Invalid, match=why):
        check(artifact)


@pytest.mark.parametrize("schema", [Schema(keys=("a", "a")), Schema(keys=("x" * 65,)), Schema(keys=("",))])
def test_what_nothing_is_partitioned_by(schema: Schema) -> None:
    check_schema(DAILY)
    with pytest.raises(Invalid, match="partitions"):
        check_schema(schema)
