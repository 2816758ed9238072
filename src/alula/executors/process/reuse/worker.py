"""The worker: a program that runs attempts as it is told, each as if it had the process for itself as far as can be.

It runs in the attempts' own environment, maybe under another Python; it needs the standard library and the SDK.
What ends the process ends all attempts in it.
"""

import asyncio
import gc
import json
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from alula.executors.process.reuse import arguments, output
from alula.executors.process.reuse.desk import Desk, Message
from alula.executors.process.reuse.runtime import Runtime

READY = "reusable worker ready"
PIPE, TAKEN, SOCKET = "output", "taken", "desk"  # in the worker's folder

_THREADS = "sync-executor-"  # how the SDK calls the threads in which tasks that are plain functions run


class Worker:
    """``plan``: the folders `logs`, of logs while they are written, `over`, of all others, and its own; the policy."""

    def __init__(self, plan: Message) -> None:
        self._plan = plan
        self._pipe = None
        if plan["policy"]["concurrency"] == 1:
            self._pipe = output.Pipe(f"{plan['folder']}/{PIPE}", f"{plan['folder']}/{TAKEN}")
        else:
            output.route()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._orders: dict[str, Message] = {}
        self._own: set[str] = set()  # variables of the attempt before

    async def run(self) -> None:
        """Serve until the process is ended."""
        loop = asyncio.get_running_loop()
        self._runtime = Runtime()
        await self._runtime.open()

        def hear(message: Message) -> None:
            loop.call_soon_threadsafe(self._obey, message)

        self._desk = Desk(f"{self._plan['folder']}/{SOCKET}", self._plan["policy"], hear, self._pipe)
        self._desk.start()
        gc.collect()
        gc.freeze()
        if self._pipe is not None:
            self._pipe.turn(None)
        print(READY, flush=True)  # noqa: T201
        failure = await self._runtime.failed()
        for order in list(self._orders.values()):
            await self._runtime.write_error(failure, order["arguments"]["outputs"])
        sys.stderr.write(f"{failure}\n")
        _leave(1)

    def _obey(self, message: Message) -> None:
        if "cancel" in message:
            task = self._tasks.get(message["cancel"])
            if task is not None:  # not before its first step: it has to tell of its end
                asyncio.get_running_loop().call_soon(task.cancel)
            return
        name = message["run"]
        parsed = arguments.parse(message["command"])
        self._orders[name] = {**message, "arguments": parsed}
        path, secrets = f"{self._plan['logs']}/{name}.log", message["about"]["secrets"]
        log = output.Log(path, self._plan["cap"], secrets, partial(self._desk.grew, name))
        self._tasks[name] = asyncio.get_running_loop().create_task(self._attempt(name, log))

    async def _attempt(self, name: str, log: output.Log) -> None:
        """One attempt, from its first log line to its last."""
        order, began = self._orders[name], time.time_ns()
        output.current.set(log)
        log.say(f"started in reusable worker {os.getpid()}")
        self._desk.began(name, began)
        if self._pipe is not None:
            self._dress(order["env"])
            self._pipe.turn(log)
        end: dict[str, Any] = {}
        try:
            end["exit_code"] = await self._runtime.run(order["arguments"], order["env"])
        except asyncio.CancelledError:
            await _threads_end()
            end["signal"] = 15
        except SystemExit as exit_:
            _leave(_exit_code(exit_.code))
        except BaseException:
            traceback.print_exc()
            _leave(1)
        if self._pipe is not None:
            self._pipe.turn(None)
        del self._tasks[name], self._orders[name]
        say = "aborted" if "signal" in end else f"exit code {end['exit_code']}"
        tail = log.tail or say
        log.say(say)
        log.close()
        with suppress(OSError):
            os.rename(f"{self._plan['logs']}/{name}.log", f"{self._plan['over']}/{name}.log")
        self._desk.ended(name, {"started_ns": began, "ended_ns": time.time_ns(), "tail": tail, **end})

    def _dress(self, env: dict[str, str]) -> None:
        """With one attempt at a time, the environment is that attempt's."""
        for name in self._own - env.keys():
            os.environ.pop(name, None)
        os.environ.update(env)
        self._own = set(env)


async def _threads_end() -> None:
    """A plain function that runs in a thread cannot be cancelled. Until it has ended, its attempt has not."""
    for thread in threading.enumerate():
        if thread.name.startswith(_THREADS):
            await asyncio.get_running_loop().run_in_executor(None, thread.join)


def _exit_code(code: Any) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
    os._exit(code)


def command(plan: Message) -> tuple[str, ...]:
    """How the worker is started. It finds this package without the environment having it."""
    code = (
        "import sys, types; sys.path.pop(0); package = types.ModuleType('alula'); package.__path__ = [sys.argv[1]]; "
        "sys.modules['alula'] = package; from alula.executors.process.reuse.worker import main; main()"
    )
    return ("python", "-c", code, str(Path(__file__).parents[3]), json.dumps(plan))


def main() -> None:
    """``worker <folder of alula> <plan as JSON>``"""
    plan = json.loads(sys.argv[2])
    sys.argv = ["a0"]
    asyncio.run(Worker(plan).run())
    os._exit(0)
