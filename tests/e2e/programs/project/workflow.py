"""A project of several modules: what of it arrives where its tasks run?"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

import flyte
from flyte.io import File
from parts import arithmetic  # type: ignore[import-not-found]
from parts.deep.words import shout  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="project", depends_on=[arithmetic.env])


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Box:
    width: int
    label: str = "none"


@env.task
async def main(n: int = 2) -> str:
    squares = [await arithmetic.square(x) for x in range(n)]
    return str(shout(f"{squares}"))


@env.task
async def with_data() -> list[str]:
    """Needs a module that is imported late, and a file that is no module."""
    from lazy import late  # type: ignore[import-not-found]

    return [late(), Path("data/words.txt").read_text().strip()]


@env.task
async def every_input(
    n: int, ratio: float, name: str, flag: bool, names: list[str], size: Size, box: Box, at: datetime, file: File
) -> list[str]:
    async with file.open("rb") as opened:
        content = bytes(await opened.read()).decode()
    return [
        str(n), str(ratio), name, str(flag), ",".join(names), size.value, f"{box.width} {box.label}", at.isoformat(),
        content,
    ]  # fmt: skip
