"""A task whose output is an artifact, and one that runs whenever a new version of that is there."""

import tempfile
import time
from pathlib import Path

import flyte
from flyte import artifacts
from flyte.io import File
from flyte.remote import Artifact, Run
from telling import action, end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="produced")

ON_NEW = flyte.Trigger(
    name="on_new",
    automation=flyte.OnArtifact(name="made_here", region="eu"),
    inputs={"file": flyte.TriggeredArtifact, "region": flyte.TriggeredPartition("region"), "factor": 3},
)


@env.task(produces_artifacts=True)
async def makes(content: str, region: str) -> File:
    path = Path(tempfile.mkdtemp()) / "made"
    path.write_text(content)
    metadata = artifacts.Metadata(name="made_here", description="made by a task", partitions={"region": region})
    return artifacts.new(await File.from_local(str(path)), metadata)


@env.task(triggers=ON_NEW)
async def consumes(file: File, region: str, factor: int) -> str:
    async with file.open("rb") as opened:
        content = await opened.read()
    return f"{bytes(content).decode() * factor} from {region}"


def fired(count: int, patience: float = 30) -> list[Run]:
    """The runs of the trigger, once there are as many as are asked for."""
    begun = time.monotonic()
    while time.monotonic() - begun < patience:
        found = list(Run.listall(task_name="produced.consumes"))
        if len(found) >= count:
            return found
        time.sleep(0.1)
    return []


if __name__ == "__main__":
    flyte.init_from_config()
    flyte.deploy(env)
    made = end(flyte.run(makes, content="ab", region="eu"))
    made.pop("outputs", None)
    end(flyte.run(makes, content="cd", region="us"))
    runs = fired(1)
    found = Artifact.get("made_here", region="eu")
    tell(
        made=made,
        version=found.version,
        source=str(found.source),
        description=found.pb2.spec.description if hasattr(found.pb2.spec, "description") else "",
        names=[[g.name, g.versions] for g in Artifact.list_names(search="made_here")],
        triggered=[end(run) for run in runs],
        action=[action(run, "a0") for run in runs],
    )
