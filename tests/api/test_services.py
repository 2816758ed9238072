"""The smaller services: tasks, projects, clusters, and who the caller is."""

import getpass
from typing import Any

import pytest
from connectrpc.code import Code
from flyteidl2.auth import auth_service_pb2, identity_pb2
from flyteidl2.auth.auth_service_connect import AuthMetadataServiceClient
from flyteidl2.auth.identity_connect import IdentityServiceClient
from flyteidl2.cluster import payload_pb2 as cluster
from flyteidl2.cluster.service_connect import ClusterServiceClient
from flyteidl2.common import list_pb2
from flyteidl2.project import project_service_pb2 as projects
from flyteidl2.task import task_service_pb2 as tasks
from flyteidl2.workflow import run_service_pb2 as rpc

from alula.api.cluster_service import ClusterService
from alula.core.route import Claim, Routes
from alula.rpc.service import Context
from tests.api.caller import SUCCEEDED, Caller, creation, python, refused
from tests.api.served import Served

ACTIVE, ARCHIVED = 0, 1


def task(version: str, name: str = "env.deployed", org: str = "") -> dict[str, str]:
    return {"org": org, "project": "deploying", "domain": "development", "name": name, "version": version}


async def test_tasks_from_deployment_to_run(caller: Caller) -> None:
    for version in ("v1", "v2"):
        spec = python(f"print({version!r})")
        await caller.tasks.deploy_task(tasks.DeployTaskRequest(task_id=task(version), spec=spec))
    for org in ("", "acme"):
        found = await caller.tasks.get_task_details(tasks.GetTaskDetailsRequest(task_id=task("v1", org=org)))
        assert found.details.task_id.org == org
        assert found.details.spec.task_template.container.args[-1] == "print('v1')"
        assert found.details.metadata.short_name == "probe"
    place = {"name": "deploying", "domain": "development"}
    listed = await caller.tasks.list_tasks(tasks.ListTasksRequest(project_id=place))
    assert [t.task_id.version for t in listed.tasks] == ["v2"]  # the latest stands for all
    assert listed.metadata.total == 1
    name = {"project": "deploying", "domain": "development", "name": "env.deployed"}
    versions, token = [], ""
    for _ in range(2):
        page = await caller.tasks.list_versions(
            tasks.ListVersionsRequest(task_name=name, request={"limit": 1, "token": token})
        )
        versions += [version.version for version in page.versions]
        token = page.token
    assert (versions, token) == (["v2", "v1"], "")
    run = await caller.runs.create_run(rpc.CreateRunRequest(project_id=place, task_id=task("v1")))
    assert await caller.log(run.run.action.id) == "v1\n"
    by_task = await caller.runs.list_runs(rpc.ListRunsRequest(task_name=name))
    assert not by_task.runs  # it is the template that says whose run it is, and this one's says nothing


async def test_deployed_again_a_version_takes_the_new_spec(caller: Caller) -> None:
    for text in ("old", "new"):
        request = tasks.DeployTaskRequest(task_id=task("v1", "env.again"), spec=python(f"print({text!r})"))
        await caller.tasks.deploy_task(request)
    found = await caller.tasks.get_task_details(tasks.GetTaskDetailsRequest(task_id=task("v1", "env.again")))
    assert found.details.spec.task_template.container.args[-1] == "print('new')"


async def test_what_tasks_are_refused(caller: Caller) -> None:
    with refused(Code.NOT_FOUND, "no.such@v9"):
        await caller.tasks.get_task_details(tasks.GetTaskDetailsRequest(task_id=task("v9", "no.such")))
    elsewhere = {**task("v1"), "domain": "nowhere"}
    with refused(Code.NOT_FOUND, "nowhere"):
        await caller.tasks.deploy_task(tasks.DeployTaskRequest(task_id=elsewhere, spec=python("pass")))
    place = {"name": "deploying", "domain": "development"}
    with refused(Code.INVALID_ARGUMENT, "request.limit"):
        await caller.tasks.list_tasks(tasks.ListTasksRequest(project_id=place, request={"limit": 201}))


async def listed(caller: Caller, filters: str = "", **fields: object) -> list[str]:
    request = projects.ListProjectsRequest(filters=filters, **fields)  # type: ignore[arg-type]
    return [project.id for project in (await caller.projects.list_projects(request)).projects.projects]


