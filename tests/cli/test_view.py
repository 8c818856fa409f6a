"""The live table drops columns, never what a reader needs, when the terminal is narrow."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from crossfeed.cli.monitor import Row, VenueCell
from crossfeed.cli.view import FeedTable
from crossfeed.model.trust import Trust

VENUES = ("binance", "coinbase", "kraken")
ALWAYS = ("BTC/USD", "63,983.60 ●", "63,993.08 ●", "63,980.00 ▲", "-0.0126 %", "unsound")


def table() -> FeedTable:
    """Return the table of one symbol at three venues, one of them not sound."""
    prices = (63983.6, 63993.08, 63980.0)
    trusts = (Trust.SOUND, Trust.SOUND, Trust.UNSOUND)
    cells = {
        name: VenueCell(price, price, price, 0.124, trust, "sequence_gap")
        for name, price, trust in zip(VENUES, prices, trusts, strict=True)
    }
    view = {
        "best_bid": 63984.45,
        "best_bid_exchange": "binance",
        "best_ask": 63983.19,
        "best_ask_exchange": "coinbase",
        "spread_percent": -0.0126,
    }
    row = Row("BTC/USD", cells, view, {}, quote_mismatch=True, rate_per_s=283.0)
    aggregator = SimpleNamespace(clients=dict.fromkeys(VENUES))
    return FeedTable(SimpleNamespace(aggregator=aggregator, rows=lambda: [row]), "title")


def drawn(width: int) -> str:
    """Return what a terminal of that width shows."""
    console = Console(width=width, file=StringIO(), legacy_windows=False)
    with console.capture() as capture:
        console.print(table())
    return capture.get()


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_what_a_reader_needs_is_never_cut(width: int) -> None:
    text = drawn(width)
    assert all(word in text for word in ALWAYS), text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize(
    ("width", "shown", "dropped"),
    [
        (80, (), ("best bid", "rate/s", "oldest", "63,984.45")),
        (105, ("best bid", "best ask"), ("rate/s", "oldest", "63,984.45 binance")),
        (114, ("best bid", "rate/s"), ("oldest", "63,984.45 binance")),
        (124, ("best bid", "rate/s", "oldest"), ("63,984.45 binance",)),
        (160, ("63,984.45 binance", "63,983.19 coinbase", "rate/s", "oldest"), ()),
    ],
)
def test_columns_go_in_order(width: int, shown: tuple[str, ...], dropped: tuple[str, ...]) -> None:
    text = drawn(width)
    assert all(word in text for word in shown), text
    assert not any(word in text for word in dropped), text
