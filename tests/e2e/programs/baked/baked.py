"""A task whose code is in its image, and not in a bundle."""

import json
import os
import sys
from pathlib import Path

import beside  # type: ignore[import-not-found]
import flyte
import flyte.remote

image = flyte.Image.from_debian_base(name="baked").with_apt_packages("ca-certificates").with_code_bundle()
env = flyte.TaskEnvironment("baked", image=image)


@env.task
async def main() -> str:
    return f"{beside.NAME} {Path(beside.__file__).resolve().parent == Path.cwd()}"


if __name__ == "__main__":
    flyte.init_from_config(root_dir=Path(__file__).parent)
    flyte.deploy(env, copy_style="none", version="v1")
    run = flyte.run(flyte.remote.Task.get("baked.main", auto_version="latest"))
    run.wait(quiet=True)
    print(json.dumps({"phase": str(run.phase).rpartition(".")[2], "outputs": list(run.outputs())}))
    sys.stdout.flush()
    os._exit(0)
