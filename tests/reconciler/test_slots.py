"""Places: never more than there are, in the order of asking, and no place stays empty while somebody waits."""

import random

from alula.reconciler.hints import Key
from alula.reconciler.slots import Slots

_A, _B, _C, _D = ((1, name) for name in "abcd")


def test_capacity() -> None:
    slots = Slots(2)
    assert [slots.take(key) for key in (_A, _B, _C)] == [True, True, False]
    assert slots.take(_A), "who has a place keeps it"
    assert slots.free(_A) == [_C]
    assert slots.take(_C)
    assert not slots.take(_D)


def test_first_come_first_served() -> None:
    slots = Slots(1)
    assert [slots.take(key) for key in (_A, _B, _C, _B)] == [True, False, False, False]
    assert slots.free(_A) == [_B]
    assert slots.free(_D) == [_B], "the place is free still"
    assert slots.take(_B)
    assert slots.free(_B) == [_C]


def test_a_place_that_was_offered_in_vain_goes_to_the_next() -> None:
    """The first in line was aborted before it could take the place."""
    slots = Slots(1)
    assert [slots.take(key) for key in (_A, _B, _C)] == [True, False, False]
    assert slots.free(_A) == [_B]
    assert slots.free(_B) == [_C]


def test_who_leaves_the_line_frees_nothing() -> None:
    slots = Slots(1)
    assert [slots.take(key) for key in (_A, _B, _C)] == [True, False, False]
    assert slots.free(_B) == []
    assert not slots.take(_D)
    assert slots.free(_A) == [_C]


def test_several_places_are_offered_to_several() -> None:
    slots = Slots(3)
    assert [slots.take((1, str(n))) for n in range(6)] == [True] * 3 + [False] * 3
    assert slots.free((1, "0")) == [(1, "3")]
    assert slots.free((1, "1")) == [(1, "3"), (1, "4")]


def test_who_waits() -> None:
    slots = Slots(1)
    slots.take(_A)
    slots.take(_B)
    assert (slots.waits(_A), slots.waits(_B), slots.waits(_C)) == (False, True, False)
    slots.free(_A)
    slots.take(_B)
    assert not slots.waits(_B)


class _Crowd:
    """Keys that come, leave and are aborted in any order; those offered a place come for it some time."""

    def __init__(self, capacity: int) -> None:
        self.slots = Slots(capacity)
        self.holding: set[Key] = set()
        self.line: set[Key] = set()
        self.offered: list[Key] = []

    def come(self, key: Key) -> None:
        if key not in self.holding | self.line:
            self.offered += self.slots.free(key)  # its row has ended: it wants no place any more
        elif self.slots.take(key):
            self.line.discard(key)
            self.holding.add(key)

    def leave(self, key: Key, *, told: bool) -> None:
        """Ended; and whether the slots hear of it now, or when it comes for the place that it was offered."""
        if told or key in self.holding or key not in self.offered:
            self.offered += self.slots.free(key)
        self.holding.discard(key)
        self.line.discard(key)


def test_nobody_waits_beside_a_free_place() -> None:
    chance = random.Random(1)
    for _ in range(300):
        capacity = chance.randint(1, 3)
        crowd = _Crowd(capacity)
        for n in range(60):
            if crowd.offered and chance.random() < 0.5:
                crowd.come(crowd.offered.pop(chance.randrange(len(crowd.offered))))
            elif (crowd.holding or crowd.line) and chance.random() < 0.5:
                crowd.leave(chance.choice(sorted(crowd.holding | crowd.line)), told=chance.random() < 0.5)
            else:
                crowd.line.add((n, "new"))
                crowd.come((n, "new"))
            assert len(crowd.holding) <= capacity
        while crowd.offered:
            crowd.come(crowd.offered.pop())
        assert not crowd.line or len(crowd.holding) == capacity
