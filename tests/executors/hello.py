"""A code bundle by hand, and the `a0` command that runs a task of it on local storage."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

SOURCE = """
import os, random, sys, threading, time, uuid
import flyte

env = flyte.TaskEnvironment(name="hello")

@env.task
async def main(x: int = 3) -> int:
    print("hello", x)
    return x + 1

@env.task
def fails() -> int:
    raise ValueError("as asked")

@env.task
async def facts() -> str:
    print("random", random.random(), uuid.uuid4(), sorted(os.listdir(".")))
    print("argv", sys.argv[0], sys.argv[1], "main", sys.modules["__main__"].__file__)
    print("cmdline", open("/proc/self/cmdline").read().split("\\0")[:3], open("/proc/self/comm").read().strip())
    print("threads", sorted(thread.name for thread in threading.enumerate()))
    fds = [fd for fd in map("/proc/self/fd/{}".format, os.listdir("/proc/self/fd")) if os.path.lexists(fd)]
    print("fds", sorted(os.readlink(fd).split(":")[0] for fd in fds))
    return "ok"

def square(x):
    return x * x

@env.task
def pool() -> int:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    total = 0
    for method in ("spawn", "fork"):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as workers:
            total += sum(workers.map(square, [1, 2, 3]))
    print("pool", total)
    return total

@env.task
def leaves() -> int:
    import atexit
    atexit.register(lambda: print("exit handler"))
    thread = threading.Thread(target=lambda: (time.sleep(0.2), print("late thread")), daemon=False)
    thread.start()
    return 1

@env.task
def daemon() -> int:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            print("daemon", os.getpid(), flush=True)
            time.sleep(60)
        os._exit(0)
    os.wait()
    time.sleep(0.2)
    return 1

@env.task
def exits() -> int:
    os._exit(9)
"""


def bundle(folder: Path) -> Path:
    """Write the bundle; returns the archive."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "fast0123.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        for name, content in {"hello.py": SOURCE, "package/__init__.py": "", "package/data.txt": "data"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content.encode()))
    return archive


def command(base: Path, archive: Path | str, task: str) -> tuple[str, ...]:
    """`a0` as the control plane would say it; outputs go to ``base/out``."""
    base.mkdir(parents=True, exist_ok=True)
    (base / "inputs.pb").write_bytes(b"")
    return (
        "a0", "--inputs", f"{base}/inputs.pb", "--outputs-path", f"{base}/out", "--version", "v1",
        "--raw-data-path", f"{base}/raw", "--checkpoint-path", f"{base}/checkpoint", "--prev-checkpoint", '""',
        "--run-base-dir", str(base), "--name", "a0", "--run-name", "r1", "--project", "p", "--domain", "development",
        "--org", "local", "--image-cache", "", "--tgz", str(archive), "--dest", ".",
        "--resolver", "flyte._internal.resolvers.default.DefaultTaskResolver", "mod", "hello", "instance", task,
    )  # fmt: skip


ENV: Mapping[str, str] = {
    "FSSPEC_FILE_AUTO_MKDIR": "1",
    "_U_EP_OVERRIDE": "localhost:1",
    "_U_INSECURE": "1",
    "_U_USE_ACTIONS": "1",
    "ACTION_NAME": "a0",
    "RUN_NAME": "r1",
    "LOG_LEVEL": "30",
    "USER_LOG_LEVEL": "20",
}
