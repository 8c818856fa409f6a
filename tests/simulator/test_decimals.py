"""Integers as text."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st

from crossfeed.simulator.decimals import padded, plain, ratio, trimmed

values = st.integers(-(10**20), 10**20)
decimals = st.integers(0, 12)


@given(values, decimals)
def test_plain_is_exact_and_has_all_decimals(value, places):
    text = plain(value, places)
    assert Decimal(text) == Decimal(value).scaleb(-places)
    assert len(text.partition(".")[2]) == places


@given(values, decimals)
def test_trimmed_is_exact_and_short(value, places):
    text = trimmed(value, places)
    assert Decimal(text) == Decimal(value).scaleb(-places)
    assert "." not in text or text[-1] not in "0."


@given(st.integers(0, 10**20), decimals, decimals)
def test_padded_cuts_or_pads(value, places, width):
    text = padded(value, places, width)
    exact = Decimal(value).scaleb(-places)
    assert len(text.partition(".")[2]) == width
    assert 0 <= exact - Decimal(text) < Decimal(1).scaleb(-width)


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**9), st.integers(0, 8))
def test_ratio_rounds_half_away_from_zero(top, bottom, places):
    exact = (Decimal(top) / Decimal(bottom)).quantize(
        Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP
    )
    assert abs(Decimal(ratio(top, bottom, places)) - exact) <= Decimal(1).scaleb(-places - 8)


def test_ratio_of_nothing_is_zero():
    assert ratio(5, 0, 3) == "0.000"
