"""Secrets and settings, with the SDK's own command and classes."""

from pathlib import Path

import pytest

from .user import User

STAGING = ["--project", "flytesnacks", "--domain", "staging"]


@pytest.fixture(scope="module")
def secret(user: User, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Secrets for everybody; the value of one."""
    file = tmp_path_factory.mktemp("secret") / "value"
    file.write_text("content of a file")
    user.flyte("create", "secret", "e2e-token", "--value", "s3cr3t")
    user.flyte("create", "secret", "e2e-file", "--from-file", str(file))
    return "s3cr3t"


def test_a_task_has_its_secrets(user: User, secret: str) -> None:
    run = user.start("keepers.py", "secrets")
    assert user.outputs(run) == f"ActionOutputs(o0=['{secret}', '{secret}', 'content of a file'])"


def test_a_called_task_has_its_own(user: User, secret: str) -> None:
    assert user.outputs(user.start("keepers.py", "parent")) == f'ActionOutputs(o0="{secret}")'


def test_the_narrower_one_is_used(user: User, secret: str) -> None:
    user.flyte("create", "secret", *STAGING, "e2e-token", "--value", "narrower")
    run = user.start(*STAGING, "keepers.py", "child")
    user.flyte("get", "logs", *STAGING, run, "a0")
    assert "narrower" in user.flyte("get", "io", *STAGING, run, "a0", "--outputs-only", wide=True)


def test_they_are_told_of_and_not_told(user: User, secret: str) -> None:
    one = user.flyte("get", "secret", "e2e-token", wide=True)
    assert "FULLY_PRESENT" in one
    assert secret not in one
    told = user.python("keepers.py", "secrets")
    assert told["listed"] == told["made"]
    assert told["left"] == told["listed"][1:]
    assert told["again"] == "NOT_FOUND"
    listed = user.flyte("get", "secret", wide=True)
    assert all(name in listed for name in told["left"])


def test_a_missing_one_is_told_before_the_task_starts(user: User) -> None:
    run = user.start("keepers.py", "missing")
    user.flyte("get", "logs", run, "a0")
    told = user.flyte("get", "action", run, "a0", wide=True)
    assert "flyte create secret e2e-nowhere" in told


def test_settings_from_the_command_to_the_task(user: User, tmp_path: Path) -> None:
    said = tmp_path / "settings.yaml"
    said.write_text("environment_variables:\n  FROM_DOMAIN: d\n  FROM_PROJECT: d\nrun.max_action_concurrency: 5\n")
    user.flyte("edit", "settings", "--domain", "staging", "--from-file", str(said))
    told = user.python("keepers.py", "settings")
    assert told["merged"] == ["d", "p"]
    assert told["cleared"] == ["", ""]
    assert told["stale"] == "ALREADY_EXISTS"  # it had seen no record, and so makes one
    shown = user.flyte("get", "settings", *STAGING, wide=True)
    assert "run.max_action_concurrency: 5" in shown
    assert "DOMAIN(staging)" in shown


def test_settings_that_cannot_be_are_refused(user: User, tmp_path: Path) -> None:
    said = tmp_path / "settings.yaml"
    said.write_text("task_resource.min.memory: 2 GB\n")
    told = user.flyte("edit", "settings", "--domain", "production", "--from-file", str(said), fails=True)
    assert "settings.task_resource.min.memory" in told
