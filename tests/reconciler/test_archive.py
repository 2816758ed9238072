"""Logs move to the object store and are read from there, whatever crashes, goes or is removed on the way."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from alula.blobs.store import Blobs
from alula.control.archive import Archive
from alula.core.errors import NotFound, Unavailable
from alula.core.launch import Segment
from alula.core.phase import Phase
from alula.executors.process import loglines, records
from alula.executors.process.segments import Segments
from alula.executors.process.shelf import Shelf
from alula.executors.process.writer import Writer
from alula.reconciler import archive
from alula.reconciler.archive import Archiver
from alula.storage.changes import Change, Changes

LINE = b"line %06d of the log\n"
SIZE = 1_000_000  # bytes of a segment


@dataclass
class Place:
    """A replica's home, and the store that replicas share."""

    path: Path
    blobs: Blobs

    def __post_init__(self) -> None:
        for folder in (self.home.logs, self.home.attempts):
            folder.mkdir(parents=True, exist_ok=True)
        self.archive = Archive(self.blobs)
        self.segments = Segments(self.home)

    @property
    def home(self) -> records.Home:
        return records.Home(self.path / "executor")

    def archiver(self, size: int = 1 << 30, logs: Segments | None = None) -> Archiver:
        return Archiver(logs or self.segments, self.archive, Changes(), size)

    def shelf(self, *, shared: bool = False) -> Shelf:
        return Shelf(self.path, "executor", shared=shared, archive=self.archive)

    def begin(self, name: str) -> None:
        """An attempt that runs."""
        self.home.attempt(name).mkdir()
        records.create(self.home.attempt(name) / records.MARKER, {"name": name})

    def end(self, name: str) -> None:
        records.replace(self.home.attempt(name) / records.END, {})

    def write(self, name: str, lines: int, start: int = 0, size: int = SIZE) -> str:
        """Write lines to a log; what they say."""
        writer = Writer(self.home.logs, name, size)
        for number in range(start, start + lines):
            writer.write(loglines.whole(number, loglines.STDOUT, LINE % number))
        writer.close()
        return "".join((LINE % number).decode() for number in range(start, start + lines))

    def files(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.home.path / folder).glob("*"))

    async def objects(self) -> list[str]:
        return [uri.removeprefix("s3://alula/logs/") async for uri, _ in self.blobs.list("s3://alula/logs/")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "home", Blobs(tmp_path / "objects"))


async def said(shelf: Shelf, name: str, *, follow: bool = True) -> str:
    return "".join([line.text async for batch in shelf.logs(name, follow=follow) for line in batch])


async def test_a_log_is_read_wherever_it_is(place: Place) -> None:
    text = place.write("one", 40_000)
    assert place.files("logs") == ["one.log", "one.log.1", "one.log.2"]
    assert await said(place.shelf(), "one") == text
    assert await place.archiver().turn() == 3
    assert await place.objects() == ["one.0.gz", "one.1.gz", "one.2.last.gz"]
    assert (place.files("logs"), len(place.files("kept"))) == ([], 3)
    assert await said(place.shelf(), "one") == text
    assert place.segments.shrink(0) > 2 * SIZE
    assert place.files("kept") == []
    assert await said(place.shelf(), "one") == text
    assert await said(place.shelf(shared=True), "one", follow=False) == text
    assert await place.shelf().forget_log("one")
    assert await place.objects() == []
    assert await said(place.shelf(), "one") == ""
    assert not await place.shelf().forget_log("one")


async def test_what_still_grows_stays(place: Place) -> None:
    place.begin("one")
    text = place.write("one", 20_000)
    assert await place.archiver(size=0).turn() == 1
    assert await place.objects() == ["one.0.gz"]
    assert (place.files("logs"), place.files("kept")) == (["one.log.1"], ["one.log"])
    assert await said(place.shelf(), "one", follow=False) == text
    assert not await place.shelf().forget_log("one"), "the attempt exists"
    text += place.write("one", 100, start=20_000)
    place.end("one")
    assert await place.archiver(size=0).turn() == 1
    assert (await place.objects(), place.files("kept")) == (["one.0.gz", "one.1.last.gz"], [])
    assert await said(place.shelf(), "one") == text
    assert await place.archiver().turn() == 0


class Crashing(Segments):
    """Dies between the store's answer and its own note of it."""

    def archived(self, segment: Segment) -> bool:
        raise OSError("crash")


async def test_a_crash_in_between_costs_a_repetition(place: Place) -> None:
    text = place.write("one", 100)
    with pytest.raises(OSError, match="crash"):
        await place.archiver(logs=Crashing(place.home)).turn()
    assert await place.objects() == ["one.0.last.gz"]
    assert place.files("logs") == ["one.log"]
    assert await place.archiver(size=0).turn() == 1
    assert await place.objects() == ["one.0.last.gz"]
    assert await said(place.shelf(), "one") == text


class Overtaken(Segments):
    """Its log is removed while it is archived."""

    def read(self, segment: Segment) -> bytes | None:
        data = super().read(segment)
        self.remove(segment.name)
        return data


async def test_nothing_is_left_of_a_log_that_was_removed_meanwhile(place: Place) -> None:
    place.write("one", 100)
    await place.archiver(logs=Overtaken(place.home)).turn()
    assert await place.objects() == []
    assert place.segments.read(Segment("one", 0)) is None


async def test_those_that_nobody_reads_go_first(place: Place) -> None:
    texts = {name: place.write(name, 1000) for name in ("a", "b", "c")}
    await place.archiver().turn()
    size = (place.home.path / "kept" / "a.log").stat().st_blocks * 512
    assert place.segments.shrink(3 * size) == 0
    assert await said(place.shelf(), "a") == texts["a"]
    assert place.segments.shrink(2 * size - 1) == 2 * size
    assert place.files("kept") == ["a.log"]


