"""The SDK's command: run, get, abort."""

import asyncio
from pathlib import Path

import psutil
import pytest

from .user import PROGRAMS, User

PROJECT = PROGRAMS / "project"


def test_run_with_every_kind_of_input(user: User, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("content of a file")
    inputs = {
        "n": "3", "ratio": "0.5", "name": "ada", "names": '["a", "b"]', "size": "LARGE", "box": '{"width": 4}',
        "at": "2026-01-02T03:04:05", "file": str(tmp_path / "file.txt"),
    }  # fmt: skip
    options = [word for name, value in inputs.items() for word in (f"--{name}", value)]
    run = user.start("workflow.py", "every_input", "--flag", *options, cwd=PROJECT)
    values = ["3", "0.5", "ada", "True", "a,b", "large", "4 none", "2026-01-02T03:04:05+00:00", "content of a file"]
    assert user.outputs(run) == f"ActionOutputs(o0={values})"


def test_run_a_package_of_modules(user: User) -> None:
    run = user.start("workflow.py", "main", "--n", "4", cwd=PROJECT)
    assert user.outputs(run) == 'ActionOutputs(o0="[0, 1, 4, 9]!")'
    code = user.flyte("get", "code", run)
    assert all(name in code for name in ("workflow.py", "parts/__init__.py", "parts/deep/words.py"))
    assert "lazy.py" not in code


def test_run_with_all_files(user: User) -> None:
    run = user.start("--copy-style", "all", "workflow.py", "with_data", cwd=PROJECT)
    assert user.outputs(run) == "ActionOutputs(o0=['late', 'words of a file'])"


def test_run_with_a_name_and_an_environment(user: User) -> None:
    arguments = ["--name", "named-here", "--env", "FROM_RUN=cli", "--label", "team=green"]
    run = user.start(*arguments, "shapes.py", "environment")
    assert run == "named-here"
    values = {"FROM_ENVIRONMENT": "e", "FROM_RUN": "cli", "IN_BOTH": "environment"}
    said = user.outputs(run)
    assert all(f"'{name}': '{value}'" in said for name, value in values.items())
    (details,) = user.json("get", "run", run)
    assert details["runSpec"]["labels"]["values"] == {"team": "green"}


def test_run_and_follow(user: User) -> None:
    printed = user.flyte("run", "--follow", "logs.py", "follows")
    positions = [printed.index(f"step {n}") for n in range(3)]
    assert positions == sorted(positions)


def test_run_again(user: User) -> None:
    first = user.start("shapes.py", "fan", "--n", "3")
    assert user.outputs(first) == "ActionOutputs(o0=[0, 1, 4])"
    child = user.json("get", "action", first)[2]["id"]["name"]
    again, changed = user.start_again(first), user.start_again(first, "--n", "2")
    only = user.start_again(first, "--action-name", child)
    assert user.outputs(again) == user.outputs(first)
    assert user.outputs(changed) == "ActionOutputs(o0=[0, 1])"
    assert user.outputs(only) == user.outputs(first, child)


def test_get(user: User) -> None:
    run = user.start("shapes.py", "top")
    assert user.outputs(run) == "ActionOutputs(o0=['top', 'middle', 'leaf'])"
    assert run in {one["action"]["id"]["run"]["name"] for one in user.json("get", "run", "--limit", "1000")}
    actions = user.json("get", "action", run)
    assert [(a["metadata"]["task"]["id"]["name"], a["metadata"].get("parent", "")) for a in actions] == [
        ("shapes.top", ""),
        ("shapes.middle", "a0"),
        ("shapes.leaf", actions[1]["id"]["name"]),
    ]
    (leaf,) = user.json("get", "action", run, actions[2]["id"]["name"])
    assert leaf["status"]["phase"] == "ACTION_PHASE_SUCCEEDED"
    assert "['top', 'middle']" in user.flyte("get", "io", run, actions[2]["id"]["name"])
    assert "Flyte runtime completed" in user.flyte("get", "logs", run, actions[2]["id"]["name"], wide=True)


def test_who_and_where(user: User) -> None:
    assert "id='flytesnacks'" in user.flyte("get", "project", "flytesnacks")
    assert "flytesnacks" in user.flyte("get", "project")
    assert '"subject": ' in user.flyte("whoami")


@pytest.mark.parametrize("words", [("get", "run", "no-such-run"), ("get", "logs", "no-such-run")])
def test_what_does_not_exist(user: User, words: tuple[str, ...]) -> None:
    assert "does not exist" in user.flyte(*words, fails=True)


async def test_abort_a_run(user: User, tmp_path: Path) -> None:
    path = tmp_path / "noted"
    path.touch()
    run = user.start("failures.py", "sleeps_below", "--path", str(path))
    process = await _sleeper(path)
    user.flyte("abort", "run", run)
    process.wait(timeout=10)
    actions = user.json("get", "action", run)
    assert [action["status"]["phase"] for action in actions] == ["ACTION_PHASE_ABORTED"] * 2
    user.flyte("abort", "run", run)  # once more changes nothing
    (details,) = user.json("get", "run", run)
    assert details["action"]["status"]["phase"] == "ACTION_PHASE_ABORTED"


async def test_abort_an_action(user: User, tmp_path: Path) -> None:
    path = tmp_path / "noted"
    path.touch()
    run = user.start("failures.py", "catches_abort", "--path", str(path))
    process = await _sleeper(path)
    root, child = (action["id"]["name"] for action in user.json("get", "action", run))
    assert root == "a0"
    user.flyte("abort", "action", run, child)
    process.wait(timeout=10)
    assert user.outputs(run) == 'ActionOutputs(o0="ActionAbortedError quick")'


async def _sleeper(path: Path) -> psutil.Process:
    """The process that notes itself there, once it does."""
    async with asyncio.timeout(60):
        while not path.read_text().endswith("\n"):
            await asyncio.sleep(0.05)
    process = psutil.Process(int(path.read_text().split()[-1]))
    assert process.is_running()
    return process
