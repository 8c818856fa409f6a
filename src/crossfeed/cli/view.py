"""The terminal view: one table, redrawn in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from crossfeed.cli.monitor import FeedMonitor, Row, VenueCell
from crossfeed.model.trust import Trust

__all__ = ["FeedTable", "FeedView", "plain_lines"]

TRUST_STYLE: Final = {
    Trust.SOUND: ("●", "green"),
    Trust.STALE: ("◐", "yellow"),
    Trust.UNSOUND: ("▲", "red"),
    Trust.CLOSED: ("■", "blue"),
    Trust.UNAVAILABLE: ("○", "bright_black"),
}
AGE_OLD_S: Final = 5.0
#: Narrower, the trust column cannot be read.
TRUST_WIDTH: Final = 12
EXCHANGE_CHARS: Final = 8
WIDTH_MAX: Final = 1_000
#: A lower screen keeps its lines for rows.
LEGEND_HEIGHT_MIN: Final = 20


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
    """Write what is not sound and why, venues with the same trouble together."""
    troubles: dict[tuple[str, str], list[str]] = {}
    for name, cell in row.venues.items():
        if cell.trust is not Trust.SOUND:
            sign, style = TRUST_STYLE[cell.trust]
            words = f"{cell.trust.name.lower()} ({cell.cause})"
            troubles.setdefault((f"{sign} {{}}: {words} ", style), []).append(name)
    for name, reason in row.excluded.items():
        if name not in row.venues or row.venues[name].trust is Trust.SOUND:
            troubles.setdefault((f"{{}} left out: {reason} ", "yellow"), []).append(name)
    text = Text()
    for (words, style), names in troubles.items():
        text.append(words.replace("{}", ", ".join(names), 1), style=style)
    return text or Text("● sound", style="green")


#: Columns of the table, fullest first: a terminal gets the first that it has room for.
LAYOUTS: Final = (
    ("venues", "named", "spread", "rate", "oldest", "trust"),
    ("venues", "top", "spread", "rate", "oldest", "trust"),
    ("venues", "top", "spread", "rate", "trust"),
    ("venues", "top", "spread", "trust"),
    ("venues", "spread", "trust"),
    ("named", "spread", "rate", "oldest", "trust"),
    ("top", "spread", "rate", "signs"),
    ("top", "spread", "signs"),
    ("top", "signs"),
)
HEADINGS: Final = {
    "named": ("best bid", "best ask"),
    "top": ("best bid", "best ask"),
    "rate": ("rate/s",),
    "signs": ("",),
}


class FeedTable:
    """Rows as a table with as many columns as the terminal has room for.

    Symbol and trust always stay. The names of the best exchanges go first, then the oldest age, the
    rate, the best bid and ask; where the venues' prices have no room, the best bid and ask stand
    for them.
    """

    def __init__(
        self, venues: Sequence[str], rows: Sequence[Row], title: str, *, is_terse: bool = False
    ) -> None:
        """Take the state of now; drawing it again draws the same. Terse rows have one line each."""
        self._title = title
        self._venues = venues
        self._rows = rows
        self._is_terse = is_terse

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the fullest table that fits."""
        wide = options.update(max_width=WIDTH_MAX)

        def spare(layout: tuple[str, ...]) -> int:
            tight = self._table(layout, trust_width=TRUST_WIDTH)
            return options.max_width - Measurement.get(console, wide, tight).maximum

        layout = next((each for each in LAYOUTS if spare(each) >= 0), LAYOUTS[-1])
        # In one line the words would push the other columns aside.
        trust_width = TRUST_WIDTH + max(0, spare(layout)) if self._is_terse else None
        yield self._table(layout, trust_width)

    def _table(self, layout: tuple[str, ...], trust_width: int | None) -> Table:
        """Make the table; measured with one width of trust, or trouble would move the columns."""
        table = Table(
            title=Text(self._title),  # names of folders, venues and symbols are no markup
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD if "signs" in layout else box.HEAVY_HEAD,
            expand=False,
            pad_edge=False,
        )
        table.add_column("symbol", style="bold", no_wrap=True)
        for part in layout:
            names = self._venues if part == "venues" else HEADINGS.get(part, (part,))
            for name in names:
                if part == "trust":
                    flow: OverflowMethod = "ellipsis" if self._is_terse else "fold"
                    table.add_column(name, width=trust_width, overflow=flow, no_wrap=self._is_terse)
                else:
                    table.add_column(Text(name), justify="right", no_wrap=True)
        for row in self._rows:
            cells = [cell for part in layout for cell in self._cells(row, part)]
            table.add_row(Text(row.symbol), *cells)
        return table

    def _cells(self, row: Row, part: str) -> list[RenderableType]:
        """Return the cells of one part of a layout."""
        if part == "venues":
            return [_cell(row.venues[n]) if n in row.venues else "–" for n in self._venues]
        if part in {"named", "top"}:
            return [_best(row, side, is_named=part == "named") for side in ("bid", "ask")]
        if part == "rate":
            return [f"{row.rate_per_s:,.0f}"]
        draw = {"spread": _spread, "oldest": _row_age, "signs": _signs, "trust": _trust}[part]
        return [draw(row)]


