"""Reusable workers for minutes on end: actions per second, and whether memory grows.

Waves of children at once, from four parents, through the real SDK, one wave after the other. After each: how many there
were, how many a second, and the memory of the server and of its workers, which is to stay what it was after the first.

`python tools/bench/reuse.py [minutes]`
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
SIZE = 800  # children of a wave
WARM = 3  # waves after which memory is to be flat
CLIENT = """
import os, sys, flyte, programs
flyte.init_from_config()
for line in sys.stdin:
    run = flyte.run(programs.fans_shared, int(line))
    run.wait(quiet=True)
    print("RESULT", run.outputs()[0], flush=True)
os._exit(0)
"""


@contextmanager
def serving(folder: Path) -> Iterator[psutil.Process]:
    """A server of its own, with its client's configuration in ``folder``/home."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [str(BIN / "alula"), "up", "--home", str(folder / "home"), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        while "is ready" not in process.stdout.readline():
            assert process.poll() is None
        yield psutil.Process(process.pid)
        process.terminate()
        process.wait(30)


def waves(folder: Path) -> "subprocess.Popen[str]":
    """A client that runs a wave for each line that it reads, and says how many seconds it took."""
    config = {"FLYTECTL_CONFIG": str(folder / "home" / "config.yaml"), "HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        env=os.environ | config | {"FLYTE_DISABLE_TELEMETRY": "1"},
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def wave(client: "subprocess.Popen[str]") -> float:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(f"{SIZE}\n")
    client.stdin.flush()
    for line in client.stdout:
        if line.startswith("RESULT "):
            return float(json.loads(line[7:]))
    raise SystemExit("the client ended")


def memory(server: psutil.Process) -> dict[str, float]:
    """RSS in MB: of the server, and of its workers together."""
    found = {"server": server.memory_info().rss / 1e6, "workers": 0.0}
    for process in server.children(recursive=True):
        with suppress(psutil.Error):
            if "reuse.worker" in " ".join(process.cmdline()):
                found["workers"] += process.memory_info().rss / 1e6
    return found


def main(minutes: float) -> None:
    with tempfile.TemporaryDirectory(prefix="alula-reuse-") as name, serving(Path(name)) as server:
        with waves(Path(name)) as client:
            wave(client)  # starts the workers
            began, count, first = time.monotonic(), 0, memory(server)
            while time.monotonic() < began + 60 * minutes or count < WARM * SIZE:
                seconds = wave(client)
                count += SIZE
                now = memory(server)
                if count == WARM * SIZE:
                    first = now
                rate, spent = SIZE / seconds, time.monotonic() - began
                print(f"{spent:6.0f} s {count:8} actions {rate:6.1f}/s ", end="")
                print(", ".join(f"{who} {size:.1f} MB" for who, size in now.items()), flush=True)
            client.kill()
        for who in first:
            print(f"memory of {who}: {now[who] / first[who] - 1:+.1%} since the first {WARM} waves")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
