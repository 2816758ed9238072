"""An API server in memory, for tests: Kubernetes' own REST over real HTTP, and faults on demand."""

from tests.kube.apiserver.faults import Faults
from tests.kube.apiserver.server import ApiServer, api_server

__all__ = ["ApiServer", "Faults", "api_server"]
