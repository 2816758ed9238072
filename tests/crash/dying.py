"""`alula up` that kills itself: `dying.py BEFORE|AFTER CLASS.METHOD NTH HOME PORT`.

It dies by SIGKILL right before, or right after, the NTH call of one method has done its work, as a power cut would.
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

ACTS = {
    "Runs.create": ("alula.control.runs", "Runs", "create"),
    "Actions.enqueue": ("alula.control.actions", "Actions", "enqueue"),
    "ProcessExecutor.submit": ("alula.executors.process.executor", "ProcessExecutor", "submit"),
    "ProcessExecutor.observe": ("alula.executors.process.executor", "ProcessExecutor", "observe"),
    "ProcessExecutor.release": ("alula.executors.process.executor", "ProcessExecutor", "release"),
    "Attempts.moved": ("alula.control.attempts", "Attempts", "moved"),
    "Attempts.retry": ("alula.control.attempts", "Attempts", "retry"),
    "Attempts.settle": ("alula.control.attempts", "Attempts", "settle"),
}


def arm(when: str, act: str, nth: int) -> None:
    module, owner, name = ACTS[act]
    kind = getattr(importlib.import_module(module), owner)
    method = getattr(kind, name)
    calls = 0

    async def dying(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and when == "BEFORE":
            os.kill(os.getpid(), signal.SIGKILL)
        result = await method(*args, **options)
        if calls >= nth and when == "AFTER":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(kind, name, dying)


def main() -> None:
    when, act, nth, home, port = sys.argv[1:]
    from alula.devbox.up import up

    arm(when, act, int(nth))
    up(Path(home), int(port), lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
