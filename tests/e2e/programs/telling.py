"""How these programs tell the tests what they saw: one line of JSON, the last they print."""

import json
import os
import sys
from typing import Any

from flyte.remote import Action, ActionDetails, Run

PHASE = "ACTION_PHASE_"


def tell(**told: Any) -> None:
    """Say it and end at once: what an interpreter does at its end is not the subject here."""
    print(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)


def end(run: Run) -> dict[str, Any]:
    """Wait for a run's end: its phase, what it returned, its error, and its attempts."""
    run.wait(quiet=True)
    told = action(run, "a0")
    told["run"] = run.name
    if told["phase"] == "SUCCEEDED":
        told["outputs"] = list(run.outputs())
    return told


def action(run: Run, name: str) -> dict[str, Any]:
    """An action as the API describes it."""
    details = ActionDetails.get(run_name=run.name, name=name).pb2
    return {
        "name": details.id.name,
        "parent": details.metadata.parent,
        "group": details.metadata.group,
        "task": details.metadata.trace.name or details.metadata.task.id.name,
        "phase": phase(details.status.phase),
        "attempts": [
            {"phase": phase(a.phase), "code": a.error_info.code, "message": a.error_info.message}
            for a in details.attempts
        ],
        "error": _error(details),
        "abort": details.abort_info.reason,
    }


def _error(details: Any) -> dict[str, str] | None:
    if not details.HasField("error_info"):
        return None
    info = details.error_info
    return {"code": info.code, "message": info.message, "kind": info.Kind.Name(info.kind)}


def children(run: Run, parent: str = "a0") -> list[dict[str, Any]]:
    """What an action's children look like once they have ended, oldest first."""
    found = list(Action.listall(for_run_name=run.name, parent_name=parent))
    for child in found:
        if not child.done():
            for _ in ActionDetails.watch(child.action_id):
                pass
    return [action(run, child.name) for child in found]


def phase(number: int) -> str:
    from flyteidl2.common import phase_pb2

    return phase_pb2.ActionPhase.Name(number).removeprefix(PHASE)
