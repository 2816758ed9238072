"""The launcher: a program with one thread that holds the attempts' processes. It forks them, waits for them, ends them.

It never touches the disk (the recorder does) and never waits for a peer. When the server dies it goes on, and the next
one finds the attempts as they are; a server that stops has it end them all, and itself. When it dies itself, the kernel
kills the attempts' main processes and the server the rest.
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alula.executors.process import child, ledger, tree
from alula.executors.process.channel import Channel, Message
from alula.executors.process.limits import Held, Limits
from alula.executors.process.peers import PROTOCOL, SOCKET, Servers
from alula.executors.process.stock import Idle, Stock, code

_PR_SET_CHILD_SUBREAPER = 36
_AGAIN = 0.02  # seconds until processes that were killed are looked for again
_STUCK = 5.0  # seconds after which a process that does not die of SIGKILL is left to the kernel
_LAST_GRACE = 2.0  # seconds between SIGTERM and SIGKILL when all is ended
_ALONE = 10.0  # seconds without a server and without attempts, until the launcher ends
_LOOK = 1.0  # seconds between two looks at the home while there is no server


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
    worker: Idle | None = None  # what it was before; none: it was started cold
    code: str = ""
    asked: int = 0  # nanoseconds of the monotonic clock: when it was asked for,
    begun: int = 0  # and when its process was told what to do


class Launcher:
    """The program's state and its loop."""

    def __init__(self, listener: socket.socket, home: Path, recorder: Channel, recorder_pid: int, held: Limits) -> None:
        self._recorder, self._recorder_pid = recorder, recorder_pid
        self._home, self._home_was = home, home.stat()
        self._attempts: dict[str, Attempt] = {}
        self._closing = False
        self._outlive = False  # the server, when it dies
        self._boot = tree.boot()
        self._limits = held
        self._selector = selectors.DefaultSelector()
        self.stock = Stock(self._selector)
        wake, ring = os.pipe()
        for end in (wake, ring):
            os.set_blocking(end, False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        self._selector.register(wake, selectors.EVENT_READ, self._woken)
        self._selector.register(recorder.socket, selectors.EVENT_READ, self._recorder_gone)
        self._server = Servers(listener, str(home / SOCKET), self._selector, self._hear, self._left)

    def run(self) -> None:
        while not (self._closing and not self._attempts):
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._reap()
            self._begin()
            self._press()
            self._look_around()
            self._server.flush()
            self._recorder.flush()
        while self._recorder.pending:  # the last ends
            time.sleep(_AGAIN)
            self._recorder.flush()
        self._limits.close()
        self._recorder.socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self._recorder_pid, 0)

    def _patience(self) -> float | None:
        now = time.monotonic()
        waits = [max(0.0, one.kill_at - now) for one in self._attempts.values() if one.kill_at is not None]
        if self._server.pending or self._recorder.pending or any(one.ended for one in self._attempts.values()):
            waits.append(_AGAIN)
        if (tending := self.stock.patience()) is not None:
            waits.append(tending)
        if self._server.absent_since is not None:
            waits.append(_LOOK)
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

    # The server

    def _hear(self, message: Message) -> None:
        if "start" in message:
            if not self._closing:
                self._start(message)
        elif "hello" in message:
            self._welcome(message)
        elif "close" in message:
            self._close("the server ended")
        elif (one := self._attempts.get(message["kill"])) is not None:
            self._stop(one, message["grace"])
        elif (waiting := self.stock.drop(message["kill"])) is not None:
            self._never(waiting)

    def _welcome(self, message: Message) -> None:
        """A new server asks what there is. The answer goes through the recorder: every end before it is on disk."""
        self._outlive = message["outlive"]
        held = {one["start"]: 0 for one in self.stock.waiting}  # they are to have a process, and have none yet
        held |= {one.name: one.started_ns for one in self._attempts.values()}
        self._recorder.send({"server": {"protocol": PROTOCOL, "held": held}}, self._server.take_descriptor())

    def _left(self) -> None:
        if not self._outlive:
            self._close("the server ended")

    def _look_around(self) -> None:
        """Without a server: end when there is nothing to do, or nothing to do it for."""
        if self._server.absent_since is None or self._closing:
            return
        try:
            removed = not os.path.samestat(os.stat(self._home), self._home_was)
        except OSError:
            removed = True
        busy = self._attempts or self.stock.waiting
        if removed or (not busy and time.monotonic() - self._server.absent_since > _ALONE):
            self._close("the folder of the server was removed")

    def _close(self, why: str) -> None:
        """End it all. What has no process yet gets none, and nothing is said of it: the next server may start it."""
        self._closing = True
        self._server.shut()
        for message in self.stock.waiting:
            self.stock.drop(message["start"])
        for one in self._attempts.values():
            one.lost = why
            self._stop(one, _LAST_GRACE)

    # Starting

    def _start(self, message: Message) -> None:
        command, path = message["command"], message["env"].get("PATH", os.defpath)
        executable, problem = _resolve(command[0], path, message["work"])
        if not executable:
            self._fail(message, 127 if "not found" in problem else 126, problem)
            return
        message["executable"] = executable
        self.stock.add(message, executable)

    def _begin(self) -> None:
        """Start what can be started now: by an idle worker, or cold."""
        self.stock.tend()
        for message, worker in self.stock.ready():
            self._place(message, worker)
        for note in self.stock.take_notes():
            self._server.send({"note": note})

    def _place(self, message: Message, worker: Idle | None) -> None:
        name, command = message["start"], message["command"]
        held = self._limits.hold(name, os.path.basename(message["directory"]), message.get("limits"))
        start = child.Start(name, command, message["env"], message["work"], message.get("bundle"))
        source, output = os.pipe()
        begun = time.monotonic_ns()
        try:
            pid = _start_cold(start, message["executable"], output, held) if worker is None else worker.pid
        except OSError as error:
            for end in (source, output):
                os.close(end)
            self._fail(message, 126, f"cannot start a process: {error.strerror}")
            return
        one = Attempt(name, message["directory"], pid, time.time_ns(), worker=worker, code=code(message))
        one.asked, one.begun = message.get("asked", begun), begun
        self._attempts[name] = one
        process = {"pid": pid, "started": tree.started(pid), "boot": self._boot}
        if worker is None:
            os.close(output)
        else:
            held.enter(pid)
            self.stock.begin(worker, asdict(start), output)
        how = "started" if worker is None else "forked"
        self._open(one, f"{how} process {pid}{held}: {_shown(command)}", process, source, message.get("secrets"))
        self._server.send({"started": name, "at": one.started_ns})

    def _never(self, message: Message) -> None:
        """It was ended before it had a process."""
        one = Attempt(message["start"], message["directory"], 0, time.time_ns())
        self._open(one, "", {"pid": 0, "started": 0, "boot": ""}, None)
        self._end(one, {"signal": signal.SIGTERM, "say": "ended before it began"})

    def _fail(self, message: Message, code: int, problem: str) -> None:
        one = Attempt(message["start"], message["directory"], 0, time.time_ns())
        self._open(one, "", {"pid": 0, "started": 0, "boot": ""}, None)
        self._end(one, {"exit_code": code, "say": f"exit code {code}: {problem}"})

    def _open(
        self, one: Attempt, say: str, process: Message, source: int | None, secrets: list[str] | None = None
    ) -> None:
        message = {"open": one.name, "directory": one.directory, "say": say, "process": process, "secrets": secrets}
        message["meter"] = self._limits.meter(one.name)
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
            else:
                self.stock.reaped(pid)
        for one in [one for one in self._attempts.values() if one.ended]:
            self._finish(one)

    def _main_ended(self, one: Attempt, code: int, usage: Any) -> None:
        one.kill_at = None
        one.give_up_at = time.monotonic() + _STUCK
        one.ended = {"ended_ns": time.time_ns(), "cpu": usage.ru_utime + usage.ru_stime, "max_rss": usage.ru_maxrss}
        account = ledger.Account() if one.worker is None else self.stock.learn(one.worker, one.code)
        one.ended["timings_ns"] = ledger.split(one.asked, one.begun, account.stamps, time.monotonic_ns())
        if self._server.was_away(one.begun / 1e9):
            one.ended["unserved"] = True
        if code < 0:
            one.ended |= {"signal": -code, "say": _signal_text(-code)}
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
        record |= self._limits.release(one.name, record, killed=one.killed)
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
        found = [pid for pid in self._limits.members(one.name) if pid != one.pid]
        found += [] if one.ended else tree.descendants(one.pid)
        for orphan in self._orphans():
            if self._owns(one, orphan):
                found += [orphan, *tree.descendants(orphan)]
        return [pid for pid in found if tree.alive(pid)]

    def _orphans(self) -> list[int]:
        """Live processes whose parents are gone, so that the launcher, a subreaper, has become theirs."""
        if not tree.LINUX:
            return []
        known = {one.pid for one in self._attempts.values()} | {self._recorder_pid}
        children = [pid for pid in tree.children(os.getpid()) if pid not in known and tree.alive(pid)]
        return [pid for pid in children if not self.stock.ours(pid)]

    def _owns(self, one: Attempt, orphan: int) -> bool:
        if tree.session(orphan) == one.pid or tree.mark(orphan).partition("/")[2] == one.name:
            return True
        return tree.directory(orphan).startswith(f"{one.directory}/")


