"""`flyteidl2.cluster.ClusterService`."""

from flyteidl2.cluster import payload_pb2 as pb

from alula.rpc.service import Context


class ClusterService:
    """Where data goes. No endpoint in the answer means: here (SDK: `_client/controlplane.py`)."""

    async def select_cluster(self, request: pb.SelectClusterRequest, context: Context) -> pb.SelectClusterResponse:
        """Answer with no endpoint, which means: here."""
        return pb.SelectClusterResponse(cluster="local")
