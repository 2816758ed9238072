"""What goes wrong, by seeded chance or on demand."""

import asyncio
import random
from dataclasses import dataclass, field

from tests.kube.apiserver.refusals import Refusal


class Cut(Exception):
    """The connection breaks here."""


@dataclass
class Faults:
    """``rate``: of requests that are answered with one of ``codes`` and not done (409 only where something is changed,
    410 only for lists that go on and watches); ``lost``: of writes that are done, and whose answer never comes;
    ``cut``: of watched events after which the watch is cut; ``latency``: seconds of an answer, at least and at most;
    ``away``: every connection breaks.
    """

    dice: random.Random = field(default_factory=lambda: random.Random(0))
    rate: float = 0.0
    codes: tuple[int, ...] = (409, 410, 429, 500)
    lost: float = 0.0
    cut: float = 0.0
    latency: tuple[float, float] = (0.0, 0.0)
    away: bool = False

    async def before(self, method: str, asked: dict[str, str]) -> None:
        """Called with each request; raises what is to go wrong."""
        if self.latency[1]:
            await asyncio.sleep(self.dice.uniform(*self.latency))
        if self.away:
            raise Cut
        if self.rate and self.dice.random() < self.rate:
            codes = [code for code in self.codes if _fits(code, method, asked)]
            if codes:
                code = self.dice.choice(codes)
                raise Refusal(code, "injected", after=0 if code == 429 else None)

    def happens(self, rate: float) -> bool:
        return bool(rate) and self.dice.random() < rate


def _fits(code: int, method: str, asked: dict[str, str]) -> bool:
    if code == 409:
        return method in ("PUT", "PATCH")
    if code == 410:
        return "continue" in asked or "watch" in asked
    return True
