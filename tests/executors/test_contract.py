"""What every attempt is promised by each executor: its environment, end and tree, and that its name is used once."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from alula.core.errors import LaunchRefused
from alula.core.launch import Launch, Originator, Presence
from alula.executors.process import records, tree

from .conftest import Bench

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("shared", ["fork", "spawn", "through"], indirect=True, scope="module"),
]


@pytest.mark.parametrize("code", [0, 1, 3, 255])
async def test_exit_code(bench: Bench, code: int) -> None:
    await bench.python("one", f"raise SystemExit({code})")
    seen = await bench.over("one")
    assert (seen.presence, seen.exit_code, seen.signal) == (Presence.EXITED, code, None)
    assert seen.started_at is not None
    assert seen.ended_at is not None
    assert seen.started_at <= seen.ended_at


async def test_signal(bench: Bench) -> None:
    await bench.python("one", "import os; os.kill(os.getpid(), 9)")
    seen = await bench.over("one")
    assert (seen.presence, seen.exit_code, seen.signal, seen.out_of_memory) == (Presence.EXITED, None, 9, False)


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (("no-such-command", "x"), 127, "command not found: no-such-command"),
        (("./nothing",), 127, "command not found: ./nothing"),
        (("/etc/passwd",), 126, "cannot execute /etc/passwd"),
        (("/",), 126, "cannot execute /"),
    ],
)
async def test_command_that_cannot_run(bench: Bench, command: tuple[str, ...], code: int, says: str) -> None:
    await bench.start("one", *command)
    seen = await bench.observe("one")
    assert seen is not None
    assert (seen.presence, seen.exit_code) == (Presence.EXITED, code)
    assert says in seen.log_tail
    system = [line.text for line in await bench.lines("one") if line.originator is Originator.SYSTEM]
    assert any(says in text for text in system)


async def test_script_with_a_missing_interpreter(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    await bench.start("one", str(script))
    assert (await bench.over("one")).exit_code == 127
    assert "cannot execute" in await bench.said("one")


async def test_output_in_order_with_system_lines_around_it(bench: Bench) -> None:
    await bench.python("one", "import os\nfor i in range(200): os.write(1 + i % 2, b'%d\\n' % i)\nos.write(1, b'end')")
    lines = await bench.lines("one")
    assert "".join(line.text for line in lines[1:-1]) == "".join(f"{i}\n" for i in range(200)) + "end"
    assert [lines[0].originator, lines[-1].originator] == [Originator.SYSTEM] * 2
    assert lines[-1].text.startswith("exit code 0; ")
    assert [line.at for line in lines] == sorted(line.at for line in lines)


async def test_environment_is_clean(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_SECRET", "s3cr3t")
    await bench.python("one", "import os\nfor item in sorted(os.environ.items()): print(*item, sep='=')", GIVEN="yes")
    env = dict(line.split("=", 1) for line in (await bench.said("one")).splitlines())
    assert env["GIVEN"] == "yes"
    assert Path(env["TMPDIR"]).is_relative_to(bench.home)
    assert Path(env["PATH"].split(os.pathsep)[0]).joinpath("a0").exists()
    assert env.keys() <= {
        "GIVEN", "TMPDIR", "PATH", "HOME", "LANG", "PYTHONUNBUFFERED", "ALULA_ATTEMPT", "USER", "LOGNAME", "TZ",
        "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "SSL_CERT_DIR", "LC_CTYPE",
    }  # fmt: skip


async def test_each_attempt_has_its_own_directory(bench: Bench) -> None:
    code = "import os; print(os.listdir('.')); open('file', 'w').write('x'); print(os.getcwd())"
    for name in ("one", "two"):
        await bench.python(name, code)
    said = [(await bench.said(name)).splitlines() for name in ("one", "two")]
    assert [files for files, _ in said] == ["[]", "[]"]
    assert said[0][1] != said[1][1]


async def test_no_inherited_descriptors_and_default_signals(bench: Bench) -> None:
    code = (
        "import os, signal; print(sorted(map(int, os.listdir('/proc/self/fd')))[:3], len(os.listdir('/proc/self/fd')));"
        "print(os.readlink('/proc/self/fd/0'), os.readlink('/proc/self/fd/1') == os.readlink('/proc/self/fd/2'));"
        "lines = open('/proc/self/status').read().splitlines();"
        "s = dict(line.split(':\\t') for line in lines if line.startswith('Sig'));"
        "ignored = [n for n in signal.valid_signals() if int(s['SigIgn'], 16) >> n - 1 & 1];"
        "print(int(s['SigBlk'], 16), sorted(map(int, ignored)), int(s['SigCgt'], 16) == 1 << signal.SIGINT - 1);"
        "print(oct(os.umask(0)), os.getsid(0) == os.getpid() == os.getpgrp())"
    )
    await bench.python("one", code)
    descriptors, standard, signals, rest = (await bench.said("one")).splitlines()
    assert descriptors == "[0, 1, 2] 4"  # the fourth is the listing itself
    assert standard == "/dev/null True"
    # Python ignores SIGPIPE and SIGXFSZ itself; those that the C library keeps for itself nobody can set.
    assert signals == f"0 {sorted((signal.SIGPIPE.value, signal.SIGXFSZ.value))} True"
    assert rest == "0o22 True"


async def test_submit_is_idempotent(bench: Bench) -> None:
    launch = Launch("one", ("python", "-c", "open('runs', 'a').write('x'); print(open('runs').read())"), {})
    await asyncio.gather(*(bench.submit(launch) for _ in range(5)))
    await bench.over("one")
    await bench.submit(launch)
    assert await bench.said("one") == "x\n"
    await bench.release("one")
    with pytest.raises(LaunchRefused, match="used once"):
        await bench.submit(launch)
    assert await bench.names() == []


@pytest.mark.parametrize(
    "launch",
    [
        Launch("../escape", ("true",), {}),
        Launch("UPPER", ("true",), {}),
        Launch("x" * 201, ("true",), {}),
        Launch("empty", (), {}),
        Launch("nul", ("a\0b",), {}),
        Launch("variable", ("true",), {"A=B": "c"}),
    ],
)
async def test_nonsense_is_refused(bench: Bench, launch: Launch) -> None:
    with pytest.raises(LaunchRefused):
        await bench.submit(launch)
    assert await bench.names() == []


async def test_arguments_too_long_for_the_kernel(bench: Bench) -> None:
    await bench.start("one", "python", "-c", "pass", BIG="x" * (1 << 20))
    assert (await bench.over("one")).exit_code == 126


async def test_release_ends_the_process_and_keeps_the_log(bench: Bench) -> None:
    await bench.python("one", "print('here', flush=True); import time; time.sleep(60)")
    await bench.printed("one", "here")
    await bench.release("one")
    assert await bench.observe("one") is None
    assert not records.Home(bench.home).attempt("one" + bench.suffix).exists()
    lines = await bench.lines("one")
    assert [line.text.partition(";")[0] for line in lines][-2:] == ["here\n", "ended by signal SIGTERM"]
    await bench.release("one")
    await bench.release("never-heard-of")


async def test_release_kills_what_ignores_sigterm(bench: Bench) -> None:
    code = "import signal, time; signal.signal(15, lambda *_: print('no')); print('up')\nwhile True: time.sleep(60)"
    await bench.python("one", code, grace=0.2)
    await bench.printed("one", "up")
    await bench.release("one")
    assert "no\n" in await bench.said("one")
    assert (await bench.lines("one"))[-1].text.startswith("ended by signal SIGKILL; ")


# A child in the group, one in a session of its own, a daemon (double fork, own session, another directory, other
# descriptors), and a daemon by exec with an empty environment. All print their pid and sleep.
_FAMILY = """
import os, subprocess, sys, time
sleep = 'import time; time.sleep(60)'
def daemon():
    if os.fork(): return
    os.setsid()
    if os.fork(): os._exit(0)
    os.chdir('/')
    print('pid', os.getpid(), flush=True)
    for fd in (0, 1, 2): os.close(fd)
    time.sleep(60); os._exit(0)
