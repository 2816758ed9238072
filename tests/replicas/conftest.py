"""One cluster of three replicas for all of these tests."""

from collections.abc import Iterator

import pytest

from tests.postgres import Cluster as Postgres

from .replica import Cluster


@pytest.fixture(scope="session")
def cluster(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    server = postgres.fresh()
    with Cluster(tmp_path_factory.mktemp("replicas"), server).at_work() as cluster:
        yield cluster
    postgres.drop(server)
