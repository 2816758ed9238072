"""A kind of these tests: what a TaskAction is to the server, with fewer words."""

from typing import Any

from alula.kube.objects import Kind, Name, Object

WIDGETS = Kind("tests.alula", "v1", "Widget", "widgets")
_TEXT = {"type": "string", "maxLength": 100_000}
_SCHEMA: Object = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 0, "maximum": 10},
                "colour": {"type": "string", "enum": ["red", "blue"]},
                "text": _TEXT,
                "words": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "note": _TEXT}},
    },
}
CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.tests.alula"},
    "spec": {
        "group": WIDGETS.group,
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": _SCHEMA},
                "subresources": {"status": {}},
            }
        ],
    },
}


def widget(name: Name, *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """One of them."""
    return {"metadata": {**name._asdict(), "labels": labels or {}}, "spec": {"size": 1, **spec}}


def pod(name: Name, **spec: Any) -> Object:
    """A pod of one container, which is not started again."""
    containers = [{"name": "main", "image": "an-image"}]
    return {"metadata": name._asdict(), "spec": {"restartPolicy": "Never", "containers": containers, **spec}}
