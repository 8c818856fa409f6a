"""What a replay shows: how far it is, and the feeds as they stood there."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from crossfeed.cli.monitor import Row, VenueCell
from crossfeed.cli.view import FeedTable, price
from crossfeed.clients.replay import Replay
from crossfeed.model.event_base import utc_datetime
from crossfeed.model.events import MarketData
from crossfeed.model.ports import Clock
from crossfeed.model.trust import Trust
from crossfeed.runtime.replay import FeedReplay

__all__ = ["ReplayMonitor", "line_of", "moment", "render"]

NS: Final = 1_000_000_000
BAR_WIDTH: Final = 40
RATE_WINDOW_NS: Final = 2 * NS
NO_ROWS: Final = frozenset({"heartbeat", "status"})


def moment(ns: int) -> str:
    """Write a recorded time shortly, UTC."""
    return utc_datetime(ns).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if ns else "–"


def speed_of(replay: Replay) -> str:
    """Write how fast it plays."""
    if replay.is_warming:
        return "warming up"
    if replay.pace.is_paused:
        return "paused"
    return f"{replay.pace.speed:g}x" if replay.pace.speed else "max"


class ReplayMonitor:
    """Listens to a replay; asked by the views a few times a second.

    Args:
        replay: Not played yet.
        clock: Real time, for rates.

    Attributes:
        counts: Events by (exchange, data type).
        begin_ns: Recorded time at which giving out begins.
        end_ns: At which it ends.
    """

    def __init__(self, replay: Replay, clock: Clock) -> None:
        """Subscribe.

        Raises:
            JournalError: A folder cannot be read.
        """
        self.replay = replay
        self.counts: Counter[tuple[str, str]] = Counter()
        self.begin_ns, self.end_ns = replay.span()
        self._clock = clock
        self._last: dict[tuple[str, str], dict[str, MarketData]] = {}
        self._heard: Counter[tuple[str, str]] = Counter()
        self._window = (clock.monotonic_ns(), 0, self._heard.copy())
        self._rate_per_s = 0.0
        counts = self.counts

        def count(event: MarketData) -> None:
            counts[event.exchange, event.data_type] += 1

        replay.on("*", count)
        for data_type in ("trade", "ticker", "book_ticker"):
            replay.on(data_type, self._keep)

    def _keep(self, event: MarketData) -> None:
        key = (event.exchange, event.symbol)
        self._heard[key] += 1
        self._last.setdefault(key, {})[event.data_type] = event

    # ── asking ──────────────────────────────────────────────────────────────

    @property
    def venues(self) -> list[str]:
        """Names of the feeds."""
        return list(self.replay.feeds)

    @property
    def share(self) -> float:
        """How much of what is given out has been played, 0 to 1."""
        if self.replay.is_over:
            return 1.0
        total_ns = self.end_ns - self.begin_ns
        played_ns = self.replay.now_ns - self.begin_ns
        return min(1.0, max(0.0, played_ns / total_ns)) if total_ns > 0 else 0.0

    def rate_per_s(self) -> float:
        """Return events a second of real time, over the last two seconds."""
        now_ns, events = self._clock.monotonic_ns(), self.replay.stats().events
        since_ns, before, _ = self._window
        if now_ns - since_ns >= NS // 2:
            self._rate_per_s = (events - before) * NS / (now_ns - since_ns)
        if now_ns - since_ns >= RATE_WINDOW_NS:
            self._window = (now_ns, events, self._heard.copy())
        return self._rate_per_s

    def rows(self) -> list[Row]:
        """Return the state of every symbol at the position reached."""
        since_ns, _, before = self._window
        passed_s = max(1e-9, (self._clock.monotonic_ns() - since_ns) / NS)
        cells: dict[str, dict[str, VenueCell]] = {}
        rates: Counter[str] = Counter()
        for name, feed in self.replay.feeds.items():
            for unified, (symbol, cell) in self._cells(feed).items():
                cells.setdefault(unified, {})[name] = cell
                key = (feed.venue.profile.exchange, symbol)
                rates[unified] += self._heard[key] - before[key]
        return [
            Row(
                unified,
                by_feed,
                _best(by_feed),
                {},
                quote_mismatch=False,
                rate_per_s=rates[unified] / passed_s,
            )
            for unified, by_feed in sorted(cells.items())
        ]

    def _cells(self, feed: FeedReplay) -> dict[str, tuple[str, VenueCell]]:
        """Return one feed's symbols and their state by unified symbol."""
        worst: dict[str, tuple[Trust, str, str]] = {}
        for trust in feed.streams.trusts():
            stream = trust.stream
            if not stream.symbol or stream.channel in NO_ROWS:
                continue
            unified = feed.instrument(stream.symbol).unified
            known = worst.get(unified)
            if known is None or trust.current > known[0]:
                worst[unified] = (trust.current, trust.cause, stream.symbol)
        return {
            unified: (symbol, self._cell(feed, symbol, current, cause))
            for unified, (current, cause, symbol) in worst.items()
        }

    def _cell(self, feed: FeedReplay, symbol: str, trust: Trust, cause: str) -> VenueCell:
        last = self._last.get((feed.venue.profile.exchange, symbol), {})
        traded = last.get("trade") or last.get("ticker")
        book = feed.streams.book(symbol)
        top = book.best() if book is not None else None
        quote: Any = last.get("book_ticker")
        heard_ns = max((event.ts_recv_ns for event in last.values()), default=0)
        return VenueCell(
            getattr(traded, "price", None),
            top.bid_price if top is not None else getattr(quote, "bid_price", None),
            top.ask_price if top is not None else getattr(quote, "ask_price", None),
            max(0.0, (self.replay.now_ns - heard_ns) / NS) if heard_ns else None,
            trust,
            cause,
        )


