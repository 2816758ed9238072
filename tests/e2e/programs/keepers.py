"""Tasks that look at what they were given besides inputs: secrets, and what settings say."""

import os
import sys
from pathlib import Path

import flyte
import flyte.remote
from connectrpc.errors import ConnectError
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(
    name="keepers",
    secrets=[
        flyte.Secret("e2e-token"),
        flyte.Secret("e2e-token", as_env_var="RENAMED"),
        flyte.Secret("e2e-file", mount=Path("/etc/flyte/secrets")),
    ],
)
plain = flyte.TaskEnvironment(name="plain")
greedy = flyte.TaskEnvironment(name="greedy", secrets="e2e-nowhere")


@env.task
async def secrets() -> list[str]:
    folder = Path(os.environ["FLYTE_SECRETS_DEFAULT_DIR"])
    return [os.environ["E2E_TOKEN"], os.environ["RENAMED"], (folder / "e2e-file").read_text()]


@env.task
async def child() -> str:
    return os.environ["E2E_TOKEN"]


@env.task
async def parent() -> str:
    return await child()


@plain.task
async def settings() -> list[str]:
    own = [name for name in os.environ if "E2E" in name]
    return [os.environ.get("FROM_DOMAIN", ""), os.environ.get("FROM_PROJECT", ""), *own]


@greedy.task
async def missing() -> str:
    return "never"


def _listed() -> list[str]:
    return [secret.name for secret in flyte.remote.Secret.listall() if secret.name.startswith("e2e-many")]


def keep_secrets() -> None:
    flyte.init_from_config(project="", domain="")
    made = [f"e2e-many-{n:02}" for n in range(12)]  # more than one of the SDK's pages
    for name in made:
        flyte.remote.Secret.create(name, "x")
    listed = _listed()
    flyte.remote.Secret.delete(made[0])
    try:
        flyte.remote.Secret.delete(made[0])
    except ConnectError as error:
        again = error.code.name
    tell(made=made, listed=listed, left=_listed(), again=again)


def keep_settings() -> None:
    flyte.init_from_config(domain="staging")
    project = flyte.remote.Settings.get_settings_for_edit(project="flytesnacks", domain="staging")
    other = flyte.remote.Settings.get_settings_for_edit(project="flytesnacks", domain="staging")
    project.update_settings({"environment_variables": {"FROM_PROJECT": "p"}})
    merged = end(flyte.run(settings))
    project.update_settings(project.parse_yaml("environment_variables: ~unset"))
    cleared = end(flyte.run(settings))
    try:
        other.update_settings({"run.default_queue": "lost"})
    except ConnectError as error:
        stale = error.code.name
    tell(merged=merged["outputs"][0], cleared=cleared["outputs"][0], stale=stale)


if __name__ == "__main__":
    {"secrets": keep_secrets, "settings": keep_settings}[sys.argv[1]]()
