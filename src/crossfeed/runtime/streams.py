"""All streams of one session: their gates, books and trust, opened and closed as users ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from crossfeed.books.book import OrderBook
from crossfeed.books.l3 import L3Sync, OrderBookL3
from crossfeed.books.sync import BookSync
from crossfeed.errors import DecodeError, UnsupportedChannelError
from crossfeed.integrity.backfill import BackfillPolicy
from crossfeed.integrity.continuity import IdGate
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.gate_stats import GateStats
from crossfeed.integrity.lines import LineStats
from crossfeed.integrity.open_gates import ChainGate, OpenGate
from crossfeed.integrity.plausibility import BandLimits, PriceBand
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import RestRequest, Want
from crossfeed.model.events import BookSnapshot, MarketData, OrderEvent
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Trust
from crossfeed.runtime.book_flow import BookFlow
from crossfeed.runtime.carriers import Carrier, DirectCarrier, StandbyCarrier
from crossfeed.runtime.gate_table import GateTable, fill_table
from crossfeed.runtime.kinds import NUMBERED, NUMBERS, channel_of, types_of
from crossfeed.runtime.market_states import MarketStates
from crossfeed.runtime.native_gates import machines
from crossfeed.runtime.order_flow import L3_KIND, OrderFlow
from crossfeed.runtime.settings import FeedSettings
from crossfeed.venues.base import Channel, Venue

__all__ = ["Flow", "StreamSet"]


class Flow(NamedTuple):
    """One open stream: what was asked, who carries and who judges it."""

    want: Want
    kind: str
    stream: Stream
    channel: Channel
    carrier: Carrier
    trust: StreamTrust
    book: BookFlow | None


class StreamSet:
    """The open streams of one session. Shared by all its connections; called on one event loop.

    Args:
        venue: The venue.
        ledger: The client's gap ledger.
        settings: Policy of repairs.

    Attributes:
        counters: What happened to frames and events.
    """

    def __init__(self, venue: Venue, ledger: GapLedger, settings: FeedSettings) -> None:
        """Start with no stream open."""
        self.venue = venue
        self.ledger = ledger
        self.counters = machines().counters()
        self._settings = settings
        self._flows: dict[tuple[Want, str], Flow] = {}
        self._by_want: dict[Want, list[Flow]] = {}
        self._books: dict[str, BookFlow] = {}
        self._order_books: dict[str, OrderFlow] = {}
        self.markets = MarketStates()
        self._tables: dict[str, GateTable] = {}
        self._bands: dict[str, PriceBand] = {}
        self._retired_duplicates = self._retired_suspects = 0
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
        self.markets.learn(instrument)
        channel = channel_of(self.venue.profile, kind)
        if channel is None:
            raise UnsupportedChannelError(f"{self.venue.name} has no {kind}")
        if channel.kind == "book" and instrument is not None:
            book = self._open_book(want, kind, channel, instrument)
            flow = Flow(want, kind, book.trust.stream, channel, book.carrier, book.trust, book)
        else:
            trust = self._trust(want, kind, channel, instrument)
            carrier = self._carrier(want, kind, channel, trust)
            flow = Flow(want, kind, trust.stream, channel, carrier, trust, None)
        self._add(flow)
        if kind == "full" and channel.chain == "sequence" and instrument is not None:
            self._open_orders(want, channel, instrument)

    def _add(self, flow: Flow) -> None:
        self._flows[flow.want, flow.kind] = flow
        self._by_want.setdefault(flow.want, []).append(flow)

    def _trust(
        self, want: Want, kind: str, channel: Channel, instrument: Instrument | None
    ) -> StreamTrust:
        stream = Stream(self.venue.profile.exchange, kind, want.symbol)
        unified = instrument.unified if instrument is not None else ""
        return StreamTrust(stream, self.ledger, unified=unified, integrity=channel.integrity)

    def _carrier(self, want: Want, kind: str, channel: Channel, trust: StreamTrust) -> Carrier:
        """Make the gate of a stream without a book, and what carries it."""
        if channel.chain in NUMBERS:
            policy = BackfillPolicy(self._settings.backfill if channel.can_backfill else "off")
            numbered = machines().numbered(trust, number=NUMBERS[channel.chain], policy=policy)
            return DirectCarrier(numbered, trust)
        if kind == "depth" and channel.chain == "book":
            return DirectCarrier(ChainGate(trust, self.venue.book_rule(want)), trust)
        if kind == "book_ticker":
            return DirectCarrier(machines().latest(trust, number="update_id"), trust)
        return StandbyCarrier(trust, machines().latest)

    def _open_book(
        self, want: Want, kind: str, channel: Channel, instrument: Instrument
    ) -> BookFlow:
        """Make (or share) the maintained book of a symbol."""
        flow = self._books.get(want.symbol)
        if flow is None:
            trust = self._trust(want, "book", channel, instrument)
            flow = BookFlow(trust, self.venue.book_rule(want), want, instrument)
            self._books[want.symbol] = flow
        flow.kinds.add(kind)
        flow.set_wanted(deltas=self._wants_deltas, books=self._wants_books)
        flow.allow_crossed(is_allowed=self.markets.may_cross(want.symbol))
        return flow

    def _open_orders(self, want: Want, channel: Channel, instrument: Instrument) -> None:
        """Make the order-by-order book of a symbol: a stream of its own beside `full`."""
        trust = self._trust(want, L3_KIND, channel, instrument)
        orders = self._order_books[want.symbol] = OrderFlow(trust, instrument)
        orders.sync.allows_crossed = self.markets.may_cross(want.symbol)
        self._add(Flow(want, L3_KIND, trust.stream, channel, orders.carrier, trust, None))

    def close(self, want: Want, kind: str) -> None:
        """Close the stream of `kind`; closing twice is harmless. Its gaps stay in the ledger."""
        flow = self._flows.pop((want, kind), None)
        if flow is None:
            return
        if kind == "full" and self._order_books.pop(want.symbol, None) is not None:
            self.close(want, L3_KIND)
        siblings = self._by_want[want]
        siblings.remove(flow)
        if not siblings:
            del self._by_want[want]
        if flow.book is not None:
            flow.book.kinds.discard(kind)
            flow.book.set_wanted(deltas=self._wants_deltas, books=self._wants_books)
            if not flow.book.kinds:
                del self._books[want.symbol]
        if kind == "status":
            self.markets.forget_products()
        if all(other.stream.symbol != want.symbol for other in self._flows.values()):
            # Prices are another day's when the symbol is asked for again.
            band = self._bands.pop(want.symbol, None)
            self._retired_suspects += 0 if band is None else band.suspects
        self._refresh(flow.carrier.lines)

    # ── lines come and go ───────────────────────────────────────────────────

    def table(self, name: str) -> GateTable:
        """Return the table of a connection; it is kept up to date as streams and lines change."""
        return self._tables.setdefault(name, machines().table())

    def forget(self, name: str) -> None:
        """Drop what belonged to a connection that is closed for good; its counts are kept."""
        self._tables.pop(name, None)
        for carrier in self._carriers():
            self._retired_duplicates += carrier.forget(name)

    def line_up(
        self, name: str, wants: Sequence[Want], now_ns: int, mono_ns: int, out: Output
    ) -> None:
        """Learn that a new connection carries `wants`, before its first frame."""
        lines = {name}
        for want in wants:
            for flow in self._distinct(want):
                self.markets.tell(flow.trust, "open", now_ns, mono_ns, out)
                flow.carrier.line_up(name, now_ns, mono_ns, out)
                lines.update(flow.carrier.lines)
        self._refresh(lines)

    def line_down(
        self,
        name: str,
        wants: Sequence[Want],
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
    ) -> None:
        """Learn that a connection carries `wants` no longer."""
        lines = {name}
        for want in wants:
            for flow in self._distinct(want):
                flow.carrier.line_down(name, cause, now_ns, mono_ns, out)
                lines.update(flow.carrier.lines)
        self._refresh(lines)

    def _distinct(self, want: Want) -> list[Flow]:
        """Return the flows of a want, one for each carrier (a book may serve two kinds)."""
        return list({id(flow.carrier): flow for flow in self.of(want)}.values())

    def _refresh(self, names: Sequence[str] | set[str]) -> None:
        """Build the tables of connections anew, in place: their cores hold on to them."""
        for name in list(names):
            table = self.table(name)
            table.clear()
            fill_table(table, name, self._flows.values(), self)

    def band(self, symbol: str) -> PriceBand | None:
        """Return the price band of a symbol, one for all its streams; None where none is set."""
        if not self._settings.price_band:
            return None
        band = self._bands.get(symbol)
        if band is None:
            limits = BandLimits(ratio=self._settings.price_band)
            band = self._bands[symbol] = machines().band(limits)
        return band

    def of(self, want: Want) -> list[Flow]:
        """Return the open streams that `want` carries."""
        return self._by_want.get(want, [])

    def want_of(self, channel: str, symbol: str) -> Want | None:
        """Return the want that carries a stream, None if it is not open.

        `channel` is our name of it, or the venue's word.
        """
        for flow in self._flows.values():
            if flow.want.symbol == symbol and channel in {flow.stream.channel, flow.want.channel}:
                return flow.want
        return None

    def subscribed(self, want: Want, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that the venue acknowledged `want`.

        An image of a book may be fetched from now on.
        """
        for flow in self.of(want):
            for gate in flow.carrier.gates():
                if isinstance(gate, BookSync | L3Sync):
                    gate.on_subscribed(now_ns, mono_ns, out)

    def is_ready(self, name: str, wants: Sequence[Want]) -> bool:
        """Say whether connection `name` alone could carry all of `wants` now, soundly."""
        return all(flow.carrier.is_sound_on(name) for want in wants for flow in self.of(want))

    def refused(self, want: Want, reason: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that the venue will not send `want`."""
        for flow in self.of(want):
            flow.trust.report(
                "connection", Trust.UNAVAILABLE, "refused", now_ns, mono_ns, out, reason
            )
            flow.trust.alert("refused", reason, now_ns, mono_ns, out)

    def connection_gap(self, name: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that frames of a numbered connection were lost: all its streams are concerned."""
        for carrier in list(self._carriers()):
            if name in carrier.lines:
                carrier.gate_on(name).on_connection_gap(now_ns, mono_ns, out)
                carrier.review(now_ns, mono_ns, out)

    def frame_refused(
        self, name: str, error: DecodeError, now_ns: int, mono_ns: int, out: Output
    ) -> None:
        """Learn that a frame of connection `name` was not understood.

        It held the newest value of a stream, or a change of a book, that nothing later tells to be
        missing: what was told before is not known to be true any more. Numbered streams show it
        themselves, with the range.
        """
        for flow in list(self._flows.values()):
            is_named = flow.stream.symbol in error.symbols and name in flow.carrier.lines
            if not is_named or error.data_type not in types_of(flow.kind, is_book=bool(flow.book)):
                continue
            gate, is_numbered = flow.carrier.gate_on(name), flow.trust.integrity in NUMBERED
            if isinstance(gate, OpenGate):
                gate.on_connection_gap(now_ns, mono_ns, out, "refused")
            elif isinstance(gate, BookSync) and not is_numbered:
                gate.resync("refused", now_ns, mono_ns, out)
            flow.carrier.review(now_ns, mono_ns, out)

    def witness(self, kind: str, symbol: str, newest: int, mono_ns: int) -> None:
        """Hear that the venue has reached number `newest` of a stream: its tail is proven by it."""
        for flow in self._flows.values():
            if flow.kind == kind and flow.stream.symbol == symbol:
                for gate in flow.carrier.gates():
                    if isinstance(gate, IdGate | L3Sync):
                        gate.witness(newest, mono_ns)

    def market_state(
        self, symbol: str, trust: Trust, cause: str, now_ns: int, mono_ns: int, out: Output
    ) -> None:
        """Learn that the venue opened or closed the market of `symbol` (empty: of all symbols)."""
        self.markets.note(symbol, trust, cause)
        for flow in self._flows.values():
            if flow.stream.symbol and symbol in {"", flow.stream.symbol}:
                self.markets.tell(flow.trust, cause, now_ns, mono_ns, out)

    def crossing_state(self, symbol: str, *, is_allowed: bool) -> None:
        """Learn whether the venue's status explains a crossed book of `symbol` (empty: of all)."""
        self.markets.allow_crossing(symbol, is_allowed=is_allowed)
        for name, flow in self._books.items():
            flow.allow_crossed(is_allowed=self.markets.may_cross(name))
        for name, orders in self._order_books.items():
            orders.sync.allows_crossed = self.markets.may_cross(name)

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Do what is due in all streams."""
        for flow in list(self._flows.values()):
            if mono_ns >= flow.carrier.next_due_ns:
                flow.carrier.on_timer(now_ns, mono_ns, out)

    def review(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Let every stream look again which of its lines is given out."""
        for flow in list(self._flows.values()):
            flow.carrier.review(now_ns, mono_ns, out)

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
        line: str,
    ) -> None:
        """Hand the events of one REST answer to the streams they were asked for."""
        if request.purpose == "backfill":
            gate = self._repaired(gap_id)
            if gate is not None:
                gate.admit_backfill(
                    gap_id, events, out, complete=is_last, now_ns=now_ns, mono_ns=mono_ns
                )
            return
        if request.purpose == "snapshot":
            orders = self._order_books.get(request.symbol)
            if orders is not None:
                orders.on_snapshot(events, request.epoch, now_ns, mono_ns, out)
                self._prove_full(request.symbol, events, now_ns, mono_ns, out)
                return
            book = self._books.get(request.symbol)
            for event in events:
                if book is not None and isinstance(event, BookSnapshot):
                    for sync in book.syncs():
                        sync.on_snapshot(event, request.epoch, out)
            return
        table = self.table(line)
        for event in events:
            entry = table.get((event.__class__, event.symbol))
            if entry is None:
                self.counters.unasked += 1
            else:
                entry.admit(event, out)

    def _prove_full(
        self, symbol: str, orders: Sequence[MarketData], now_ns: int, mono_ns: int, out: Output
    ) -> None:
        """Let an image of all orders bear witness of the feed it is numbered by, as heartbeats do.

        It was asked for after the subscription: what stands at its number has missed nothing.
        """
        for order in orders[:1]:
            assert isinstance(order, OrderEvent), "an image of orders is made of them"
            self.witness("full", symbol, order.sequence, mono_ns)
        for flow in self._flows.values():
            if flow.kind == "full" and flow.stream.symbol == symbol:
                flow.carrier.on_timer(now_ns, mono_ns, out)

    def _repaired(self, gap_id: int) -> IdGate | None:
        """Return the gate whose hole that is."""
        record = self.ledger.get(gap_id)
        for flow in self._flows.values():
            if record is not None and flow.stream == record.stream:
                return next((g for g in flow.carrier.gates() if isinstance(g, IdGate)), None)
        return None

    def repair_failed(self, gap_id: int, mono_ns: int) -> None:
        """Learn that a backfill could not be fetched; the gate asks again or gives up."""
        gate = self._repaired(gap_id)
        if gate is not None:
            gate.backfill_failed(gap_id, mono_ns)

    # ── books ───────────────────────────────────────────────────────────────

    def set_wanted(self, *, deltas: bool, books: bool) -> None:
        """Say whether anybody listens to book changes as events, and to the books themselves."""
        if (deltas, books) == (self._wants_deltas, self._wants_books):
            return
        self._wants_deltas, self._wants_books = deltas, books
        for flow in self._books.values():
            flow.set_wanted(deltas=deltas, books=books)
        self._refresh(set(self._tables))

    def book(self, symbol: str) -> OrderBook | None:
        """Return the maintained book of a venue symbol, None if there is none."""
        flow = self._books.get(symbol)
        return flow.book if flow is not None else None

    def order_book(self, symbol: str) -> OrderBookL3 | None:
        """Return the order-by-order book of a venue symbol, None if there is none."""
        orders = self._order_books.get(symbol)
        return orders.book if orders is not None else None

    def book_flows(self) -> list[BookFlow]:
        """Return all books with their machines."""
        return list(self._books.values())

    def book_flow(self, symbol: str) -> BookFlow | None:
        """Return the book of a venue symbol with its machines, None if there is none."""
        return self._books.get(symbol)

    def books(self) -> Iterator[OrderBook]:
        """Yield all maintained books."""
        for flow in self._books.values():
            yield flow.book

    def snapshot_failed(self, symbol: str, epoch: int, mono_ns: int, wait_s: float) -> None:
        """Learn that the snapshot of `epoch` could not be fetched; the book asks again."""
        orders = self._order_books.get(symbol)
        if orders is not None:
            orders.sync.on_snapshot_failed(epoch, mono_ns, wait_s)
            return
        flow = self._books.get(symbol)
        for sync in flow.syncs() if flow is not None else ():
            sync.on_snapshot_failed(epoch, mono_ns, wait_s)

    def resync(self, symbol: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Throw the book of `symbol` away and build it again."""
        for book in (self._books.get(symbol), self._order_books.get(symbol)):
            if book is not None:
                book.carrier.resync(now_ns, mono_ns, out)

    # ── reading ─────────────────────────────────────────────────────────────

    def trusts(self) -> Iterator[StreamTrust]:
        """Yield the trust of every open stream."""
        yield from {id(flow.trust): flow.trust for flow in self._flows.values()}.values()

    def _carriers(self) -> Iterator[Carrier]:
        yield from {id(flow.carrier): flow.carrier for flow in self._flows.values()}.values()

    def lines(self) -> Iterator[tuple[Stream, LineStats]]:
        """Yield the counts of every line of each stream that several connections carry."""
        for carrier in self._carriers():
            for line in carrier.line_stats():
                yield carrier.trust.stream, line

    def passed_by_kind(self) -> Iterator[tuple[str, int]]:
        """Yield (kind, events let through) of every open stream."""
        for flow in list(self._flows.values()):
            for gate in flow.carrier.gates():
                stats = gate.stats()
                passed = stats.passed if isinstance(stats, GateStats) else stats.applied
                yield flow.kind, passed

    def stats(self) -> dict[str, Any]:
        """Return the counters of all streams together."""
        totals = self.ledger.totals()
        counters = self.counters
        return {
            "frames": counters.frames,
            "messages": counters.messages,
            "events": counters.events,
            "invalid": counters.invalid,
            "invalid_by_reason": dict(counters.invalid_by_reason),
            "unasked": counters.unasked,
            "duplicates": counters.duplicates
            + self._retired_duplicates
            + sum(carrier.duplicates() for carrier in self._carriers()),
            "gaps": totals.found - totals.unnumbered,
            "rebuilds": totals.unnumbered,
            "gaps_open": totals.open,
            "gaps_backfilled": totals.backfilled,
            "gaps_lost": totals.lost,
            "events_missing": totals.events_missing,
            "events_repaired": totals.events_repaired,
            "suspect": self._retired_suspects + sum(band.suspects for band in self._bands.values()),
        }
