"""The launcher: a program with one thread that holds the attempts' processes. It forks them, waits for them, ends them.

It never touches the disk (the recorder does) and never waits for a peer. When the server goes away it ends every
attempt and itself; when it dies itself, the kernel kills the attempts' main processes and the server the rest.
"""

import ctypes
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from alula.executors.process import child, memory, preload, tree
from alula.executors.process.channel import Channel, Message

_PR_SET_CHILD_SUBREAPER = 36
_AGAIN = 0.02  # seconds until processes that were killed are looked for again
_STUCK = 5.0  # seconds after which a process that does not die of SIGKILL is left to the kernel
_LAST_GRACE = 2.0  # seconds between SIGTERM and SIGKILL when the server is gone


@dataclass(slots=True)
class Attempt:
    """A live attempt; ``pid`` is its main process, its session and its process group."""

    name: str
    directory: str
    pid: int
    started_ns: int
    kill_at: float | None = None  # when SIGTERM becomes SIGKILL
    lost: str = ""  # why its end will not count
    killed: bool = False
    ended: Message = field(default_factory=dict)  # set when the main process is gone, and others may be left
    give_up_at: float = 0.0


class Launcher:
    """The program's state and its loop."""

    def __init__(self, server: Channel, recorder: Channel, recorder_pid: int, runtime: preload.Runtime | None) -> None:
        self._server, self._recorder, self._recorder_pid = server, recorder, recorder_pid
        self._runtime = runtime
        self._attempts: dict[str, Attempt] = {}
        self._closing = False
        self._boot = tree.boot()
        self._oom = memory.OomCounter()
        self._selector = selectors.DefaultSelector()
        wake, ring = os.pipe()
        for end in (wake, ring):
            os.set_blocking(end, False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        self._selector.register(wake, selectors.EVENT_READ, self._woken)
        self._selector.register(server.socket, selectors.EVENT_READ, self._hear)
        self._selector.register(recorder.socket, selectors.EVENT_READ, self._recorder_gone)

    def run(self) -> None:
        while not (self._closing and not self._attempts):
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._reap()
            self._press()
            self._server.flush()
            self._recorder.flush()
        while self._recorder.pending:  # the last ends
            time.sleep(_AGAIN)
            self._recorder.flush()
        self._recorder.socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self._recorder_pid, 0)

    def _patience(self) -> float | None:
        now = time.monotonic()
        waits = [max(0.0, one.kill_at - now) for one in self._attempts.values() if one.kill_at is not None]
        if self._server.pending or self._recorder.pending or any(one.ended for one in self._attempts.values()):
            waits.append(_AGAIN)
        return min(waits, default=None)

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake, 1 << 16)

    def _recorder_gone(self) -> None:
        """Without the recorder no end can be kept: end it all, as if the launcher had crashed."""
        self._recorder.receive()
        if self._recorder.gone:
            for one in self._attempts.values():
                tree.send([*self._members(one), one.pid], signal.SIGKILL)
            os._exit(1)

    def _hear(self) -> None:
        for message in self._server.receive():
            if "start" in message:
                self._start(message)
            elif (one := self._attempts.get(message["kill"])) is not None:
                self._stop(one, message["grace"])
        if self._server.gone:
            self._selector.unregister(self._server.socket)
            self._closing = True
            for one in self._attempts.values():
                one.lost = "the server ended"
                self._stop(one, _LAST_GRACE)

    # Starting

    def _start(self, message: Message) -> None:
        name, command, env = message["start"], message["command"], message["env"]
        executable, problem = _resolve(command[0], env.get("PATH", os.defpath), message["work"])
        if not executable:
            self._fail(message, 127 if "not found" in problem else 126, problem)
            return
        if self._runtime is not None and not self._runtime.current():
            self._runtime = None
            self._server.send({"ready": "spawn", "note": "packages were installed or removed: attempts start cold"})
        runtime = self._runtime
        if runtime is not None and (command[0] != "a0" or executable != runtime.script or not runtime.fits(env)):
            runtime = None
        start = child.Start(name, command, env, message["work"], executable, message.get("bundle"))
        source, output = os.pipe()
        # The launcher ignores SIGTERM. Blocked, one that comes before the child no longer does so is kept for it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            pid = os.fork()
        except OSError as error:
            os.close(source)
            self._fail(message, 126, f"cannot start a process: {error.strerror}")
            return
        else:
            if pid == 0:
                child.run(start, output, runtime)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(output)
        one = Attempt(name, message["directory"], pid, time.time_ns())
        self._attempts[name] = one
        process = {"pid": pid, "started": tree.started(pid), "boot": self._boot}
        how = "forked" if runtime is not None else "started"
        self._open(one, f"{how} process {pid}: {_shown(command)}", process, source)
        self._server.send({"started": name, "at": one.started_ns})

    def _fail(self, message: Message, code: int, problem: str) -> None:
        one = Attempt(message["start"], message["directory"], 0, time.time_ns())
        self._open(one, "", {"pid": 0, "started": 0, "boot": ""}, None)
        self._end(one, {"exit_code": code, "say": f"exit code {code}: {problem}"})

    def _open(self, one: Attempt, say: str, process: Message, source: int | None) -> None:
        message = {"open": one.name, "directory": one.directory, "say": say, "process": process}
        self._recorder.send({**message, "output": source is not None}, source)

    # Ending

    def _reap(self) -> None:
        by_pid = {one.pid: one for one in self._attempts.values()}
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if (one := by_pid.get(pid)) is not None and not one.ended:
                self._main_ended(one, os.waitstatus_to_exitcode(status), usage)
        for one in [one for one in self._attempts.values() if one.ended]:
            self._finish(one)

    def _main_ended(self, one: Attempt, code: int, usage: Any) -> None:
        one.kill_at = None
        one.give_up_at = time.monotonic() + _STUCK
        one.ended = {"ended_ns": time.time_ns(), "cpu": usage.ru_utime + usage.ru_stime, "max_rss": usage.ru_maxrss}
        if code < 0:
            oom = -code == signal.SIGKILL and not one.killed and self._oom.grew()
            one.ended |= {"signal": -code, "out_of_memory": oom, "say": _signal_text(-code, oom=oom)}
        else:
            one.ended |= {"exit_code": code, "say": f"exit code {code}"}

    def _finish(self, one: Attempt) -> None:
        """The main process is gone; end the attempt once nothing else of it is left."""
        left = self._members(one)
        if left and time.monotonic() < one.give_up_at:
            tree.send(left, signal.SIGKILL)
            return
        del self._attempts[one.name]
        if not self._attempts:  # whoever is left belonged to an attempt, though nothing says to which
            strangers = [pid for orphan in self._orphans() for pid in (orphan, *tree.descendants(orphan))]
            tree.send(strangers, signal.SIGKILL)
        self._end(one, one.ended)

    def _end(self, one: Attempt, ended: Message) -> None:
        record = {"name": one.name, "started_ns": one.started_ns, "ended_ns": time.time_ns(), **ended}
        say = record.pop("say")
        if one.lost:
            record["lost"], say = one.lost, f"lost: {one.lost} ({say})"
        self._recorder.send({"end": one.name, "record": record, "say": say})

    def _stop(self, one: Attempt, grace: float) -> None:
        if one.kill_at is None and not one.ended:
            one.kill_at = time.monotonic() + grace
            tree.send([*self._members(one), one.pid], signal.SIGTERM)

    def _press(self) -> None:
        """SIGKILL for those whose grace is over; again and again, as they may fork while they are looked for."""
        now = time.monotonic()
        for one in self._attempts.values():
            if one.kill_at is not None and one.kill_at <= now:
                one.killed, one.kill_at = True, now + _AGAIN
                tree.send([one.pid, *self._members(one)], signal.SIGKILL)

    def _members(self, one: Attempt) -> list[int]:
        """Every live process of the attempt but its main one."""
        if not tree.LINUX:
            return [-one.pid] if tree.send_group(one.pid, 0) else []
        found = [] if one.ended else tree.descendants(one.pid)
        for orphan in self._orphans():
            if self._owns(one, orphan):
                found += [orphan, *tree.descendants(orphan)]
        return [pid for pid in found if tree.alive(pid)]

    def _orphans(self) -> list[int]:
        """Live processes whose parents are gone, so that the launcher, a subreaper, has become theirs."""
        if not tree.LINUX:
            return []
        known = {one.pid for one in self._attempts.values()} | {self._recorder_pid}
        return [pid for pid in tree.children(os.getpid()) if pid not in known and tree.alive(pid)]

    def _owns(self, one: Attempt, orphan: int) -> bool:
        if tree.session(orphan) == one.pid or tree.mark(orphan).partition("/")[2] == one.name:
            return True
        return tree.directory(orphan).startswith(f"{one.directory}/")


