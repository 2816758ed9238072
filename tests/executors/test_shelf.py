"""Logs that another replica of the same home has written, and those that are elsewhere."""

import asyncio
from pathlib import Path

import pytest

from alula.core.errors import NotFound
from alula.core.launch import Launch
from alula.executors.process.executor import ProcessExecutor
from alula.executors.process.shelf import Shelf


async def said(shelf: Shelf, name: str, *, follow: bool = True) -> str:
    return "".join([line.text async for batch in shelf.logs(name, follow=follow) for line in batch])


async def test_the_log_of_another_replica(tmp_path: Path) -> None:
    """It is followed while it grows, to the attempt's end, and stays when the attempt is released."""
    gate = tmp_path / "gate"
    wait = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    code = f"import os, time\nprint('first', flush=True)\n{wait}\nprint('second')"
    shelf = Shelf(tmp_path, "executor", shared=True)
    async with (
        asyncio.timeout(30),
        ProcessExecutor(tmp_path / "replicas" / "b" / "executor", mode="spawn") as executor,
    ):
        await executor.submit(Launch("one", ("python", "-c", code), {}))
        text = ""
        async for batch in shelf.logs("one", follow=True):
            text += "".join(line.text for line in batch)
            if "first\n" in text:
                assert not await shelf.forget_log("one"), "the attempt exists"
                gate.touch()
        assert "second\n" in text
        own = Shelf(tmp_path / "elsewhere", "executor", executor, shared=True)
        assert await said(own, "one") == text
        await executor.release("one")
        assert await said(shelf, "one", follow=False) == text
        assert await shelf.forget_log("one")
    with pytest.raises(NotFound, match=r"no log of one here.*server\.home"):
        await said(shelf, "one")


async def test_what_is_not_there(tmp_path: Path) -> None:
    assert await said(Shelf(tmp_path, "executor"), "unknown") == ""
    assert not await Shelf(tmp_path, "executor").forget_log("unknown")
    with pytest.raises(NotFound):
        await said(Shelf(tmp_path, "executor", shared=True), "unknown")


@pytest.mark.parametrize("name", ["../../secret", ".hidden"])
async def test_what_is_no_name(tmp_path: Path, name: str) -> None:
    assert not await Shelf(tmp_path, "executor").forget_log(name)
    with pytest.raises(NotFound):
        await said(Shelf(tmp_path, "executor"), name)
