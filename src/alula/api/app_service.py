"""`flyteidl2.app.AppService`."""

from collections.abc import AsyncIterator

from flyteidl2.app import app_payload_pb2 as pb

from alula.control.apps import Apps, Happened
from alula.core.errors import Invalid, NotFound
from alula.core.ingress import of_url
from alula.rpc.service import Context
from alula.wire import apps as wire
from alula.wire import pages


class AppService:
    """Apps. ``port`` is where they, and this server, are reached."""

    def __init__(self, apps: Apps, port: int) -> None:
        self._apps = apps
        self._port = port

    async def create(self, request: pb.CreateRequest, context: Context) -> pb.CreateResponse:
        """Make an app; ALREADY_EXISTS for a taken name."""
        made = await self._apps.create(wire.asked(request.app))
        return pb.CreateResponse(app=wire.message(made, self._port))

    async def get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        """Return an app, by its name or by the URL it is served at."""
        if request.WhichOneof("identifier") == "app_id":
            found = await self._apps.get(wire.identifier(request.app_id))
            return pb.GetResponse(app=wire.message(found, self._port, request.app_id.org))
        url = request.ingress.public_url or request.ingress.cname_url or request.ingress.vpc_url
        address = of_url(url)
        if address is None:
            raise NotFound(f"no app is served at {url!r}") if url else Invalid("ingress.public_url: name a URL")
        return pb.GetResponse(app=wire.message(await self._apps.at(address), self._port))

    async def update(self, request: pb.UpdateRequest, context: Context) -> pb.UpdateResponse:
        """Make a new revision of an app; ABORTED if the request is based on an older one."""
        changed = await self._apps.update(wire.asked(request.app), request.reason)
        return pb.UpdateResponse(app=wire.message(changed, self._port, request.app.metadata.id.org))

    async def update_status(self, request: pb.UpdateStatusRequest, context: Context) -> pb.UpdateStatusResponse:
        """Take what the cluster that serves an app says of it, and renew its lease."""
        meta, cluster = request.app.metadata, request.app.status.assigned_cluster
        report = wire.report(request.app)
        changed = await self._apps.update_status(wire.identifier(meta.id), meta.revision, cluster, report)
        return pb.UpdateStatusResponse(app=wire.message(changed, self._port, meta.id.org))

    async def delete(self, request: pb.DeleteRequest, context: Context) -> pb.DeleteResponse:
        """Delete an app; its processes end."""
        await self._apps.delete(wire.identifier(request.app_id))
        return pb.DeleteResponse()

    async def list(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:
        """Page through the apps of a scope, filtered, sorted and, if asked for, counted."""
        page, token, total = await self._apps.page(
            wire.scope(request), pages.page(request.request), counted=request.include_total_count
        )
        return pb.ListResponse(apps=[wire.message(app, self._port) for app in page], token=token, total_count=total)

    async def watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        """Send the apps of a scope, then every creation, change and deletion."""
        async for happened in self._apps.watch(wire.scope(request)):
            yield self._event(happened)

    def _event(self, happened: Happened) -> pb.WatchResponse:
        new = None if happened.new is None else wire.message(happened.new, self._port)
        old = None if happened.old is None else wire.message(happened.old, self._port)
        if new is None:
            return pb.WatchResponse(delete_event=pb.DeleteEvent(app=old))
        if old is None:
            return pb.WatchResponse(create_event=pb.CreateEvent(app=new))
        return pb.WatchResponse(update_event=pb.UpdateEvent(updated_app=new, old_app=old))

    async def lease(self, request: pb.LeaseRequest, context: Context) -> AsyncIterator[pb.LeaseResponse]:
        """Tell a cluster which apps it is to serve: first all, then each that changes."""
        async for leased in self._apps.lease(request.id.name):
            yield pb.LeaseResponse(apps=[wire.message(app, self._port) for app in leased])
