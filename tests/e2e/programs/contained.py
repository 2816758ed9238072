"""Raw containers of every shape; ``IMAGE`` is what they run in. The last line tells what came of them."""

import json
import os
import pathlib
from datetime import timedelta
from typing import Any

import flyte
import flyte.errors
from flyte.extras import ContainerTask
from flyte.io import Dir, File

IMAGE = os.environ.get("IMAGE", "alula-test/busybox:1")


def raw(
    name: str, script: str, inputs: dict[str, type] | None = None, outputs: dict[str, type] | None = None, **more: Any
) -> ContainerTask:
    return ContainerTask(
        name=name, image=IMAGE, command=["sh", "-c", script], inputs=inputs or {}, outputs=outputs or {}, **more
    )


sums = raw(
    "sums",
    "expr {{.inputs.x}} + {{.inputs.y}} > /var/outputs/total; echo adding; printf '%s' \"$(cat /var/inputs/word)!\" "
    "> /var/outputs/word; echo 1.5 > /var/outputs/ratio; echo true > /var/outputs/even",
    {"x": int, "y": int, "word": str},
    {"total": int, "word": str, "ratio": float, "even": bool},
)
times = raw("times", "cp /var/inputs/span /var/outputs/span", {"span": timedelta}, {"span": timedelta})
files = raw(
    "files",
    "cat /var/inputs/text > /var/outputs/copy; mkdir /var/outputs/folder; cp /var/inputs/tree/* /var/outputs/folder",
    {"text": File, "tree": Dir},
    {"copy": File, "folder": Dir},
)
named = raw(
    "named", "ls /var/inputs/text > /var/outputs/name", {"text": File}, {"name": str}, file_input_layout="NAMED_DIR"
)
listed = raw(
    "listed",
    "cd /var/inputs/parts; echo * > /var/outputs/names; cat * > /var/outputs/whole",
    {"parts": list[File]},
    {"names": str, "whole": str},
    file_input_layout="NAMED_DIR",
)
fails = raw("fails", "echo it is broken; exit 3")
complains = raw("complains", "echo 'the reason' > /var/outputs/_ERROR", outputs={"x": int})
forgets = raw("forgets", "echo 1 > /var/outputs/other", outputs={"x": int})
wrong = raw("wrong", "echo many > /var/outputs/x", outputs={"x": int})

env = flyte.TaskEnvironment(
    name="contained",
    depends_on=[
        flyte.TaskEnvironment.from_task("raw", sums, times, files, named, listed, fails, complains, forgets, wrong)
    ],
)


async def error(task: ContainerTask, **inputs: Any) -> list[str]:
    try:
        await task(**inputs)
    except flyte.errors.BaseRuntimeError as failed:
        return [failed.code, str(failed)]
    return []


@env.task
async def main() -> dict[str, str]:
    with open("a.txt", "w") as file:
        file.write("text of a file")
    text, tree = await File.from_local("a.txt"), pathlib.Path("tree")
    tree.mkdir()
    for name in "ab":
        (tree / f"{name}.txt").write_text(name)
    folder = await Dir.from_local("tree")
    total, word, ratio, even = await sums(x=20, y=22, word="hello")
    copy, kept = await files(text=text, tree=folder)
    async with copy.open("rb") as opened:
        content = bytes(await opened.read()).decode()
    told = {
        "sums": [total, word, ratio, even],
        "times": str(await times(span=timedelta(hours=1, seconds=2.5))),
        "copy": content,
        "kept": sorted([os.path.basename(file.path) async for file in kept.walk()]),
        "named": await named(text=text),
        "listed": await listed(parts=[text, text]),
        "errors": {task.name.rpartition(".")[2]: await error(task) for task in (fails, complains, forgets, wrong)},
    }
    return {"told": json.dumps(told)}


if __name__ == "__main__":
    flyte.init_from_config()
    run = flyte.run(main)
    run.wait()
    print(json.dumps({"run": run.name, "phase": str(run.phase), **json.loads(run.outputs()[0]["told"])}))
