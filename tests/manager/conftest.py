"""What tests of a Manager at work share."""

from tests.kube.cluster import cluster, real_kubeconfig

__all__ = ["cluster", "real_kubeconfig"]
