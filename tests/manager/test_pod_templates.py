"""What merging is: of values, and of a pod on the base of a PodTemplate."""

from typing import Any

import pytest
from google.protobuf import struct_pb2

from alula.manager.podspec.plain import copied, merged, plain
from alula.manager.podspec.target import Draft
from alula.manager.podspec.templates import based, overlaid


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ({"a": True}, {"a": False}, {"a": False}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}),
        ({"args": ["a"]}, {"args": []}, {"args": []}),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "B", "valueFrom": {}}, {"name": "C", "value": "3"}]},
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {}}, {"name": "C", "value": "3"}]},
        ),
        (
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/b"}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]},
        ),
        (
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "a"}, {"key": "b"}]},
            {"tolerations": [{"key": "a"}, {"key": "b"}]},
        ),
        ({"capabilities": {"add": ["A"]}}, {"capabilities": {"add": ["B"]}}, {"capabilities": {"add": ["A", "B"]}}),
        (
            {"nodeSelectorTerms": [{"matchExpressions": [1]}]},
            {"nodeSelectorTerms": [{"matchExpressions": [2]}]},
            {"nodeSelectorTerms": [{"matchExpressions": [2]}]},
        ),
    ],
)  # fmt: skip
def test_merging(base: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copied((base, over))
    assert merged(base, over) == expected
    assert copied((base, over)) == before


def test_whole_numbers_stay_whole() -> None:
    """Kubernetes refuses a port of 8080.0."""
    struct = struct_pb2.Struct()
    struct.update({"port": 8080, "share": 0.5, "deep": [{"n": 1}], "word": "1", "truth": True, "none": None})
    found = plain(struct)
    assert found == {"port": 8080, "share": 0.5, "deep": [{"n": 1}], "word": "1", "truth": True, "none": None}
    assert (type(found["port"]), type(found["deep"][0]["n"])) == (int, int)


def template(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "t"}, "template": {"metadata": {"labels": {"a": "t", "b": "t"}}, "spec": spec}}


def draft(**spec: Any) -> Draft:
    return Draft({"containers": [{"name": "main", "image": "i"}], **spec}, "main", {"b": "task"})


def test_a_template_gives_way_to_the_task() -> None:
    made = based(
        draft(schedulerName="own", hostNetwork=False), template(schedulerName="t", hostNetwork=True, dnsPolicy="t")
    )
    assert (made.spec["schedulerName"], made.spec["hostNetwork"], made.spec["dnsPolicy"]) == ("own", False, "t")
    assert made.labels == {"a": "t", "b": "task"}
    assert made.primary == "main"


def test_bases_of_containers_stack_up() -> None:
    """``default``, on it ``primary``, on it the one of the same name, on it the task's."""
    containers = [
        {"name": "main", "image": "x", "c": "named"},
        {"name": "primary", "image": "x", "b": "primary", "c": "primary"},
        {"name": "default", "image": "x", "a": "default", "b": "default", "c": "default", "d": "default"},
    ]
    (made,) = based(
        draft(containers=[{"name": "main", "image": "i", "d": "task"}]), template(containers=containers)
    ).containers
    assert made == {"name": "main", "image": "i", "a": "default", "b": "primary", "c": "named", "d": "task"}


def test_a_container_that_is_called_as_a_base_is_based_once() -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    ours = Draft({"containers": [{"name": "primary", "image": "i"}]}, "primary")
    made = based(ours, template(containers=[{"name": "primary", "image": "x", "volumeMounts": mounts}]))
    assert made.containers == [{"name": "primary", "image": "i", "volumeMounts": mounts}]


def test_what_else_is_in_a_template_joins_the_pod() -> None:
    ours = draft(initContainers=[{"name": "prepare", "image": "i"}])
    made = based(
        ours,
        template(
            containers=[{"name": "mesh", "image": "m"}, {"name": "default", "image": "x", "a": 1}],
            initContainers=[{"name": "routes", "image": "m"}, {"name": "default-init", "image": "x", "b": 2}],
        ),
    )
    assert made.containers == [{"name": "main", "image": "i", "a": 1}]
    assert made.init_containers == [
        {"name": "routes", "image": "m"},
        {"name": "mesh", "image": "m", "restartPolicy": "Always"},
        {"name": "prepare", "image": "i", "b": 2},
    ]


def test_a_template_of_nothing_changes_nothing() -> None:
    assert based(draft(), {"metadata": {"name": "t"}}).spec == draft().spec


def test_a_pod_over_another() -> None:
    found = overlaid(
        {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}], "hostPID": False},
        {
            "containers": [{"name": "b", "image": "2"}, {"name": "a", "env": [{"name": "Y", "value": "2"}]}],
            "hostPID": True,
        },
    )
    assert found == {
        "containers": [
            {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b", "image": "2"},
        ],
        "hostPID": True,
    }
