"""Places: never more than there are, runs in turn, and no place stays empty while somebody waits whom it suits."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.core.admission import Ask, Limit, Shape
from alula.core.launch import Amounts
from alula.core.machine import Machine
from alula.reconciler.hints import Key
from alula.reconciler.slots import Slots

_A, _B, _C, _D = ((1, name) for name in "abcd")
_GIB = 1024**3
_ANY = Ask()
_MACHINE = Machine(cpu=4, memory=8 * _GIB, disk=100 * _GIB, gpus=("0", "1"))


def asking(queue: Limit | None = None, most: int = 0, **amounts: float) -> Ask:
    return Ask(Shape(Amounts(**amounts), (queue,) if queue else ()), most)  # type: ignore[arg-type]


def takes(slots: Slots, keys: Iterable[Key], ask: Ask = _ANY) -> list[bool]:
    """Whether each has a place as soon as it comes."""
    return [key in slots.take(key, ask) for key in keys]


def test_capacity() -> None:
    slots = Slots(2)
    assert takes(slots, [_A, _B, _C]) == [True, True, False]
    assert slots.take(_A, _ANY) == [], "who has a place keeps it"
    assert slots.free(_A) == [_C]
    assert slots.place(_C) is not None
    assert takes(slots, [_D]) == [False]


def test_first_come_first_served() -> None:
    slots = Slots(1)
    assert takes(slots, [_A, _B, _C, _B]) == [True, False, False, False]
    assert slots.free(_A) == [_B]
    assert slots.free(_D) == []
    assert slots.free(_B) == [_C]


def test_a_place_that_is_not_wanted_any_more_goes_to_the_next() -> None:
    """The first in line had a place, and was aborted before it could use it."""
    slots = Slots(1)
    takes(slots, [_A, _B, _C])
    assert slots.free(_A) == [_B]
    assert slots.free(_B) == [_C]


def test_who_leaves_the_line_frees_nothing() -> None:
    slots = Slots(1)
    takes(slots, [_A, _B, _C])
    assert slots.free(_B) == []
    assert takes(slots, [_D]) == [False]
    assert slots.free(_A) == [_C]


def test_who_waits() -> None:
    slots = Slots(1)
    takes(slots, [_A, _B])
    assert (slots.waits(_A), slots.waits(_B), slots.waits(_C)) == (False, True, False)
    assert (slots.taken(), slots.waiting()) == (1, 1)
    slots.free(_A)
    assert not slots.waits(_B)


def test_runs_take_turns() -> None:
    """A run of thousands does not keep a run of one waiting."""
    slots = Slots(1)
    takes(slots, [(1, f"n{n}") for n in range(1000)])
    takes(slots, [(2, "only"), (3, "x"), (3, "y")])
    served = [(1, "n0")]
    for _ in range(6):
        served += slots.free(served[-1])
    assert served[1:] == [(1, "n1"), (2, "only"), (3, "x"), (1, "n2"), (3, "y"), (1, "n3")]


def test_a_run_and_a_queue_have_limits_that_others_pass() -> None:
    slots = Slots(9)
    small = asking(queue=Limit("q", 2))
    assert takes(slots, [(1, "a"), (2, "b"), (3, "c")], small) == [True, True, False]
    assert takes(slots, [(3, "d")]) == [True]
    assert takes(slots, [(4, "e"), (4, "f")], asking(most=1)) == [True, False]
    assert takes(slots, [(5, "g")], asking(most=1)) == [True]
    assert slots.reason((3, "c")) == "waits for the queue q: it may run 2 at once"
    assert slots.reason((4, "f")) == "waits for its run: it may run 1 at once"
    assert slots.free((1, "a")) == [(3, "c")]
    assert slots.free((4, "e")) == [(4, "f")]


def test_a_queue_has_a_limit_of_runs_that_holds_while_they_wait() -> None:
    slots = Slots(9)
    root, child = asking(queue=Limit("q", 1, runs=True)), asking()
    assert takes(slots, [(1, "a0"), (2, "a0"), (3, "a0")], root) == [True, False, False]
    assert slots.rest((1, "a0")) == []
    assert takes(slots, [(1, "a"), (1, "b")], child) == [True, True]
    assert slots.reason((3, "a0")) == "waits for the queue q: of its runs 1 may be under way; 1 action is before it"
    assert slots.free((1, "a")) == []
    assert slots.free((1, "a0")) == [(2, "a0")]
    slots.hold((4, "a0"), root, (), resting=True)
    assert slots.free((2, "a0")) == []
    assert slots.free((4, "a0")) == [(3, "a0")]


def test_what_only_sleeps_takes_next_to_nothing() -> None:
    slots = Slots(2)
    light = Ask(Shape(light=True))
    assert takes(slots, [(1, "a")]) == [True]
    assert takes(slots, [(1, f"s{n}") for n in range(64)], light) == [True] * 64
    assert takes(slots, [(1, "s64")], light) == [False]
    assert slots.taken() == 65
    assert slots.free((1, "s0")) == [(1, "s64")]
    assert slots.free((1, "a")) == []
    assert takes(slots, [(1, "b"), (1, "c")]) == [True, False]


def test_what_is_asked_of_the_machine_is_not_given_twice() -> None:
    slots = Slots(9, machine=_MACHINE)
    assert takes(slots, [_A, _B, _C], asking(memory=3 * _GIB)) == [True, True, False]
    assert slots.reason(_C) == "waits for 3 GiB of memory: 2 GiB of 8 GiB is free"
    assert takes(slots, [_D], asking(cpu=1.5)) == [True], "it needs no memory"
    assert slots.free(_A) == [_C]


def test_gpus_have_names() -> None:
    slots = Slots(9, machine=_MACHINE)
    takes(slots, [_A, _B, _C, _D], asking(gpu=1))
    assert [place.devices if (place := slots.place(key)) else None for key in (_A, _B, _C)] == [("0",), ("1",), None]
    assert slots.reason(_C) == "waits for 1 GPU: 0 of 2 are free"
    assert slots.reason(_D) == "waits for 1 GPU: 0 of 2 are free; 1 action is before it"
    assert slots.free(_B) == [_C]
    place = slots.place(_C)
    assert place is not None
    assert place.devices == ("1",)


def test_small_ones_pass_a_big_one_until_it_is_its_turn() -> None:
    slots = Slots(99, machine=_MACHINE)
    running = [(2, f"n{n}") for n in range(4)]
    assert takes(slots, running, asking(cpu=1)) == [True] * 4
    takes(slots, [(1, "big")], asking(cpu=3))
    takes(slots, [(2, f"n{n}") for n in range(4, 200)], asking(cpu=1))
    passed = 0
    while not slots.place((1, "big")):
        running = [*running[1:], *slots.free(running[0])]
        passed += 1
        assert passed < 30, "small ones pass it for ever"
    assert passed > 10, "nobody waits while there is room"
    assert running == [(1, "big"), (2, "n19")] or (1, "big") in running


def test_who_needs_nothing_that_is_kept_may_always_pass() -> None:
    slots = Slots(99, machine=_MACHINE)
    takes(slots, [(2, f"n{n}") for n in range(2)], asking(memory=4 * _GIB))
    takes(slots, [(1, "big")], asking(memory=8 * _GIB))
    assert takes(slots, [(2, f"m{n}") for n in range(60)], asking(cpu=0.01)) == [True] * 60


def test_a_parent_that_waits_lends_its_place_and_its_cpu_and_keeps_its_memory() -> None:
    slots = Slots(1, machine=_MACHINE)
    assert takes(slots, [_A, _B, _C], asking(cpu=4, memory=3 * _GIB)) == [True, False, False]
    assert slots.rest(_A) == [_B]
    assert slots.rest(_A) == [], "it has nothing more to lend"
    assert slots.rest(_B) == [_C], "beyond what there is: everything else waits for it, or what comes after it"
    place = slots.place(_C)
    assert place is not None
    assert place.beyond == "3 GiB of memory: 2 GiB of 8 GiB is free"
    assert slots.taken() == 1
    for key in (_C, _B, _A):
        assert slots.free(key) == []
    assert takes(slots, [_D], asking(cpu=4, memory=8 * _GIB)) == [True], "all is given back"


def test_what_runs_already_is_counted() -> None:
    slots = Slots(1, machine=_MACHINE)
    slots.hold(_A, asking(gpu=1, memory=8 * _GIB), ("1",), resting=False)
    slots.hold(_B, asking(gpu=1), ("gone",), resting=True)
    assert slots.taken() == 1
    assert takes(slots, [_C], asking(gpu=1)) == [False]
    assert slots.free(_A) == [_C]
    place = slots.place(_C)
    assert place is not None
    assert place.devices == ("0",)
    slots.free(_B)
    slots.free(_C)
    assert takes(slots, [_D], asking(gpu=2, memory=8 * _GIB)) == [True]


def test_who_is_to_be_told_that_it_waits() -> None:
    """Of every run the first, then the second: a large run does not keep others from being told of."""
    slots = Slots(1)
    takes(slots, [(1, f"n{n}") for n in range(50)])
    takes(slots, [(2, "x"), (3, "y")])
    slots.free((1, "n2"))
    assert slots.untold(5) == [(1, "n1"), (2, "x"), (3, "y"), (1, "n3"), (1, "n4")]
    assert slots.untold(2) == [(1, "n5"), (1, "n6")]
    assert len(slots.untold(99)) == 43
    assert slots.untold(99) == []


@dataclass
class _Crowd:
    """Keys that come, leave and are aborted in any order."""

    slots: Slots
    asks: dict[Key, Ask] = field(default_factory=dict)

    def holding(self) -> list[Ask]:
        return [ask for key, ask in self.asks.items() if self.slots.place(key)]

    def leave(self, key: Key) -> None:
        del self.asks[key]
        self.slots.free(key)


def test_nobody_waits_beside_a_free_place() -> None:
    chance = random.Random(1)
    for _ in range(200):
        capacity = chance.randint(1, 3)
        crowd = _Crowd(Slots(capacity))
        for n in range(60):
            if crowd.asks and chance.random() < 0.5:
                crowd.leave(chance.choice(sorted(crowd.asks)))
            else:
                key = (chance.randint(1, 3), f"n{n}")
                crowd.asks[key] = _ANY
                crowd.slots.take(key, _ANY)
            assert len(crowd.holding()) == min(len(crowd.asks), capacity)


_ASKS = st.builds(
    lambda queue, **amounts: asking(queue, **amounts),
    queue=st.sampled_from([None, None, Limit("q", 2)]),
    cpu=st.sampled_from([0, 0.5, 1, 2, 4]),
    memory=st.sampled_from([0, 1, 2, 3, 5]),
    gpu=st.sampled_from([0, 0, 0, 1, 2]),
)


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.integers(0, 30), _ASKS), max_size=60))
def test_nothing_is_given_twice_and_nothing_is_lost(story: list[tuple[int, bool, int, Ask]]) -> None:
    machine = Machine(cpu=4, memory=5, gpus=("0", "1"))
    crowd = _Crowd(Slots(4, machine=machine))
    for number, (run, leaves, which, ask) in enumerate(story):
        if leaves and crowd.asks:
            crowd.leave(sorted(crowd.asks)[which % len(crowd.asks)])
        else:
            key = (run, f"{number:02}")
            crowd.asks[key] = ask
            crowd.slots.take(key, ask)
        held = crowd.holding()
        amounts = [ask.shape.amounts for ask in held]
        assert len(held) <= 4
        assert sum(one.cpu for one in amounts) <= machine.cpu
        assert sum(one.memory for one in amounts) <= machine.memory
        devices = [device for key in crowd.asks if (place := crowd.slots.place(key)) for device in place.devices]
        assert len(devices) == len(set(devices)) == sum(one.gpu for one in amounts)
        assert sum(bool(ask.shape.limits) for ask in held) <= 2
        assert held or not crowd.asks, "nobody has a place, and somebody waits"
    for key in sorted(crowd.asks):
        crowd.leave(key)
    everything = asking(cpu=4, memory=5, gpu=2)
    assert takes(crowd.slots, [_A], everything) == [True]


@dataclass
class _Task:
    """A tree: what a task asks for, and what it calls, one after the other or all at once."""

    ask: Ask
    children: list["_Task"]
    together: bool


_TREES = st.recursive(
    st.builds(_Task, _ASKS, st.just([]), st.just(False)),
    lambda below: st.builds(_Task, _ASKS, st.lists(below, max_size=4), st.booleans()),
    max_leaves=20,
)


class _Simulation:
    """Runs trees in one `Slots`; what ends next is chance's."""

    def __init__(self, slots: Slots, chance: random.Random) -> None:
        self.slots, self.chance = slots, chance
        self.tasks: dict[Key, _Task] = {}
        self.parents: dict[Key, Key] = {}
        self.open: dict[Key, int] = {}  # children that have not ended
        self.called: dict[Key, int] = {}
        self.running: list[Key] = []
        self.ended = 0

    def call(self, key: Key, task: _Task, parent: Key | None) -> None:
        self.tasks[key] = task
        if parent is not None:
            self.parents[key] = parent
            self.open[parent] = self.open.get(parent, 0) + 1
            self.running += self.slots.rest(parent)
        self.running += self.slots.take(key, task.ask)

    def step(self) -> None:
        """One of those that run calls its next children, waits for those it has, or ends."""
        able = [key for key in self.running if not self.open.get(key)]
        assert able, "everything that runs waits: this is a deadlock"
        key = self.chance.choice(able)
        task, done = self.tasks[key], self.called.get(key, 0)
        some = task.children[done:] if task.together else task.children[done : done + 1]
        self.called[key] = done + len(some)
        for number, child in enumerate(some, start=done):
            self.call((key[0], f"{key[1]}.{number}"), child, key)
        if not some:
            self.running.remove(key)
            self.ended += 1
            if key in self.parents:
                self.open[self.parents[key]] -= 1
            self.running += self.slots.free(key)


