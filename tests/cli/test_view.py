"""The live table drops columns, never what a reader needs, when the terminal is narrow."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console, RenderableType

from crossfeed.cli.monitor import Row, VenueCell
from crossfeed.cli.progress import progress_bar
from crossfeed.cli.view import FeedTable, FeedView
from crossfeed.model.trust import Trust

VENUES = ("binance", "coinbase", "kraken")
ALWAYS = ("BTC/USD", "63,983.60 ●", "63,993.08 ●", "63,980.00 ▲", "-0.0126 %", "unsound")


def a_row(symbol: str = "BTC/USD") -> Row:
    """Return the state of a symbol at three venues, one of them not sound."""
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
    return Row(symbol, cells, view, {}, quote_mismatch=True, rate_per_s=283.0)


SUMMARY = {
    "seconds": 12.0,
    "messages_received": 9_876,
    "updates_published": 5_432,
    "gaps": 3,
    "gaps_open": 1,
    "duplicates": 2,
    "invalid": 0,
    "reconnects": 0,
    "latency_us": {"p50": 900.0},
}


def screen(rows: int, width: int, height: int) -> list[str]:
    """Return the lines of a screen of that size."""
    monitor = SimpleNamespace(
        aggregator=SimpleNamespace(clients=dict.fromkeys(VENUES)),
        rows=lambda: [a_row(f"S{number:02}/USD") for number in range(rows)],
        summary=lambda: SUMMARY,
        errors=["kraken-1: the connection ended"],
    )
    return drawn(FeedView(monitor, "title", is_screen=True), width, height)


def drawn(what: RenderableType, width: int, height: int = 100) -> list[str]:
    """Return what a terminal of that size shows."""
    console = Console(width=width, height=height, file=StringIO(), legacy_windows=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get().splitlines()


def table(width: int) -> str:
    """Return the table of one symbol, as a terminal of that width shows it."""
    return "\n".join(drawn(FeedTable(VENUES, [a_row()], "title"), width))


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_what_a_reader_needs_is_never_cut(width: int) -> None:
    text = table(width)
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
    text = table(width)
    assert all(word in text for word in shown), text
    assert not any(word in text for word in dropped), text


@pytest.mark.parametrize("width", [40, 50, 60, 75])
def test_without_room_for_the_venues_the_best_prices_stand_for_them(width: int) -> None:
    text = table(width)
    assert all(word in text for word in ("BTC/USD", "63,984.45", "63,983.19", "●●▲")), text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize("size", [(160, 40), (80, 24), (80, 12), (50, 15), (40, 12)])
@pytest.mark.parametrize("rows", [1, 4, 40])
def test_a_screen_is_never_overfull(rows: int, size: tuple[int, int]) -> None:
    """What has no room is counted, and the footer keeps its place."""
    lines = screen(rows, *size)
    text = "\n".join(lines)
    assert len(lines) <= size[1], text
    assert "S00/USD" in text
    shown = sum(f"S{number:02}/USD" in text for number in range(rows))
    assert shown == rows or f"… {rows - shown} more" in text
    assert "9,876 messages" in text
    assert "the connection ended" in " ".join(text.split())


def test_trouble_does_not_move_the_columns() -> None:
    """A column that came and went with every gap would make the table unreadable."""
    sound = {name: VenueCell(63983.6, 1.0, 1.0, 0.1, Trust.SOUND, "") for name in VENUES}
    calm = Row("BTC/USD", sound, a_row().view, {}, quote_mismatch=True, rate_per_s=283.0)
    for width in range(60, 140):
        (calm_head,) = {
            line for line in drawn(FeedTable(VENUES, [calm], ""), width) if "symbol" in line
        }
        (head,) = {
            line for line in drawn(FeedTable(VENUES, [a_row()], ""), width) if "symbol" in line
        }
        assert calm_head.split("trust")[0].rstrip() == head.split("trust")[0].rstrip()


def test_names_are_shown_as_they_are() -> None:
    """Those of folders, feeds and symbols come from others, who may have meant no markup."""
    name, symbol, cause = "[/b]{x}", "[red]/USD", "{0}[/]"
    cell = VenueCell(1.5, 1.0, 2.0, 0.1, Trust.STALE, cause)
    row = Row(
        symbol, {name: cell}, a_row().view, {"{y}": "[/]"}, quote_mismatch=False, rate_per_s=1
    )
    text = "\n".join(drawn(FeedTable([name], [row], "replay a[/b]"), 160))
    for shown in ("replay a[/b]", name, symbol, f"stale ({cause})", "{y} left out: [/]"):
        assert shown in text


def test_name_of_a_file_in_a_progress_bar_is_shown_as_it_is(monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with progress_bar("importing {0}[/b]", "records", 10) as set_done:
        set_done(5, 10)
    assert "importing {0}[/b]" in terminal.getvalue()


class Terminal(StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True