def _resolve(command: str, path: str, work: str) -> tuple[str, str]:
    """The file to execute, as a shell would find it, or an empty string and the problem."""
    found = os.path.join(work, command) if "/" in command else shutil.which(command, path=path)
    if found is None:
        return "", f"command not found: {command} (looked in PATH={path})"
    if not os.path.exists(found):
        return "", f"command not found: {command}"
    if os.path.isdir(found) or not os.access(found, os.X_OK):
        return "", f"cannot execute {command}: it is not an executable file"
    return found, ""


def _shown(command: list[str]) -> str:
    """The command for the log, shortened: arguments may be whole programs."""
    return " ".join(part if len(part) <= 80 else part[:77] + "..." for part in command[:4]).replace("\n", " ")


def _signal_text(number: int, *, oom: bool) -> str:
    name = signal.Signals(number).name if number in list(signal.Signals) else str(number)
    return f"ended by signal {name}" + (" (out of memory)" if oom else "")


def _start_recorder(home: str, server: int, lock: int, cap: str) -> tuple[Channel, int]:
    ours, theirs = socket.socketpair()
    env = {name: value for name, value in os.environ.items() if name != tree.MARK}
    code = "import sys; sys.path.pop(0); from alula.executors.process.recorder import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, home, str(theirs.fileno()), str(server), cap],
        pass_fds=(theirs.fileno(), server, lock),
        env=env,
        start_new_session=True,
    )
    theirs.close()
    os.close(server)
    process.returncode = 0  # waited for in our own loop
    return Channel(ours), process.pid


def main() -> None:
    """``launcher <home> <server socket> <recorder's server socket> <lock> <mode> <script> <log cap>``.

    Sockets and lock are inherited descriptors; ``mode`` is ``fork`` or ``spawn``; ``script`` is the `a0` of the
    environment.
    """
    home, server, recorder_server, lock, mode, script, cap = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they end when the server does; so the recorder, too
        signal.signal(number, signal.SIG_IGN)
    if tree.LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    channel, recorder_pid = _start_recorder(home, int(recorder_server), int(lock), cap)
    child.locate_shown()
    runtime, note = None, ""
    if mode == "fork":
        try:
            runtime = preload.load(script)
        except Exception as error:  # any failure of the import: attempts start cold and say it themselves
            note = f"attempts start cold: {type(error).__name__}: {error}"
    to_server = Channel(socket.socket(fileno=int(server)))
    launcher = Launcher(to_server, channel, recorder_pid, runtime)
    to_server.send({"ready": "fork" if runtime else "spawn", "note": note, "recorder": recorder_pid})
    launcher.run()
    os._exit(0)  # the runtime's exit handlers are for attempts


if __name__ == "__main__":
    main()
