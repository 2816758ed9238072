"""Lists of artifacts: versions, names, metadata keys and the values of partitions."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from alula.core.artifact import ArtifactScope, Group, Published
from alula.core.errors import Invalid
from alula.core.pages import Order, Page, Test, Where
from alula.storage import rows
from alula.storage.artifacts import SELECT, published
from alula.storage.database import Row, Tx
from alula.storage.listing import Column, Listing

TIME = "time_partition"
_NO_TIME = -(2**62)  # sorts before every time there can be
_RECENT = 1000  # versions whose metadata is looked through for keys
_KEYS = 200  # metadata keys told at most
_PARTITIONS = 50  # partitions told of a name at most
_KEY = re.compile(r"(user_metadata|partition)\.([A-Za-z0-9._/-]{1,317})")
_FIELDS = {"user_metadata": "a.metadata", "partition": "a.partitions"}
_LATEST_OF_PARTITION = """NOT EXISTS (SELECT 1 FROM artifacts l WHERE l.project = a.project AND l.domain = a.domain
    AND l.name = a.name AND l.partition_id = a.partition_id AND l.created_at > a.created_at)"""
_CHILD = """EXISTS (SELECT 1 FROM artifact_parents p WHERE p.child = a.key AND p.project = :s_project
    AND p.domain = :s_domain AND p.name = :s_parent_name AND p.version = :s_parent_version)"""


def _moment(text: str) -> int:
    at = datetime.fromisoformat(text)
    return rows.micros(at if at.tzinfo else at.astimezone())


def _keyed(field: str) -> Column | None:
    """``user_metadata.team``, ``partition.region``: the value of a key, empty where there is none."""
    named = _KEY.fullmatch(field)
    if named is None:
        return None
    value = f"""json_extract({_FIELDS[named[1]]}, '$."{named[2]}"')"""
    return Column(f"coalesce({value}, '')", present=f"{value} IS NOT NULL")


_COLUMNS = {
    "name": Column("a.name"),
    "version": Column("a.version"),
    "created_at": Column("a.created_at", _moment),
    "created_by": Column("a.created_by"),
    "source_run": Column("a.run"),
    "source_action": Column("a.action"),
    "source_external_ref": Column("a.external_ref"),
    TIME: Column(f"coalesce(a.starts_at, {_NO_TIME})", _moment, present="a.starts_at IS NOT NULL"),
}
_VERSIONS = Listing(
    select=SELECT.replace("n.schema", "n.schema /*keys*/"),
    columns=_COLUMNS,
    computed=_keyed,
    unique=("created_at", "name"),
    default=(Order("created_at", descending=True),),
)
_NAMES = Listing(
    select="""
        SELECT a.*, n.schema, n.versions, (SELECT max(t.starts_at) FROM artifacts t WHERE t.project = n.project
            AND t.domain = n.domain AND t.name = n.name AND t.starts_at IS NOT NULL) AS latest_time /*keys*/
        FROM artifact_names n JOIN artifacts a
            ON a.project = n.project AND a.domain = n.domain AND a.name = n.name AND a.version = n.latest
    """,
    columns={"name": Column("n.name"), "created_at": Column("n.latest_at", _moment)},
    unique=("created_at", "name"),
    default=(Order("created_at", descending=True),),
)
# Its order is by one value alone, and a page begins behind the last value of the one before: each is told once.
_VALUES = Listing(
    select="SELECT DISTINCT a.project /*keys*/ FROM artifacts a",
    columns=_COLUMNS,
    computed=_keyed,
    unique=(),
    default=(),
)


def _conditions(scope: ArtifactScope, asked: Page) -> tuple[Page, str, dict[str, object]]:
    """What a caller asks for, as far as a `Listing` can say it; and the rest as SQL."""
    conditions = ["a.project = :s_project", "a.domain = :s_domain"]
    values: dict[str, object] = {"s_project": scope.project, "s_domain": scope.domain}
    if scope.name:
        conditions.append("a.name = :s_name")
        values["s_name"] = scope.name
    if scope.latest_per_partition:
        conditions.append(_LATEST_OF_PARTITION)
    if any(where.field == TIME and where.test is not Test.NOT_EXISTS for where in asked.where):
        conditions.append("a.starts_at IS NOT NULL")
    parent = {where.field: _exact(where) for where in asked.where if where.field in ("parent_name", "parent_version")}
    if len(parent) == 1:
        raise Invalid("request.filters: parent_name and parent_version go together")
    if parent:
        conditions.append(_CHILD)
        values |= {f"s_{field}": value for field, value in parent.items()}
        asked = replace(asked, where=tuple(where for where in asked.where if where.field not in parent))
    return asked, " AND ".join(conditions), values


def _exact(where: Where) -> str:
    if where.test is not Test.EQUAL or len(where.values) != 1:
        raise Invalid(f"request.filters: {where.field} is compared with EQUAL and one value")
    return where.values[0]


async def page(tx: Tx, scope: ArtifactScope, asked: Page) -> tuple[list[Published], str]:
    """One page of versions, the newest first, and the token of the next."""
    asked, conditions, values = _conditions(scope, asked)
    sql, values, keys = _VERSIONS.query(asked, conditions, values)
    found, token = keys.cut(await tx.all(sql, values))
    return [published(row) for row in found], token


async def page_of_names(tx: Tx, scope: ArtifactScope, asked: Page) -> tuple[list[Group], str]:
    """One page of names with their latest versions, and the token of the next."""
    scoped = {"s_project": scope.project, "s_domain": scope.domain}
    sql, values, keys = _NAMES.query(asked, "n.project = :s_project AND n.domain = :s_domain", scoped)
    found, token = keys.cut(await tx.all(sql, values))
    return [await _group(tx, row) for row in found], token


async def _group(tx: Tx, row: Row) -> Group:
    latest = published(row)
    partitions = await _partitions(tx, row) if latest.schema.keys else ()
    return Group(latest, row["versions"], rows.time_or_none(row["latest_time"]), partitions)


async def _partitions(tx: Tx, row: Row) -> tuple[Mapping[str, str], ...]:
    values = {name: row[name] for name in ("project", "domain", "name")} | {"most": _PARTITIONS}
    at = "starts_at IS NULL"
    if row["latest_time"] is not None:
        at, values = "starts_at IS NOT NULL AND starts_at = :time", values | {"time": row["latest_time"]}
    found = await tx.all(
        f"""
        SELECT DISTINCT partitions FROM artifacts WHERE project = :project AND domain = :domain AND name = :name
            AND {at} ORDER BY partitions LIMIT :most
        """,  # noqa: S608
        values,
    )
    return tuple(rows.labels(one["partitions"]) for one in found)


async def metadata_keys(tx: Tx, scope: ArtifactScope) -> list[str]:
    """The metadata keys of the newest versions, sorted: what a filter could name."""
    _, conditions, values = _conditions(scope, Page())
    found = await tx.all(
        f"SELECT a.metadata FROM artifacts a WHERE {conditions} ORDER BY a.created_at DESC LIMIT :recent",  # noqa: S608
        {**values, "recent": _RECENT},
    )
    return sorted({key for row in found for key in json.loads(row["metadata"])})[:_KEYS]


async def partition_values(tx: Tx, scope: ArtifactScope, key: str, asked: Page) -> list[str]:
    """The values of a string key among the versions asked for, ascending, at most ``asked.limit``."""
    return [str(value) for value in await _distinct(tx, scope, f"partition.{key}", asked)]


async def partition_times(tx: Tx, scope: ArtifactScope, asked: Page) -> list[datetime]:
    """The time partitions among the versions asked for, ascending, at most ``asked.limit``."""
    return [rows.time(int(value)) for value in await _distinct(tx, scope, TIME, asked)]


async def _distinct(tx: Tx, scope: ArtifactScope, field: str, asked: Page) -> list[str | int]:
    there = Where(field, Test.EXISTS, ())
    narrowed, conditions, values = _conditions(scope, replace(asked, where=(*asked.where, there)))
    told: list[str | int] = []
    piece = replace(narrowed, limit=0, token="", order=(Order(field, descending=False),))
    while len(told) < asked.limit:
        sql, bound, keys = _VALUES.query(piece, conditions, values)
        found, token = keys.cut(await tx.all(sql, bound))
        told += [row["key_0"] for row in found]
        if not token:
            break
        piece = replace(piece, token=token)
    return told[: asked.limit]
