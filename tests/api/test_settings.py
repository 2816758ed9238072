"""`SettingsService`: levels, versions, resolution, and that runs are really made with what it says.

Case C34: each value is told with the level that it came from. Case O16: settings are resolved and applied.
"""

import uuid

import pytest
from connectrpc.code import Code
from flyteidl2.project import project_service_pb2 as projects
from flyteidl2.settings import settings_definition_pb2 as definition
from flyteidl2.settings import settings_service_pb2 as rpc
from flyteidl2.settings.settings_service_connect import SettingsServiceClient
from flyteidl2.task import run_pb2
from flyteidl2.workflow import run_service_pb2

from tests.api.caller import SUCCEEDED, Caller, creation, python, refused
from tests.api.served import Served

VALUE = definition.SETTING_STATE_VALUE
DOMAIN = "development"


@pytest.fixture
async def settings(served: Served) -> SettingsServiceClient:
    return served.client(SettingsServiceClient)


@pytest.fixture
async def project(caller: Caller) -> str:
    """A project of one's own."""
    name = f"set-{uuid.uuid4().hex[:8]}"
    await caller.projects.create_project(projects.CreateProjectRequest(project={"id": name}))
    return name


def variables(**entries: str) -> definition.Settings:
    said = definition.Settings()
    said.environment_variables.state = VALUE
    said.environment_variables.map_value.entries.update(entries)
    return said


def key(project: str = "", domain: str = DOMAIN, org: str = "") -> definition.SettingsKey:
    return definition.SettingsKey(org=org, domain=domain, project=project)


async def test_levels_versions_and_resolution(settings: SettingsServiceClient, project: str) -> None:
    mine = key(project, org="acme")
    levels = (await settings.get_settings_for_edit(rpc.GetSettingsForEditRequest(key=mine))).levels
    assert [(r.key.org, r.key.domain, r.key.project, r.version) for r in levels] == [
        ("acme", "", "", 0), ("acme", DOMAIN, "", 0), ("acme", DOMAIN, project, 0)
    ]  # fmt: skip
    made = await settings.create_settings(rpc.CreateSettingsRequest(key=mine, settings=variables(A="1")))
    assert (made.settingsRecord.version, made.settingsRecord.key) == (1, mine)
    with refused(Code.ALREADY_EXISTS, project):
        await settings.create_settings(rpc.CreateSettingsRequest(key=mine, settings=variables(A="1")))
    changed = rpc.UpdateSettingsRequest(key=mine, settings=variables(A="2"), version=1)
    assert (await settings.update_settings(changed)).settingsRecord.version == 2
    with refused(Code.FAILED_PRECONDITION, "at version 2", "get them again"):
        await settings.update_settings(changed)
    found = (await settings.get_settings(rpc.GetSettingsRequest(key=key(project)))).settingsRecord
    assert (found.key, found.version) == (key(project), 2)
    assert found.settings.environment_variables.map_value.entries == {"A": "2"}
    assert found.settings.environment_variables.scope_level == definition.SCOPE_LEVEL_PROJECT
    stored = (await settings.get_settings_for_edit(rpc.GetSettingsForEditRequest(key=key(project)))).levels[-1]
    assert stored.settings.environment_variables.scope_level == definition.SCOPE_LEVEL_ORG  # is not stored


async def test_errors_say_what_is_wrong(settings: SettingsServiceClient) -> None:
    with refused(Code.INVALID_ARGUMENT, "domain"):
        await settings.get_settings(rpc.GetSettingsRequest(key=key("p", domain="")))
    with refused(Code.NOT_FOUND, "domain 'nowhere'", "development"):
        await settings.get_settings_for_edit(rpc.GetSettingsForEditRequest(key=key(domain="nowhere")))
    with refused(Code.NOT_FOUND, "create them first"):
        missing = rpc.UpdateSettingsRequest(key=key(domain="staging"), settings=variables(), version=1)
        await settings.update_settings(missing)
    wrong = definition.Settings()
    wrong.task_resource.min.memory.state, wrong.task_resource.min.memory.quantity_value = VALUE, "2 GB"
    with refused(Code.INVALID_ARGUMENT, "settings.task_resource.min.memory", "1.5Gi"):
        await settings.create_settings(rpc.CreateSettingsRequest(key=key(domain="staging"), settings=wrong))
    with refused(Code.INVALID_ARGUMENT, "settings"):
        await settings.create_settings(rpc.CreateSettingsRequest(key=key(domain="staging")))


async def test_a_run_has_them_in_its_process(settings: SettingsServiceClient, caller: Caller, project: str) -> None:
    said = variables(GREETING="from settings", MINE="from settings")
    said.labels.state = VALUE
    said.labels.map_value.entries.update(team="ml")
    await settings.create_settings(rpc.CreateSettingsRequest(key=key(project), settings=said))
    asked = run_pb2.RunSpec(labels=run_pb2.Labels(values={"tier": "1"}))
    asked.envs.values.add(key="MINE", value="from the request")
    task = python("import os; print(os.environ['GREETING'], '|', os.environ['MINE'])")
    created = await caller.runs.create_run(creation(task, project=project, run_spec=asked))
    assert created.run.labels == {"team": "ml", "tier": "1"}
    action = created.run.action.id
    assert await caller.log(action) == "from settings | from the request\n"
    assert (await caller.ended(action)).status.phase == SUCCEEDED
    details = await caller.runs.get_run_details(run_service_pb2.GetRunDetailsRequest(run_id=action.run))
    told = {e.key: e.value for e in details.details.run_spec.envs.values}
    assert told == {"GREETING": "from settings", "MINE": "from the request"}