async def test_projects_from_creation_to_archive(caller: Caller) -> None:
    project = projects.Project(id="kept", name="Kept", description="a project", labels={"values": {"team": "a"}})
    await caller.projects.create_project(projects.CreateProjectRequest(project=project))
    with refused(Code.ALREADY_EXISTS, "kept"):
        await caller.projects.create_project(projects.CreateProjectRequest(project=project))
    found = (await caller.projects.get_project(projects.GetProjectRequest(id="kept", org="acme"))).project
    assert (found.name, found.description, found.org) == ("Kept", "a project", "acme")
    assert dict(found.labels.values) == {"team": "a"}
    assert [domain.id for domain in found.domains] == ["development", "staging", "production"]
    assert "kept" in await listed(caller)

    project.state = ARCHIVED  # type: ignore[assignment]
    await caller.projects.update_project(projects.UpdateProjectRequest(project=project))
    assert "kept" not in await listed(caller)
    assert "kept" in await listed(caller, "eq(state,1)")
    assert "kept" not in await listed(caller, "eq(state,0)")
    assert await listed(caller, "value_in(state,0;1)+eq(identifier,kept)") == ["kept"]
    with refused(Code.FAILED_PRECONDITION, "archived", "--unarchive"):
        await caller.runs.create_run(creation(python("pass"), project="kept"))

    project.state = ACTIVE  # type: ignore[assignment]
    await caller.projects.update_project(projects.UpdateProjectRequest(project=project))
    assert (await caller.finished(python("pass"), project="kept")).status.phase == SUCCEEDED


async def test_pages_of_projects(caller: Caller) -> None:
    for number in range(3):
        project = projects.Project(id=f"paged-{number}", name="paged")
        await caller.projects.create_project(projects.CreateProjectRequest(project=project))
    seen, token = [], ""
    while True:
        request = projects.ListProjectsRequest(filters="contains(identifier,paged-)", limit=2, token=token)
        page = (await caller.projects.list_projects(request)).projects
        seen += [project.id for project in page.projects]
        token = page.token
        if not token:
            break
    assert seen == ["paged-0", "paged-1", "paged-2"]
    order = list_pb2.Sort(key="identifier", direction=list_pb2.Sort.DESCENDING)
    assert await listed(caller, "contains(identifier,paged-)", sort_by=order) == seen[::-1]


@pytest.mark.parametrize("filters", ["nonsense", "eq(color,red)", "eq(state,x)", "gt(state,1)", "eq(state,1)+)"])
async def test_what_is_no_filter_of_projects(caller: Caller, filters: str) -> None:
    with refused(Code.INVALID_ARGUMENT):
        await listed(caller, filters)


async def test_projects_that_are_not_there(caller: Caller) -> None:
    with refused(Code.NOT_FOUND, "no-such", "flyte create project"):
        await caller.projects.get_project(projects.GetProjectRequest(id="no-such"))
    with refused(Code.NOT_FOUND, "no-such"):
        await caller.projects.update_project(projects.UpdateProjectRequest(project={"id": "no-such", "name": "x"}))
    with refused(Code.INVALID_ARGUMENT, "project.id"):
        await caller.projects.create_project(projects.CreateProjectRequest(project={"id": "a/b", "name": "x"}))


async def test_data_is_here(served: Served) -> None:
    """An endpoint in the answer would make the SDK open a second session."""
    client = served.client(ClusterServiceClient)
    for operation in cluster.SelectClusterRequest.Operation.keys()[1:]:
        resource = {"name": "flytesnacks", "domain": "development"}
        request = cluster.SelectClusterRequest(project_id=resource, operation=operation)
        answer = await client.select_cluster(request)
        assert (answer.cluster_endpoint, answer.cluster) == ("", "local")


@pytest.mark.parametrize(
    ("resource", "cluster_name"),
    [
        ({"project_id": {"name": "vision", "domain": "production"}}, "prod"),
        ({"project_id": {"name": "vision", "domain": "development"}}, "local"),
        ({"task_id": {"project": "vision", "domain": "production", "name": "t"}}, "prod"),
        ({"app_id": {"project": "vision", "domain": "production", "name": "a"}}, "prod"),
        ({"action_id": {"run": {"project": "vision", "domain": "production", "name": "r"}, "name": "a0"}}, "prod"),
        ({"queue_id": {"project": "vision", "domain": "production", "name": "gpu"}}, "gpus"),
        ({"domain_id": {"name": "production"}}, "local"),
        ({"org_id": {"name": "me"}}, "local"),
    ],
)
async def test_which_cluster_runs_it(resource: dict[str, Any], cluster_name: str) -> None:
    routes = Routes({"gpus": Claim(queues=("gpu",)), "prod": Claim(projects=("vision/production",))})
    request = cluster.SelectClusterRequest(**resource)
    answer = await ClusterService(routes).select_cluster(request, Context("/", {}, None, ""))
    assert (answer.cluster, answer.cluster_endpoint) == (cluster_name, "")


async def test_who_the_caller_is(served: Served) -> None:
    me = await served.client(IdentityServiceClient).user_info(identity_pb2.UserInfoRequest())
    assert me.subject == me.preferred_username == getpass.getuser()
    auth = served.client(AuthMetadataServiceClient)
    config = await auth.get_public_client_config(auth_service_pb2.GetPublicClientConfigRequest())
    assert config.authorization_metadata_key == "authorization"
    with refused(Code.FAILED_PRECONDITION, "no authentication"):
        await auth.get_o_auth2_metadata(auth_service_pb2.GetOAuth2MetadataRequest())
