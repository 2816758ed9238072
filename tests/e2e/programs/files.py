"""Files and directories: made by the client and by tasks, read by both."""

import asyncio
import tempfile
from pathlib import Path

import flyte
from flyte.io import Dir, File
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="files")

LINES = "".join(f"line {n}\n" for n in range(5000))


@env.task
async def read(file: File) -> str:
    async with file.open("rb") as opened:
        content = bytes(await opened.read())
    return content.decode()


@env.task
def read_sync(file: File) -> str:
    with file.open_sync("rb") as opened:
        return bytes(opened.read()).decode()


@env.task
async def download(file: File) -> list[str]:
    own = await file.download()
    named = await file.download("here/copy.txt")
    return [Path(own).read_text(), Path(named).read_text(), str(Path(named).name)]


@env.task
async def write(text: str) -> File:
    file: File = File.new_remote("written.txt")
    async with file.open("wb") as opened:
        await opened.write(text.encode())
    return file


@env.task
async def from_local(text: str) -> File:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "local.txt"
        path.write_text(text)
        return await File.from_local(str(path))


@env.task
async def ends_early(file: File) -> list[str]:
    """Parts of a file: a range, and lines until one has seen enough."""
    async with file.open("rb") as opened:
        first = bytes(await opened.read(6)).decode()
    with file.open_sync("rb") as opened:
        opened.seek(len(LINES) - 10)
        last = bytes(opened.read()).decode()
    return [first, last]


@env.task
async def pass_through() -> list[str]:
    written, local = await asyncio.gather(write("by a task"), from_local("was local"))
    texts = await asyncio.gather(read(written), read_sync.aio(written), read(local))
    return [*texts, *(await download(written))]


@env.task
async def exists(file: File) -> list[bool]:
    missing: File = File.from_existing_remote(file.path + ".not")
    return [await file.exists(), await missing.exists()]


@env.task
async def make_dir(names: list[str]) -> Dir:
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"content of {name}")
        return await Dir.from_local(folder)


@env.task
async def read_dir(folder: Dir) -> dict[str, str]:
    local = Path(await folder.download())
    return {str(path.relative_to(local)): path.read_text() for path in sorted(local.rglob("*")) if path.is_file()}


@env.task
async def walk(folder: Dir) -> list[str]:
    names = [str(file.name) async for file in folder.walk(recursive=True)]
    found = await folder.get_file("a.txt")
    assert found is not None
    top = [str(file.name) for file in await folder.list_files()]
    assert set(top) <= set(names)
    return [*sorted(names), await read(found)]


@env.task
async def dirs() -> list[str]:
    made = await make_dir(["a.txt", "below/b.txt", "below/deep/c.txt"])
    there = await read_dir(made)
    return [f"{name}: {text}" for name, text in sorted(there.items())] + await walk(made)


@env.task
async def big_file(megabytes: int) -> File:
    """Large enough for a multipart upload."""
    file: File = File.new_remote("big.bin")
    block = bytes(range(256)) * 4096
    async with file.open("wb") as opened:
        for _ in range(megabytes):
            await opened.write(block)
    return file


@env.task
async def measure(file: File) -> list[int]:
    path = Path(await file.download())
    content = path.read_bytes()
    return [len(content), content[-1], content[300]]


@env.task
async def big_parent() -> list[int]:
    return await measure(await big_file(24))


@env.task
async def listed(files: list[File]) -> dict[str, File]:
    return {await read(file): file for file in files}


if __name__ == "__main__":
    flyte.init_from_config()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "client.txt").write_text(LINES)
        (here / "tree" / "below").mkdir(parents=True)
        (here / "tree" / "a.txt").write_text("a of the client")
        (here / "tree" / "b.txt").write_text("b of the client")
        uploaded: File = File.from_local_sync(str(here / "client.txt"))
        lazy: Dir = Dir.from_local_sync(str(here / "tree"))
        runs = {
            "read": flyte.run(read, file=uploaded),
            "ends_early": flyte.run(ends_early, file=uploaded),
            "exists": flyte.run(exists, file=uploaded),
            "read_dir": flyte.run(read_dir, folder=lazy),
            "pass_through": flyte.run(pass_through),
            "dirs": flyte.run(dirs),
            "write": flyte.run(write, text="for the client"),
            "from_local": flyte.run(from_local, text="for the client, too"),
            "make_dir": flyte.run(make_dir, names=["x.txt", "y.txt"]),
            "big": flyte.run(big_parent),
            "listed": flyte.run(listed, files=[uploaded, uploaded]),
        }
        told = {key: end(run) for key, run in runs.items()}
        assert told["read"]["outputs"] == [LINES]
        told["read"]["outputs"] = ["the same"]
        for key in ("write", "from_local"):
            file = told[key]["outputs"][0]
            local = file.download_sync(str(here / f"{key}.downloaded"))
            told[key]["outputs"] = [file.path, Path(local).read_text()]
        made = told["make_dir"]["outputs"][0]
        local = Path(made.download_sync(str(here / "made")))
        told["make_dir"]["outputs"] = [{path.name: path.read_text() for path in sorted(local.iterdir())}]
        by_content = told["listed"]["outputs"][0]
        told["listed"]["outputs"] = [[key == LINES for key in by_content], len(by_content)]
    tell(**told)
