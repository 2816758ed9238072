"""Case O7: the protocol's own rules are enforced. What breaks one is the caller's mistake, and names the field."""

import httpx
import pytest

from tests.api.caller import DOMAIN, PROJECT
from tests.api.served import Served

PLACE = {"project": PROJECT, "domain": DOMAIN}
ACTION = {"run": {**PLACE, "name": "r"}, "name": "a0"}
SPEC = {"taskTemplate": {"type": "container", "id": {"name": "t"}, "container": {"args": ["true"]}}}
EVENT = {"id": ACTION, "attempt": 0, "phase": "ACTION_PHASE_RUNNING"}
RUN = {"projectId": {"name": PROJECT, "domain": DOMAIN}, "taskSpec": SPEC}


def rules(*phases: str) -> dict[str, object]:
    """A run that is to tell of phases."""
    told = {"onPhases": [f"ACTION_PHASE_{phase}" for phase in phases], "deliveryConfigName": "x"}
    return {**RUN, "runSpec": {"notificationRules": {"rules": [told]}}}


def ask(served: Served, rpc: str, body: object) -> httpx.Response:
    return httpx.post(f"{served.url}/flyteidl2.{rpc}", json=body)


@pytest.mark.parametrize(
    ("rpc", "body", "field"),
    [
        ("workflow.RunService/GetRunDetails", {"runId": {**PLACE, "name": ""}}, "run_id.name"),
        ("workflow.RunService/GetRunDetails", {"runId": {"domain": DOMAIN, "name": "r"}}, "run_id.project"),
        ("workflow.RunService/GetActionLogContext", {"actionId": ACTION, "attempt": 0}, "attempt"),
        ("workflow.EventsProxyService/Record", {"events": [EVENT]}, "events.attempt"),
        ("workflow.EventsProxyService/Record", {"events": []}, "events"),
        ("dataproxy.DataProxyService/CreateUploadLocation", {**PLACE, "contentMd5": "c2hvcnQgb25l"}, "content_md5"),
        ("app.AppService/Get", {"appId": {**PLACE, "name": "x" * 200}}, "app_id.name"),
        ("secret.SecretService/GetSecret", {"id": {**PLACE, "name": "a/b"}}, "id.name"),
        ("workflow.RunService/CreateRun", {**RUN, "taskSpec": {**SPEC, "shortName": "x" * 64}}, "task_spec.short_name"),
        ("workflow.RunService/CreateRun", rules("FAILED", "FAILED"), "rules.on_phases"),
        ("workflow.RunService/CreateRun", rules("PAUSED", "FAILED"), "must not subscribe to other phases"),
        ("workflow.RunService/CreateRun", rules("RUNNING", "FAILED"), "rules.on_phases"),
    ],
)
def test_what_breaks_a_rule(served: Served, rpc: str, body: object, field: str) -> None:
    response = ask(served, rpc, body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    assert field in response.json()["message"]


@pytest.mark.parametrize("phases", [("FAILED",), ("PAUSED",), ("SUCCEEDED", "FAILED", "ABORTED")])
def test_what_keeps_the_rules(served: Served, phases: tuple[str, ...]) -> None:
    """The rule about PAUSED names a value of an enum, which the engine that checks rules does not know by its name."""
    assert ask(served, "workflow.RunService/CreateRun", rules(*phases)).status_code == 200


@pytest.mark.parametrize("kind", [99, -1, 2**31 - 1])
def test_a_kind_of_trigger_that_is_none(served: Served, kind: int) -> None:
    """The protocol's rules let every number pass for an enum."""
    body = {"name": {**PLACE, "name": "t", "taskName": "t"}, "spec": {"taskVersion": "v"}}
    response = ask(served, "trigger.TriggerService/DeployTrigger", {**body, "automationSpec": {"type": kind}})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    assert f"automation_spec.type: {kind} is not" in response.json()["message"]
