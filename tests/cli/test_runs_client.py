"""`runs-client`, in a pipe and in a terminal."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import CLIENT, Served, free_port

HEADS = ["TASK", "PHASE", "ATTEMPTS", "STARTED", "TOOK", "PARENT"]


def run(served: Served, *arguments: str, project: str = "my-project") -> subprocess.CompletedProcess[str]:
    command, *rest = arguments
    where = ["--project", project, "--domain", "development", "--endpoint", served.url]
    return subprocess.run([CLIENT, command, *where, *rest], capture_output=True, text=True, timeout=60)


def said(served: Served, *arguments: str) -> str:
    done = run(served, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def told(served: Served, *arguments: str) -> Any:
    return json.loads(said(served, arguments[0], "--output", "json", *arguments[1:]))


def in_terminal(served: Served, *arguments: str) -> str:
    """Run a command in a terminal of 100 columns; what is to be seen there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    command = [CLIENT, *arguments, "--project", "my-project", "--endpoint", served.url]
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, stdin=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while data := os.read(ours, 65536):
                seen += data
        except OSError:  # how a terminal says that nobody is left
            pass
        assert process.wait(30) == 0, seen
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()).replace("\r\n", "\n")


def test_list_actions_in_a_pipe(served: Served) -> None:
    heads, *rows = [line.split("\t") for line in said(served, "list-actions", "--run-name", "good").splitlines()]
    assert heads == ["ACTION", *HEADS]
    assert len(rows) == 1
    assert rows[0][:4] == ["a0", "probe", "SUCCEEDED", "1"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", rows[0][4])
    assert re.fullmatch(r"\d+\.\d\ds", rows[0][5])


def test_list_actions_in_a_terminal(served: Served) -> None:
    seen = in_terminal(served, "list-actions", "--run-name", "good")
    heads, row = seen.rstrip("\n").splitlines()
    assert heads.split() == ["ACTION", *HEADS]
    assert row.split()[:4] == ["a0", "probe", "SUCCEEDED", "1"]
    assert "\t" not in seen
    assert heads.index("PHASE") == row.index("SUCCEEDED")  # it is a table: columns stand in line


def test_list_actions_as_json(served: Served) -> None:
    (action,) = told(served, "list-actions", "--run-name", "bad")["actions"]
    assert action["id"]["name"] == "a0"
    assert action["status"]["phase"] == "ACTION_PHASE_FAILED"


def test_list_runs(served: Served) -> None:
    rows = [line.split("\t")[0] for line in said(served, "list-runs").splitlines()]
    assert rows[0] == "RUN"
    assert {"good", "bad"} <= set(rows)
    assert rows.index("bad") < rows.index("good")  # the newest first
    assert len(told(served, "list-runs", "--limit", "1")["runs"]) == 1
    assert "good" in in_terminal(served, "list-runs")


def test_get_run(served: Served) -> None:
    good, bad = (said(served, "get-run", "--run-name", name) for name in ("good", "bad"))
    assert good.splitlines()[1].split("\t")[:3] == ["good", "probe", "SUCCEEDED"]
    assert "ContainerFailed: the process exited with code 3" in bad
    assert told(served, "get-run", "--run-name", "bad")["details"]["action"]["errorInfo"]["code"] == "ContainerFailed"
    assert "ContainerFailed" in in_terminal(served, "get-run", "--run-name", "bad")


def test_logs(served: Served) -> None:
    assert "Hello Flyte" in said(served, "logs", "--run-name", "good").splitlines()
    lines = [json.loads(x) for x in said(served, "logs", "--run-name", "good", "--output", "json").splitlines()]
    assert "Hello Flyte\n" in [line["message"] for line in lines if line["originator"] == "USER"]


def test_from_create_to_end(served: Served) -> None:
    code = "import sys; print(len(sys.argv))"
    created = said(
        served, "create-run", "--run-name", "made", "--input", "x=1", "--", "python", "-c", code, "--an-option", "b"
    )
    assert created.splitlines()[1].split("\t")[:2] == ["made", "runs-client"]
    assert said(served, "watch", "--run-name", "made").splitlines()[-1] == "a0\truns-client\tSUCCEEDED"
    lines = [json.loads(x) for x in said(served, "watch", "--run-name", "made", "--output", "json").splitlines()]
    assert lines[-1]["status"]["phase"] == "ACTION_PHASE_SUCCEEDED"
    assert "3" in said(served, "logs", "--run-name", "made").splitlines()


def test_abort(served: Served) -> None:
    name = told(served, "create-run", "--", "sleep", "600")["run"]["action"]["id"]["run"]["name"]
    assert said(served, "abort", "--run-name", name, "--reason", "enough") == f"run {name} is aborted\n"
    assert told(served, "abort", "--run-name", name) == {}  # again is fine
    assert "ABORTED" in said(served, "get-run", "--run-name", name)
    assert told(served, "get-run", "--run-name", name)["details"]["action"]["abortInfo"]["reason"] == "enough"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["get-run", "--run-name", "no-such"], "not_found: run my-project/development/no-such does not exist"),
        (["list-actions", "--run-name", "no-such"], "not_found"),
        (["watch", "--run-name", "no-such"], "not_found"),
        (["abort", "--run-name", "no-such"], "not_found"),
        (["logs", "--run-name", "no-such"], "not_found"),
        (["logs", "--run-name", "good", "--attempt", "2"], "attempt 2"),
        (["create-run", "--run-name", "Upper", "true"], "run_id.name"),
        (["create-run", "--run-name", "good", "true"], "already_exists"),
    ],
)
def test_errors_are_one_line(served: Served, arguments: list[str], word: str) -> None:
    failed = run(served, *arguments)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: ")
    assert failed.stderr.count("\n") == 1
    assert word in failed.stderr


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("http://localhost:{free}", ["unavailable", "cannot be reached", "--endpoint"]),
        ("localhost:{free}", ["unavailable", "cannot be reached", "--endpoint"]),
        ("dns:///localhost:{free}", ["unavailable", "cannot be reached", "--endpoint"]),
        ("http://[", ["--endpoint"]),
        ("ftp://localhost", ["--endpoint"]),
    ],
)
def test_an_endpoint_where_nobody_is(endpoint: str, words: list[str]) -> None:
    where = endpoint.format(free=free_port())
    failed = subprocess.run([CLIENT, "list-runs", "--endpoint", where], capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1, failed.stderr
    assert failed.stderr.startswith("Error: ")
    assert failed.stderr.count("\n") == 1
    for word in words:
        assert word in failed.stderr


def test_every_spelling_of_an_endpoint(served: Served) -> None:
    for endpoint in (served.url, f"{served.url}/", served.address, f"dns:///{served.address}"):
        command = [CLIENT, "list-runs", "--project", "my-project", "--endpoint", endpoint]
        assert "good" in subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_server_that_stops(tmp_path: Path) -> None:
    with Served(tmp_path / "home") as server:
        create = [CLIENT, "create-run", "--endpoint", server.url, "--run-name", "long", "sleep", "600"]
        subprocess.run(create, check=True, capture_output=True, timeout=60)
        command = [CLIENT, "watch", "--endpoint", server.url, "--run-name", "long"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline().startswith("a0\t")
            assert server.stop() == 0
            _, error = watching.communicate(timeout=30)
    assert (watching.returncode, error) == (1, "Error: unavailable: the server is shutting down\n")


def test_a_reader_that_has_seen_enough(served: Served) -> None:
    command = f"{CLIENT} list-runs --project my-project --endpoint {served.url} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("RUN\t")
    assert "Traceback" not in done.stderr


def test_wrong_use(served: Served) -> None:
    for arguments in (["list-actions"], ["create-run"], ["nothing"], ["list-runs", "--limit", "201"]):
        failed = run(served, *arguments)
        assert failed.returncode == 2
        assert "Traceback" not in failed.stderr
    failed = run(served, "create-run", "--input", "novalue", "true")
    assert (failed.returncode, "write NAME=VALUE" in failed.stderr) == (2, True)
