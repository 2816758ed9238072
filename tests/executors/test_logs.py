"""Logs: in full, in bounded memory, live, whatever the bytes are."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from alula.core.launch import Launch, Originator
from alula.executors.process import loglines
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.life import Habits
from alula.executors.process.recorder import Log, tail_text
from alula.executors.process.writer import Writer

from .conftest import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_followed_live(bench: Bench) -> None:
    code = "import time\nfor _ in range(5): print(time.time_ns()); time.sleep(0.1)\nprint('.', end=''); time.sleep(0.3)"
    await bench.python("one", code)
    texts: list[tuple[str, float]] = []
    async for batch in bench.logs("one", follow=True):
        now = time.time_ns()
        texts += [(line.text, now) for line in batch if line.originator is Originator.USER]
    late = [(at - int(text)) / 1e9 for text, at in texts if text.strip().isdigit()]
    assert len(late) == 5
    assert sorted(late)[2] < 0.1
    assert texts[-1][0] == "."


async def test_followed_by_many_and_left_early(bench: Bench) -> None:
    await bench.python("one", "print('a'); input() if 0 else None; import time; time.sleep(0.2); print('b')")
    assert await bench.printed("one", "a") == "a\n"  # leaves the log while it grows
    assert await asyncio.gather(*(bench.said("one") for _ in range(3))) == ["a\nb\n"] * 3
    assert isinstance(bench.executor, ProcessExecutor)
    assert bench.executor._growth.names() == []


async def test_not_followed_ends_at_once(bench: Bench) -> None:
    await bench.python("one", "print('a'); import time; time.sleep(60)")
    await bench.printed("one", "a")
    lines = [line.text async for batch in bench.logs("one", follow=False) for line in batch]
    assert lines[-1] == "a\n"
    for name in ("unknown", "../id"):
        assert [batch async for batch in bench.logs(name, follow=True)] == []


async def test_any_bytes_and_very_long_lines(bench: Bench) -> None:
    code = (
        "import os; out = os.fdopen(1, 'wb');"
        "out.write(b'\\xff\\xfe\\x00caf\\xc3\\xa9\\r\\n');"
        "out.write(b'\\xe2\\x82\\xac' * 100_000 + b'\\n'); out.write(b'no end')"
    )
    await bench.python("one", code)
    lines = [line for line in await bench.lines("one") if line.originator is Originator.USER]
    assert lines[0].text == "\ufffd\ufffd\0café\r\n"
    assert "".join(line.text for line in lines[1:]) == "€" * 100_000 + "\nno end"
    assert max(len(line.text) for line in lines) <= loglines.PIECE


async def test_a_hundred_megabytes(bench: Bench) -> None:
    """Nobody holds it in memory, and it does not hold up the others."""
    code = "import sys; block = (b'x' * 99 + b'\\n') * 10_000\nfor _ in range(100): sys.stdout.buffer.write(block)"
    await bench.python("big", code)
    began = time.monotonic()
    await bench.start("small", "echo", "hello")
    assert await bench.said("small") == "hello\n"
    assert time.monotonic() - began < 2.0
    size = lines = 0
    async for batch in bench.logs("big", follow=True):
        size += sum(len(line.text) for line in batch if line.originator is Originator.USER)
        lines += sum(line.text.endswith("\n") for line in batch)
    assert size == 100 * 1000 * 1000
    assert lines == 1_000_000 + 2
    assert len(list((bench.home / "logs").glob(f"big{bench.suffix}.log*"))) > 6, "it is kept in segments"
    for pid in _programs(bench):
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert int(status["VmHWM"].split()[0]) < 200_000  # kB; the launcher with the runtime is the largest


async def test_a_line_of_a_hundred_megabytes(bench: Bench) -> None:
    await bench.python("line", "import sys\nfor _ in range(100): sys.stdout.buffer.write(b'x' * 1_000_000)")
    size = longest = 0
    async for batch in bench.logs("line", follow=True):
        lengths = [len(line.text) for line in batch if line.originator is Originator.USER]
        size, longest = size + sum(lengths), max([longest, *lengths])
    assert size == 100 * 1000 * 1000
    assert longest <= loglines.PIECE
    seen = await bench.observe("line")
    assert seen is not None
    assert seen.log_tail == "x" * 2048


async def test_a_bar_is_seen_while_its_line_has_no_end(bench: Bench, tmp_path: Path) -> None:
    """Carriage returns, as tqdm prints them."""
    gate = tmp_path / "gate"
    wait = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    await bench.python(
        "bar", f"import os, time\nos.write(2, '\\r 50%|█'.encode())\n{wait}\nos.write(2, b'\\r100%|\\n')"
    )
    assert await bench.printed("bar", "█") == "\r 50%|█"
    gate.touch()
    assert await bench.said("bar") == "\r 50%|█\r100%|\n"


async def test_secrets_are_in_no_log(bench: Bench) -> None:
    """Nor in anything else that is left of the attempt."""
    token = "hunter2-hunter22"
    code = (
        "import os, sys, time\ntoken = os.environ['TOKEN']\nprint('all of it:', token)\n"
        "for letter in token: os.write(1, letter.encode()); time.sleep(0.01)\n"
        "os.write(2, (' and the beginning of it: ' + token[:9]).encode())"
    )
    name = f"one{bench.suffix}"
    await bench.executor.submit(Launch(name, ("python", "-c", code), {"TOKEN": token}, secrets=(token,)))
    assert await bench.said("one") == "all of it: ***\n*** and the beginning of it: hunter2-h"
    seen = await bench.observe("one")
    assert seen is not None
    assert seen.log_tail == "all of it: ***\n*** and the beginning of it: hunter2-h"
    left = [path for path in bench.home.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert left == []


def _programs(bench: Bench) -> list[int]:
    from alula.executors.process import tree

    assert isinstance(bench.executor, ProcessExecutor)
    link = bench.executor._life._link
    assert link is not None
    assert link.process is not None
    return [link.process.pid, *tree.children(link.process.pid)]


async def test_log_size_is_capped(tmp_path: Path) -> None:
    async with ProcessExecutor(tmp_path, mode="spawn", habits=Habits(log_cap=100_000)) as executor:
        bench = Bench(executor, tmp_path, "spawn")
        await bench.python("one", "for i in range(20_000): print(i)\nprint('the last words')")
        seen = await bench.over("one")
        lines = await bench.lines("one")
    assert os.path.getsize(tmp_path / "logs" / "one.log") < 101_000
    said = [line.text for line in lines if line.originator is Originator.USER]
    assert said == [f"{number}\n" for number in range(len(said))]
    _, cut, end = [line.text for line in lines if line.originator is Originator.SYSTEM]
    assert cut == "log cut: it reached its size limit of 100000 bytes; what follows is dropped\n"
    assert end.startswith("exit code 0; ")
    assert seen.log_tail.endswith("19999\nthe last words\n")


async def test_a_full_disk_drops_output_and_does_no_more(tmp_path: Path) -> None:
    (tmp_path / "one.log").symlink_to("/dev/full")
    log = Log("one", tmp_path, Writer(tmp_path, "one"), -1, cap=1000)
    log.add(b"a line\n")
    log.add(b"another\n")
    log.say("exit code 0")
    assert log.dropped == "log incomplete: No space left on device; what follows is dropped"
    assert tail_text(bytes(log.tail)) == "a line\nanother\n"


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        (b"", ""),
        (b"one\n", "one\n"),
        (b"no end", "no end"),
        (b"".join(b"%d\n" % number for number in range(100)), "".join(f"{number}\n" for number in range(20, 100))),
        (b"x" * 5000, "x" * 2048),
        (b"\xff\n", "\ufffd\n"),
    ],
)
async def test_tail(printed: bytes, kept: str) -> None:
    assert tail_text(printed) == kept


AT = 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    ("encoded", "entries"),
    [
        (loglines.whole(AT, loglines.STDOUT, b"a\nb c\n\n"), [b"a\n", b"b c\n", b"\n"]),
        (loglines.part(AT, loglines.SYSTEM, b"half"), [b"half"]),
        (b"2023-11-14T22:13:20.123", []),
        (b"garbage that is long enough to look like one line\n", []),
    ],
)
async def test_lines_read_back(encoded: bytes, entries: list[bytes]) -> None:
    found = list(loglines.decode(encoded))
    assert [entry.content for entry in found] == entries
    assert {entry.at_ns for entry in found} <= {AT}


async def test_form_on_disk() -> None:
    assert loglines.whole(AT, loglines.STDOUT, b"hi\n") == b"2023-11-14T22:13:20.123456789Z stdout F hi\n"
