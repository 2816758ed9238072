"""`make demo`: a fresh server, a real workflow of the unmodified flyte SDK, what it printed. Exits 1 on any failure."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
EXAMPLE = ROOT / "examples" / "01-hello" / "hello.py"
EXPECTED = [x * x for x in range(10)]
PATIENCE = 120  # seconds until a part that hangs is a failure
STARTED = time.monotonic()


def say(text: str) -> None:
    """A line with the time since the start, so that waiting has a measure."""
    print(f"[{time.monotonic() - STARTED:5.1f}s] {text}", flush=True)


def fail(text: str) -> None:
    print(f"\nthe demo FAILED: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server(home: Path, port: int) -> Iterator[None]:
    """A server with a fresh home; stopped at the end, and that has to go well too."""
    log = (home.parent / "server.log").open("w")
    command = [BIN / "alula", "up", "--home", home, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("alula is ready"):
                say(line.strip())
                break
        else:
            fail(f"the server did not start:\n{Path(log.name).read_text()}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            fail("the server did not stop")
    if code != 0:
        fail(f"the server stopped with exit code {code}:\n{Path(log.name).read_text()}")
    say("the server has stopped")


def run_example(env: dict[str, str], port: int) -> tuple[str, list[int]]:
    """Run the example as a user would, telling of its actions as they change; the run's URL and its outputs."""
    example = subprocess.Popen(
        [sys.executable, EXAMPLE],
        env=env,
        cwd=EXAMPLE.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url, told, watch = "", [], None
    assert example.stdout is not None
    for line in example.stdout:
        told.append(line)
        if found := re.search(r"http://\S+/runs/([a-z0-9-]+)", line):
            url = found[0]
            say(f"run {found[1]}")
            command = [BIN / "runs-client", "watch", "--endpoint", f"http://localhost:{port}", "--run-name", found[1]]
            watch = subprocess.Popen(command)
    example.wait(PATIENCE)
    if watch is not None and watch.wait(PATIENCE) != 0:
        fail("runs-client watch did not end well")
    outputs = re.search(r"\[[\d, ]+\]", told[-1]) if told else None
    if not url or outputs is None:
        fail(f"the example printed:\n{''.join(told)}")
    assert outputs is not None
    return url, json.loads(outputs[0])


def main() -> None:
    say("starting alula with a fresh home")
    with tempfile.TemporaryDirectory(prefix="alula-demo-") as folder:
        home, port = Path(folder) / "home", free_port()
        env = os.environ | {
            "FLYTECTL_CONFIG": str(home / "config.yaml"),
            "HOME": folder,  # the SDK caches by endpoint there: nothing of earlier runs is to be seen
            "FLYTE_DISABLE_TELEMETRY": "1",
        }
        with server(home, port):
            began = time.monotonic()
            url, outputs = run_example(env, port)
            took = time.monotonic() - began
    if outputs != EXPECTED:
        fail(f"the outputs are {outputs}, not {EXPECTED}")
    print(
        f"\n  outputs  {outputs}\n  run      {url}\n  took     {took:.1f} s, of which most is the client's own start\n"
    )


if __name__ == "__main__":
    main()
