"""One server for all of these tests, and a user of it."""

import os
from collections.abc import Iterator

import pytest

from tests.kube.cluster import real_kubeconfig

from .site import on_a_cluster
from .user import Served, User, serving

__all__ = ["real_kubeconfig"]


WHERE = os.environ.get("ALULA_E2E", "here")  # or "memory" or "real": the clusters on which tasks run

# What a cluster does not have, or does in another way.
HERE_ALONE = {
    "test_the_server_says_how_it_began_and_ended": "a cluster's log is what the containers say",
    "test_what_was_printed_is_what_is_read": "a cluster's log is what the containers say",
    "test_a_cpu_limit_holds": "these nodes do not hold containers to limits of CPU",
    "test_a_parent_catches_what_ran_out_of_memory": "a cluster kills all of a container",
    "test_the_curve_of_an_attempt": "a cluster measures it itself",
    "test_times_are_those_of_the_task": "a cluster tells whole seconds",
    "test_sleeping": "this Manager is not given the object store that it would read for how long",
    "test_gangs": "these clusters have no JobSets",
    "test_reuse": "there are no reusable workers in a cluster",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tasks run on a cluster: without what that does not have."""
    for item in items if WHERE != "here" else ():
        for name in (item.name.partition("[")[0], item.path.stem):
            if name in HERE_ALONE and "e2e" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason=HERE_ALONE[name]))


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a fresh home; the end of the session is a test of how it stops.

    Its tasks run on this machine; with ``ALULA_E2E=memory`` or ``real`` on a cluster, by the same tests.
    """
    folder = tmp_path_factory.mktemp("e2e")
    if WHERE == "here":
        with serving(folder / "home") as served:
            yield served
        return
    with on_a_cluster(folder, request.getfixturevalue("real_kubeconfig") if WHERE == "real" else None) as site:
        yield site.served


@pytest.fixture(scope="session")
def user(server: Served, tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user of that server."""
    return User(tmp_path_factory.mktemp("user"), server.home, server.port)