class FeedView:
    """The present state: table and footer, on a screen of its own with as many rows as it has."""

    def __init__(self, monitor: FeedMonitor, title: str, *, is_screen: bool) -> None:
        """Take the state of now; drawing it again draws the same."""
        self._title = title
        self._is_screen = is_screen
        self._venues = list(monitor.aggregator.clients)
        self._rows = monitor.rows()
        self._summary = monitor.summary()
        self._errors = monitor.errors[-1:]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield table and footer, cut to the height of the screen where there is one."""
        if not self._is_screen:
            yield FeedTable(self._venues, self._rows, self._title)
            yield self._footer(has_legend=True)
            return
        height = console.height
        footer = self._footer(has_legend=height >= LEGEND_HEIGHT_MIN)
        room = height - len(console.render_lines(footer, options)) - 1
        rows, is_terse = self._rows, False
        while True:
            table = FeedTable(self._venues, rows, self._title, is_terse=is_terse)
            excess = len(console.render_lines(table, options)) - room
            if excess <= 0 or (is_terse and len(rows) <= 1):
                break
            if is_terse:
                rows = rows[: -min(excess, len(rows) - 1)]
            is_terse = True
        yield table
        if len(rows) < len(self._rows):
            hidden = len(self._rows) - len(rows)
            yield Text(f"… {hidden} more: a higher window shows them", style="dim", no_wrap=True)
        yield footer

    def _footer(self, *, has_legend: bool) -> Text:
        """Write the counts, the meaning of the signs, and the newest error."""
        summary = self._summary
        text = Text(style="dim")
        text.append(
            f"{summary['seconds']:.0f} s · {summary['messages_received']:,} messages · "
            f"{summary['updates_published']:,} updates · {summary['gaps']} gaps "
            f"({summary['gaps_open']} open) · {summary['duplicates']} duplicates · "
            f"{summary['invalid']} invalid · {summary['reconnects']} reconnects · "
            f"p50 {summary['latency_us']['p50'] / 1000:.2f} ms"
        )
        if has_legend:
            text.append("\n● sound  ◐ stale  ▲ unsound  ■ closed  ○ unavailable  ")
            text.append("≠ prices in different quote currencies, unconverted · Ctrl-C ends")
        for error in self._errors:
            text.append(f"\n{error[:160]}", style="yellow")
        return text


def _spread(row: Row) -> Text:
    """Write the spread of the consolidated quote; below 0 somebody bids above another's ask."""
    spread = row.view.get("spread_percent")
    style = "magenta" if spread is not None and spread < 0 else ""
    mark = " ≠" if row.quote_mismatch else ""
    return Text("–" if spread is None else f"{spread:+.4f} %{mark}", style=style)


def _signs(row: Row) -> Text:
    """Write one sign for each venue, where words have no room."""
    return Text.assemble(*(TRUST_STYLE[cell.trust] for cell in row.venues.values()))


def _best(row: Row, side: str, *, is_named: bool) -> Text:
    """Write the best price of a side, with its exchange where it is named."""
    text = Text(price(row.view.get(f"best_{side}")))
    name = row.view.get(f"best_{side}_exchange")
    if is_named and name:
        text.append(f" {name[:EXCHANGE_CHARS]:{EXCHANGE_CHARS}}", style="dim")
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
