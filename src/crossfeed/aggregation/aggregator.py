"""The aggregation machine: many venues' events in, one value per (symbol, data type) out."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final

from msgspec import Struct

from crossfeed.aggregation.board import NOTHING, Board, BoardRules, Published
from crossfeed.aggregation.config import DATA_TYPES, EXCHANGE_OF, AggregatorConfig
from crossfeed.aggregation.conversion import Rate, RateTable, quote_of
from crossfeed.aggregation.quote_board import QuoteBoard
from crossfeed.aggregation.recorded import read_recorded
from crossfeed.aggregation.slot import NEVER_NS, Admission, Slot
from crossfeed.aggregation.strategies.registry import find_strategy
from crossfeed.aggregation.ticker_board import TickerBoard
from crossfeed.aggregation.trade_board import TradeBoard
from crossfeed.errors import ConfigError, UnknownSymbolError, UnsupportedChannelError
from crossfeed.model.events import MarketData, Quote, Ticker, Trade
from crossfeed.model.instrument import split_unified
from crossfeed.model.status import ONE_SIDED, FeedStatus, Gap, GapState
from crossfeed.model.trust import Mark, Trust
from crossfeed.model.unified import RecordedEvent, UnifiedMarketData

__all__ = ["Aggregator", "AggregatorStats"]

_BOARDS: Final[Mapping[str, type[Board]]] = {
    "trade": TradeBoard,
    "ticker": TickerBoard,
    "book_ticker": QuoteBoard,
}
_EVENTS: Final[Mapping[str, type[MarketData]]] = {
    "trade": Trade,
    "ticker": Ticker,
    "book_ticker": Quote,
}
GAPS_MAX: Final = 100_000
"""Open gaps counted; beyond it new ones are not."""

_BOOK_CHANNELS: Final = frozenset({"book", "depth", "orderbook_snapshot", "orderbook_update"})

_Key = tuple[str, str, type[MarketData]]
_Route = tuple[tuple[Board, Slot], ...]


class AggregatorStats(Struct, frozen=True, kw_only=True):
    """What an aggregator has done.

    messages_received + doubled = taken + refused + ignored + unrouted + controls.

    Attributes:
        messages_received: Events given to it.
        updates_published: Values it made.
        exchanges_active: Venues with at least one value that takes part now.
        symbols: Unified symbols.
        doubled: Further symbols that an event served beside its first.
        taken: Events of a configured venue, symbol and data type with possible values.
        refused: Events with values that no market can have.
        ignored: Events from before the subscription or from a worse source than the one in use.
        unrouted: Events of a venue, symbol or kind that is not aggregated.
        controls: Status and gap events.
        gaps_open: Gaps reported and not closed yet.
        trades_pending: Trades counted and not yet published.
    """

    messages_received: int
    updates_published: int
    exchanges_active: int
    symbols: int
    doubled: int
    taken: int
    refused: int
    ignored: int
    unrouted: int
    controls: int
    gaps_open: int
    trades_pending: int


class Aggregator:
    """Combines the events of several venues by the configured strategy.

    Pure: the caller brings the events with the time and carries away what comes back. A monotonic
    time below one given before counts as that one. Not reentrant: one caller at a time.

        for value in aggregator.on_event(event, clock.monotonic_ns(), clock.now_ns()):
            deliver(value)
        # and call on_timer when next_due_ns has come

    Attributes:
        config: What it was told.
        rates: The rates between quote currencies, live ones as of now; to be shared with the
            consolidated books.

    Memory: at most `buffer_size` events per (symbol, data type) and one per venue beside it.
    """

    def __init__(
        self,
        config: AggregatorConfig,
        *,
        symbols: Mapping[str, Mapping[str, str]] | None = None,
        exchange_of: Mapping[str, str] = EXCHANGE_OF,
    ) -> None:
        """Make the boards of every symbol.

        Args:
            config: What to do.
            symbols: {unified: {feed: venue symbol}} as resolved from the venues' metadata; None
                takes the configuration's own. A feed without a symbol is found by its events'
                unified name.
            exchange_of: Feeds whose events carry another exchange's name.

        Raises:
            ConfigError: Two feeds of one exchange are to be aggregated.
        """
        self.config = config
        self._exchange_of = exchange_of
        self._exchanges = _exchange_names(config.exchanges, exchange_of)
        self.rates = RateTable.of(config.quote_basis, config.rate_age_limit_s)
        self._rate_of: dict[tuple[str, str], list[Rate]] = {}
        for rate in self.rates.rates:
            if rate.source is not None:
                self._rate_of.setdefault(rate.source, []).append(rate)
        self._due: list[tuple[int, int, Board]] = []
        self._order = count()
        self._routes: dict[_Key, _Route] = {}  # of the streams that have spoken
        self._places: dict[_Key, list[tuple[Board, Slot]]] = {}  # by the venue's symbol
        self._open_places: dict[_Key, list[tuple[Board, Slot]]] = {}  # by the unified symbol
        self._boards: dict[tuple[str, str], Board] = {}
        self._gaps: set[tuple[str, int]] = set()
        self._now_ns = -NEVER_NS
        self._received = self._doubled = self._unrouted = self._controls = 0
        resolved = config.symbol_map if symbols is None else symbols
        for unified, venues in resolved.items():
            self._add_symbol(unified, venues)

    def _add_symbol(self, unified: str, venues: Mapping[str, str]) -> None:
        config = self.config
        strategy = find_strategy(config.aggregation_strategy)
        if strategy is None:
            raise ConfigError(
                f"{config.aggregation_strategy!r} is registered no more",
                field="aggregation_strategy",
            )
        is_open = not venues  # a plain list: any configured venue that has it
        named = {self._exchange_of.get(feed, feed): symbol for feed, symbol in venues.items()}
        for data_type in DATA_TYPES:
            slots = [
                self._make_slot(unified, exchange, named.get(exchange, ""))
                for exchange in self._exchanges
                if is_open or exchange in named
            ]
            rules = BoardRules(
                admission=Admission(
                    config.age_limit_ns(data_type),
                    config.integrity_min,
                    config.sound_only,
                ),
                strategy=strategy,
                interval_ns=round(config.update_interval * 1e9),
                buffer_size=config.buffer_size,
            )
            board = _BOARDS[data_type](unified, slots, rules, self._schedule)
            self._boards[unified, data_type] = board
            kind = _EVENTS[data_type]
            for slot in slots:
                if slot.symbol:
                    place = self._places.setdefault((slot.exchange, slot.symbol, kind), [])
                else:
                    place = self._open_places.setdefault((slot.exchange, unified, kind), [])
                place.append((board, slot))

    def _make_slot(self, unified: str, exchange: str, symbol: str) -> Slot:
        slot = Slot(exchange, symbol, "")
        self._set_quote(slot, unified, quote_of(unified, symbol))
        return slot

    def _set_quote(self, slot: Slot, unified: str, quote: str) -> None:
        """Set the currency of a slot's prices, and the conversion where one is configured."""
        wanted = split_unified(unified)[1]
        slot.conversion = self.rates.find(quote, wanted)
        slot.quote = quote if slot.conversion is None else wanted
        slot.use_rate()

    # ── events ────────────────────────────────────────────────────────────────

    def on_event(self, event: MarketData, now_mono_ns: int, now_wall_ns: int) -> Published:
        """Take one event; return what is to be published because of it, in order.

        Args:
            event: Of any venue and kind, status and gap events included; what is not aggregated is
                counted and left.
            now_mono_ns: Monotonic time.
            now_wall_ns: Wall time, for the stamps.

        Returns:
            Nothing, one value, or two where an overdue one comes first. Never raises for an event's
            content.
        """
        self._received += 1
        if now_mono_ns < self._now_ns:  # an event that was held back
            now_mono_ns = self._now_ns
        else:
            self._now_ns = now_mono_ns
        if self._rate_of:
            self._take_rate(event, now_mono_ns)
        route = self._routes.get((event.exchange, event.symbol, type(event)))
        if route is None:
            return self._on_other(event, now_mono_ns, now_wall_ns)
        if len(route) == 1:
            board, slot = route[0]
            return board.on_event(slot, event, now_mono_ns, now_wall_ns)
        return self._spread(route, event, now_mono_ns, now_wall_ns, None)

    def _on_other(self, event: MarketData, now_ns: int, wall_ns: int) -> Published:
        """Take what has no route yet: the first event of a stream, hand-made and control events."""
        if isinstance(event, FeedStatus):
            return self._take_status(event, now_ns, wall_ns)
        if isinstance(event, Gap):
            self._take_gap(event)
            return NOTHING
        typed: MarketData | None = event
        original = None
        if isinstance(event, RecordedEvent):
            typed, original = read_recorded(event), event
        route = () if typed is None else self._find_route(typed)
        if typed is None or not route:
            self._unrouted += 1
            return NOTHING
        return self._spread(route, typed, now_ns, wall_ns, original)

    def _spread(
        self,
        route: _Route,
        event: MarketData,
        now_ns: int,
        wall_ns: int,
        original: MarketData | None,
    ) -> Published:
        """Hand an event to every symbol it serves."""
        self._doubled += len(route) - 1
        published: list[UnifiedMarketData] = []
        for board, slot in route:
            published.extend(board.on_event(slot, event, now_ns, wall_ns, original))
        return published

    def _find_route(self, event: MarketData) -> _Route:
        """Return where an event belongs; remembered for the streams that belong somewhere."""
        key = (event.exchange, event.symbol, type(event))
        known = self._routes.get(key)
        if known is not None:
            return known
        exchange = self._exchange_of.get(event.exchange, event.exchange)
        route = [
            *self._places.get((exchange, event.symbol, type(event)), ()),
            *self._open_places.pop((exchange, event.unified, type(event)), ()),
        ]
        for board, slot in route:
            slot.symbol = event.symbol
            quote = quote_of(board.symbol, event.symbol, event.unified)
            self._set_quote(slot, board.symbol, quote)
        if route:
            self._routes[key] = tuple(route)
        return tuple(route)

    def _take_rate(self, event: MarketData, now_ns: int) -> None:
        """Let an event move the live rates that follow its instrument."""
        rates = self._rate_of.get((event.exchange, event.symbol))
        if rates is None:
            return
        typed = read_recorded(event) if isinstance(event, RecordedEvent) else event
        if typed is None or typed.trust is not Trust.SOUND or typed.marks & Mark.SUSPECT:
            return
        if isinstance(typed, Quote):
            value = (typed.bid_price + typed.ask_price) / 2
        elif isinstance(typed, Trade | Ticker):
            value = typed.price
        else:
            return
        for rate in rates:
            rate.update(value, typed.ts_mono_ns or now_ns)

    # ── what is known of the streams ──────────────────────────────────────────

    def on_status(self, status: FeedStatus, now_mono_ns: int, now_wall_ns: int) -> Published:
        """Take a change of trust; return values that change because a venue came or went.

        An empty symbol concerns all of the venue's, an empty channel all of a symbol's streams.
        """
        self._received += 1
        self._now_ns = max(self._now_ns, now_mono_ns)
        return self._take_status(status, self._now_ns, now_wall_ns)

    def _take_status(self, status: FeedStatus, now_ns: int, wall_ns: int) -> Published:
        self._controls += 1
        exchange = self._exchange_of.get(status.exchange, status.exchange)
        published: list[UnifiedMarketData] = []
        is_one_sided = status.cause == ONE_SIDED
        if (status.current is not Trust.SOUND or is_one_sided) and self._lose_rates(status):
            for board in self._boards.values():
                published.extend(board.on_rate_lost(now_ns, wall_ns))
        for board in self._boards.values():
            for slot in board.slots:
                if slot.exchange == exchange and _concerns(status, board, slot):
                    if is_one_sided and slot.marks & Mark.FROM_BOOK:
                        published.extend(board.on_withdrawn(slot, now_ns, wall_ns))
                    published.extend(board.on_trust(slot, status.current, now_ns, wall_ns))
        return published

    def _lose_rates(self, status: FeedStatus) -> bool:
        """Forget the live rates whose source has lost its trust; say whether there are any."""
        lost = [
            rate
            for (venue, symbol), rates in self._rate_of.items()
            if venue == status.exchange and status.symbol in {"", symbol}
            for rate in rates
        ]
        for rate in lost:
            rate.value = None
        return bool(lost)

    def on_gap(self, gap: Gap) -> None:
        """Take note of a gap: counted while open. What it means for the values comes as trust."""
        self._received += 1
        self._take_gap(gap)

    def _take_gap(self, gap: Gap) -> None:
        self._controls += 1
        key = (gap.exchange, gap.record.gap_id)
        if gap.record.state is not GapState.OPEN:
            self._gaps.discard(key)
        elif len(self._gaps) < GAPS_MAX:
            self._gaps.add(key)

    # ── time ──────────────────────────────────────────────────────────────────

    @property
    def next_due_ns(self) -> int | None:
        """Monotonic time at which `on_timer` has work, None while there is none. Cost O(1)."""
        return self._due[0][0] if self._due else None

    def on_timer(self, now_mono_ns: int, now_wall_ns: int) -> Published:
        """Publish what waited for the end of its interval and what lost a venue by age."""
        now_ns = self._now_ns = max(self._now_ns, now_mono_ns)
        due = self._due
        if not due or due[0][0] > now_ns:
            return NOTHING
        published: list[UnifiedMarketData] = []
        while due and due[0][0] <= now_ns:
            board = heapq.heappop(due)[2]
            published.extend(board.on_due(now_ns, now_wall_ns))
        return published

    def close(self, now_mono_ns: int, now_wall_ns: int) -> Published:
        """Return everything that is still held back, at the end."""
        self._due.clear()
        now_ns = max(self._now_ns, now_mono_ns)
        published: list[UnifiedMarketData] = []
        for board in self._boards.values():
            published.extend(board.close(now_ns, now_wall_ns))
        return published

    def _schedule(self, due_ns: int, board: Board) -> None:
        heapq.heappush(self._due, (due_ns, next(self._order), board))

    # ── reading ───────────────────────────────────────────────────────────────

    def set_wanted(self, symbol: str, data_type: str, *, is_wanted: bool) -> None:
        """Publish a (symbol, data type) or not. All are wanted at first; "*" means every symbol.

        What is not wanted is kept up to date at a lower cost; its trades are not counted.

        Raises:
            UnsupportedChannelError: That data type is not aggregated.
            UnknownSymbolError: That symbol is not configured.
        """
        if data_type not in DATA_TYPES:
            raise UnsupportedChannelError(
                f"{data_type!r} is not aggregated; there are: {', '.join(DATA_TYPES)}"
            )
        if symbol != "*" and symbol not in self.symbols:
            raise UnknownSymbolError(
                f"{symbol!r} is not configured; there are: {', '.join(self.symbols)}"
            )
        for (unified, kind), board in self._boards.items():
            if kind == data_type and symbol in {"*", unified}:
                board.set_wanted(is_wanted=is_wanted)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The unified symbols, in configured order."""
        return tuple(dict.fromkeys(unified for unified, _ in self._boards))

    def stats(self, now_mono_ns: int) -> AggregatorStats:
        """Return the counters; `now_mono_ns` decides who is active."""
        boards = list(self._boards.values())
        refused = sum(board.refused for board in boards)
        ignored = sum(board.ignored for board in boards)
        unread = self._unrouted + self._controls
        return AggregatorStats(
            messages_received=self._received,
            updates_published=sum(board.published for board in boards),
            exchanges_active=len(self.active_exchanges(now_mono_ns)),
            symbols=len(self.symbols),
            doubled=self._doubled,
            taken=self._received + self._doubled - refused - ignored - unread,
            refused=refused,
            ignored=ignored,
            unrouted=self._unrouted,
            controls=self._controls,
            gaps_open=len(self._gaps),
            trades_pending=sum(
                board.pending_trades for board in boards if isinstance(board, TradeBoard)
            ),
        )

    def active_exchanges(self, now_mono_ns: int) -> tuple[str, ...]:
        """Return the venues with a value that takes part now, in configured order."""
        active = {
            slot.exchange
            for board in self._boards.values()
            for slot in board.slots
            if not slot.reason_at(now_mono_ns, board.age_limit_ns)
        }
        return tuple(exchange for exchange in self._exchanges if exchange in active)

    def __repr__(self) -> str:
        """Return a status line."""
        return (
            f"Aggregator({self.config.aggregation_strategy}, {len(self.symbols)} symbols, "
            f"{', '.join(self._exchanges)}, {self._received} received)"
        )


def _exchange_names(feeds: Sequence[str], exchange_of: Mapping[str, str]) -> tuple[str, ...]:
    names: dict[str, str] = {}
    for feed in feeds:
        exchange = exchange_of.get(feed, feed)
        if exchange in names:
            raise ConfigError(
                f"{feed!r} and {names[exchange]!r} are one venue; keep one of them",
                field="exchanges",
            )
        names[exchange] = feed
    return tuple(names)


def _concerns(status: FeedStatus, board: Board, slot: Slot) -> bool:
    """Say whether a change of trust concerns the stream a slot is fed from."""
    if status.symbol and slot.symbol != status.symbol and status.unified != board.symbol:
        return False
    channel = status.channel
    if not channel or channel == board.data_type:
        return True
    if slot.marks & Mark.FROM_TICKER:
        return channel == "ticker"
    return bool(slot.marks & Mark.FROM_BOOK) and channel in _BOOK_CHANNELS
