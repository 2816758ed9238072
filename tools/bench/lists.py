"""How long a page of runs takes when there are a million: `python tools/bench/lists.py [runs] [database URL]`."""

import asyncio
import base64
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
from flyteidl2.workflow import run_service_pb2 as pb

from alula.core.action import Policy
from alula.core.pages import Page, Test, Where
from alula.core.run import RunScope
from alula.storage import rows, runs
from alula.storage.address import PostgresServer, SqliteFile, parse
from alula.storage.changes import Changes
from alula.storage.database import Database
from alula.wire import runs as wire

RUNS = 1_000_000
PROJECTS, TASKS, SECONDS = 10, 200, 31
START = 1_750_000_000_000_000  # microseconds
PHASES = [5] * 880 + [6] * 100 + [7] * 15 + [8] * 4 + [4]  # one in a thousand runs now
REPEATS = 300
RUN = (
    "key, project, domain, name, org, digest, run_spec, labels, relation, source, starts_at, created_at, seq,"
    " created_by, queue, max_concurrency, overwrite_cache, cache_everywhere, notify, hosted, phase,"
    " task_project, task_domain, task_name, task_version"
)
ACTION = (
    "run, name, kind, grp, phase, attempt, version, seq, parent_attempt, created_at, queued_at, started_at, ended_at,"
    " updated_at, user_failures, system_failures, logged, abort_reason, input_uri, output_uri, base_uri, policy, spec,"
    " task_project, task_domain, task_name, task_version, task_type, short_name, environment, hosted, queue, cache_key,"
    " cache_status, recovered_from, value, told_by"
)


def made(count: int) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Rows of `runs` and of `actions`. Half of all runs are one project's."""
    luck = random.Random(7)
    policy = rows.policy_text(Policy())
    for n in range(count):
        project = f"p{0 if luck.random() < 0.5 else luck.randrange(PROJECTS)}"
        phase, task, at = luck.choice(PHASES), f"task_{luck.randrange(TASKS)}", START + n * SECONDS * 1_000_000
        ended = at + 60_000_000 if phase > 4 else None
        where = (project, "development", task, "v1")
        name = f"r{luck.getrandbits(76):019x}"
        base = f"s3://alula/runs/{project}/development/{name}"
        yield (
            (n + 1, project, "development", name, "", b"d" * 32, b"", "{}", b"", 2, at, at, 4, "me", "", 0, 0, 0, 0, 1,
             phase, *where),
            (n + 1, "a0", 1, "", phase, 1, 3, 4, 0, at, at, at, ended, at, 0, 0, 1, "", f"{base}/inputs.pb",
             f"{base}/a0/1", base, policy, b"s" * 32, *where, "python", task, "env", 1, "", "", 0, "", b"", ""),
        )  # fmt: skip


def build_sqlite(path: Path, count: int) -> None:
    """Fill a migrated file; its indexes are made anew at the end."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -262144")
    made_by_hand = "type = 'index' AND sql IS NOT NULL AND tbl_name IN ('runs', 'actions')"
    indexes = connection.execute(f"SELECT name, sql FROM sqlite_schema WHERE {made_by_hand}").fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO specs VALUES (?, ?)", (b"s" * 32, b""))
    for some in _chunks(made(count), 20_000):
        connection.executemany(_insert("runs", RUN), [run for run, _ in some])
        connection.executemany(_insert("actions", ACTION), [action for _, action in some])
    for _, sql in indexes:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.close()


async def build_postgres(server: PostgresServer, count: int) -> None:
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("INSERT INTO specs VALUES ($1, $2)", b"s" * 32, b"")
    for some in _chunks(made(count), 20_000):
        await connection.copy_records_to_table("runs", records=[r for r, _ in some], columns=RUN.split(", "))
        await connection.copy_records_to_table("actions", records=[a for _, a in some], columns=ACTION.split(", "))
    await connection.execute("SELECT setval(pg_get_serial_sequence('runs', 'key'), (SELECT max(key) FROM runs))")
    await connection.execute("ANALYZE")
    await connection.close()


def _insert(table: str, columns: str) -> str:
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' for _ in columns.split(','))})"


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    some = []
    for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    yield some


def _token(position: float, count: int) -> str:
    """As if a client had come this far from the newest run."""
    at = START + int((1 - position) * count) * SECONDS * 1_000_000
    values = ["-created_at,-run_name,-project,-domain", at, "r5", "p0", "development"]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def asked(count: int) -> dict[str, tuple[RunScope, Page]]:
    project = RunScope(project="p0", domain="development")
    task = RunScope(task_project="p0", task_domain="development", task_name="task_7")
    running = (Where("phase", Test.VALUE_IN, ("1", "2", "3", "4")),)
    failed = (Where("phase", Test.EQUAL, ("6",)),)
    return {
        "everything": (RunScope(), Page()),
        "everything, deep": (RunScope(), Page(token=_token(0.9, count))),
        "project": (project, Page()),
        "project, deep": (project, Page(token=_token(0.5, count))),
        "project, 200 to a page": (project, Page(limit=200, token=_token(0.2, count))),
        "project, running": (project, Page(where=running)),
        "project, failed, deep": (project, Page(where=failed, token=_token(0.8, count))),
        "task": (task, Page()),
        "task, deep": (task, Page(token=_token(0.7, count))),
        "paused": (replace(project, paused=True), Page()),
    }


async def measure(database: Database, count: int) -> dict[str, tuple[list[float], list[float], int]]:
    """Seconds from the question to the bytes of its answer, those of them that this process worked, and how many runs.

    The second are what is left of the first on a machine that does nothing else.
    """
    found = {}
    for name, (scope, page) in asked(count).items():
        took, worked = [], []
        for _ in range(REPEATS):
            began, busy = time.perf_counter(), time.process_time()
            roots, token = await database.scan(lambda tx, s=scope, p=page: runs.page(tx, s, p))  # type: ignore[misc]
            answer = pb.ListRunsResponse(runs=[wire.message(root, root.org) for root in roots], token=token)
            answer.SerializeToString()
            took.append(time.perf_counter() - began)
            worked.append(time.process_time() - busy)
        found[name] = sorted(took), sorted(worked), len(roots)
    return found


async def main(count: int, url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="alula-lists-") as folder:
        address = parse(url) if url else SqliteFile(Path(folder) / "alula.db")
        began = time.perf_counter()
        await address.migrate()
        if isinstance(address, SqliteFile):
            await asyncio.to_thread(build_sqlite, Path(folder) / "alula.db", count)
        else:
            await build_postgres(address, count)
        print(f"{count:,} runs built in {time.perf_counter() - began:.0f} s")
        async with address.database(Changes()) as database:
            for name, (took, worked, size) in (await measure(database, count)).items():
                print(f"ListRuns, {name:24} {size:3} runs   took {_percentiles(took)}   worked {_percentiles(worked)}")


def _percentiles(ordered: list[float]) -> str:
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"p50 {p50 * 1000:6.2f} ms, p99 {p99 * 1000:6.2f} ms"


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS, sys.argv[2] if len(sys.argv) > 2 else ""))