def _start_cold(start: child.Start, executable: str, output: int, held: Held) -> int:
    # The launcher ignores SIGTERM. Blocked, one that comes before the child no longer does so is kept for it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        pid = os.fork()
        if pid == 0:
            child.execute(start, executable, output, held.enter)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def _signal_text(number: int) -> str:
    name = signal.Signals(number).name if number in list(signal.Signals) else str(number)
    return f"ended by signal {name}"


def _start_recorder(home: str, lock: int, cap: str) -> tuple[Channel, int]:
    ours, theirs = socket.socketpair()
    env = {name: value for name, value in os.environ.items() if name != tree.MARK}
    code = "import sys; sys.path.pop(0); from alula.executors.process.recorder import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, home, str(theirs.fileno()), cap],
        pass_fds=(theirs.fileno(), lock),
        env=env,
        start_new_session=True,
    )
    theirs.close()
    process.returncode = 0  # waited for in our own loop
    return Channel(ours), process.pid


def main() -> None:
    """``launcher <home> <listener> <lock> <mode> <script> <log cap>``.

    Listener and lock are inherited descriptors; ``mode`` is ``fork`` or ``spawn``; ``script`` is the `a0` of the
    environment.
    """
    home, listener, lock, mode, script, cap = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # who means it says "close"; so the recorder, too
        signal.signal(number, signal.SIG_IGN)
    for inherited in (listener, lock):
        os.set_inheritable(int(inherited), False)
    if tree.LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    channel, recorder_pid = _start_recorder(home, int(lock), cap)
    held = Limits(Path(home), (Path(home) / "id").read_text().strip())
    launcher = Launcher(socket.socket(fileno=int(listener)), Path(home), channel, recorder_pid, held)
    if mode == "fork":
        env = {name: value for name, value in os.environ.items() if name != tree.MARK}
        launcher.stock.warm({"python": sys.executable, "script": script, "env": env})
    launcher.run()
    os._exit(0)


if __name__ == "__main__":
    main()