async def test_copies_of_logs_of_several_segments_go_and_stay_whole(place: Place) -> None:
    place.write("a", 40_000)
    place.write("b", 1000)
    place.write("c", 40_000)
    await place.archiver().turn()
    for number, file in enumerate(("a.log", "a.log.1", "c.log", "c.log.1", "b.log", "c.log.2", "a.log.2")):
        os.utime(place.home.path / "kept" / file, (number, number))
    used = sum(file.stat().st_blocks * 512 for file in (place.home.path / "kept").iterdir())
    assert place.segments.shrink(used) == 0
    gone = place.segments.shrink(used - 1)
    assert 0 < gone < SIZE
    assert place.files("kept") == ["a.log", "a.log.1", "a.log.2", "c.log", "c.log.1", "c.log.2"]
    assert place.segments.shrink(used - gone - 1) > 2 * SIZE
    assert place.files("kept") == ["a.log", "a.log.1", "a.log.2"]


@pytest.mark.parametrize(("count", "packs"), [(64, 1), (65, 2), (1024, 16), (3200, 16)])
async def test_the_more_wait_the_more_are_archived_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, count: int, packs: int
) -> None:
    monkeypatch.setattr(archive, "_PAUSE", 0.0)
    archiver, sizes = place.archiver(), []

    def pack(segments: Sequence[Segment]) -> tuple[int, list[tuple[Segment, bytes]]]:
        sizes.append(len(segments))
        return len(segments), []

    monkeypatch.setattr(archiver, "_pack", pack)
    monkeypatch.setattr(Segments, "finished", lambda _: [Segment(f"s{n}", 0, last=True) for n in range(count)])
    assert await archiver.turn() == count
    assert (sum(sizes), len(sizes)) == (count, packs)


async def test_a_reader_goes_on_in_the_archive(place: Place) -> None:
    text = place.write("one", 50_000)
    await place.archiver().turn()
    batches = place.shelf().logs("one", follow=True)
    begun = await anext(batches)
    place.segments.shrink(0)
    rest = [line.text async for batch in batches for line in batch]
    assert "".join([line.text for line in begun] + rest) == text


async def test_the_log_of_a_replica_with_another_home(place: Place, tmp_path: Path) -> None:
    """It is read once it is archived, and until then nobody takes a part of it for all."""
    other = Place(tmp_path / "other", place.blobs)
    other.begin("one")
    text = other.write("one", 20_000)
    with pytest.raises(NotFound, match=r"Ask the replica.*server\.home"):
        await said(place.shelf(shared=True), "one")
    await other.archiver().turn()
    with pytest.raises(Unavailable, match="no more of the log of one here"):
        await said(place.shelf(shared=True), "one")
    other.end("one")
    await other.archiver().turn()
    assert await said(place.shelf(shared=True), "one") == text


async def test_what_somebody_else_put_there_harms_nobody(place: Place) -> None:
    await place.blobs.put("s3://alula/logs/one.0.last.gz", b"no gzip")
    assert await said(place.shelf(), "one") == ""


async def test_names_that_look_like_segments(place: Place) -> None:
    texts = {name: place.write(name, lines) for name, lines in [("one.log.1", 3), ("one", 20_000), ("one.log", 2)]}
    assert await place.archiver(size=0).turn() == 4
    for name, text in texts.items():
        assert await said(place.shelf(), name) == text
    assert await place.shelf().forget_log("one")
    assert await place.objects() == ["one.log.0.last.gz", "one.log.1.0.last.gz"]


async def test_written_archived_and_read_at_the_same_time(place: Place) -> None:
    """Whoever is faster: every reader sees all of it, once, in order."""
    place.begin("one")

    def write() -> str:
        text = "".join(place.write("one", 50, start, size=2000) for start in range(0, 10_000, 50))
        place.end("one")
        return text

    async def keep() -> None:
        while not writing.done() or place.files("logs"):
            await place.archiver(size=0).turn()
        await place.archiver(size=0).turn()

    writing = asyncio.ensure_future(asyncio.to_thread(write))
    async with asyncio.timeout(60):
        reading = [asyncio.create_task(said(place.shelf(), "one")) for _ in range(3)]
        await keep()
        text = await writing
        for told in await asyncio.gather(*reading):
            wrong = next((n for n, pair in enumerate(zip(told, text, strict=False)) if pair[0] != pair[1]), len(text))
            assert told == text, f"{len(told)} of {len(text)} characters; the first that differ: {told[wrong:][:200]!r}"
    assert place.files("kept") == []
    assert await said(place.shelf(), "one") == text


class Telling(Archive):
    """Says which log came to its end."""

    def __init__(self, blobs: Blobs) -> None:
        super().__init__(blobs)
        self.put_: asyncio.Queue[str] = asyncio.Queue()

    async def put(self, segment: Segment, packed: bytes) -> None:
        await super().put(segment, packed)
        self.put_.put_nowait(segment.name)


async def test_the_loop_is_told_what_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_GATHER", 0.0)
    monkeypatch.setattr(archive, "_TICK", 3600.0)
    changes, telling = Changes(), Telling(place.blobs)
    place.write("before", 10)
    place.begin("one")
    place.write("one", 10)
    loop = asyncio.create_task(Archiver(place.segments, telling, changes, 0).run())
    async with asyncio.timeout(20):
        assert await telling.put_.get() == "before"
        place.end("one")
        changes.publish([Change(1, "a0", "", Phase.SUCCEEDED)])
        assert await telling.put_.get() == "one"
    loop.cancel()
