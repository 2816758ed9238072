"""A cluster for these tests, in memory and a real one."""

from tests.kube.cluster import cluster, real_kubeconfig

__all__ = ["cluster", "real_kubeconfig"]
