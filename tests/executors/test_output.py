"""What a process with one attempt at a time prints reaches the log once, wherever the process dies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alula.executors.process import loglines
from alula.executors.process.reuse import output

_PROGRAM = """
import os, sys
from alula.executors.process.reuse import output

pipe = output.Pipe("pipe", "taken")
os.write(int(sys.argv[1]), b".")
sys.stdin.readline()
log = output.Log("log", 1 << 20, (), lambda: None)
pipe.turn(log)
log.say("started")
print("first", flush=True)
pipe.ready()
print("last words", flush=True)
{dies}
pipe.ready()
"""


@pytest.mark.skipif(not hasattr(os, "splice"), reason="only Linux moves what is in a pipe to a file")
@pytest.mark.parametrize(
    ("dies", "logged", "left"),
    [
        ("os._exit(7)", "first\n", "last words\n"),
        ("log.write = lambda data: os._exit(7)", "first\n", "last words\n"),
        ("os.ftruncate = lambda *_: os._exit(7)", "first\nlast words\n", ""),
        ("os.ftruncate = lambda *_: (print('more', flush=True), os._exit(7))", "first\nlast words\n", "more\n"),
        (
            "pipe.ready(); log.write = lambda data: os._exit(7); print('more', flush=True)",
            "first\nlast words\n",
            "more\n",
        ),
    ],
)
def test_death_at_any_line(tmp_path: Path, dies: str, logged: str, left: str) -> None:
    heard, tells = os.pipe()
    command = [sys.executable, "-c", _PROGRAM.format(dies=dies), str(tells)]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, pass_fds=[tells]) as running:
        os.close(tells)
        assert os.read(heard, 1) == b"."
        taken, pipe = (os.open(tmp_path / name, os.O_RDONLY | os.O_NONBLOCK) for name in ("taken", "pipe"))
        running.communicate(b"\n")
    log = tmp_path / "log"
    printed = [one.content for one in loglines.decode(log.read_bytes()) if one.stream == loglines.STDOUT]
    assert running.returncode == 7
    assert b"".join(printed).decode() == logged
    assert output.rest(taken, pipe, log.stat().st_size).decode() == left
    for descriptor in (heard, taken, pipe):
        os.close(descriptor)
