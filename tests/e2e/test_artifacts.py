"""Artifacts as the SDK and its command use them. Case O21: `flyte create artifact` and `flyte get artifact` work."""

from pathlib import Path

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("artifacts.py")


def test_versions(told: Told) -> None:
    models = told["models"]
    assert models["same"] is True, "published again it is the same"
    kind, source, user = models["first"]
    assert (kind, source) == ("model", "hf://x/y")
    assert user, "somebody published it"
    assert models["pinned"] == "1"
    assert models["content"] == ["one"]
    assert models["versions"] == ["from-task", "2", "1"]
    assert models["kinds"] == models["imported"] == ["1"]
    assert models["names"] == [["sdk_model", 3, "from-task"]]


def test_what_a_task_publishes_comes_from_that_task(told: Told) -> None:
    version, source, of_run, same = told["models"]["latest"]
    assert (version, of_run, same) == ("from-task", ["from-task"], True)
    assert source.startswith("run r")
    assert source.endswith("/a0 (attempt 0)")


def test_partitions(told: Told) -> None:
    assert told["partitions"] == {
        "declared": [True, ["date", "region"]],
        "one": "3",
        "of_day": ["3", "1", "0"],
        "range": ["3", "2", "1"],
        "regions": ["eu"],
        "dates": ["2026-08-01", "2026-08-02"],
        "hours": ["2026-08-01 13:00:00+00:00"],
        "month": {"date": "2026-08-01"},
        "group": [4, "2026-08-02", ["date", "region"]],
    }


def test_what_is_refused(told: Told) -> None:
    refused = told["refused"]
    assert "flyte create artifact nothing" in refused["missing"]
    assert "choose another version" in refused["taken"]
    assert "partitioned by date (day), region, not by nothing" in refused["unpartitioned"]
    assert "need another artifact name" in refused["redeclared"]


def test_the_command(user: User, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\x00\x01")
    part = ["--partition", "date=2026-08-01", "--partition", "region=us"]
    file = ["--from-file", str(tmp_path / "weights.bin")]
    made = user.flyte("create", "artifact", "cli_model", *file, "--version", "1", "--kind", "model", "--attr", "a=b")
    assert "Published artifact cli_model@1" in made
    user.flyte("create", "artifact", "cli_events", *file, *part)
    assert "cli_model" in user.flyte("get", "artifact")
    assert "cli_model" in user.flyte("get", "artifact", "--search", "cli_mod")
    assert "model" in user.flyte("get", "artifact", "cli_model")
    (one,) = user.json("get", "artifact", "cli_model", "1")
    assert one["artifactId"]["version"] == "1"
    assert one["spec"]["info"]["userMetadata"] == {"a": "b", "flyte.io/kind": "model"}
    assert "cli_events" in user.flyte("get", "artifact", "cli_events", *part)
