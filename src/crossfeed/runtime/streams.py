"""All streams of one session: their gates, books and trust, opened and closed as users ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from crossfeed.books.book import OrderBook
from crossfeed.books.sync import BookSync
from crossfeed.errors import UnsupportedChannelError
from crossfeed.integrity.backfill import BackfillPolicy
from crossfeed.integrity.continuity import IdGate, OpenGate
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import RestRequest, Want
from crossfeed.model.events import (
    AggTrade,
    BookDelta,
    BookSnapshot,
    Candle,
    DepthDelta,
    Heartbeat,
    MarketData,
    MiniTicker,
    OrderEvent,
    Quote,
    Ticker,
    Trade,
    VenueStatus,
)
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Gate, Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Trust
from crossfeed.runtime.book_flow import BookFlow
from crossfeed.runtime.counters import Counters
from crossfeed.runtime.gates import HeartbeatGate, IntervalSorter, StatusGate, Tee
from crossfeed.runtime.settings import FeedSettings
from crossfeed.venues.base import Channel, Venue

__all__ = ["StreamSet"]

CLASSES: Final[dict[str, type[MarketData]]] = {
    "trade": Trade,
    "agg_trade": AggTrade,
    "ticker": Ticker,
    "ticker_batch": Ticker,
    "mini_ticker": MiniTicker,
    "kline": Candle,
    "book_ticker": Quote,
    "depth": DepthDelta,
    "heartbeat": Heartbeat,
    "status": VenueStatus,
    "full": OrderEvent,
}
BOOK_CLASSES: Final = (BookSnapshot, BookDelta, DepthDelta)
NUMBERS: Final = {"id": "trade_id", "sequence": "sequence"}


StreamGate = IdGate | OpenGate | BookSync
"""What judges one stream."""


class Flow(NamedTuple):
    """One open stream: what was asked, and who judges it."""

    want: Want
    kind: str
    stream: Stream
    channel: Channel
    gate: StreamGate
    trust: StreamTrust


class StreamSet:
    """The open streams of one session. Shared by all its connections; called on one event loop.

    Args:
        venue: The venue.
        ledger: The client's gap ledger.
        settings: Policy of repairs.

    Attributes:
        gates: Gate by (event class, venue symbol): the table of the data path.
        counters: What happened to frames and events.
    """

    def __init__(self, venue: Venue, ledger: GapLedger, settings: FeedSettings) -> None:
        """Start with no stream open."""
        self.venue = venue
        self.ledger = ledger
        self.gates: dict[tuple[type[MarketData], str], Gate] = {}
        self.counters = Counters()
        self._settings = settings
        self._flows: dict[tuple[Want, str], Flow] = {}
        self._books: dict[str, BookFlow] = {}
        self._wants_deltas = False
        self._wants_books = False

    def __len__(self) -> int:
        """Return the number of open streams."""
        return len(self._flows)

    # ── opening and closing ─────────────────────────────────────────────────

    def open(self, want: Want, kind: str, instrument: Instrument | None) -> None:
        """Open the stream that `want` carries for `kind`; opening twice is harmless."""
        if (want, kind) in self._flows:
            return
        profile = self.venue.profile
        channel = profile.channel(kind.partition("_")[0] if kind.startswith("kline") else kind)
        is_book = kind == "book" or (kind == "book_ticker" and profile.quotes_from == "book")
        if is_book:
            channel = profile.channel("book")
        if channel is None:
            raise UnsupportedChannelError(f"{profile.name} has no {kind}")
        gate: StreamGate
        if is_book and instrument is not None:
            book = self._open_book(want, kind, channel, instrument)
            gate, trust = book.sync, book.trust
        else:
            trust = self._trust(want, kind, channel, instrument)
            gate = self._open_gate(want, kind, channel, trust)
        self._flows[want, kind] = Flow(want, kind, trust.stream, channel, gate, trust)

    def _trust(
        self, want: Want, kind: str, channel: Channel, instrument: Instrument | None
    ) -> StreamTrust:
        stream = Stream(self.venue.profile.exchange, kind, want.symbol)
        unified = instrument.unified if instrument is not None else ""
        return StreamTrust(stream, self.ledger, unified=unified, integrity=channel.integrity)

    def _open_gate(self, want: Want, kind: str, channel: Channel, trust: StreamTrust) -> StreamGate:
        """Make the gate of a stream without a book and put it into the table."""
        gate: IdGate | OpenGate
        if channel.chain in NUMBERS:
            policy = BackfillPolicy(self._settings.backfill if channel.can_backfill else "off")
            gate = IdGate(trust, number=NUMBERS[channel.chain], policy=policy)
        else:
            gate = OpenGate(trust, number="update_id" if kind == "book_ticker" else "")
        kind_class = CLASSES["kline" if kind.startswith("kline") else kind]
        key = (kind_class, want.symbol)
        if kind.startswith("kline"):
            sorter = self.gates.setdefault(key, IntervalSorter())
            assert isinstance(sorter, IntervalSorter)
            sorter.gates[kind.partition("_")[2]] = gate
        elif kind == "heartbeat":
            self.gates[key] = HeartbeatGate(gate, self.gates)
        elif kind == "status":
            self.gates[key] = StatusGate(gate, self)
        elif kind == "depth" and want.symbol in self._books:
            self.gates[key] = Tee((gate, self.gates[key]))
        else:
            self.gates[key] = gate
        return gate

    def _open_book(
        self, want: Want, kind: str, channel: Channel, instrument: Instrument
    ) -> BookFlow:
        """Make (or share) the maintained book of a symbol and put it into the table."""
        flow = self._books.get(want.symbol)
        if flow is None:
            trust = self._trust(want, "book", channel, instrument)
            flow = BookFlow(trust, self.venue.book_rule(want), want, instrument)
            self._books[want.symbol] = flow
        flow.kinds.add(kind)
        self._apply_wanted(flow)
        return flow

    def close(self, want: Want, kind: str) -> None:
        """Close the stream of `kind`; closing twice is harmless. Its gaps stay in the ledger."""
        flow = self._flows.pop((want, kind), None)
        if flow is None:
            return
        book = self._books.get(want.symbol)
        if book is not None and kind in book.kinds:
            book.kinds.discard(kind)
            if book.kinds:
                self._apply_wanted(book)
                return
            del self._books[want.symbol]
            for is_told in (False, True):
                self._forget(book.gate(is_told=is_told), want.symbol)
            return
        self._forget(flow.gate, want.symbol)

    def _forget(self, gate: Gate, symbol: str) -> None:
        for key, found in list(self.gates.items()):
            if key[1] != symbol:
                continue
            if found is gate or (
                isinstance(found, HeartbeatGate | StatusGate) and found.inner is gate
            ):
                del self.gates[key]
            elif isinstance(found, Tee):
                self.gates[key] = next(other for other in found.gates if other is not gate)
            elif isinstance(found, IntervalSorter):
                found.gates = {k: g for k, g in found.gates.items() if g is not gate}
                if not found.gates:
                    del self.gates[key]

    # ── connections come and go ─────────────────────────────────────────────

    def of(self, want: Want) -> list[Flow]:
        """Return the open streams that `want` carries."""
        return [flow for (carried, _), flow in self._flows.items() if carried == want]

    def want_of(self, channel: str, symbol: str) -> Want | None:
        """Return the want that carries a stream, None if it is not open."""
        for flow in self._flows.values():
            if (flow.stream.channel, flow.stream.symbol) == (channel, symbol):
                return flow.want
        return None

    def opened(self, want: Want, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that a new connection carries `want`, before its first frame."""
        for flow in self.of(want):
            flow.gate.on_open(now_ns, mono_ns, out)

    def subscribed(self, want: Want, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that the venue acknowledged `want`.

        An image of a book may be fetched from now on.
        """
        for flow in self.of(want):
            if isinstance(flow.gate, BookSync):
                flow.gate.on_subscribed(now_ns, mono_ns, out)

    def lost(self, want: Want, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that no connection carries `want` any more."""
        for flow in self.of(want):
            flow.gate.on_close(now_ns, mono_ns, out, cause)

    def refused(self, want: Want, reason: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that the venue will not send `want`."""
        for flow in self.of(want):
            flow.trust.report(
                "connection", Trust.UNAVAILABLE, "refused", now_ns, mono_ns, out, reason
            )
            flow.trust.alert("refused", reason, now_ns, mono_ns, out)

    def on_connection_gap(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that frames of a numbered connection were lost: all streams are concerned."""
        for gate in {id(flow.gate): flow.gate for flow in self._flows.values()}.values():
            gate.on_connection_gap(now_ns, mono_ns, out)

    def market_state(
        self, symbol: str, trust: Trust, cause: str, now_ns: int, mono_ns: int, out: Output
    ) -> None:
        """Learn that the venue opened or closed the market of `symbol` (empty: of all symbols)."""
        for flow in self._flows.values():
            if flow.stream.symbol and symbol in {"", flow.stream.symbol}:
                flow.trust.report("market", trust, cause, now_ns, mono_ns, out)

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Do what is due in all streams."""
        for flow in list(self._flows.values()):
            if mono_ns >= flow.gate.next_due_ns:
                flow.gate.on_timer(now_ns, mono_ns, out)

    # ── REST answers ────────────────────────────────────────────────────────

    def admit_rest(
        self,
        request: RestRequest,
        events: Sequence[MarketData],
        gap_id: int,
        now_ns: int,
        mono_ns: int,
        out: Output,
        *,
        is_last: bool,
    ) -> None:
        """Hand the events of one REST answer to the streams they were asked for."""
        if request.purpose == "backfill":
            flow = self._repaired(gap_id)
            if flow is not None and isinstance(flow.gate, IdGate):
                flow.gate.admit_backfill(
                    gap_id, events, out, complete=is_last, now_ns=now_ns, mono_ns=mono_ns
                )
            return
        if request.purpose == "snapshot":
            book = self._books.get(request.symbol)
            for event in events:
                if book is not None and isinstance(event, BookSnapshot):
                    book.sync.on_snapshot(event, request.epoch, out)
            return
        for event in events:
            out.events.append(event)

    def _repaired(self, gap_id: int) -> Flow | None:
        record = self.ledger.get(gap_id)
        if record is None:
            return None
        return next((f for f in self._flows.values() if f.stream == record.stream), None)

    def repair_failed(self, gap_id: int, mono_ns: int) -> None:
        """Learn that a backfill could not be fetched; the gate asks again or gives up."""
        flow = self._repaired(gap_id)
        if flow is not None and isinstance(flow.gate, IdGate):
            flow.gate.backfill_failed(gap_id, mono_ns)

    # ── books ───────────────────────────────────────────────────────────────

    def set_wanted(self, *, deltas: bool, books: bool) -> None:
        """Say whether anybody listens to book changes as events, and to the books themselves."""
        self._wants_deltas, self._wants_books = deltas, books
        for flow in self._books.values():
            self._apply_wanted(flow)

    def _apply_wanted(self, flow: BookFlow) -> None:
        sync = flow.sync
        sync.wants_deltas = self._wants_deltas and "book" in flow.kinds
        sync.wants_quotes = "book_ticker" in flow.kinds
        gate = flow.gate(is_told=self._wants_books)
        other = flow.gate(is_told=not self._wants_books)
        for event_class in BOOK_CLASSES:
            key = (event_class, flow.want.symbol)
            found = self.gates.get(key)
            raw = (
                next((g for g in found.gates if g not in (gate, other)), None)
                if isinstance(found, Tee)
                else found
            )
            self.gates[key] = gate if raw in (None, gate, other) else Tee((raw, gate))

    def book(self, symbol: str) -> OrderBook | None:
        """Return the maintained book of a venue symbol, None if there is none."""
        flow = self._books.get(symbol)
        return flow.sync.book if flow is not None else None

    def books(self) -> Iterator[OrderBook]:
        """Yield all maintained books."""
        for flow in self._books.values():
            yield flow.sync.book

    def snapshot_failed(self, symbol: str, epoch: int, mono_ns: int, wait_s: float) -> None:
        """Learn that the snapshot of `epoch` could not be fetched; the book asks again."""
        flow = self._books.get(symbol)
        if flow is not None:
            flow.sync.on_snapshot_failed(epoch, mono_ns, wait_s)

    def resync(self, symbol: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Throw the book of `symbol` away and build it again."""
        flow = self._books.get(symbol)
        if flow is not None:
            flow.sync.resync("requested", now_ns, mono_ns, out)

    # ── reading ─────────────────────────────────────────────────────────────

    def trusts(self) -> Iterator[StreamTrust]:
        """Yield the trust of every open stream."""
        seen: set[int] = set()
        for flow in self._flows.values():
            if id(flow.gate) not in seen:
                seen.add(id(flow.gate))
                yield flow.trust

    def passed_by_kind(self) -> Iterator[tuple[str, int]]:
        """Yield (kind, events let through) of every open stream."""
        for flow in list(self._flows.values()):
            if isinstance(flow.gate, BookSync):
                yield flow.kind, flow.gate.stats().applied
            else:
                yield flow.kind, flow.gate.stats().passed

    def stats(self) -> dict[str, Any]:
        """Return the counters of all streams together."""
        totals = self.ledger.totals()
        counters = self.counters
        gates = {id(f.gate): f.gate for f in self._flows.values()}.values()
        counted = [gate.stats() for gate in gates if isinstance(gate, IdGate | OpenGate)]
        books = [flow.sync.stats() for flow in self._books.values()]
        return {
            "frames": counters.frames,
            "messages": counters.messages,
            "events": counters.events,
            "invalid": counters.invalid,
            "invalid_by_reason": dict(counters.invalid_by_reason),
            "unasked": counters.unasked,
            "duplicates": counters.duplicates
            + sum(stat.duplicates for stat in counted)
            + sum(stat.duplicates for stat in books),
            "gaps": totals.found - totals.unnumbered,
            "rebuilds": totals.unnumbered,
            "gaps_open": totals.open,
            "gaps_backfilled": totals.backfilled,
            "gaps_lost": totals.lost,
            "events_missing": totals.events_missing,
            "events_repaired": totals.events_repaired,
        }
