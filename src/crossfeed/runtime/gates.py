"""Small gates that put others together: several intervals, several judges, heartbeats, status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from crossfeed.integrity.plausibility import PriceBand, price_of
from crossfeed.model.events import Candle, Heartbeat, MarketData, Quote, Trade, VenueStatus
from crossfeed.model.output import Gate, Output
from crossfeed.model.trust import Trust
from crossfeed.runtime.counters import Counters

if TYPE_CHECKING:
    from crossfeed.runtime.streams import StreamSet

__all__ = [
    "BandGate",
    "HeartbeatGate",
    "IntervalSorter",
    "Passage",
    "Pulse",
    "PulseGate",
    "StatusGate",
    "Tee",
]


class IntervalSorter:
    """Leads the candles of one symbol to the gates of their intervals."""

    def __init__(self) -> None:
        """Start without intervals."""
        self.gates: dict[str, Gate] = {}

    def admit(self, event: MarketData, out: Output) -> None:
        """Hand a candle to the gate of its interval; one that nobody asked for is dropped."""
        assert isinstance(event, Candle)
        gate = self.gates.get(event.interval)
        if gate is not None:
            gate.admit(event, out)


class Passage:
    """Lets everything through, counted as unasked: no subscription brought it."""

    def __init__(self, counters: Counters) -> None:
        """Count in the session's counters."""
        self._counters = counters

    def admit(self, event: MarketData, out: Output) -> None:
        """Pass it on."""
        self._counters.unasked += 1
        out.events.append(event)


class PulseGate:
    """Keeps the heartbeats that a venue sends unasked: they prove that the connection is fed.

    Attributes:
        last_event: The newest.
    """

    def __init__(self, counters: Counters) -> None:
        """Count in the session's counters."""
        self.last_event: MarketData | None = None
        self._counters = counters

    def admit(self, event: MarketData, out: Output) -> None:  # noqa: ARG002 - as every gate
        """Note it; nobody is told."""
        self._counters.unasked += 1
        self.last_event = event


class Pulse:
    """Reads the newest heartbeat of a whole connection off its table, asked for or not."""

    def __init__(self, table: Mapping[tuple[type[MarketData], str], Gate]) -> None:
        """Take the connection's table."""
        self._table = table

    @property
    def last_event(self) -> MarketData | None:
        """Newest heartbeat since the table was built."""
        gate = self._table.get((Heartbeat, ""))
        return gate.last_event if isinstance(gate, PulseGate | HeartbeatGate) else None


class BandGate:
    """Marks implausible prices before the stream's own gate sees them.

    Attributes:
        inner: The stream's own gate.
        band: The band; shared by all streams of the symbol.
        admit: Hands an event on, marked SUSPECT where its price is far from the last good one; see
            `Gate.admit`. A function for each sort of price: to look up how it is read would cost as
            much as to judge it.
    """

    __slots__ = ("admit", "band", "inner")

    def __init__(self, inner: Gate, band: PriceBand, event_class: type[MarketData]) -> None:
        """Stand before `inner`."""
        self.inner = inner
        self.band = band
        guard = _guard_quotes if event_class is Quote else _guard_others
        self.admit = (_guard_trades if event_class is Trade else guard)(band, inner.admit)


class _Admit(Protocol):
    """As `Gate.admit`, of one class of events."""

    def __call__(self, event: Any, out: Output) -> None: ...  # noqa: ANN401 - see the class


def _guard_trades(band: PriceBand, admit: _Admit) -> _Admit:
    def guard(event: Trade, out: Output) -> None:
        if not (band.inner_low < event.price < band.inner_high) or band.rivals:
            admit(band.check(event), out)
        else:
            admit(event, out)

    return guard


def _guard_quotes(band: PriceBand, admit: _Admit) -> _Admit:
    def guard(event: Quote, out: Output) -> None:
        mid = (event.bid_price + event.ask_price) * 0.5
        if not (band.inner_low < mid < band.inner_high) or band.rivals:
            admit(band.check(event), out)
        else:
            admit(event, out)

    return guard


def _guard_others(band: PriceBand, admit: _Admit) -> _Admit:
    def guard(event: MarketData, out: Output) -> None:
        if not (band.inner_low < price_of(event) < band.inner_high) or band.rivals:
            admit(band.check(event), out)
        else:
            admit(event, out)

    return guard


class Tee:
    """Hands each event to several gates in turn (raw changes for subscribers, and the book)."""

    def __init__(self, gates: tuple[Gate, ...]) -> None:
        """Take the gates."""
        self.gates = gates

    def admit(self, event: MarketData, out: Output) -> None:
        """Hand the event to all."""
        for gate in self.gates:
            gate.admit(event, out)


class HeartbeatGate:
    """Passes heartbeats on; they bear witness for the tail of numbered streams.

    Their trade id speaks of the trades, their sequence of the product's `full` feed.
    """

    def __init__(self, inner: Gate, streams: StreamSet) -> None:
        """Watch over the numbered streams in `streams`."""
        self.inner = inner
        self.last_event: MarketData | None = None
        self._streams = streams

    def admit(self, event: MarketData, out: Output) -> None:
        """Pass it on; note what it says of the newest trade and the newest order event."""
        assert isinstance(event, Heartbeat), "only heartbeats come here"
        self.last_event = event
        self.inner.admit(event, out)
        for kind, newest in (
            ("trade", event.last_trade_id),
            ("full", event.sequence),
            ("book_l3", event.sequence),
        ):
            if newest and event.symbol:
                self._streams.witness(kind, event.symbol, newest, event.ts_mono_ns)


class StatusGate:
    """Passes status messages on and closes or opens the markets they speak of."""

    def __init__(self, inner: Gate, streams: StreamSet) -> None:
        """Report to `streams`."""
        self.inner = inner
        self._streams = streams

    def admit(self, event: MarketData, out: Output) -> None:
        """Pass it on; follow the venue's and the products' states."""
        assert isinstance(event, VenueStatus)
        self.inner.admit(event, out)
        now_ns, mono_ns = event.ts_recv_ns, event.ts_mono_ns
        streams, profile = self._streams, self._streams.venue.profile
        if event.system:
            is_closed = event.system in profile.closed_states
            trust = Trust.UNAVAILABLE if is_closed else Trust.SOUND
            streams.market_state("", trust, event.system, now_ns, mono_ns, out)
            is_allowed = event.system in profile.auction_states
            streams.crossing_state("", is_allowed=is_allowed)
        for product in event.products:
            symbol = str(product.get("id") or product.get("symbol") or "")
            word = str(product.get("status", "")).lower()
            if not symbol or not word:
                continue
            is_auction = bool(_state_in(profile.auction_states, product, word))
            streams.crossing_state(symbol, is_allowed=is_auction)
            closed = _state_in(profile.closed_products, product, word)
            if bool(closed) is not streams.markets.is_closed(symbol):
                trust = Trust.CLOSED if closed else Trust.SOUND
                streams.market_state(symbol, trust, closed or word, now_ns, mono_ns, out)


def _state_in(states: Iterable[str], product: Mapping[str, object], word: str) -> str:
    """Return which of `states` a product is in, by its word or by a flag; empty for none."""
    return next((s for s in states if s == word or product.get(s) is True), "")
