"""Quantities as Kubernetes spells them: ``500m``, ``2``, ``1.5Gi``, ``1e3``."""

import re
from fractions import Fraction

from alula.core.errors import Invalid

_SPELLED = re.compile(r"(?P<number>\d+\.?\d*|\.\d+)(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,2})?", re.ASCII)
_BINARY = {f"{letter}i": Fraction(1024) ** n for n, letter in enumerate("KMGTPE", start=1)}
_DECIMAL = {letter: Fraction(1000) ** n for n, letter in zip((-3, -2, -1, 1, 2, 3, 4, 5, 6), "numkMGTPE", strict=True)}
_FACTORS = _BINARY | _DECIMAL
_MOST = 2**63  # Kubernetes' limit
_LONGEST = 64  # characters


def parse(text: str) -> Fraction:
    """The number that a quantity stands for, exactly. It cannot be negative: it is an amount of something.

    Raises:
        Invalid: it is spelled in another way, or is too large.
    """
    spelled = _SPELLED.fullmatch(text) if len(text) <= _LONGEST else None
    if spelled is None:
        raise Invalid(
            f"{text[:_LONGEST]!r} is not a quantity; write a number and a unit, such as 500m, 2, 1.5Gi or 10G"
        )
    suffix = spelled["suffix"] or ""
    factor = _FACTORS.get(suffix) or Fraction(10) ** int(suffix[1:] or 0)
    amount = Fraction(spelled["number"].removesuffix(".")) * factor
    if amount >= _MOST:
        raise Invalid(f"{text!r} is too large: a quantity is below 2^63")
    return amount
