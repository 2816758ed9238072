"""Tasks that go wrong: each fails with an error that says why, in its run and in its log."""

import asyncio
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from connectrpc.code import Code
from flyteidl2.common.identifier_pb2 import ActionIdentifier
from flyteidl2.core import tasks_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.task import task_definition_pb2
from flyteidl2.workflow import run_service_pb2 as rpc

from tests.api.caller import FAILED, SUCCEEDED, Caller, gated, printed, python, refused, spec, until
from tests.api.served import Served

MEGABYTES = 100
LINE = "x" * 999


async def test_an_unknown_task_is_refused_at_once(caller: Caller) -> None:
    task = {"project": "flytesnacks", "domain": "development", "name": "no.such", "version": "v1"}
    place = {"name": "flytesnacks", "domain": "development"}
    with refused(Code.NOT_FOUND, "task flytesnacks/development/no.such@v1 does not exist", "flyte deploy"):
        await caller.runs.create_run(rpc.CreateRunRequest(project_id=place, task_id=task))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_module", ["ModuleNotFoundError: No module named 'no_such_module'"]),
        ("def f(:", ["SyntaxError", "def f(:"]),
        ("1 / 0", ["Traceback", "ZeroDivisionError: division by zero"]),
        ("import sys; sys.exit('no such file: x.csv')", ["no such file: x.csv"]),
    ],
    ids=["unimportable", "syntax", "raises", "exits"],
)
async def test_code_that_cannot_run(caller: Caller, code: str, words: list[str]) -> None:
    details = await caller.finished(python(code))
    assert details.status.phase == FAILED
    assert details.error_info.code == "ContainerFailed"
    log = await caller.log(details.id)
    for word in ("exited with code 1", *words):
        assert word in details.error_info.message
    for word in words:
        assert word in log


async def test_a_program_that_is_not_there(caller: Caller) -> None:
    details = await caller.finished(spec("no-such-program", "--help"))
    assert details.status.phase == FAILED
    assert "no-such-program" in details.error_info.message


def _changed(**fields: Any) -> task_definition_pb2.TaskSpec:
    task = python("pass")
    task.task_template.MergeFrom(tasks_pb2.TaskTemplate(**fields))
    return task


@pytest.mark.parametrize(
    ("task", "code", "word"),
    [
        (_changed(container={"env": [{"key": "A=B"}]}), "BadTaskSpecification", "'A=B' cannot be the name"),
        (_changed(container={"env": [{"key": ""}]}), "BadTaskSpecification", "'' cannot be the name"),
        (_changed(container={"args": ["a\0b"]}), "BadTaskSpecification", "NUL"),
        (_changed(container={"args": ["x" * 3_000_000]}), "ContainerFailed", "Argument list too long"),
        (_changed(k8s_pod={"primary_container_name": "main"}), "PrimaryContainerNotFound", "'main'"),
        (_changed(sql={"statement": "SELECT 1"}, type="sql"), "PluginNotFound", "'sql' has no container"),
    ],
    ids=["name", "empty", "nul", "long", "pod", "type"],
)
async def test_what_no_process_can_be(caller: Caller, task: task_definition_pb2.TaskSpec, code: str, word: str) -> None:
    details = await caller.finished(task)
    assert (details.status.phase, details.error_info.code) == (FAILED, code)
    assert word in details.error_info.message


async def test_an_error_document_that_is_none(caller: Caller) -> None:
    """It may come from a task's own code: the run has to end all the same."""
    code = (
        "import os, sys\nfrom obstore.store import S3Store\n"
        "bucket, _, prefix = sys.argv[1].removeprefix('s3://').partition('/')\n"
        "store = S3Store(bucket, endpoint=os.environ['AWS_ENDPOINT_URL'], client_options={'allow_http': True})\n"
        "store.put(f'{prefix}/error.pb', b'\\xff\\xff garbage')\n"
    )
    details = await caller.finished(python(code, "{{.outputPrefix}}"))
    assert details.status.phase == FAILED, await caller.log(details.id)
    assert details.error_info.code == "UnreadableError"
    assert "no ErrorDocument" in details.error_info.message


