"""The values of secrets are in a Secret, and nowhere else: not in what is written, told, or logged."""

import asyncio
import logging
from base64 import b32encode, b64encode
from collections.abc import Iterator
from dataclasses import replace

import pytest

from alula.core.launch import Presence, SecretFile
from alula.core.taskspec import read_request
from alula.core.taskstatus import read_state
from alula.kube.objects import SECRETS
from alula.manager.reports import report
from tests.kube.cluster import Cluster, cluster, real_kubeconfig
from tests.kube.fates import End, Fate
from tests.manager.managed import managing

from .test_cluster import PATIENCE, Bench, executing, launch

__all__ = ["cluster", "real_kubeconfig"]
VALUES = (b"hunter2-in-a-variable", b"quiet-in-a-file\x01")


def spelled(value: bytes) -> Iterator[bytes]:
    """A value as it could be found anywhere."""
    for code in (value, b64encode(value), b32encode(value), value.hex().encode()):
        yield code.rstrip(b"=")[:-2]


def written(cluster: Cluster) -> Iterator[tuple[str, bytes]]:
    """All that was ever written to the cluster, in every version of it, but Secrets."""
    assert cluster.server is not None
    for shelf in cluster.server.storage.shelves():
        if shelf.kind != SECRETS:
            yield from ((f"written {shelf.kind.kind}", entry.data) for entry in shelf.log)


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_no_value_of_a_secret_is_anywhere_else(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ready = replace(
        launch(secret="r1-a0.secret", secret_env=("TOKEN",), secret_files={"file-0": "group/key"}),
        env={"TOKEN": VALUES[0].decode()},
        hidden=frozenset({"TOKEN"}),
        files=(SecretFile("group/key", VALUES[1]),),
    )
    cluster.kubelet.script = lambda _: Fate(End.OOM, after=0.1)
    await cluster.collector.watch(SECRETS)
    async with executing(cluster) as bench, managing(cluster.kubeconfig, cluster.namespace):
        await bench.executor.submit(ready)
        seen = await bench.until(ready.name, Presence.EXITED)
        action = await bench.action(ready.name)
        state = read_state(action["status"])
        assert state is not None
        event = report(read_request(action), state, None, state.ended_at or state.started_at)  # type: ignore[arg-type]
        told = list(written(cluster))
        told += [("event", event.SerializeToString()), ("observation", repr(seen).encode())]
        told += [("launch", repr(ready).encode()), ("log", caplog.text.encode())]
        await bench.executor.release(ready.name)
        await gone(bench)
    assert {"written Pod", "written TaskAction"} <= {what for what, _ in told}
    for what, data in told:
        for value in VALUES:
            assert not any(code in data for code in spelled(value)), what


async def gone(bench: Bench) -> None:
    """With the attempt goes its Secret: it belongs to its TaskAction."""
    async with asyncio.timeout(PATIENCE):
        while "r1-a0.secret" in await bench.names(SECRETS):
            await asyncio.sleep(0.05)  # the collector is a client like any other
