"""What an attempt costs a cluster: six writes at most, with its creation and its deletion."""

import re
from collections import Counter

from tests.kube.cluster import Cluster
from tests.kube.fates import Fate
from tests.manager.managed import control, managing, request

ATTEMPTS = 5
_CALL = re.compile(r'alula_manager_kube_seconds_count\{code="2\d\d",kind="(\w+)",verb="(\w+)"\} (\S+)')


async def test_what_an_attempt_costs(cluster: Cluster) -> None:
    cluster.kubelet.script = lambda _: Fate()
    asked = [request(number) for number in range(ATTEMPTS)]
    async with control(cluster) as plane, managing(cluster.kubeconfig, cluster.namespace) as program:
        for one in asked:
            await plane.submit(one)
        states = await plane.over(one.name for one in asked)
    text = program.metrics.text().decode()  # now that all answers are there
    assert all(state.cause is None for state in states)
    counted: Counter[str] = Counter()
    for kind, verb, number in _CALL.findall(text):
        if verb not in ("get", "list", "watch") and kind != "leases":
            counted[f"{verb} {kind}"] += int(float(number))
    # Initializing, Completed, and Executing if the pod is seen to run; with its creation and deletion at most 6.
    assert counted["create pods"] == ATTEMPTS
    assert 2 * ATTEMPTS <= counted["replace taskactions"] <= 3 * ATTEMPTS
    assert set(counted) == {"create pods", "replace taskactions"}
