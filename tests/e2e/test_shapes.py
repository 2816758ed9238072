"""What a workflow can look like. The values are what counts: every one passed through the server."""

from typing import Any

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return user.python("shapes.py")


@pytest.mark.parametrize(
    ("key", "outputs"),
    [
        ("hello", ["hello, e2e"]),
        ("default", ["hello, world"]),
        ("fan", [[x * x for x in range(100)]]),
        ("top", [["top", "middle", "leaf"]]),
        ("count_down", [list(range(20, -1, -1))]),  # twenty parents wait, of sixteen that may run
        ("split", [32]),  # 31 parents wait
        ("mapped", [[10, 11, 12, 13, 14, 15]]),
        ("sync", [512]),
        ("traced", [["0", "3", "6", "HO"]]),
        ("grouped", [54]),
        ("nothing", [None]),
        ("two", [2, "two"]),
        ("environment", [{"FROM_ENVIRONMENT": "e", "FROM_RUN": "r", "IN_BOTH": "run"}]),
        ("contexts", [[{"outer": "1"}, {"outer": "1"}, {"outer": "1", "inner": "2"}]]),
        ("warm", [[1, 2, 3, 4, 5]]),
    ],
)
def test_outputs(told: Told, key: str, outputs: list[Any]) -> None:
    assert (told[key]["phase"], told[key].get("outputs")) == ("SUCCEEDED", outputs)


def test_every_child_of_a_fan_out_is_there_once(told: Told) -> None:
    children = told["fan"]["children"]
    assert len({child["name"] for child in children}) == len(children) == 100
    assert {(child["phase"], child["task"], child["parent"], len(child["attempts"])) for child in children} == {
        ("SUCCEEDED", "shapes.square", "a0", 1)
    }


def test_groups(told: Told) -> None:
    groups = [child["group"] for child in told["grouped"]["children"]]
    assert sorted(groups) == ["", "evens", "evens", "odds"]
    assert {child["group"] for child in told["mapped"]["children"]} == {"shapes.add_map"}


def test_traces_are_actions(told: Told) -> None:
    traces = [(child["task"], child["phase"]) for child in told["traced"]["children"]]
    assert traces == [("triple", "SUCCEEDED")] * 3 + [("shout", "SUCCEEDED")]


def test_a_task_knows_itself(told: Told) -> None:
    assert told["identity"]["outputs"] == [[told["identity"]["run"], "a0", "0"]]


def test_a_run_that_a_task_starts(told: Told, user: User) -> None:
    name, _, said = told["spawns"]["outputs"][0].partition(" ")
    assert said == "hello, spawned"
    (spawned,) = user.json("get", "run", name)
    relation = spawned["runSpec"]["relation"]
    assert relation["relatedTo"]["name"] == told["spawns"]["run"]
    assert relation["relationType"].endswith("SPAWN")


def test_an_action_tells_which_run_started_it(told: Told, user: User) -> None:
    (spawned,) = user.json("get", "action", told["spawns"]["outputs"][0].split()[0], "a0")
    assert spawned["metadata"]["relation"]["relatedTo"]["name"] == told["spawns"]["run"]


def test_labels_are_kept(told: Told, user: User) -> None:
    (run,) = user.json("get", "run", told["environment"]["run"])
    assert run["runSpec"]["labels"]["values"] == {"team": "blue"}


def test_runs_are_found_by_label(told: Told, user: User) -> None:
    found = user.json("get", "run", "--with-label", "team=blue")
    assert {run["action"]["id"]["run"]["name"] for run in found} == {
        told["environment"]["run"],
        told["contexts"]["run"],
    }
    assert {run["labels"]["team"] for run in found} == {"blue"}
