"""What is seen of a task while it runs: its log and its report; and what is never seen of it: its secrets."""

import os
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import flyte
import flyte.report
from flyte.remote import Run
from flyte.remote._logs import Logs
from flyteidl2.logs.dataplane import payload_pb2
from telling import end, tell  # type: ignore[import-not-found]

TIMES = 20

env = flyte.TaskEnvironment(name="live")
secretive = flyte.TaskEnvironment(
    name="secretive",
    secrets=[
        flyte.Secret("live-token", as_env_var="TOKEN"),
        flyte.Secret("live-file", mount=Path("/etc/flyte/secrets")),
    ],
)


def wait_for(folder: str, name: str) -> None:
    """Until the client says so."""
    while not (Path(folder) / name).exists():
        time.sleep(0.002)


@env.task
async def answers(folder: str) -> None:
    """Prints a line for each that the client has seen."""
    for n in range(TIMES):
        print(f"line {n} ends")
        wait_for(folder, str(n))


@env.task(report=True)
async def reports(folder: str) -> None:
    await flyte.report.log.aio("<b>half done</b>", do_flush=True)
    print("half done")
    wait_for(folder, "seen")
    await flyte.report.log.aio("<b>all done</b>", do_flush=True)


@env.task
async def bars() -> None:
    for n in range(5):
        print(f"\r{n * 25:3}%|{'█' * n:4}|", end="", file=sys.stderr)
        time.sleep(0.1)
    os.write(2, b"\n\x1b[31mred\x1b[0m \xff\x00\n")


@secretive.task
async def leaks() -> list[int]:
    token = os.environ["TOKEN"]
    content = (Path(os.environ["FLYTE_SECRETS_DEFAULT_DIR"]) / "live-file").read_text()
    print(f"the token is {token}.")
    for letter in token:
        os.write(1, letter.encode())
        time.sleep(0.02)
    print("\nthe file has\n" + content + "and no more")
    return [len(token), len(content)]


@secretive.task
async def dies() -> None:
    os.write(2, f"last words: {os.environ['TOKEN']}\n".encode())
    os._exit(3)


def text(run: Run) -> Iterator[str]:
    """The lines of a log; without the blank that the SDK puts before each."""
    return (line[1:] for line in run.get_logs())


def system(run: Run) -> list[str]:
    """What the server says in a log."""
    lines = Logs.tail(action_id=run.action.action_id, attempt=1)
    return [line.message for line in lines if line.originator == payload_pb2.SYSTEM]


def answer(folder: Path) -> list[float]:
    """Seconds from one line to the next: each comes after the one before was seen."""
    folder.mkdir()
    seen: list[float] = []
    for line in text(flyte.run(answers, folder=str(folder))):
        if line.startswith("line "):
            (folder / str(len(seen))).touch()
            seen.append(time.monotonic())
    return [after - before for before, after in pairwise(seen)]


def report(folder: Path) -> list[str]:
    """The report as it is while the task runs, and then."""
    folder.mkdir()
    run = flyte.run(reports, folder=str(folder))
    said = []
    for line in text(run):
        if line == "half done\n":
            said.append(run.get_report(attempt=1))
            (folder / "seen").touch()
    return [*said, run.get_report()]


if __name__ == "__main__":
    flyte.init_from_config()
    place = Path(sys.argv[1])
    secret = {"leaks": flyte.run(leaks), "dies": flyte.run(dies), "bars": flyte.run(bars)}
    late = answer(place / "lines")
    told = {key: {**end(run), "log": "".join(text(run))} for key, run in secret.items()}
    told["dies"]["system"] = system(secret["dies"])
    tell(late=[len(late), statistics.median(late)], reports=report(place / "reports"), **told)
