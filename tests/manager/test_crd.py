"""The custom resource as it is installed: whatever works with upstream's works with ours."""

from typing import Any

import pytest
from click.testing import CliRunner

from alula.cli.main import main
from alula.manager.crds import taskactions, text

STRING, BYTES, TIME = (
    {"type": "string"},
    {"type": "string", "format": "byte"},
    {"type": "string", "format": "date-time"},
)
INT32 = {"type": "integer", "format": "int32"}
NAME = {"type": "string", "minLength": 1, "maxLength": 63}
SHORT = {"type": "string", "minLength": 1, "maxLength": 30}

# Upstream's schema (executor/config/crd/bases/flyte.org_taskactions.yaml), without its descriptions.
SPEC = {
    "actionName": SHORT,
    "actionType": {"type": "string", "enum": ["task", "condition"]},
    "cacheKey": {"type": "string", "maxLength": 256},
    "conditionSpec": BYTES,
    "domain": NAME,
    "envVars": {"type": "object", "additionalProperties": STRING},
    "group": {"type": "string", "maxLength": 256},
    "inputUri": STRING,
    "interruptible": {"type": "boolean"},
    "parentActionName": SHORT,
    "project": NAME,
    "runName": SHORT,
    "runOutputBase": STRING,
    "shortName": {"type": "string", "maxLength": 63},
    "taskTemplate": BYTES,
    "taskType": {"type": "string", "maxLength": 63},
}
STATUS = {
    "attempts": INT32,
    "cacheStatus": INT32,
    "pluginPhase": STRING,
    "pluginPhaseVersion": INT32,
    "pluginState": BYTES,
    "pluginStateVersion": {"type": "integer"},
    "signalValue": BYTES,
    "signalledAt": TIME,
    "signalledBy": STRING,
    "stateJson": STRING,
    "systemFailures": INT32,
}
CONDITION = {
    "lastTransitionTime": TIME,
    "message": {"type": "string", "maxLength": 32768},
    "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
    "reason": {
        "type": "string",
        "minLength": 1,
        "maxLength": 1024,
        "pattern": r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
    },
    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
    "type": {
        "type": "string",
        "maxLength": 316,
        "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
        r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
    },
}
ERROR = {"code": STRING, "kind": STRING, "message": STRING}
TRANSITION = {"message": STRING, "occurredAt": TIME, "phase": STRING}
COLUMNS = [
    ("Run", ".spec.runName", "string", 0),
    ("Action", ".spec.actionName", "string", 0),
    ("TaskType", ".spec.taskType", "string", 0),
    ("Status", ".status.conditions[?(@.type=='Progressing')].reason", "string", 0),
    ("Age", ".metadata.creationTimestamp", "date", 0),
    ("Progressing", ".status.conditions[?(@.type=='Progressing')].status", "string", 1),
    ("Succeeded", ".status.conditions[?(@.type=='Succeeded')].status", "string", 1),
    ("Failed", ".status.conditions[?(@.type=='Failed')].status", "string", 1),
]

CRD = taskactions()
VERSION = CRD["spec"]["versions"][0]
PROPERTIES = VERSION["schema"]["openAPIV3Schema"]["properties"]


def plain(schema: Any) -> Any:
    """A schema without its descriptions."""
    if isinstance(schema, dict):
        return {key: plain(value) for key, value in schema.items() if key != "description"}
    return schema


@pytest.mark.parametrize(
    ("ours", "upstream"),
    [
        (PROPERTIES["spec"], SPEC),
        (PROPERTIES["status"], STATUS),
        (PROPERTIES["status"]["properties"]["conditions"]["items"], CONDITION),
        (PROPERTIES["status"]["properties"]["errorState"], ERROR),
        (PROPERTIES["status"]["properties"]["phaseHistory"]["items"], TRANSITION),
    ],
    ids=["spec", "status", "condition", "error", "transition"],
)
def test_every_field_of_upstream_is_there(ours: dict[str, Any], upstream: dict[str, Any]) -> None:
    found = plain(ours["properties"])
    assert {name: found.get(name) for name in upstream} == upstream


def test_nothing_more_is_required() -> None:
    """What upstream's tools write is valid here, and what we write is valid there."""
    status = PROPERTIES["status"]["properties"]
    assert VERSION["schema"]["openAPIV3Schema"]["required"] == ["spec"]
    assert PROPERTIES["spec"]["required"] == ["actionName", "domain", "project", "runName"]
    assert "required" not in PROPERTIES["status"]
    assert status["conditions"]["items"]["required"] == ["lastTransitionTime", "message", "reason", "status", "type"]
    assert status["phaseHistory"]["items"]["required"] == ["occurredAt", "phase"]
    assert (status["conditions"]["x-kubernetes-list-type"], status["conditions"]["x-kubernetes-list-map-keys"]) == (
        "map",
        ["type"],
    )


def test_its_name_and_columns() -> None:
    spec = CRD["spec"]
    assert CRD["metadata"]["name"] == "taskactions.flyte.org"
    assert (spec["group"], spec["scope"]) == ("flyte.org", "Namespaced")
    assert spec["names"] == {
        "kind": "TaskAction",
        "listKind": "TaskActionList",
        "plural": "taskactions",
        "singular": "taskaction",
    }
    assert (VERSION["name"], VERSION["served"], VERSION["storage"]) == ("v1", True, True)
    assert VERSION["subresources"] == {"status": {}}
    columns = [
        (one["name"], one["jsonPath"], one["type"], one.get("priority", 0))
        for one in VERSION["additionalPrinterColumns"]
    ]
    assert columns == COLUMNS


def test_it_can_be_printed() -> None:
    assert CliRunner().invoke(main, ["crd", "print"], catch_exceptions=False).output == text()


def test_no_cluster(tmp_path: Any) -> None:
    nothing = tmp_path / "kubeconfig"
    nothing.write_text("{}")
    result = CliRunner().invoke(main, ["crd", "install", "--kubeconfig", str(nothing)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
