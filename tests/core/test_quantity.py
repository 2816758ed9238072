"""Quantities, as Kubernetes spells them."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.core.errors import Invalid
from alula.core.quantity import parse


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("2", 2),
        ("0.1", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("500m", Fraction(1, 2)),
        ("100u", Fraction(1, 10_000)),
        ("1n", Fraction(1, 10**9)),
        ("10k", 10_000),
        ("10G", 10 * 10**9),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("2Ti", 2**41),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-1", Fraction(12, 10)),
        ("1E", 10**18),
        ("7Ei", 7 * 2**60),
    ],
)
def test_amounts(text: str, amount: Fraction) -> None:
    assert parse(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 Gi", "Gi", "1gi", "1K", "1Mib", "-1", "+1", "1e", "1e+", "1e100", "8Ei", "0x10", "1,5", "1..2"),
        "9" * 65,
        "\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    with suppress(Invalid):
        assert 0 <= parse(text) < 2**63
