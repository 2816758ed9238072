"""What the values of settings may be."""

from typing import Any

import pytest

from alula.core.errors import Invalid
from alula.core.permissible import check
from alula.core.scope import Level
from alula.core.setting import Layer, Setting, State

CPU = ("task_resource.min.cpu", "task_resource.max.cpu")


def layer(said: dict[str, Any]) -> Layer:
    return {path: Setting(State.VALUE, value, Level.ORG) for path, value in said.items()}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"run.default_queue": "gpu"},
        {"run.default_queue": "Team_A.large-1"},
        {"run.max_action_concurrency": 0},
        {"run.max_action_concurrency": 2**32 - 1},
        {"run.run_base_dir": "s3://bucket/prefix/x"},
        {"storage.raw_data_path": "gs://bucket"},
        {"storage.raw_data_path": "/mnt/data"},
        {"security.service_account": "ml-sa.team"},
        {CPU[0]: "500m", CPU[1]: "0.5"},
        {CPU[0]: "500m", CPU[1]: "2", "task_resource.min.gpu": "1", "task_resource.max.memory": "4Gi"},
        {"labels": {"team": "ml", "example.com/cost-centre": "a_1.2", "empty": ""}},
        {"annotations": {"example.com/note": "anything, of any kind: é"}},
        {"environment_variables": {"A": "1", "_b": "", "lower.dotted-1": "x = y\n"}},
        {"app.app_dns_strategy": "shared"},
        {"app.disallow_anonymous": True},
        {"pod_template_name": "base-template"},
        {"not.known.yet": object()},
    ],
)
def test_what_may_be(said: dict[str, Any]) -> None:
    check(layer(said))


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"run.default_queue": ""}, "run.default_queue"),
        ({"run.default_queue": "two words"}, "run.default_queue"),
        ({"run.default_queue": "x" * 64}, "run.default_queue"),
        ({"run.max_action_concurrency": -1}, "run.max_action_concurrency"),
        ({"run.max_action_concurrency": 2**32}, "run.max_action_concurrency"),
        ({"run.run_base_dir": "bucket/prefix"}, "run.run_base_dir"),
        ({"storage.raw_data_path": ""}, "storage.raw_data_path"),
        ({"storage.raw_data_path": "s3://a b"}, "storage.raw_data_path"),
        ({"security.service_account": "Upper"}, "security.service_account"),
        ({CPU[0]: "half"}, CPU[0]),
        ({CPU[0]: ""}, CPU[0]),
        ({CPU[0]: "2", CPU[1]: "1500m"}, CPU[1]),
        ({CPU[0]: "2", CPU[1]: "many"}, CPU[1]),
        ({CPU[0]: "many", CPU[1]: "2"}, CPU[0]),
        ({"task_resource.max.gpu": "500m"}, "task_resource.max.gpu"),
        ({"task_resource.max.gpu": "some"}, "task_resource.max.gpu"),
        ({"labels": {"-team": "ml"}}, "labels"),
        ({"labels": {"": "ml"}}, "labels"),
        ({"labels": {"Example.com/team": "ml"}}, "labels"),
        ({"labels": {"/team": "ml"}}, "labels"),
        ({"labels": {"team": "machine learning"}}, "labels"),
        ({"labels": {"team": "x" * 64}}, "labels"),
        ({"annotations": {"bad name": ""}}, "annotations"),
        ({"annotations": {"note": "x" * 300_000}}, "annotations"),
        ({"environment_variables": {"A=B": "1"}}, "environment_variables"),
        ({"environment_variables": {"1A": "1"}}, "environment_variables"),
        ({"environment_variables": {"A": "a\0b"}}, "environment_variables"),
        ({"app.app_dns_strategy": "own"}, "app.app_dns_strategy"),
        ({"pod_template_name": "a..b"}, "pod_template_name"),
    ],
)
def test_what_may_not_be(said: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid, match=rf"settings\.{path}: "):
        check(layer(said))


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Invalid, match=r"settings\.run\.default_queue: .*; settings\.task_resource\.min\.gpu: "):
        check(layer({"run.default_queue": "", "task_resource.min.gpu": "0.5"}))


def test_what_is_unset_is_not_checked() -> None:
    check({"run.default_queue": Setting(State.UNSET, None, Level.ORG)})
