"""Where an attempt's time went: split among its steps, whatever its process wrote down."""

import mmap
import os
from collections.abc import Sequence

import pytest

from alula.executors.process import ledger
from alula.executors.process.ledger import Account, Ledger


@pytest.mark.parametrize(
    ("stamps", "spent"),
    [
        ([], {"queue": 10, "process": 90}),
        ([("boot", 110)], {"queue": 10, "boot": 90}),
        (
            [("download", 115), ("boot", 120), ("import", 130), ("boot", 140), ("user", 150), ("upload", 190)],
            {"queue": 10, "boot": 25, "download": 5, "import": 10, "user": 40, "upload": 10},
        ),
        ([("user", 50), ("upload", 900)], {"queue": 10, "boot": 0, "user": 90, "upload": 0}),  # beyond its life
        ([("user", 150), ("upload", 120)], {"queue": 10, "boot": 40, "user": 0, "upload": 50}),  # backwards
    ],
)
def test_all_time_is_some_steps(stamps: Sequence[tuple[str, int]], spent: dict[str, int]) -> None:
    found = ledger.split(100, 110, stamps, 200)
    assert found == spent
    assert sum(found.values()) == 100


def test_what_a_process_writes_is_read() -> None:
    descriptor = ledger.create()
    try:
        book = Ledger(descriptor)
        for step in ("boot", "import", "user"):
            book.note(step)
        account = ledger.read(descriptor)
    finally:
        os.close(descriptor)
    assert [step for step, _ in account.stamps] == ["boot", "import", "user"]
    assert sorted(account.stamps, key=lambda stamp: stamp[1]) == list(account.stamps)


@pytest.mark.parametrize(
    ("written", "account"),
    [
        (b"", Account((), ())),
        (b"boot 12\nnonsense 13\nuser x\nuser -4\nupload 15\n\0boot 16\n", Account([("boot", 12), ("upload", 15)], ())),
        (b"modules a a.b ../c 1x d;e _f\n", Account((), ["a", "a.b", "_f"])),
        (b"\xff\xfe\n", Account((), ())),
    ],
)
def test_what_makes_no_sense_is_left_out(written: bytes, account: Account) -> None:
    descriptor = ledger.create()
    try:
        os.pwrite(descriptor, written, 0)
        found = ledger.read(descriptor)
    finally:
        os.close(descriptor)
    assert (list(found.stamps), list(found.modules)) == (list(account.stamps), list(account.modules))


def test_it_is_never_overrun() -> None:
    descriptor = ledger.create()
    try:
        book = Ledger(descriptor)
        for _ in range(10_000):
            book.note("boot")
        assert 1000 < len(ledger.read(descriptor).stamps) < 10_000
        assert os.fstat(descriptor).st_size % mmap.PAGESIZE == 0
    finally:
        os.close(descriptor)


class Watch:
    """As the SDK's stopwatch."""

    def __init__(self, name: str) -> None:
        self.metric_name, self.said = name, ""

    def start(self) -> None:
        self.said += "started "

    def stop(self) -> None:
        self.said += "stopped"


def test_the_stopwatches_are_heard() -> None:
    descriptor = ledger.create()
    listened = type("Listened", (Watch,), {"start": Watch.start, "stop": Watch.stop})
    try:
        Ledger(descriptor).listen(listened)
        for name in ("load_task_from_tgz", "of_another_kind", "load_inputs", "run_task"):
            watch = listened(name)
            watch.start()
            watch.stop()
            assert watch.said == "started stopped"
        stamps = ledger.read(descriptor).stamps
    finally:
        os.close(descriptor)
    assert [step for step, _ in stamps] == ["import", "boot", "download", "download", "user", "upload"]