def _size(task: _Task) -> int:
    return 1 + sum(map(_size, task.children))


@given(st.lists(_TREES, min_size=1, max_size=4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_any_tree_of_parents_ends(trees: list[_Task], capacity: int, chance: random.Random) -> None:
    """Whatever they ask for, however deep they are, with as little room as there is."""
    simulation = _Simulation(Slots(capacity, machine=Machine(cpu=4, memory=5, gpus=("0", "1"))), chance)
    for run, tree in enumerate(trees):
        simulation.call((run, "a0"), tree, None)
    size = sum(map(_size, trees))
    while simulation.ended < size:
        simulation.step()
        assert simulation.slots.taken() <= capacity
    assert simulation.slots.waiting() == 0
    assert takes(simulation.slots, [_A], asking(cpu=4, memory=5, gpu=2)) == [True], "all is given back"


@pytest.mark.parametrize("runs", [1, 100])
def test_ten_thousand_in_line(runs: int) -> None:
    """A step looks at the heads of few lines, however many stand behind them: counted in calls, not in time."""
    slots = Slots(16)
    keys = [(n % runs, f"n{n:05}") for n in range(10_000)]
    takes(slots, keys)
    assert slots.waiting() == 10_000 - 16
    served = [key for key in keys if slots.place(key)]
    for key in served:
        served += slots.free(key)
    assert len(served) == len(set(served)) == 10_000
    if runs == 1:
        assert served == keys
