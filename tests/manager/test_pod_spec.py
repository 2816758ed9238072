"""From a task to its pod: every feature has a golden file; what cannot be a pod is refused."""

import re
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from flyteidl2.core import tasks_pb2
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.core_v1 import Pod

from alula.core.taskaction import ATTEMPT, MANAGED
from alula.manager.plugins.base import BadTask, Task
from alula.manager.plugins.pod import PodPlugin
from alula.manager.podspec.build import Role, pod_spec, pod_template
from alula.manager.podspec.resources import completed
from alula.manager.podspec.settings import PodSettings

from .cases import REQUEST, Case, cases, load, task_template

PLUGIN = PodPlugin()
KEYS = (
    "name", "image", "env", "value", "valueFrom", "resources", "requests", "limits", "cpu", "nvidia.com/gpu", "volumes",
    "volumeMounts", "mountPath", "initContainers", "restartPolicy", "affinity", "nodeAffinity", "tolerations", "key",
    "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", "matchExpressions", "nodeSelector",
)  # fmt: skip
FILES = cases("pod_")


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return load(request.param)


def task(**template: object) -> Task:
    return Task(REQUEST, task_template({"type": "python", **template}), "work", PodSettings())


def own(containers: object, **spec: object) -> dict[str, object]:
    """A pod of the task's own; its primary container is ``a``."""
    return {"primaryContainerName": "a", "podSpec": {"containers": containers, **spec}}


def test_a_pod_is_the_one_in_its_golden_file(case: Case) -> None:
    case.check(PLUGIN.build(case.task))


def test_a_pod_has_only_fields_that_pods_have_and_of_their_types(case: Case) -> None:
    made = PLUGIN.build(case.task)
    assert msgspec.to_builtins(msgspec.convert(made, Pod)) == made


def test_a_pod_shares_nothing_with_what_it_is_made_of(case: Case) -> None:
    """Whoever changes it, changes it alone."""
    first = PLUGIN.build(case.task)
    before = deepcopy(first)
    scribble(first)
    assert PLUGIN.build(case.task) == before


def scribble(value: object) -> None:
    if isinstance(value, dict):
        for item in value.values():
            scribble(item)
        value["scribbled"] = True
    elif isinstance(value, list):
        for item in value:
            scribble(item)
        value.append("scribbled")


def test_there_is_a_golden_file_for_every_feature() -> None:
    assert len(FILES) >= 20


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({}, "neither a container nor a pod"),
        ({"container": {}}, "no image"),
        ({"container": {"image": "i", "resources": {"limits": [{"name": "CPU", "value": "two"}]}}}, "cpu: 'two'"),
        ({"container": {"image": "i"}, "metadata": {"podTemplateName": "none"}}, "PodTemplate 'none'"),
        ({"k8sPod": {"podSpec": {"containers": [{"name": "a"}]}}}, "set primary_container_name"),
        ({"k8sPod": {"primaryContainerName": "a", "podSpec": {}}}, "missing required field `containers`"),
        ({"k8sPod": own([{"name": "b"}])}, "no container named 'a'"),
        ({"k8sPod": own("a")}, "Expected `array`, got `str` - at `$.containers`"),
        ({"k8sPod": own([{}])}, "missing required field `name`"),
        ({"k8sPod": own([{"name": ""}])}, "a name of its own"),
        ({"k8sPod": own([{"name": "a"}, {"name": "a"}])}, "a name of its own"),
        ({"k8sPod": own([{"name": "a"}], volumes=3)}, "volumes"),
        ({"k8sPod": own([{"name": "a", "env": [{"value": "1"}]}])}, "missing required field `name`"),
        ({"k8sPod": own([{"name": "a", "env": [{"name": "A", "value": 1}]}])}, "Expected `str | null`, got `int`"),
        ({"k8sPod": own([{"name": "a", "volumeMounts": {}}])}, "volumeMounts"),
        ({"k8sPod": own([{"name": "a", "resources": {"limits": "2"}}])}, "limits are to be amounts"),
        ({"k8sPod": own([{"name": "a", "resources": "2"}])}, "and are '2'"),
        ({"k8sPod": own([{"name": "a", "resources": {"limits": {"cpu": {}}}}])}, "resources: cpu"),
        ({"type": "sidecar", "taskTypeVersion": 2}, "is to have a pod"),
        ({"type": "sidecar", "custom": {"primaryContainerName": "a"}}, "no podSpec"),
        ({"extendedResources": {"sharedMemory": {"mountPath": "/dev/shm"}}}, "mount_name"),
        ({"extendedResources": {"sharedMemory": {"mountName": "shm"}}}, "mount_path"),
        (
            {"extendedResources": {"sharedMemory": {"mountName": "s", "mountPath": "/dev/shm", "sizeLimit": "big"}}},
            "shared memory: 'big'",
        ),
    ],
)
def test_what_cannot_be_a_pod(template: dict[str, object], message: str) -> None:
    if "extendedResources" in template:
        template = {**template, "container": {"image": "i"}}
    with pytest.raises(BadTask, match=re.escape(message)):
        PLUGIN.build(task(**template))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "1Gi", "Always"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
CONTAINERS = st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4).map(lambda one: {"name": "a", **one}))


@given(spec=st.dictionaries(st.sampled_from(KEYS), VALUES), containers=CONTAINERS)
def test_whatever_a_pod_says_it_becomes_one_or_is_refused(spec: dict[str, object], containers: list[object]) -> None:
    ready = task(k8sPod=own(containers, **spec), extendedResources={"gpuAccelerator": {"device": "A100"}})
    settings = PodSettings(env={"A": "1"}, tolerations=[{"key": "a"}], node_selector={"a": "b"}, affinity={})
    base = {
        "spec": {"containers": [{"name": "default", "env": [{"name": "B"}], "resources": {"limits": {"cpu": "1"}}}]}
    }
    ready = replace(ready, settings=replace(settings, template="t"), templates={"t": {"template": base}})
    with suppress(BadTask):
        made = PLUGIN.build(ready)
        assert msgspec.convert(made, Pod).kind == "Pod"


