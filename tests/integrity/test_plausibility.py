"""Price bands: a wrong digit is marked, a move that lasts is followed."""

import pytest

from crossfeed.integrity.plausibility import BandLimits, PriceBand
from crossfeed.model.events import Candle
from crossfeed.model.trust import Mark
from crossfeed.testing.events import heartbeat, quote, ticker, trade


def suspects(band, *prices, step_ms=300):
    """Return for each trade price whether it was marked."""
    marked = []
    for at, price in enumerate(prices):
        event = band.check(trade(at, at * step_ms, price=price))
        marked.append(bool(event.marks & Mark.SUSPECT))
    return marked


@pytest.mark.fault("D05")
def test_a_price_times_ten_is_marked_and_delivered():
    """The event keeps its price; its mark keeps it out of aggregates."""
    band = PriceBand()
    assert suspects(band, 100, 101, 1_010, 101, 10, 100) == [False, False, True, False, True, False]
    assert band.suspects == 2
    assert "2 suspect" in repr(band)
    event = band.check(trade(9, price=1_010.0))
    assert event.price == 1_010.0
    assert event.data["suspect"] is True


@pytest.mark.fault("D05")
def test_the_band_follows_a_move_that_lasts():
    """Several suspects in a row that agree are the market."""
    band = PriceBand()
    marked = suspects(band, 100, *[200.0] * 8)
    assert marked == [False, True, True, True, True, False, False, False, False]
    assert band.moves == 1
    assert suspects(band, 199, 201) == [False, False]
    assert suspects(band, 100) == [True], "the old price is now the odd one"


def test_a_burst_is_not_a_move_however_many_events():
    """They must agree over time, too: one bad batch does not move the band."""
    band = PriceBand()
    assert all(suspects(band, 100, *[200.0] * 50, step_ms=1)[1:])
    assert band.moves == 0


def test_suspects_that_disagree_are_no_move():
    """Garbage does not become truth by repetition."""
    band = PriceBand()
    marked = suspects(band, 100, 1_000, 10_000, 1, 5_000, 3, 70_000, 1_000, step_ms=1_000)
    assert all(marked[1:])


def test_a_drift_is_followed_without_marks():
    """The band is laid around each good price."""
    band = PriceBand()
    price, marked = 100.0, []
    for number in range(200):
        marked.append(bool(band.check(trade(number, price=price)).marks))
        price *= 1.02
    assert not any(marked)


def test_limits_are_settings():
    """A narrow band marks sooner."""
    band = PriceBand(BandLimits(ratio=1.01))
    assert suspects(band, 100, 102) == [False, True]
    with pytest.raises(AssertionError):
        PriceBand(BandLimits(ratio=1.0))


def test_every_kind_with_a_price_is_judged():
    """Quotes by their mid, candles by their close; what has no price passes."""
    band = PriceBand()
    assert not band.check(quote(99.0, 101.0)).marks
    assert band.check(quote(990.0, 1_010.0)).marks & Mark.SUSPECT
    assert band.check(ticker(1_000.0)).marks & Mark.SUSPECT
    base = ticker(1.0)
    head = [getattr(base, name) for name in base.__struct_fields__[:12]]
    candle = Candle(*head, "1m", 0, 0, 100.0, 100.0, 100.0, 1_000.0, 1.0, None, is_closed=True)
    assert band.check(candle).marks & Mark.SUSPECT
    beat = heartbeat(5)
    assert band.check(beat) is beat
