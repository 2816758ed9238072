"""Many attempts with mixed fates: a real control plane, `alula manager`, simulated kubelets; every count is exact.

``ALULA_SCALE`` says how many runs (see `make scale-kubernetes`).
"""

import os
import random
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.kube.cluster import Cluster
from tests.manager.site import STORIES, Load, Server, left, managed, prepare, serving, twice, until_nothing_is_left

RUNS = int(os.environ.get("ALULA_SCALE", "22"))
AT_ONCE = 48


@pytest.mark.timeout(120 + RUNS)
async def test_mixed_fates(cluster: Cluster, tmp_path: Path) -> None:
    if cluster.server is None and "ALULA_SCALE" not in os.environ:
        pytest.skip("a real API server sees many in `make scale-kubernetes`, and a few in tests/deploy/test_rights.py")
    await prepare(cluster)
    server = Server(tmp_path, cluster.kubeconfig, cluster.namespace)
    async with serving(server), managed(cluster.kubeconfig, cluster.namespace, tmp_path, server.url) as manager:
        before, began = manager.memory_info().rss, time.monotonic()
        load = Load(server.url, random.Random(1))
        cluster.kubelet.script = load.fate
        await load.run(RUNS, AT_ONCE)
        took = time.monotonic() - began
        await until_nothing_is_left(cluster)
        after, cpu = manager.memory_info().rss, sum(manager.cpu_times()[:2])
        assert server.process is not None
        other = psutil.Process(server.process.pid)
        theirs, memory = sum(other.cpu_times()[:2]), other.memory_info().rss
    meant = [(story, STORIES[story]) for story in load.stories.values()]
    assert load.counts() == Counter(f"{name}: {story.phase.name}" for name, story in meant)
    assert not load.wrong()
    attempts = sum(one.attempts for one in load.ended)
    assert attempts == sum(story.attempts for _, story in meant)
    assert len(cluster.kubelet.started) == sum(story.pods for _, story in meant)
    assert not twice(cluster)
    assert await left(cluster) == []
    print(
        f"{RUNS} runs, {attempts} attempts in {took:.0f} s ({attempts / took:.1f}/s): "
        f"{dict(sorted(load.counts().items()))}; the Manager: {before >> 20} MiB before, {after >> 20} MiB after, "
        f"{cpu:.1f} s CPU; the control plane: {memory >> 20} MiB, {theirs:.1f} s CPU"
    )
