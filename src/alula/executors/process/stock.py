"""The launcher's stock of idle workers, and the warm parents that fork them.

For each environment there is a parent with the task runtime loaded, and, once an attempt has shown what its code bundle
imports, one for the bundle, forked from it, with those modules loaded, too. Of user code nothing is loaded. Attempts
that find no idle worker wait for one; those that no parent fits start cold.
"""

import os
import selectors
import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from alula.executors.process import ledger, tree
from alula.executors.process.channel import Channel, Message
from alula.executors.process.ledger import Account
from alula.executors.process.runtime import Runtime

_CORES = os.cpu_count() or 1
_MOST_IDLE = max(8, _CORES)  # of one parent
_MOST_PARENTS = 8  # those that were not used for longest end
_QUIET = 10.0  # seconds without an attempt that waited, until one idle worker less is kept
_UNUSED = 900.0  # seconds without an attempt, until a parent ends; that of the launcher's own environment stays
_HOPELESS = 3  # deaths in a row, each soon after its birth, until attempts start cold
_REST = 60.0  # seconds they do so before another parent is tried
_SOON = 0.005  # seconds until a full socket is tried again
_STEADY = 5.0  # seconds a parent must live for its death to mean nothing

# A parent runs in the Python of an image, in which there may be no alula: the package is found by its folder.
_PACKAGE = Path(__file__).parents[2]
_CODE = (
    "import sys, types; sys.path.pop(0); package = types.ModuleType('alula'); package.__path__ = [sys.argv.pop(1)]; "
    "sys.modules['alula'] = package; from alula.executors.process.parent import main; main()"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a parent comes from: an environment, and, unless ``bundle`` is empty, what code is to run."""

    python: str
    script: str
    env: tuple[tuple[str, str], ...]
    bundle: str = ""


@dataclass(slots=True)
class Idle:
    """A worker that waits for an attempt."""

    pid: int
    channel: Channel
    origin: Origin
    ledger: int = -1


@dataclass(slots=True)
class _Parent:
    """``want``: how many idle workers it should have; ``asked``: how many it was asked for that have not come."""

    origin: Origin
    channel: Channel
    born: float
    runtime: Runtime | None = None  # none: it is not ready
    idle: dict[int, Idle] = field(default_factory=dict)
    waiting: deque[Message] = field(default_factory=deque)
    want: int = 1
    asked: int = 0
    used: float = 0.0
    hurried: float = 0.0

    @property
    def touched(self) -> float:
        return max(self.used, self.born)


class Stock:
    """Parents, their idle workers, and the attempts that wait for one."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._forks = False
        self._parents: dict[Origin, _Parent] = {}
        self._cold: deque[Message] = deque()
        self._home: Origin | None = None
        self._deaths: dict[Origin, tuple[int, float]] = {}  # how many in a row, and when the last one was
        self._sending: list[Channel] = []  # to workers that have not read all of what they are to do
        self._stillborn: deque[int] = deque(maxlen=1000)  # children that died before anybody told of them
        self._notes: list[str] = []

    # What the launcher asks

    def warm(self, message: Message) -> None:
        """Attempts are to be forked. Have a parent for the launcher's own environment: its Python, `a0`, variables."""
        self._forks, self._home = True, _origin(message)
        self._parent(self._home)

    def add(self, message: Message, executable: str) -> None:
        """An attempt is to be started. `ready` hands it out again with its worker."""
        warm = message.get("warm")
        if not self._forks or not warm or message["command"][0] != "a0" or executable != warm["script"]:
            self._cold.append(message)
            return
        plain = _origin(warm)
        own = self._parents.get(replace(plain, bundle=code(message)))
        parent = own if own is not None and own.runtime is not None else self._parent(plain)
        if parent is None:
            self._cold.append(message)
        else:
            parent.used = time.monotonic()
            parent.waiting.append(message)

    def ready(self) -> Iterator[tuple[Message, Idle | None]]:
        """Attempts that can be started now: with a worker, or cold."""
        for parent in list(self._parents.values()):
            if parent.runtime is None:
                continue
            if parent.waiting and not parent.runtime.current():
                self._renew(parent)
                continue
            while parent.waiting:
                if not parent.runtime.fits(parent.waiting[0]["env"]):
                    self._turn_away(parent.waiting.popleft(), parent)
                elif (worker := _pop(parent)) is not None:
                    yield parent.waiting.popleft(), worker
                else:
                    break
            self._replenish(parent)
        while self._cold:
            yield self._cold.popleft(), None

    def begin(self, worker: Idle, start: Message, output: int) -> None:
        """Tell a worker what to do. ``output`` is closed."""
        worker.channel.send({"start": start}, output)
        if worker.channel.pending:
            self._sending.append(worker.channel)
        else:
            worker.channel.socket.close()

    def drop(self, name: str) -> Message | None:
        """Forget an attempt that waits; what it was."""
        for queue in (self._cold, *(parent.waiting for parent in self._parents.values())):
            for message in queue:
                if message["start"] == name:
                    queue.remove(message)
                    return message
        return None

    def learn(self, worker: Idle, bundle: str) -> Account:
        """An attempt is over: what it wrote down. With what its code imported, a parent for its bundle can be made."""
        account = ledger.read(worker.ledger)
        os.close(worker.ledger)
        origin = replace(worker.origin, bundle=bundle)
        plain = self._parents.get(worker.origin)
        new = bundle and not worker.origin.bundle and origin not in self._parents and self._hope(origin)
        if new and account.modules and plain is not None and plain.runtime is not None:
            plain.channel.send({"bundle": bundle, "modules": list(account.modules)})
        return account

    def reaped(self, pid: int) -> None:
        """A child that is no attempt's main process has ended."""
        for parent in self._parents.values():
            if (worker := parent.idle.pop(pid, None)) is not None:
                _close(worker)
                return
        self._stillborn.append(pid)

    def ours(self, pid: int) -> bool:
        """Whether a child of the launcher is a parent, or a worker that is not an attempt yet."""
        return tree.mark(pid) == os.environ.get(tree.MARK)

    @property
    def waiting(self) -> list[Message]:
        return [*self._cold, *(message for parent in self._parents.values() for message in parent.waiting)]

    def patience(self) -> float | None:
        """Seconds until `tend` has something to do."""
        now = time.monotonic()
        channels = [*self._sending, *(parent.channel for parent in self._parents.values())]
        times = [_SOON for channel in channels if channel.pending]
        for parent in self._parents.values():
            if parent.origin != self._home:
                times.append(parent.touched + _UNUSED - now)
            if parent.want > _base(parent, now):
                times.append(parent.hurried + _QUIET - now)
        return max(0.0, min(times)) if times else None

    def tend(self) -> None:
        """What time brings: fewer idle workers, fewer parents. And what a full socket did not take is sent."""
        now = time.monotonic()
        for channel in self._sending:
            channel.flush()
            if not channel.pending:
                channel.socket.close()
        self._sending = [channel for channel in self._sending if channel.pending]
        for parent in list(self._parents.values()):
            parent.channel.flush()
            if parent.want > (base := _base(parent, now)) and parent.hurried + _QUIET <= now:
                parent.want, parent.hurried = max(base, parent.want - 1), now
                while len(parent.idle) > parent.want:
                    _close(parent.idle.pop(next(iter(parent.idle))))
            if parent.origin != self._home and parent.touched + _UNUSED <= now and not parent.waiting:
                self._end(parent)

    def take_notes(self) -> list[str]:
        """What the server should hear: why attempts start cold."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """End all of it."""
        for parent in list(self._parents.values()):
            self._end(parent)

    # Parents

    def _parent(self, origin: Origin) -> _Parent | None:
        """The parent of an environment, which is started if there is none; ``None`` if there is no hope of one."""
        if (parent := self._parents.get(origin)) is not None:
            return parent
        if not self._hope(origin):
            return None
        ours, theirs = socket.socketpair()
        env = {**dict(origin.env), tree.MARK: os.environ.get(tree.MARK, "")}
        number = str(theirs.fileno())
        try:
            with theirs:
                process = subprocess.Popen(
                    [origin.python, "-c", _CODE, str(_PACKAGE), number, origin.script, str(os.getpid())],
                    stdin=subprocess.DEVNULL, env=env, pass_fds=[theirs.fileno()], start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            ours.close()
            self._deaths[origin] = (_HOPELESS, time.monotonic())
            self._notes.append(f"attempts start cold: {origin.python} cannot be started: {error.strerror}")
            return None
        process.returncode = 0  # waited for in the launcher's own loop
        return self._enter(origin, ours)

    def _enter(self, origin: Origin, sock: socket.socket) -> _Parent:
        parent = _Parent(origin, Channel(sock), time.monotonic())
        self._parents[origin] = parent
        self._selector.register(sock, selectors.EVENT_READ, partial(self._hear, parent))
        others = [one for one in self._parents.values() if one is not parent and not one.waiting]
        if len(self._parents) > _MOST_PARENTS and others:
            self._end(min(others, key=lambda one: one.touched))
        return parent

    def _hope(self, origin: Origin) -> bool:
        count, last = self._deaths.get(origin, (0, 0.0))
        return count < _HOPELESS or last + _REST < time.monotonic()

    def _hear(self, parent: _Parent) -> None:
        if self._parents.get(parent.origin) is not parent:
            return  # it was ended by an earlier event of the same round
        for message in parent.channel.receive():
            if "idle" in message:
                channel = Channel(socket.socket(fileno=parent.channel.take_descriptor()))
                parent.idle[message["idle"]] = Idle(message["idle"], channel, parent.origin)
            elif "ledger" in message:
                self._arrived(parent, message["ledger"], parent.channel.take_descriptor())
            elif "forked" in message:
                parent.asked -= message["forked"]
            elif "ready" in message:
                parent.runtime = Runtime.told(message["ready"])
                self._deaths.pop(parent.origin, None)
            elif "parent" in message:
                sock = socket.socket(fileno=parent.channel.take_descriptor())
                if (origin := replace(parent.origin, bundle=message["parent"])) in self._parents:
                    sock.close()
                else:
                    self._enter(origin, sock)
            else:
                self._deaths[parent.origin] = (_HOPELESS, time.monotonic())  # it would fail again
                what = "without its bundle's modules" if parent.origin.bundle else "cold"
                self._notes.append(f"attempts start {what}: {message['failed']}")
        if parent.channel.gone:
            self._died(parent)

    def _arrived(self, parent: _Parent, pid: int, book: int) -> None:
        if (worker := parent.idle.get(pid)) is None:
            os.close(book)
            return
        worker.ledger = book
        if pid in self._stillborn:
            self._stillborn.remove(pid)
            _close(parent.idle.pop(pid))

    def _died(self, parent: _Parent) -> None:
        """Its attempts wait for its successor. Its idle workers end: nobody knows what else it left undone."""
        waiting, origin = parent.waiting, parent.origin
        parent.waiting = deque()
        self._end(parent)
        if parent.runtime is None or time.monotonic() - parent.born < _STEADY:
            count, _ = self._deaths.get(origin, (0, 0.0))
            self._deaths[origin] = (count + 1, time.monotonic())
        elif not origin.bundle:
            self._parent(origin)
        for message in waiting:
            self.add(message, origin.script)

    def _turn_away(self, message: Message, parent: _Parent) -> None:
        """What was loaded for its bundle depends on a variable that is another one for this attempt."""
        plain = self._parents.get(replace(parent.origin, bundle="")) if parent.origin.bundle else None
        (self._cold if plain is None else plain.waiting).append(message)

    def _renew(self, parent: _Parent) -> None:
        """Packages were installed or removed: another parent loads what is there now."""
        waiting, parent.waiting = parent.waiting, deque()
        self._notes.append(f"packages were installed or removed: {parent.origin.script} is loaded again")
        self._end(parent)
        for message in waiting:
            self.add(message, parent.origin.script)

    def _end(self, parent: _Parent) -> None:
        if self._parents.get(parent.origin) is parent:
            del self._parents[parent.origin]
        with suppress(KeyError, ValueError):
            self._selector.unregister(parent.channel.socket)
        parent.channel.socket.close()
        for worker in parent.idle.values():
            _close(worker)

    def _replenish(self, parent: _Parent) -> None:
        """Have workers forked, some at once: the fork in between costs as much as one of them."""
        now = time.monotonic()
        if parent.waiting and parent.asked < len(parent.waiting):
            parent.want, parent.hurried = min(_MOST_IDLE, parent.want + 1), now
        missing = len(parent.waiting) + max(parent.want, _base(parent, now)) - len(parent.idle) - parent.asked
        few = not parent.idle and not parent.asked
        if missing > 0 and (few or parent.waiting or missing * 4 >= parent.want * 3):
            count = min(missing, _MOST_IDLE)
            parent.asked += count
            parent.channel.send({"fork": count})


def _base(parent: _Parent, now: float) -> int:
    """How many idle workers there should be at least: twice as many as can work at once, while they are needed."""
    if now - parent.used < 3 * _QUIET:
        return 2 * _CORES
    return 0 if parent.origin.bundle else 1


def _pop(parent: _Parent) -> Idle | None:
    """The oldest worker; one that is known to be dead is none."""
    for pid in list(parent.idle):
        if (worker := parent.idle[pid]).ledger >= 0:
            del parent.idle[pid]
            return worker
    return None


def _close(worker: Idle) -> None:
    """Without its socket a worker ends."""
    worker.channel.socket.close()
    if worker.ledger >= 0:
        os.close(worker.ledger)


def _origin(warm: Message) -> Origin:
    return Origin(warm["python"], warm["script"], tuple(sorted(warm["env"].items())))


def code(message: Message) -> str:
    """What identifies the code of an attempt: its bundle and the module that its resolver loads; empty if unknown."""
    bundle, command = message.get("bundle"), message["command"]
    if not bundle or command[-4:-3] != ["mod"] or command[-2:-1] != ["instance"]:
        return ""
    return f"{bundle['tree']} {command[-3]}"
