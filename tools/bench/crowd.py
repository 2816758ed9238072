"""A run of 10,000 actions through reusable workers: each is there once, succeeded at its first attempt, and counted.

One parent calls them all at once, through the real SDK; what they return is added up. Then the server is asked.

`python tools/bench/crowd.py [actions]`
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from flyteidl2.common import phase_pb2
from flyteidl2.workflow import run_service_pb2 as runs

sys.path.insert(0, str(Path(__file__).parent))
from client import Lean
from reuse import serving

RUNS = runs.DESCRIPTOR.services_by_name["RunService"].methods_by_name
PROGRAM = """
import json, os, sys, flyte, programs
flyte.init_from_config()
run = flyte.run(programs.crowd, int(sys.argv[1]))
run.wait(quiet=True)
print("RESULT", json.dumps({"name": run.name, "sum": run.outputs()[0]}), flush=True)
os._exit(0)
"""


def crowd(folder: Path, size: int) -> tuple[str, int]:
    """The run's name, and what it returned."""
    config = {"FLYTECTL_CONFIG": str(folder / "home" / "config.yaml"), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(size)],
        env=os.environ | config | {"FLYTE_DISABLE_TELEMETRY": "1"},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            told = json.loads(line[7:])
            return told["name"], told["sum"]
    raise SystemExit(f"the run failed:\n{done.stdout}\n{done.stderr}")


async def counted(port: int, run: str) -> Counter[tuple[str, int]]:
    """The actions below the root by phase and number of attempts, each name once."""
    found: dict[str, tuple[str, int]] = {}
    request = runs.ListActionsRequest()
    request.run_id.project, request.run_id.domain, request.run_id.name = "flytesnacks", "development", run
    request.request.limit = 200
    async with Lean(port) as server:
        while True:
            page = await server.call(RUNS["ListActions"], request)
            for action in page.actions:
                if action.metadata.parent:
                    phase = phase_pb2.ActionPhase.Name(action.status.phase)
                    assert action.id.name not in found, "an action is listed twice"
                    found[action.id.name] = phase, action.status.attempts
            if not page.token:
                return Counter(found.values())
            request.request.token = page.token


def main(size: int) -> None:
    with tempfile.TemporaryDirectory(prefix="alula-crowd-") as name, serving(Path(name)) as server:
        began = time.monotonic()
        run, total = crowd(Path(name), size)
        seconds = time.monotonic() - began
        port = next(one.laddr.port for one in server.net_connections() if one.status == "LISTEN")
        counts = asyncio.run(counted(port, run))
        print(f"{size} actions in {seconds:.1f} s, {size / seconds:.0f}/s with the start; {dict(counts)}")
        assert total == sum(range(size)), "a result is missing, or came twice"
        assert counts == {("ACTION_PHASE_SUCCEEDED", 1): size}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