@pytest.mark.parametrize(
    ("requests", "limits", "expected"),
    [
        ({}, {}, ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"})),
        ({"cpu": "2"}, {}, ({"cpu": "2", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"})),
        ({}, {"cpu": "2"}, ({"cpu": "2", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"})),
        ({"cpu": "500m"}, {"cpu": "2"}, ({"cpu": "500m", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"})),
        ({"cpu": "2000m"}, {"cpu": "1.5"}, ({"cpu": "1.5", "memory": "1Gi"}, {"cpu": "1.5", "memory": "1Gi"})),
        (
            {"nvidia.com/gpu": "1", "cpu": "1", "memory": "1Gi"},
            {"nvidia.com/gpu": "2"},
            (
                {"nvidia.com/gpu": "2", "cpu": "1", "memory": "1Gi"},
                {"nvidia.com/gpu": "2", "cpu": "1", "memory": "1Gi"},
            ),
        ),
    ],
)
def test_the_resources_of_a_primary_container(
    requests: dict[str, str], limits: dict[str, str], expected: tuple[dict[str, str], dict[str, str]]
) -> None:
    found = completed({"requests": requests, "limits": limits, "claims": []}, PodSettings().resources)
    assert (found["requests"], found["limits"]) == expected
    assert found["claims"] == []


@pytest.mark.parametrize("taken", [{"name": "shm", "path": "/other"}, {"name": "other", "path": "/dev/shm"}])
def test_shared_memory_takes_no_others_place(taken: dict[str, str]) -> None:
    mounts = [{"name": taken["name"], "mountPath": taken["path"]}]
    spec = {
        "containers": [{"name": "a", "image": "i", "volumeMounts": mounts}],
        "volumes": [{"name": taken["name"], "emptyDir": {}}],
    }
    memory = {"sharedMemory": {"mountName": "shm", "mountPath": "/dev/shm"}}
    with pytest.raises(BadTask, match=r"shared memory: .* already"):
        PLUGIN.build(task(k8sPod={"primaryContainerName": "a", "podSpec": spec}, extendedResources=memory))


def test_what_is_null_is_as_if_it_was_not_there() -> None:
    nothing = {"env": None, "resources": None, "volumeMounts": None, "command": None}
    ready = task(k8sPod=own([{"name": "a", "image": "i", **nothing}], affinity=None, volumes=None))
    assert PLUGIN.build(ready) == PLUGIN.build(task(k8sPod=own([{"name": "a", "image": "i"}])))


def test_a_task_without_its_primary_container_says_so_in_its_code() -> None:
    with pytest.raises(BadTask) as refused:
        PLUGIN.build(task(k8sPod={"primaryContainerName": "a", "podSpec": {"containers": [{"name": "b"}]}}))
    assert refused.value.code == "PrimaryContainerNotFound"


@pytest.mark.parametrize(
    ("asked", "of_the_run", "last", "expected"),
    [
        (False, False, False, False),
        (True, False, False, True),
        (False, True, False, True),
        (True, True, True, False),
    ],
)
def test_spot(asked: bool, of_the_run: bool, last: bool, expected: bool) -> None:
    ready = task(container={"image": "i"}, metadata={"interruptible": asked})
    ready = replace(
        ready,
        request=replace(REQUEST, interruptible=of_the_run, last=last),
        settings=PodSettings(interruptible_selector={"pool": "spot"}),
    )
    assert ("nodeSelector" in pod_spec(ready)) is expected


def test_a_role_of_a_task_has_a_pod_of_its_own_kind() -> None:
    """A head, say: another name for its container, its own image and resources, and a pod laid over the task's."""
    ready = task(container={"image": "i", "args": ["run"]}, metadata={"interruptible": True})
    ready = replace(ready, settings=PodSettings(interruptible_selector={"pool": "spot"}))
    over = tasks_pb2.K8sPod(primary_container_name="anything")
    over.pod_spec.update(
        {"containers": [{"name": "anything", "workingDir": "/head"}, {"name": "beside", "image": "b"}], "hostPID": True}
    )
    over.metadata.labels["of"] = "the head"
    asked = tasks_pb2.Resources()
    asked.limits.add(name=tasks_pb2.Resources.MEMORY, value="3Gi")
    role = Role(container="ray-head", pod=over, image="head:1", resources=asked, interruptible=False)
    made = pod_template(ready, role)
    head, beside = made["spec"]["containers"]
    assert (head["name"], head["image"], head["args"], head["workingDir"]) == ("ray-head", "head:1", ["run"], "/head")
    assert head["resources"]["limits"] == {"cpu": "1", "memory": "3Gi"}
    assert beside["name"] == "beside"
    assert made["spec"]["hostPID"] is True
    assert "nodeSelector" not in made["spec"]
    labels = made["metadata"]["labels"]
    assert (labels["of"], labels[MANAGED], labels[ATTEMPT]) == ("the head", "true", REQUEST.name)
    assert made["metadata"]["annotations"]["primary_container_name"] == "ray-head"
    assert "name" not in made["metadata"]


def test_the_plugin_takes_the_kinds_of_tasks_that_are_pods() -> None:
    assert set(PLUGIN.types) == {"actor", "container", "python", "python-task", "raw-container", "sidecar"}
    assert PLUGIN.kind.plural == "pods"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_file_tells_what_it_is_about(path: Path) -> None:
    assert path.read_text().startswith("# ")
