"""A server to be killed: owns an executor in argv[1] and starts what argv[2:] name; says `up` when they run."""

import asyncio
import sys
from pathlib import Path

from alula.core.launch import Launch
from alula.executors.process.executor import ProcessExecutor

FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, '-c', 'import time; time.sleep(60)']
pids = [os.getpid(), subprocess.Popen(sleep).pid, subprocess.Popen(sleep, start_new_session=True).pid]
open(os.environ['PIDS'], 'w').write(' '.join(map(str, pids)) + ' .')
time.sleep(60)
"""


async def serve(home: Path, mode: str, names: list[str]) -> None:
    async with ProcessExecutor(home, mode="fork" if mode == "fork" else "spawn") as executor:
        for name in names:
            code = "print('done')" if name.startswith("quick") else FAMILY
            pids = str(home.parent / f"{name}.pids")
            await executor.submit(Launch(name, ("python", "-c", code), {"PIDS": pids}))
            if name.startswith("quick"):
                async for _ in executor.logs(name, follow=True):
                    pass
        print("up", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
