"""Hints: each key once, never with two workers, and looked at again if it was told of meanwhile."""

import asyncio

import pytest

from alula.reconciler.hints import Hints, Key

_A, _B = (1, "a"), (1, "b")


async def _next(hints: Hints) -> Key:
    async with hints.next() as key:
        return key


async def _none(hints: Hints) -> bool:
    try:
        await asyncio.wait_for(_next(hints), 0.005)
    except TimeoutError:
        return True
    return False


async def test_a_hint_told_often_is_one() -> None:
    hints = Hints()
    for _ in range(5):
        hints.add([_A, _B, _A])
    assert [await _next(hints), await _next(hints)] == [_A, _B]
    assert await _none(hints)


async def test_a_key_never_has_two_workers() -> None:
    hints = Hints()
    hints.add([_A])
    async with hints.next() as key:
        assert key == _A
        hints.add([_A, _A])
        assert await _none(hints)
    assert await _next(hints) == _A, "told of meanwhile: it is looked at once more"
    assert await _none(hints)


async def test_others_go_on_meanwhile() -> None:
    hints = Hints()
    hints.add([_A])
    async with hints.next():
        hints.add([_A, _B])
        assert await _next(hints) == _B


async def test_an_error_gives_the_key_back() -> None:
    hints = Hints()
    hints.add([_A])
    with pytest.raises(RuntimeError):
        async with hints.next():
            raise RuntimeError
    hints.add([_A])
    assert await _next(hints) == _A


async def test_later() -> None:
    hints = Hints()
    hints.add_later(_A, 0.02)
    hints.add_later(_B, -5.0)
    began = asyncio.get_running_loop().time()
    assert await _next(hints) == _B
    assert await _next(hints) == _A
    assert asyncio.get_running_loop().time() - began >= 0.019


async def test_a_worker_that_left_loses_no_key() -> None:
    hints = Hints()
    waiting = asyncio.create_task(_next(hints))
    await asyncio.sleep(0)
    waiting.cancel()
    hints.add([_A])
    await asyncio.gather(waiting, return_exceptions=True)
    assert await _next(hints) == _A
