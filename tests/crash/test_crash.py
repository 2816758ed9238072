"""The server dies by SIGKILL between any two acts. After a restart every accepted run ends right, nothing ran twice
within one attempt, and no process is left behind."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alula.cli.connect import CallFailed
from alula.core.phase import Phase

from .dying import ACTS
from .world import Work, World

WANTED = {"quick": Work(), "slow": Work(seconds=0.3), "again": Work(fails=3, retries=1)}


async def _create_all(world: World) -> list[str]:
    """Ask for runs until the server dies; the names of those it accepted."""
    accepted = []
    for name, work in WANTED.items():
        try:
            await world.create(name, work)
        except CallFailed:
            break
        accepted.append(name)
    return accepted


CASES = [
    (act, nth) for act in ACTS if act != "Actions.enqueue" for nth in (1, 3) if (act, nth) != ("Attempts.retry", 3)
]


@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
@pytest.mark.parametrize(("act", "nth"), CASES)
async def test_a_death_between_two_acts_loses_nothing(tmp_path: Path, when: str, act: str, nth: int) -> None:
    """Case C1: also between the commit and the first start; and none of it takes a client's doing."""
    world = World(tmp_path)
    world.start_dying(when, act, nth)
    accepted = await _create_all(world)
    assert world.died()
    world.start_well()
    try:
        for name in accepted:
            phase, attempts = await world.end(name)
            assert phase is Phase.SUCCEEDED, f"{name}: {phase.name}\n{world.log.read_text()}"
            assert attempts <= 3
            assert sum(n for key, n in world.attempts().items() if key.startswith(f"{name} ")) >= 1
        for name in WANTED.keys() - set(accepted):  # one whose answer was lost may be asked for again
            await world.create(name, WANTED[name])
            assert (await world.end(name))[0] is Phase.SUCCEEDED
    finally:
        assert world.stop() == 0
    twice = {key: count for key, count in world.attempts().items() if count > 1}
    assert not twice, f"ran twice within one attempt: {twice}"
    assert world.left() == []


PROGRAM = """
import asyncio, json, os, flyte
env = flyte.TaskEnvironment(name="crash")

@env.task
async def leaf(x: int) -> int:
    with open(os.environ["RAN"], "a") as file:
        file.write(f"{os.environ['ACTION_NAME']} {os.environ['FLYTE_ATTEMPT_NUMBER']}\\n")
    await asyncio.sleep(0.05)
    return x + 1

@env.task
async def main(n: int) -> int:
    print("parent begins", flush=True)
    found = sum(await asyncio.gather(*(leaf(x) for x in range(n))))
    print("parent ends")
    return found

if __name__ == "__main__":
    flyte.init_from_config()
    run = flyte.with_runcontext(env_vars={"RAN": os.environ["RAN"]}).run(main, 12)
    print(json.dumps(run.name), flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize(
    ("when", "act", "nth", "machine"),
    [("AFTER", "Actions.enqueue", 7, False), ("BEFORE", "Attempts.settle", 4, True)],
)
async def test_a_parent_goes_on_where_it_was(tmp_path: Path, when: str, act: str, nth: int, machine: bool) -> None:
    """Case C15: a parent that is started again, with the machine, knows what its children and traces came to.

    If only its server dies it notices nothing: it comes back.
    """
    world = World(tmp_path)
    world.start_dying(when, act, nth)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    env = os.environ | {
        "FLYTECTL_CONFIG": str(world.home / "config.yaml"),
        "HOME": str(tmp_path),
        "RAN": str(world.ran),
        "FLYTE_DISABLE_TELEMETRY": "1",
    }
    told = subprocess.run([sys.executable, program], env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert told.stdout, told.stderr
    assert world.died()
    if machine:
        for one in world.programs():
            one.send(signal.SIGKILL)
    world.start_well()
    run, attempts = json.loads(told.stdout), 2 if machine else 1
    try:
        assert await world.end(run) == (Phase.SUCCEEDED, attempts), world.log.read_text()
        said = world.log_of(run, attempts)
        assert re.findall(r"parent begins|adopted|parent ends|exit code 0", said) == (
            ["parent begins", *([] if machine else ["adopted"]), "parent ends", "exit code 0"]
        )
    finally:
        assert world.stop() == 0
    assert len({key.split()[0] for key in world.attempts()}) == 12
    assert max(world.attempts().values()) == 1
    assert machine or {key.split()[1] for key in world.attempts()} == {"0"}
    assert world.left() == []
