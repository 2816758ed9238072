"""A file that one task makes, another reads in pieces, and the parent downloads."""

import os

import flyte
from flyte.io import File

env = flyte.TaskEnvironment(name="stored")


@env.task
async def make(size: int) -> File:
    file: File = File.new_remote("made it.bin")
    async with file.open("wb") as opened:
        await opened.write(b"x" * size)
    return file


@env.task
async def measure(file: File) -> int:
    async with file.open("rb") as opened:
        return len(bytes(await opened.read()))


@env.task
async def main(size: int) -> int:
    file = await make(size)
    assert os.path.getsize(await file.download()) == size
    return await measure(file)
