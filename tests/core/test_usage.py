"""Samples of what an attempt used: fewer of them, and the cores that they stand for."""

import pytest

from alula.core.usage import Device, Sample, cores, merged, thinned

GPU = Device("GPU-1", 0.5, 7)


def _samples(*told: tuple[float, float, int]) -> list[Sample]:
    return [Sample(*one) for one in told]


@pytest.mark.parametrize(
    ("samples", "fewer"),
    [
        ([], []),
        ([(1, 1, 5)], [(1, 1, 5)]),
        ([(1, 1, 9), (2, 2, 5)], [(2, 2, 9)]),
        ([(1, 1, 1), (2, 2, 5), (3, 3, 2)], [(1, 1, 1), (3, 3, 5)]),
        ([(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 1)], [(2, 2, 2), (4, 4, 3)]),
    ],
)
def test_half_as_many(samples: list[tuple[float, float, int]], fewer: list[tuple[float, float, int]]) -> None:
    """The last stays the last, CPU time stays exact, and no peak of memory is lost."""
    assert thinned(_samples(*samples)) == _samples(*fewer)


def test_the_devices_of_merged_samples_are_the_later_ones() -> None:
    with_device, without = Sample(1, 1, 1, (GPU,)), Sample(2, 2, 2)
    assert merged(with_device, without).devices == (GPU,)
    assert merged(without, with_device).devices == (GPU,)


@pytest.mark.parametrize(
    ("samples", "used"),
    [
        ([], []),
        ([(2.0, 1.0, 0)], [0.5]),
        ([(1.0, 1.0, 0), (2.0, 3.0, 0), (4.0, 3.0, 0)], [1.0, 2.0, 0.0]),
        ([(1.0, 2.0, 0), (1.0, 3.0, 0), (2.0, 1.0, 0)], [2.0, 0.0, 0.0]),
    ],
)
def test_cores_between_samples(samples: list[tuple[float, float, int]], used: list[float]) -> None:
    assert cores(_samples(*samples)) == used
