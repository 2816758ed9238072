"""`DomainService`, and where else domains are seen; what plain HTTP clients are told of logging in."""

import httpx
from connectrpc.code import Code
from flyteidl2.org import domain_service_pb2 as pb
from flyteidl2.org.domain_service_connect import DomainServiceClient
from flyteidl2.project import project_service_pb2 as projects

from tests.api.caller import PROJECT, Caller, creation, python, refused
from tests.api.served import Served

FIRST = {"development", "staging", "production"}


async def test_from_creation_to_deletion(caller: Caller, served: Served) -> None:
    """Case O21, of domains."""
    domains = served.client(DomainServiceClient)
    listed = (await domains.list_domains(pb.ListDomainsRequest(org="acme"))).domains
    assert {domain.id for domain in listed} == FIRST
    assert {domain.org for domain in listed} == {"acme"}
    made = (await domains.create_domain(pb.CreateDomainRequest(id="trial", friendly_name="Trial"))).domain
    assert (made.id, made.friendly_name, made.org) == ("trial", "Trial", "")
    with refused(Code.ALREADY_EXISTS, "'trial'"):
        await domains.create_domain(pb.CreateDomainRequest(id="trial"))
    renamed = await domains.update_domain(pb.UpdateDomainRequest(id="trial", friendly_name="New"))
    assert renamed.domain.friendly_name == "New"
    assert (await domains.get_domain(pb.GetDomainRequest(id="trial"))).domain == renamed.domain
    project = (await caller.projects.get_project(projects.GetProjectRequest(id=PROJECT))).project
    assert {(d.id, d.name) for d in project.domains} == {*((name, name) for name in FIRST), ("trial", "New")}
    await domains.delete_domain(pb.DeleteDomainRequest(id="trial"))
    with refused(Code.NOT_FOUND, "'trial'", "there are: development, staging, production"):
        await domains.get_domain(pb.GetDomainRequest(id="trial"))


async def test_one_that_is_used_stays(caller: Caller, served: Served) -> None:
    domains = served.client(DomainServiceClient)
    action = await caller.start(python("print(1)"))
    assert action.run.domain == "development"
    with refused(Code.FAILED_PRECONDITION, "has runs or tasks"):
        await domains.delete_domain(pb.DeleteDomainRequest(id="development"))
    request = creation(python("print(1)"))
    request.project_id.domain = "nowhere"
    with refused(Code.NOT_FOUND, "'nowhere'"):
        await caller.runs.create_run(request)


async def test_what_is_refused(served: Served) -> None:
    domains = served.client(DomainServiceClient)
    for wrong in ("", "Upper", "-x", "x" * 64, "a.b"):
        with refused(Code.INVALID_ARGUMENT, "id"):
            await domains.create_domain(pb.CreateDomainRequest(id=wrong))
    with refused(Code.NOT_FOUND):
        await domains.update_domain(pb.UpdateDomainRequest(id="nowhere", friendly_name="x"))


def test_there_is_no_logging_in(served: Served) -> None:
    for path in ("oauth-authorization-server", "openid-configuration"):
        response = httpx.get(f"{served.url}/.well-known/{path}")
        assert response.status_code == 404
        assert "no authentication" in response.json()["message"]
