"""`flyteidl2.org.DomainService`."""

from flyteidl2.org import domain_definition_pb2
from flyteidl2.org import domain_service_pb2 as pb

from alula.control.domains import Domains
from alula.core.domain import Domain
from alula.rpc.service import Context
from alula.wire import times


class DomainService:
    """Domains. They are the same for every organisation, as there is one."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains

    async def list_domains(self, request: pb.ListDomainsRequest, context: Context) -> pb.ListDomainsResponse:
        """List all domains."""
        found = await self._domains.every()
        return pb.ListDomainsResponse(domains=[_message(domain, request.org) for domain in found])

    async def create_domain(self, request: pb.CreateDomainRequest, context: Context) -> pb.CreateDomainResponse:
        """Make a domain."""
        created = await self._domains.create(request.id, request.friendly_name)
        return pb.CreateDomainResponse(domain=_message(created, request.org))

    async def get_domain(self, request: pb.GetDomainRequest, context: Context) -> pb.GetDomainResponse:
        """Return a domain."""
        found = await self._domains.get(request.id)
        return pb.GetDomainResponse(domain=_message(found, request.org))

    async def update_domain(self, request: pb.UpdateDomainRequest, context: Context) -> pb.UpdateDomainResponse:
        """Give a domain another title."""
        renamed = await self._domains.rename(request.id, request.friendly_name)
        return pb.UpdateDomainResponse(domain=_message(renamed, request.org))

    async def delete_domain(self, request: pb.DeleteDomainRequest, context: Context) -> pb.DeleteDomainResponse:
        """Remove a domain that nothing is in."""
        await self._domains.delete(request.id)
        return pb.DeleteDomainResponse()


def _message(domain: Domain, org: str) -> domain_definition_pb2.Domain:
    created = times.timestamp(domain.created_at)
    return domain_definition_pb2.Domain(id=domain.name, org=org, friendly_name=domain.title, created_at=created)
