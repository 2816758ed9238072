"""What tasks print, as their users read it back."""

import asyncio
import sys

import flyte
from flyte.remote import Run
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="logs")

MEGABYTES = 5
LINE = "0123456789" * 10


@env.task
async def prints() -> None:
    print("first")
    print("two\nlines at once")
    print("no end", end="")
    sys.stdout.flush()
    print(" ... and its end")
    print("naïve ☃ 🐍\ttabbed  spaces")
    print()
    print("to stderr", file=sys.stderr)
    print("x" * 100_000)
    for n in range(200):
        print(f"numbered {n}")
    print("last, without an end", end="")


@env.task
async def prints_much() -> int:
    """In lines of 100 characters."""
    lines = MEGABYTES * 1_000_000 // (len(LINE) + 1)
    for n in range(lines):
        print(f"{n:06d}{LINE[6:]}")
    return lines


@env.task
async def follows() -> None:
    for n in range(3):
        print(f"step {n}", flush=True)
        await asyncio.sleep(0.2)


@env.task
async def silent() -> None:
    pass


def user_lines(run: Run, attempt: int = 1) -> str:
    """All that the task printed, and what is said around it; without the blank that the SDK puts before each line."""
    return "".join(line[1:] for line in run.get_logs(attempt=attempt))


if __name__ == "__main__":
    flyte.init_from_config()
    runs = {
        "follows": flyte.run(follows),
        "prints": flyte.run(prints),
        "much": flyte.run(prints_much),
        "silent": flyte.run(silent),
    }
    followed = user_lines(runs["follows"])  # while it runs
    told = {key: end(run) for key, run in runs.items()}
    told["follows"]["log"] = followed
    for key in ("prints", "silent"):
        told[key]["log"] = user_lines(runs[key])
    much = user_lines(runs["much"])
    numbered = [line for line in much.splitlines() if line.endswith(LINE[6:])]
    told["much"]["numbers"] = [len(numbered), numbered == sorted(numbered), len(set(numbered))]
    tell(**told)
