"""What a task sees of the machine. The last line tells."""

import json
import os
import pathlib

import flyte

SECRETS = pathlib.Path("/etc/flyte/secrets")

env = flyte.TaskEnvironment(name="apart", secrets=flyte.Secret(key="apart-key", mount=SECRETS))


def _writable(folder: str) -> bool:
    try:
        (pathlib.Path(folder) / f"probe-{os.getpid()}").touch()
    except OSError:
        return False
    return True


@env.task
async def double(x: int) -> int:
    return 2 * x


@env.task
async def look(server: str) -> dict[str, str]:
    told = {
        "pids": sum(name.isdigit() for name in os.listdir("/proc")),
        "server": sorted(os.listdir(server)) if os.path.isdir(server) else [],
        "etc": _writable("/etc"),
        "work": _writable("."),
        "tmp": _writable("/tmp"),
        "users": pathlib.Path("/etc/passwd").exists(),
        "secret": (SECRETS / "apart-key").read_text() == "hush" if SECRETS.exists() else None,
        "child": await double(x=21),
    }
    return {"told": json.dumps(told)}


if __name__ == "__main__":
    flyte.init_from_config()
    run = flyte.run(look, server=os.environ["SERVER_HOME"])
    run.wait()
    print(json.dumps({"phase": str(run.phase), **json.loads(run.outputs()[0]["told"])}))
