"""What the Manager answers over HTTP."""

import httpx

from alula.core.taskaction import Stage
from alula.manager.door import door
from alula.manager.metrics import Metrics


async def test_health_readiness_and_metrics() -> None:
    metrics, why = Metrics(), ["not yet seen of the cluster: pods"]
    metrics.took(0.02)
    metrics.called("create", "pods", "201", 0.01)
    metrics.watch("queue_depth", "Attempts that wait for their turn.", lambda: 7.0)
    metrics.watch_stages(lambda: {Stage.RUNNING: 3})
    transport = httpx.ASGITransport(door(metrics, lambda: why[0]))
    async with httpx.AsyncClient(transport=transport, base_url="http://manager") as http:
        assert (await http.get("/healthz")).status_code == 200
        late = await http.get("/readyz")
        assert (late.status_code, late.text) == (503, "not yet seen of the cluster: pods\n")
        why[0] = ""
        assert (await http.get("/readyz")).status_code == 200
        told = (await http.get("/metrics")).text
        assert 'alula_manager_attempts{stage="Executing"} 3.0' in told
        assert "alula_manager_queue_depth 7.0" in told
        assert 'alula_manager_kube_seconds_count{code="201",kind="pods",verb="create"} 1.0' in told
        assert "alula_manager_reconcile_seconds_count 1.0" in told
        assert (await http.get("/elsewhere")).status_code == 404