def _best(cells: dict[str, VenueCell]) -> dict[str, Any]:
    """Return the best prices over the feeds that are sound."""
    sound = {name: cell for name, cell in cells.items() if cell.trust is Trust.SOUND}
    bids = [(cell.bid, name) for name, cell in sound.items() if cell.bid is not None]
    asks = [(cell.ask, name) for name, cell in sound.items() if cell.ask is not None]
    if not bids or not asks:
        return {}
    (bid, bidder), (ask, asker) = max(bids), min(asks)
    return {
        "best_bid": bid,
        "best_bid_exchange": bidder,
        "best_ask": ask,
        "best_ask_exchange": asker,
        "spread_percent": (ask - bid) / ((ask + bid) / 2) * 100,
    }


def render(monitor: ReplayMonitor, title: str, *, has_keys: bool) -> RenderableType:
    """Draw position, progress and the state of every symbol."""
    replay, share = monitor.replay, monitor.share
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=share, width=BAR_WIDTH)
    shown = Text(f"{moment(replay.now_ns)} UTC", style="bold")
    head.add_row(shown, bar, f"{share:4.0%}", Text(speed_of(replay), style="cyan"))
    table = FeedTable(monitor.venues, monitor.rows(), title)
    parts: list[RenderableType] = [table, head, _footer(monitor)]
    if has_keys:
        keys = "space pauses · + faster · - slower · n next event · q or Ctrl-C ends"
        parts.append(Text(keys, style="dim"))
    return Group(*parts)


def _footer(monitor: ReplayMonitor) -> Text:
    stats, replay = monitor.replay.stats(), monitor.replay
    gaps = [feed.gaps.totals() for feed in replay.feeds.values()]
    parts = [
        f"{stats.records:,} records",
        f"{stats.events:,} events ({monitor.rate_per_s():,.0f}/s)",
        f"{sum(each.found for each in gaps)} gaps ({sum(each.open for each in gaps)} open)",
    ]
    if stats.interruptions:
        parts.append(f"{stats.interruptions} holes in the recording")
    if replay.warmed_records:
        parts.append(
            f"{replay.warmed_records:,} records played silently before {moment_of(replay)}"
        )
    return Text(" · ".join(parts), style="dim")


def moment_of(replay: Replay) -> str:
    """Write the moment that was sought."""
    return moment(replay.warm_ups[0].start_ns) if replay.warm_ups else "–"


def line_of(monitor: ReplayMonitor) -> str:
    """Write position and prices as one line, for pipes and logs."""
    replay = monitor.replay
    prices = "  ".join(
        f"{row.symbol} "
        + " ".join(
            f"{name} {price(cell.price)}"
            + ("" if cell.trust is Trust.SOUND else f" {cell.trust.name}")
            for name, cell in row.venues.items()
        )
        for row in monitor.rows()
    )
    head = f"{moment(replay.now_ns)}  {monitor.share:4.0%}  {speed_of(replay)}"
    return f"{head}  {replay.stats().events:,} events ({monitor.rate_per_s():,.0f}/s)  {prices}"
