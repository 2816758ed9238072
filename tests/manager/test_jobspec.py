"""What jobs of several pods have in common: their names, their links, and how their pods are weighed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lightkube.models.core_v1 import PodTemplateSpec

from alula.core.taskaction import MANAGED, Link, Stage
from alula.kube.objects import Object
from alula.manager.jobspec import names
from alula.manager.jobspec.links import link
from alula.manager.jobspec.roles import ROLE
from alula.manager.loader import own
from alula.manager.plugins.pytorch import PyTorchPlugin

from .cases import cases, load
from .jobs import Row, checked, kubeflow, member, pulls, ran, roomless, runs, starts
from .statuses import ended, pod

JOBS = [path for path in cases("") if not path.name.startswith("pod_")]
LONG = "a-run-with-a-long-name-of-thirty.0-and-an-action-with-a-long-name-too.0123456789ab"


@pytest.mark.parametrize(
    ("name", "limit", "label"),
    [
        ("r1-a0.0123456789ab.1", 47, "r1-a0-0123456789ab-1"),
        ("r1", 47, "r1"),
        ("1st.run", 47, "a1st-run"),
        ("R1_a0..x.", 47, "r1-a0-x"),
        (f"{LONG}.1", 47, "a-run-with-a-long-name-of-thirty-0-a-4cc1e1c38a"),
        (f"{LONG}.2", 47, "a-run-with-a-long-name-of-thirty-0-a-9868cc3fc2"),
        ("a" * 20, 20, "a" * 20),
        ("a" * 21, 20, "aaaaaaaaa-7df8e299c8"),
    ],
)
def test_a_job_is_named_as_its_attempt_as_far_as_operators_allow(name: str, limit: int, label: str) -> None:
    made = names.label(name, limit)
    assert made == label
    assert len(made) <= limit


@pytest.mark.parametrize(
    ("template", "values", "uri"),
    [
        ("", {"a": "b"}, None),
        ("https://x/{{ .jobName }}", {"jobName": "j"}, "https://x/j"),
        ("https://x/{{.JOBNAME}}/{{ $jobname }}", {"jobName": "j"}, "https://x/j/j"),
        ("https://x/{{ .jobName }}", {"jobName": ""}, None),
        ("https://x/{{ .other }}", {"jobName": "j"}, None),
        ("https://x/{{ .jobName }}", {"jobName": "../a b?c"}, "https://x/..%2Fa%20b%3Fc"),
    ],
)
def test_a_link_is_made_of_what_is_known(template: str, values: dict[str, str], uri: str | None) -> None:
    assert link("UI", template, values) == ((Link("UI", uri),) if uri else ())


def test_what_has_no_room_goes_before_what_is_pulled() -> None:
    pods = [pulls("worker", "worker-0"), starts("worker", "worker-1"), roomless("worker", "worker-2")]
    checked(PyTorchPlugin(), Row("", kubeflow("Created"), Stage.WAITING, pods=pods, text="worker-2: 0/3 nodes"))


def test_a_status_tells_of_no_more_than_a_hundred_pods() -> None:
    pods = [runs("worker", f"worker-{rank}") for rank in range(300)]
    state = checked(PyTorchPlugin(), Row("", kubeflow("Running"), Stage.RUNNING, pods=pods)).state
    assert [pod.name.split("-")[-1] for pod in state.pods] == [str(rank) for rank in range(100)]


def test_a_failure_among_many_is_seen() -> None:
    pods = [runs("worker", f"worker-{rank}") for rank in range(300)] + [pulls("worker", "worker-300", since=999)]
    row = Row("", kubeflow("Running"), Stage.FAILED, "ContainersNotReady|ImagePullBackOff", pods, "worker-300")
    checked(PyTorchPlugin(), row)


def deleted(role: str, name: str) -> Object:
    """Deleted by its operator, and ended by that."""
    return member(role, name, pod("Failed", ended(143, at=5), deleted=(20.0, 30.0)))


def test_what_its_operator_ends_does_not_fail_a_job() -> None:
    """Operators delete pods when a job ends, or to start it anew, and say so later."""
    pods = [deleted("master", "master-0"), runs("worker", "worker-0")]
    checked(PyTorchPlugin(), Row("", kubeflow("Running"), Stage.RUNNING, pods=pods))


def test_what_its_operator_ends_does_not_tell_why_a_job_failed() -> None:
    pods = [deleted("master", "master-0"), ran("worker", "worker-0", 3, at=2)]
    checked(PyTorchPlugin(), Row("", kubeflow("Failed"), Stage.FAILED, "ContainerFailed", pods, "said 3"))


def test_an_operator_that_knows_better_is_believed() -> None:
    evicted = kubeflow("Failed", reason="PyTorchJobEvicted", message="a node is gone")
    row = Row("", evicted, Stage.FAILED, "Interrupted system", [ran("worker", "worker-0", 1)], "a node is gone")
    checked(PyTorchPlugin(), row)


def pod_templates(found: object) -> Iterator[dict[str, Any]]:
    """Everything in a manifest that has a pod's spec."""
    if isinstance(found, dict):
        if "containers" in (found.get("spec") or {}):
            yield found
        for item in found.values():
            yield from pod_templates(item)
    elif isinstance(found, list):
        for item in found:
            yield from pod_templates(item)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_the_pods_of_a_job_have_only_fields_that_pods_have(path: Path) -> None:
    found = list(pod_templates(load(path).manifest))
    assert found
    for one in found:
        made = {"metadata": one["metadata"], "spec": one["spec"]}
        assert msgspec.to_builtins(msgspec.convert(made, PodTemplateSpec)) == made
        assert one["metadata"]["labels"][ROLE]
        assert one["metadata"]["labels"][MANAGED] == "true"


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_shares_nothing_within_itself_or_with_others(path: Path) -> None:
    case = load(path)
    (plugin,) = [one for one in own() if case.task.template.type in one.types]
    made = plugin.build(case.task)
    ids = list(containers(made))
    assert len(ids) == len(set(ids))
    first, second = plugin.build(case.task), plugin.build(case.task)
    assert not set(containers(first)) & set(containers(second))


def containers(found: object) -> Iterator[int]:
    """Who is who of all maps and lists that are not empty."""
    if isinstance(found, dict | list) and found:
        yield id(found)
        for item in found.values() if isinstance(found, dict) else found:
            yield from containers(item)
