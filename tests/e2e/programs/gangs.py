"""Tasks of several processes that know each other."""

import os
import sys
from pathlib import Path

import flyte
from flyte.clustered import ClusteredTaskEnvironment, ClusterFailurePolicy, JaxRun
from telling import end, tell  # type: ignore[import-not-found]

STUBS = Path(__file__).parent / "stubs"
PATH = os.pathsep.join([str(STUBS), str(Path(sys.executable).parent), os.environ["PATH"]])

torch = ClusteredTaskEnvironment(
    name="torch",
    replicas=2,
    nproc_per_node=2,
    failure_policy=ClusterFailurePolicy(max_restarts=1),
    env_vars={"PATH": PATH},
)
bare = ClusteredTaskEnvironment(name="bare", replicas=1, nproc_per_node=1)
jax = ClusteredTaskEnvironment(name="jax", replicas=1, nproc_per_node=1, runtime=JaxRun())
jaxes = ClusteredTaskEnvironment(name="jaxes", replicas=2, nproc_per_node=1, runtime=JaxRun())


@torch.task
async def trains(fails: int) -> str:
    """The second of its workers fails in the first turns."""
    found = flyte.ctx()
    assert found is not None
    print(f"rank {found.rank} of {found.world_size}, restart {found.restart_attempt}")
    if found.rank == 1 and found.restart_attempt is not None and found.restart_attempt < fails:
        raise ValueError("a worker fails")
    return f"rank {found.rank} of {found.world_size}, restart {found.restart_attempt}"


@bare.task
async def lacks() -> None:
    """There is no torchrun."""


@jax.task
async def alone() -> str:
    found = flyte.ctx()
    assert found is not None
    return f"rank {found.rank} of {found.world_size} at {found.master_addr}"


@jaxes.task
async def together() -> None:
    pass


if __name__ == "__main__":
    flyte.init_from_config()
    runs = {
        "restarted": flyte.run(trains, fails=1),
        "failed": flyte.run(trains, fails=9),
        "lacks": flyte.run(lacks),
        "alone": flyte.run(alone),
        "together": flyte.run(together),
    }
    told = {key: end(run) for key, run in runs.items()}
    told["restarted"]["log"] = "".join(line[1:] for line in runs["restarted"].get_logs())
    tell(**told)
