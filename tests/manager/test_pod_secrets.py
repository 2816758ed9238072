"""Secrets reach a pod by reference only."""

import json
from dataclasses import replace

import pytest

from alula.manager.plugins.base import Task
from alula.manager.plugins.pod import PodPlugin
from alula.manager.podspec.build import pod_template
from alula.manager.podspec.settings import PodSettings

from .cases import REQUEST, task_template

OWN = {
    "primaryContainerName": "main",
    "podSpec": {
        "initContainers": [{"name": "prepare", "image": "busybox"}],
        "containers": [{"name": "main", "image": "i"}, {"name": "proxy", "image": "p"}],
    },
}


def task(**request: object) -> Task:
    template = task_template({"type": "python", "k8sPod": OWN})
    return Task(replace(REQUEST, **request), template, "work", PodSettings())  # type: ignore[arg-type]


def test_a_variable_is_a_reference_in_every_container_of_the_users() -> None:
    made = pod_template(task(secret="s", secret_env=["TOKEN"], env={"TOKEN": "in the clear", "MODE": "fast"}))
    for container in (*made["spec"]["containers"], *made["spec"]["initContainers"]):
        found = {one["name"]: one for one in container["env"]}
        assert found["TOKEN"] == {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "TOKEN"}}}
        assert found["MODE"] == {"name": "MODE", "value": "fast"}
        assert len(found) == len(container["env"])
    assert "in the clear" not in json.dumps(made)


def test_files_come_from_the_secret_itself() -> None:
    made = pod_template(task(secret="s", secret_files={"f0": "group/key", "f1": "key"}))
    (volume,) = made["spec"]["volumes"]
    assert volume["secret"]["secretName"] == "s"
    assert volume["secret"]["items"] == [{"key": "f0", "path": "group/key"}, {"key": "f1", "path": "key"}]
    for container in (*made["spec"]["containers"], *made["spec"]["initContainers"]):
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert env["FLYTE_SECRETS_DEFAULT_DIR"] == "/etc/flyte/secrets"
        assert env["FLYTE_SECRETS_FILE_PREFIX"] == ""
        assert {"name": volume["name"], "mountPath": "/etc/flyte/secrets", "readOnly": True} in container[
            "volumeMounts"
        ]


def test_without_secrets_a_pod_says_nothing_of_them() -> None:
    assert "secret" not in json.dumps(pod_template(task())).lower()


@pytest.mark.parametrize("name", ["_F_PN", "TOKEN"])
def test_no_variable_of_the_users_takes_the_place_of_a_reference(name: str) -> None:
    made = pod_template(task(secret="s", secret_env=["TOKEN"], env={name: "mine"}))
    (found,) = [one for one in made["spec"]["containers"][0]["env"] if one["name"] == name]
    assert "value" not in found


def test_the_administrators_secrets_are_references_too() -> None:
    settings = PodSettings(env_from_secret={"STORE_KEY": ("store", "key")}, image_pull_secrets=["registry"])
    made = PodPlugin().build(replace(task(), settings=settings))
    found = {one["name"]: one for one in made["spec"]["containers"][1]["env"]}
    assert found["STORE_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "store", "key": "key"}
    assert made["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_the_registries_of_the_task_and_of_the_administrator_are_both_known() -> None:
    own = {**OWN, "podSpec": {**OWN["podSpec"], "imagePullSecrets": [{"name": "mine"}, {"name": "registry"}]}}  # type: ignore[dict-item]
    template = task_template({"type": "python", "k8sPod": own})
    settings = PodSettings(image_pull_secrets=["registry", "other"])
    made = pod_template(Task(REQUEST, template, "work", settings))
    assert made["spec"]["imagePullSecrets"] == [{"name": "mine"}, {"name": "registry"}, {"name": "other"}]


def test_a_webhook_is_told_by_the_pod_what_to_inject() -> None:
    marks = {"labels": {"inject-flyte-secrets": "true"}, "annotations": {"flyte.secrets/s0": "nnsxs"}}
    meta = pod_template(task(**marks))["metadata"]
    assert meta["labels"]["inject-flyte-secrets"] == "true"
    assert meta["annotations"]["flyte.secrets/s0"] == "nnsxs"
    assert [meta["labels"][key] for key in ("organization", "project", "domain")] == ["flyte", "shop", "development"]
