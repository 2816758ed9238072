"""`flyteidl2.cluster.ClusterService`."""

from flyteidl2.cluster import payload_pb2 as pb

from alula.core.route import HERE, Routes
from alula.rpc.service import Context
from alula.wire import ids


class ClusterService:
    """Where things are run. No endpoint in the answer means: data goes here (SDK: `_client/controlplane.py`)."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def select_cluster(self, request: pb.SelectClusterRequest, context: Context) -> pb.SelectClusterResponse:
        """Answer with the cluster that runs what is asked about, as far as that says it; and with no endpoint."""
        run, queue = ids.place(request)
        return pb.SelectClusterResponse(cluster=self._routes.find(run, queue) or HERE)