async def test_a_backoff_beyond_all_time_is_waited_for_quietly(served: Served, caller: Caller) -> None:
    task = python("raise SystemExit(1)", retries=2)
    task.task_template.metadata.retries.backoff.base.seconds = 10**12
    action = await caller.start(task)
    stream = caller.runs.watch_action_details(rpc.WatchActionDetailsRequest(action_id=action))
    details = (await until(stream, lambda message: message.details.status.attempts == 2)).details
    assert details.attempts[0].error_info.code == "ContainerFailed"
    await caller.runs.abort_run(rpc.AbortRunRequest(run_id=action.run, reason="nobody waits so long"))
    await caller.ended(action)
    assert "a step failed" not in served.log


async def test_a_flood_of_output_harms_nobody(served: Served, caller: Caller) -> None:
    before = served.memory()
    most = before
    code = f"for _ in range({MEGABYTES}): print('\\n'.join(['{LINE}'] * 1000))"
    action = await caller.start(python(code))
    flooding = asyncio.create_task(caller.ended(action, 90))
    took = []
    while not flooding.done():
        started = time.monotonic()
        assert (await caller.finished(python("print('quick')"))).status.phase == SUCCEEDED
        took.append(time.monotonic() - started)
        most = max(most, served.memory())
    assert (await flooding).status.phase == SUCCEEDED
    assert sorted(took)[len(took) // 2] < 3, took

    async def watch_memory() -> None:
        nonlocal most
        while True:
            most = max(most, served.memory())
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch_memory())
    log = await caller.log(action, seconds=90)
    watching.cancel()
    assert len(log) == MEGABYTES * 1_000_000
    assert log.startswith(f"{LINE}\n{LINE}\n")
    assert most < 250, f"{before:.0f} MB before, {most:.0f} MB at most"


async def _pid(caller: Caller, action: ActionIdentifier, attempt: int) -> int:
    """The process of an attempt that is at its gate."""
    said = ""

    def heard(message: data.TailLogsResponse) -> bool:
        nonlocal said
        said += printed(message)
        return "at the gate" in said

    await until(caller.data.tail_logs(data.TailLogsRequest(action_id=action, attempt=attempt)), heard)
    found = re.search(r"pid=(\d+)", said)
    assert found is not None
    return int(found[1])


async def test_a_task_that_is_killed_is_tried_again(caller: Caller, tmp_path: Path) -> None:
    """Nobody asked for retries: what kills a task from outside is not the task's fault."""
    gate = tmp_path / "gate"
    action = await caller.start(gated(gate, before="print(f'pid={os.getpid()}')"))
    os.kill(await _pid(caller, action, 1), signal.SIGKILL)
    await _pid(caller, action, 2)
    gate.touch()
    details = await caller.ended(action)
    assert (details.status.phase, details.status.attempts) == (SUCCEEDED, 2)
    assert details.attempts[0].error_info.code == "Interrupted"
    assert "killed" in details.attempts[0].error_info.message


async def test_a_task_that_is_killed_again_and_again_fails(caller: Caller, tmp_path: Path) -> None:
    """Case C31."""
    action = await caller.start(gated(tmp_path / "never", before="print(f'pid={os.getpid()}')"))
    for attempt in (1, 2, 3, 4):
        os.kill(await _pid(caller, action, attempt), signal.SIGKILL)
    details = await caller.ended(action)
    assert (details.status.phase, details.status.attempts) == (FAILED, 4)
    assert details.error_info.code == "MaxSystemFailuresExceeded"
    assert "gave up after 4 failures" in details.error_info.message
    assert "killed" in details.error_info.message
    assert [attempt.phase for attempt in details.attempts] == [FAILED] * 4