print('pid', subprocess.Popen([sys.executable, '-c', sleep]).pid, flush=True)
print('pid', subprocess.Popen([sys.executable, '-c', sleep], start_new_session=True).pid, flush=True)
daemon()
subprocess.run([sys.executable, '-c', 'import subprocess, sys; sleep = "import time; time.sleep(60)";'
    'nobody = subprocess.Popen([sys.executable, "-c", sleep], start_new_session=True, env={});'
    'print("pid", nobody.pid, flush=True)'])
"""


async def family(bench: Bench, ending: str) -> list[int]:
    await bench.python("one", _FAMILY + ending, grace=1.0)
    pids: list[int] = []
    async with asyncio.timeout(20):
        async for batch in bench.logs("one", follow=True):
            pids += [int(line.text.split()[1]) for line in batch if line.text.startswith("pid ")]
            if len(pids) == 4:
                break
    return pids


async def test_release_ends_the_whole_tree(bench: Bench) -> None:
    pids = await family(bench, "time.sleep(60)")
    assert all(map(tree.alive, pids))
    await bench.release("one")
    assert not any(map(tree.alive, pids))


async def test_nothing_outlives_the_main_process(bench: Bench) -> None:
    pids = await family(bench, "sys.stdin.read()")
    assert (await bench.over("one")).exit_code == 0
    assert not any(map(tree.alive, pids))


async def test_changes_are_pushed(bench: Bench) -> None:
    changes = bench.executor.changes()
    await bench.python("one", "pass")
    async with asyncio.timeout(10):
        while True:
            if await anext(changes) != "one" + bench.suffix:
                continue
            seen = await bench.observe("one")
            assert seen is not None
            if seen.presence is Presence.EXITED:
                break


async def test_fifty_at_once(bench: Bench) -> None:
    names = [f"n{number}" for number in range(50)]
    await asyncio.gather(*(bench.start(name, "sh", "-c", f"echo {name}; exit 7") for name in names))
    assert {(await bench.over(name)).exit_code for name in names} == {7}
    assert [await bench.said(name) for name in names] == [f"{name}\n" for name in names]
    await asyncio.gather(*map(bench.release, names))
    assert await bench.names() == []


async def test_image_that_is_not_here_is_said(bench: Bench) -> None:
    await bench.submit(Launch("one", ("true",), {}, image="python:3.9"))
    seen = await bench.observe("one")
    assert seen is not None
    assert seen.notes[0].startswith(
        "image python:3.9 is not available here: running in the default environment (Python 3"
    )
