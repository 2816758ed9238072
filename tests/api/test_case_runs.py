"""Cases of runs, as a client meets them."""

import asyncio
from itertools import product

from flyteidl2.common import identifier_pb2
from flyteidl2.workflow import run_service_pb2 as rpc

from tests.api.caller import SUCCEEDED, Caller, action_id, python, run_id


async def test_namesakes_run_side_by_side(caller: Caller) -> None:
    """Case C18: one name in two projects and two domains at once; each run has its own log, end and place in lists."""
    places = list(product(("left", "right"), ("development", "production")))
    runs = {place: run_id("namesake", *place) for place in places}

    async def one(place: tuple[str, str]) -> tuple[int, str]:
        request = rpc.CreateRunRequest(run_id=runs[place], task_spec=python(f"print({'/'.join(place)!r})"))
        action = (await caller.runs.create_run(request)).run.action.id
        assert action == action_id(runs[place])
        return (await caller.ended(action)).status.phase, await caller.log(action)

    told = await asyncio.gather(*(one(place) for place in places))
    assert told == [(SUCCEEDED, f"{project}/{domain}\n") for project, domain in places]
    for project, domain in places:
        there = identifier_pb2.ProjectIdentifier(name=project, domain=domain)
        listed = await caller.runs.list_runs(rpc.ListRunsRequest(project_id=there))
        assert [run.action.id.run for run in listed.runs] == [runs[project, domain]]
