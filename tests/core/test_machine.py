"""What a task is charged, what is said when it asks for more than there is, and that nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.core.errors import LaunchRefused
from alula.core.launch import Amounts, Resources
from alula.core.machine import Machine, Pool, share

_GIB = 1024**3
_LAPTOP = Machine(cpu=2, memory=8 * _GIB, disk=50 * _GIB)
_SERVER = Machine(cpu=64, memory=512 * _GIB, disk=1000 * _GIB, gpus=("a", "b", "c", "d"))


def asks(**amounts: float) -> Resources:
    return Resources(requests=Amounts(**amounts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "machine", "charged", "notes"),
    [
        (asks(), _LAPTOP, Amounts(), []),
        (asks(cpu=2, memory=8 * _GIB), _LAPTOP, Amounts(cpu=2, memory=8 * _GIB), []),
        (asks(cpu=4), _LAPTOP, Amounts(cpu=2), ["asked for 4 CPUs, of 2 that this machine has"]),
        (
            asks(cpu=4, memory=16 * _GIB),
            _LAPTOP,
            Amounts(cpu=2, memory=8 * _GIB),
            ["16 GiB of memory, of 8 GiB", "4 CPUs, of 2"],
        ),
        (asks(disk=99 * _GIB), _LAPTOP, Amounts(disk=50 * _GIB), ["99 GiB of disk, of 50 GiB"]),
        (asks(gpu=4), _SERVER, Amounts(gpu=4), []),
        (asks(cpu=9999, memory=10**18, disk=10**18), Machine(), Amounts(cpu=9999, memory=10**18, disk=10**18), []),
    ],
)
def test_what_is_charged(asked: Resources, machine: Machine, charged: Amounts, notes: list[str]) -> None:
    amounts, told = share(asked, machine, strict=False)
    assert amounts == charged
    assert len(told) == len(notes)
    for says in notes:
        assert any(says in text for text in told)


@pytest.mark.parametrize(
    ("asked", "machine", "strict", "says"),
    [
        (asks(gpu=1), _LAPTOP, False, "the task asks for 1 GPU, and this machine has none"),
        (asks(gpu=5), _SERVER, False, "the task asks for 5 GPUs, and this machine has 4"),
        (asks(cpu=4), _LAPTOP, True, "the task asks for 4 CPUs, of 2 that this machine has"),
        (asks(cpu=4, memory=9 * _GIB), _LAPTOP, True, "9 GiB of memory, of 8 GiB that this machine has and 4 CPUs"),
        (Resources(accelerator="a Google TPU"), _SERVER, False, "asks for a Google TPU, and this machine has none"),
    ],
)
def test_what_can_never_be_had_fails_at_once(asked: Resources, machine: Machine, strict: bool, says: str) -> None:
    with pytest.raises(LaunchRefused) as refused:
        share(asked, machine, strict=strict)
    assert says in str(refused.value)
    assert refused.value.code == "ResourcesUnavailable"


def test_strict_lets_pass_what_fits() -> None:
    assert share(asks(cpu=2), _LAPTOP, strict=True) == (Amounts(cpu=2), ())


@pytest.mark.parametrize(
    ("taken", "wants", "says"),
    [
        (Amounts(gpu=4), Amounts(gpu=2), ["2 GPUs: 0 of 4 are free"]),
        (Amounts(cpu=62.5), Amounts(cpu=2), ["2 CPUs: 1.5 of 64 are free"]),
        (Amounts(memory=500 * _GIB), Amounts(memory=16 * _GIB), ["16 GiB of memory: 12 GiB of 512 GiB is free"]),
        (
            Amounts(gpu=3, disk=1000 * _GIB),
            Amounts(gpu=2, disk=1, cpu=1),
            ["2 GPUs: 1 of 4 are free", "1 bytes of disk: 0 bytes of 1000 GiB is free"],
        ),
        (Amounts(cpu=64), Amounts(memory=1), []),
    ],
)
def test_what_somebody_waits_for(taken: Amounts, wants: Amounts, says: list[str]) -> None:
    pool = Pool(_SERVER)
    pool.take(taken)
    assert pool.short_of(wants) == says
    assert bool(pool.lacks(wants)) == bool(says)


def test_gpus_that_are_given_out_beyond_what_there_is_are_those_with_the_fewest_users() -> None:
    pool = Pool(_SERVER)
    assert pool.take(Amounts(gpu=3)) == ("a", "b", "c")
    assert pool.take(Amounts(gpu=2)) == ("d", "a")
    assert pool.take(Amounts(gpu=1)) == ("b",)
    pool.give(Amounts(gpu=3), ("a", "b", "c"))
    assert pool.lacks(Amounts(gpu=2))
    assert not pool.lacks(Amounts(gpu=1))
    assert pool.take(Amounts(gpu=1)) == ("c",)


@given(st.lists(st.builds(Amounts, st.floats(0, 8), st.integers(0, 2**40), st.integers(0, 4), st.integers(0, 2**40))))
def test_what_is_taken_and_given_back_is_there_again(shares: list[Amounts]) -> None:
    """However many and however crooked the numbers are, also beyond what there is."""
    pool = Pool(_SERVER)
    taken = [(amounts, pool.take(amounts)) for amounts in shares]
    for amounts, devices in taken:
        pool.give(amounts, devices)
    assert not pool.lacks(Amounts(64, 512 * _GIB, 4, 1000 * _GIB))
    assert pool.lacks(Amounts(cpu=64.001)) == ("cpu",)
