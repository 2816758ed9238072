"""The first call that the overview of Flyte 2 shows, exactly, to a server that knows nothing of the project."""

import httpx
from flyteidl2.workflow import run_service_pb2 as rpc

from tests.api.caller import SUCCEEDED, Caller
from tests.api.served import Served

REQUEST = {
    "projectId": {"name": "my-project", "domain": "development"},
    "taskSpec": {
        "taskTemplate": {
            "container": {"image": "python:3.9", "args": ["python", "-c", "print('Hello Flyte')"]},
        }
    },
}


async def test_the_call_of_the_overview(served: Served, caller: Caller) -> None:
    async with httpx.AsyncClient(base_url=served.url) as client:
        response = await client.post("/flyteidl2.workflow.RunService/CreateRun", json=REQUEST)
    assert response.status_code == 200, response.text
    told = response.json()["run"]["action"]["id"]
    assert told["run"]["project"] == "my-project"
    root = rpc.GetActionDetailsRequest(action_id=told).action_id
    details = await caller.ended(root)
    assert details.status.phase == SUCCEEDED
    assert await caller.log(root) == "Hello Flyte\n"
    assert "project my-project did not exist: created it" in served.log
    watch = caller.runs.watch_cluster_events(rpc.WatchClusterEventsRequest(id=root, attempt=1))
    events = [event.message async for message in watch for event in message.cluster_events]
    assert len(events) == 2
    assert events[1].startswith("time: queue 0.")
    assert events[0].startswith("image python:3.9 is not available here: running in the default environment (Python 3.")
    assert [event.message for event in details.attempts[0].cluster_events] == events
