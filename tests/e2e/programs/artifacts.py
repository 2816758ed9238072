"""What the SDK does with artifacts: publish from here and from a task, find by version and partition, list, declare."""

import tempfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import flyte
from flyte.artifacts import TimePartition
from flyte.io import File
from flyte.remote import Artifact
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="artifacts")


@env.task
async def publishes(name: str) -> str:
    """Publishes from inside of a task: the service is told which action it was."""
    path = Path(tempfile.mkdtemp()) / "weights"
    path.write_text("weights of a model")
    made = await Artifact.create.aio(await File.from_local(str(path)), name=name, version="from-task")
    return str(made.source)


@env.task
async def reads(file: File) -> str:
    async with file.open("rb") as opened:
        content = await opened.read()
    return bytes(content).decode()


def publish(name: str, version: str, content: str, **more: Any) -> Artifact:
    path = Path(tempfile.mkdtemp()) / "file.txt"
    path.write_text(content)
    return Artifact.create(File.from_local_sync(str(path)), name=name, version=version, **more)


def versions(*names: str, **more: Any) -> list[str]:
    return [artifact.version for artifact in Artifact.listall(*names, **more)]


def models() -> dict[str, Any]:
    first = publish("sdk_model", "1", "one", kind="model", attrs={"framework": "torch"}, external_ref="hf://x/y")
    again = publish("sdk_model", "1", "one", kind="model", attrs={"framework": "torch"}, external_ref="hf://x/y")
    publish("sdk_model", "2", "two", parents=["1"], description="the second")
    produced = end(flyte.run(publishes, name="sdk_model"))
    run = produced["run"]
    latest = Artifact.get("sdk_model")
    return {
        "same": first.pb2 == again.pb2,
        "first": [first.kind, first.source, first.created_by],
        "latest": [latest.version, latest.source, versions(source_run=run), produced["outputs"][0] == latest.source],
        "pinned": Artifact.get("sdk_model", "1").version,
        "content": end(flyte.run(reads, file=Artifact.get("sdk_model", "1")))["outputs"],
        "versions": versions("sdk_model"),
        "kinds": versions(kind="model", attrs={"framework": ["torch", "jax"]}),
        "imported": versions(source_external_ref="hf://x/y"),
        "names": [[g.name, g.versions, g.latest.version] for g in Artifact.list_names(search="sdk_mod")],
    }


def partitions() -> dict[str, Any]:
    schema = Artifact.declare("events", partitions={"date": date, "region": str})
    for n, (day, region) in enumerate([(1, "eu"), (1, "us"), (2, "eu"), (1, "eu")]):
        publish("events", f"{n}", f"{n}", partitions={"date": date(2026, 8, day), "region": region})
    publish("hourly", "1", "h", partitions={"hour": datetime(2026, 8, 1, 13, 30)})
    publish("monthly", "1", "m", partitions={"date": TimePartition(date(2026, 8, 20), "month")})
    of_day = {"date": date(2026, 8, 1)}
    (group,) = list(Artifact.list_names(search="events"))
    grouped = group.partition_schema
    assert grouped is not None
    return {
        "declared": [schema == Artifact.get_schema("events"), list(schema.all_keys)],
        "one": Artifact.get("events", date=date(2026, 8, 1), region="eu").version,
        "of_day": versions("events", partitions=of_day),
        "range": versions("events", date=(date(2026, 8, 1), date(2026, 8, 2)), latest_per_partition=True),
        "regions": Artifact.partition_values("events", "region", date=date(2026, 8, 2)),
        "dates": [str(value) for value in Artifact.partition_values("events", "date")],
        "hours": [str(value) for value in Artifact.partition_values("hourly", "hour")],
        "month": {key: str(value) for key, value in Artifact.get("monthly").partitions.items()},
        "group": [group.versions, str(group.latest_time_partition), list(grouped.all_keys)],
    }


def refused() -> dict[str, str]:
    told = {}
    asked: dict[str, Callable[[], Any]] = {
        "missing": lambda: Artifact.get("nothing"),
        "taken": lambda: publish("sdk_model", "1", "something else"),
        "unpartitioned": lambda: publish("events", "9", "x"),
        "redeclared": lambda: Artifact.declare("events", partitions={"region": str}),
    }
    for what, ask in asked.items():
        try:
            ask()
        except Exception as error:
            told[what] = f"{type(error).__name__}: {getattr(error, 'code', '')} {error}"
    return told


if __name__ == "__main__":
    flyte.init_from_config()
    tell(models=models(), partitions=partitions(), refused=refused())
