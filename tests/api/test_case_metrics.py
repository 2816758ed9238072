"""What a server counts of itself."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.api.caller import Caller
from tests.api.served import Served
from tests.api.test_create_run import QUICK


async def test_metrics_can_be_read(served: Served, caller: Caller) -> None:
    """Case C39, case O29: on the port of the API, always."""
    await caller.finished(QUICK)
    answer = httpx.get(f"{served.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (s.name, *sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(answer.text)
        for s in family.samples
    }
    created = ("code", "ok"), ("method", "flyteidl2.workflow.RunService/CreateRun")
    assert samples["alula_rpc_seconds_count", *created] >= 1
    assert samples["alula_action_changes_total", ("phase", "succeeded")] >= 1
    assert samples["alula_attempts_running",] >= 0
    assert samples["process_resident_memory_bytes",] > 1_000_000
