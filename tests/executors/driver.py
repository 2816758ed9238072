"""A server to be killed: ``driver.py HOME fork|spawn outlive|end NAME...`` owns an executor, starts what the names say,
and says `up` when it runs. The kind of an attempt is the first part of its name. What it reads is asked for, too."""

import asyncio
import sys
from pathlib import Path

from alula.core.launch import Launch
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.life import Habits

FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, '-c', 'import time; time.sleep(60)']
pids = [os.getpid(), subprocess.Popen(sleep).pid, subprocess.Popen(sleep, start_new_session=True).pid]
open(os.environ['PIDS'], 'w').write(' '.join(map(str, pids)) + ' .')
time.sleep(60)
"""

# Says when it begins and when it ends; that is when there is a file called `gate`.
GATED = """
import os, time
with open(os.environ['RUNS'], 'a') as runs: runs.write(os.environ['NAME'] + '\\n')
print('before', flush=True)
while not os.path.exists(os.environ['GATE']): time.sleep(0.02)
print('after')
"""

CODES = {"quick": "print('done')", "long": FAMILY, "gated": GATED}


def launch(folder: Path, name: str) -> Launch:
    files = {"PIDS": f"{name}.pids", "RUNS": "runs", "GATE": "gate"}
    env = {key: str(folder / file) for key, file in files.items()}
    return Launch(name, ("python", "-c", CODES[name.partition("-")[0]]), {**env, "NAME": name})


async def serve(home: Path, mode: str, fate: str, names: list[str]) -> None:
    habits = Habits(outlive=fate == "outlive")
    async with ProcessExecutor(home, mode="fork" if mode == "fork" else "spawn", habits=habits) as executor:
        await asyncio.gather(*(executor.submit(launch(home.parent, name)) for name in names))
        for name in names:
            if name.startswith("quick"):
                async for _ in executor.logs(name, follow=True):
                    pass
        print("up", flush=True)
        line = await asyncio.to_thread(sys.stdin.readline)  # what is to be asked for, and never heard
        asking = [asyncio.create_task(executor.submit(launch(home.parent, name))) for name in line.split()]
        await asyncio.gather(*asking)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
