"""The terminal view: one table, redrawn in place."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from crossfeed.cli.monitor import FeedMonitor, Row, VenueCell
from crossfeed.model.trust import Trust

__all__ = ["FeedTable", "plain_lines", "render"]

TRUST_STYLE: Final = {
    Trust.SOUND: ("●", "green"),
    Trust.STALE: ("◐", "yellow"),
    Trust.UNSOUND: ("▲", "red"),
    Trust.CLOSED: ("■", "blue"),
    Trust.UNAVAILABLE: ("○", "bright_black"),
}
AGE_OLD_S: Final = 5.0
#: Narrower, the trust column cannot be read.
TRUST_WIDTH_MIN: Final = 12
EXCHANGE_CHARS: Final = 8
WIDTH_MAX: Final = 1_000


def price(value: float | None) -> str:
    """Write a price with as many digits as its size asks for."""
    if value is None:
        return "–"
    digits = 2 if abs(value) >= 100 else 4 if abs(value) >= 1 else 6  # noqa: PLR2004
    return f"{value:,.{digits}f}"


def age(value: float | None) -> str:
    """Write an age shortly."""
    if value is None:
        return "–"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"  # noqa: PLR2004


def _cell(cell: VenueCell) -> Text:
    sign, style = TRUST_STYLE[cell.trust]
    text = Text(justify="right")
    text.append(price(cell.price), style="" if cell.trust is Trust.SOUND else "dim")
    text.append(f" {sign}", style=style)
    return text


def _row_age(row: Row) -> Text:
    ages = [cell.age_s for cell in row.venues.values() if cell.age_s is not None]
    if not ages:
        return Text("–", justify="right")
    oldest = max(ages)
    return Text(age(oldest), style="yellow" if oldest > AGE_OLD_S else "", justify="right")


def _trust(row: Row) -> Text:
    text = Text()
    for name, cell in row.venues.items():
        if cell.trust is not Trust.SOUND:
            sign, style = TRUST_STYLE[cell.trust]
            text.append(f"{sign} {name}: {cell.trust.name.lower()} ({cell.cause}) ", style=style)
    for name, reason in row.excluded.items():
        if name not in row.venues or row.venues[name].trust is Trust.SOUND:
            text.append(f"{name} left out: {reason} ", style="yellow")
    if not text:
        text.append("● sound", style="green")
    return text


class Detail(IntEnum):
    """How much the table shows; what a narrow terminal has no room for goes first."""

    LEAST = 0
    TOP = 1
    RATE = 2
    OLDEST = 3
    FULL = 4


class FeedTable:
    """The present state as a table with as many columns as the terminal has room for.

    Symbol, the venues' prices, spread and trust always stay; the names of the best exchanges go
    first, then the oldest age, the rate, and last the best bid and ask.
    """

    def __init__(self, monitor: FeedMonitor, title: str) -> None:
        """Take the state of now; drawing it again draws the same."""
        self._title = title
        self._venues = list(monitor.aggregator.clients)
        self._rows = monitor.rows()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the fullest table that fits."""
        wide = options.update(max_width=WIDTH_MAX)

        def has_room(detail: Detail) -> bool:
            tight = self._table(detail, trust_width=TRUST_WIDTH_MIN)
            return Measurement.get(console, wide, tight).maximum <= options.max_width

        fitting = filter(has_room, sorted(Detail, reverse=True))
        yield self._table(next(fitting, Detail.LEAST), trust_width=None)

    def _table(self, detail: Detail, trust_width: int | None) -> Table:
        table = Table(
            title=self._title,
            title_justify="left",
            title_style="bold",
            expand=False,
            pad_edge=False,
        )
        table.add_column("symbol", style="bold", no_wrap=True)
        for name in (*self._venues, *_headings(detail)):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("trust", max_width=trust_width, overflow="fold")
        for row in self._rows:
            prices = [_cell(row.venues[n]) if n in row.venues else "–" for n in self._venues]
            table.add_row(row.symbol, *prices, *_figures(row, detail), _trust(row))
        return table


def render(monitor: FeedMonitor, title: str) -> RenderableType:
    """Draw the present state."""
    return Group(FeedTable(monitor, title), _footer(monitor))


def _headings(detail: Detail) -> list[str]:
    """Return the headings of what `_figures` tells."""
    headings = ["best bid", "best ask"] if detail >= Detail.TOP else []
    headings.append("spread")
    headings += ["rate/s"] if detail >= Detail.RATE else []
    return headings + (["oldest"] if detail >= Detail.OLDEST else [])


def _figures(row: Row, detail: Detail) -> list[RenderableType]:
    """Return what is told of a symbol over all venues."""
    figures: list[RenderableType] = []
    if detail >= Detail.TOP:
        figures += [_best(row, side, is_named=detail is Detail.FULL) for side in ("bid", "ask")]
    spread = row.view.get("spread_percent")
    style = "magenta" if spread is not None and spread < 0 else ""
    mark = " ≠" if row.quote_mismatch else ""
    figures.append(Text("–" if spread is None else f"{spread:+.4f} %{mark}", style=style))
    figures += [f"{row.rate_per_s:,.0f}"] if detail >= Detail.RATE else []
    return figures + ([_row_age(row)] if detail >= Detail.OLDEST else [])


def _best(row: Row, side: str, *, is_named: bool) -> Text:
    """Write the best price of a side, with its exchange where it is named."""
    text = Text(price(row.view.get(f"best_{side}")))
    name = row.view.get(f"best_{side}_exchange")
    if is_named and name:
        text.append(f" {name[:EXCHANGE_CHARS]}", style="dim")
    return text


def _footer(monitor: FeedMonitor) -> Text:
    summary = monitor.summary()
    text = Text(style="dim")
    text.append(
        f"{summary['seconds']:.0f} s · {summary['messages_received']:,} messages · "
        f"{summary['updates_published']:,} updates · {summary['gaps']} gaps "
        f"({summary['gaps_open']} open) · {summary['duplicates']} duplicates · "
        f"{summary['invalid']} invalid · {summary['reconnects']} reconnects · "
        f"p50 {summary['latency_us']['p50'] / 1000:.2f} ms · "
        f"{summary['cpu_us_per_message'] or 0:.0f} us CPU/message\n"
    )
    text.append("● sound  ◐ stale  ▲ unsound  ■ closed  ○ unavailable  ")
    text.append("≠ prices in different quote currencies, unconverted · Ctrl-C ends")
    for error in monitor.errors[-1:]:
        text.append(f"\n{error[:160]}", style="yellow")
    return text


def _untrusted(cell: VenueCell) -> str:
    return "" if cell.trust is Trust.SOUND else f" {cell.trust.name}"


def plain_lines(monitor: FeedMonitor) -> list[str]:
    """Write the present state as one readable line per symbol, for pipes and logs."""
    lines: list[str] = []
    for row in monitor.rows():
        venues = "  ".join(
            f"{name} {price(cell.price)}" + _untrusted(cell) for name, cell in row.venues.items()
        )
        bid, ask = row.view.get("best_bid"), row.view.get("best_ask")
        spread = row.view.get("spread_percent")
        shown = "–" if spread is None else f"{spread:+.4f} %"
        lines.append(
            f"{monitor.seconds:6.1f} s  {row.symbol:10} {venues}  |  bid {price(bid)}  "
            f"ask {price(ask)}  spread {shown}  {row.rate_per_s:,.0f}/s"
        )
    return lines
