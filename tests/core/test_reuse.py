"""How many reusable workers there are, and who gets the next attempt: replicas, concurrency, times of rest."""

import pytest

from alula.core.launch import Reuse
from alula.core.reuse import Plan, Worker, plan


def policy(least: int = 1, most: int = 2, concurrency: int = 1, idle: float = 40, scaledown: float = 30) -> Reuse:
    return Reuse("key", least, most, concurrency, idle, scaledown)


def worker(name: str, busy: int = 0, since: float = 0.0, *, ready: bool = True) -> Worker:
    return Worker(name, ready, busy, since)


@pytest.mark.parametrize(
    ("reuse", "workers", "waiting", "expected"),
    [
        # how many are started
        (policy(), (), 0, Plan()),
        (policy(), (), 1, Plan(start=1)),
        (policy(), (), 2, Plan(start=2)),
        (policy(), (), 9, Plan(start=2)),
        (policy(least=2), (), 1, Plan(start=2)),
        (policy(least=0, most=3), (), 2, Plan(start=2)),
        (policy(least=0, most=0), (), 1, Plan(start=1)),
        (policy(most=5, concurrency=4), (), 9, Plan(start=3)),
        (policy(), (worker("a", ready=False),), 1, Plan()),
        (policy(), (worker("a", ready=False),), 2, Plan(start=1)),
        (policy(), (worker("a", 1),), 1, Plan(start=1)),
        (policy(), (worker("a", 1), worker("b", 1)), 5, Plan()),
        (policy(least=2), (worker("a", 1),), 0, Plan(start=1)),  # one of them died
        # who gets the next
        (policy(), (worker("a"), worker("b")), 3, Plan(give=("a", "b"))),
        (policy(most=1, concurrency=2), (worker("a", 1),), 3, Plan(give=("a",))),
        (policy(concurrency=3), (worker("a", 2), worker("b")), 3, Plan(give=("b", "b", "a"))),
        (policy(least=2), (worker("a", since=5), worker("b", since=6)), 1, Plan(give=("b",))),
        (policy(), (worker("a", ready=False), worker("b")), 2, Plan(give=("b",))),
    ],
)
def test_plan(reuse: Reuse, workers: tuple[Worker, ...], waiting: int, expected: Plan) -> None:
    assert plan(reuse, workers, waiting, 0, 10.0) == expected


@pytest.mark.parametrize(
    ("reuse", "workers", "waiting", "now", "expected"),
    [
        (policy(), (worker("a", since=5),), 0, 10, Plan(look=45)),
        (policy(), (worker("a", since=5),), 0, 45, Plan(end=("a",))),
        (policy(), (worker("a", since=5), worker("b", since=9)), 0, 10, Plan(look=35)),
        (policy(), (worker("a", since=5), worker("b", since=9)), 0, 35, Plan(end=("a",), look=49)),
        (policy(least=2), (worker("a", since=5), worker("b", since=9)), 0, 48, Plan(look=49)),
        (policy(least=2), (worker("a", since=5), worker("b", since=9)), 0, 49, Plan(end=("a", "b"))),
        (policy(least=0), (worker("a", since=5),), 0, 35, Plan(end=("a",), look=45)),
        # while others have work, only what is too many ends
        (policy(), (worker("a", 1), worker("b", since=5)), 0, 20, Plan(look=35)),
        (policy(), (worker("a", 1), worker("b", since=5)), 0, 35, Plan(end=("b",))),
        (policy(least=2), (worker("a", 1), worker("b", since=5)), 0, 99, Plan()),
        (policy(), (worker("a", 1), worker("b", since=5)), 1, 99, Plan(give=("b",))),
    ],
)
def test_rest(reuse: Reuse, workers: tuple[Worker, ...], waiting: int, now: float, expected: Plan) -> None:
    assert plan(reuse, workers, waiting, 0, now) == expected


@pytest.mark.parametrize(("concurrency", "parents", "start"), [(1, 0, 0), (1, 1, 1), (1, 2, 2), (2, 1, 1), (2, 2, 1)])
def test_who_waits_for_others_keeps_nobody_from_working(concurrency: int, parents: int, start: int) -> None:
    full = (worker("a", concurrency), worker("b", concurrency))
    assert plan(policy(concurrency=concurrency), full, 9, parents, 0.0) == Plan(start=start)
