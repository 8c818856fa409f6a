"""The order-by-order book of a `full` feed (Coinbase): resting orders, and the levels they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from crossfeed.books.book import OrderBook
from crossfeed.books.crossing import CrossingWatch
from crossfeed.books.holes import BookHoles
from crossfeed.books.ladder import Ladder
from crossfeed.books.orders import OrderPool, RestingOrder
from crossfeed.books.ports import TrustKeeper
from crossfeed.books.rebuild import NEVER_NS, SECOND_NS, BookLimits, Purpose, Rebuild
from crossfeed.books.stats import BookState
from crossfeed.model.events import MarketData, OrderEvent
from crossfeed.model.output import Output
from crossfeed.model.sequencing import SnapshotSource, Verdict
from crossfeed.model.trust import Mark, Side, Trust

__all__ = ["L3Stats", "L3Sync", "OrderBookL3"]

ORDERS_BUFFER_MAX: Final = 100_000
RESTART_VOTES: Final = 3
_SOUND: Final = Trust.SOUND


class L3Stats(Struct, frozen=True, kw_only=True):
    """Counts of one order-by-order book. updates = applied + duplicates + waiting.

    Attributes:
        orders: Orders resting now.
        unknown_orders: Events about orders that do not rest in the book (market orders, and orders
            filled at once: normal).
        images: REST images taken over.
        void_images: Images that came too late or unasked.
        old_images: Images older than the kept events, fetched again.
        holes: Holes found, by cause.
    """

    state: BookState
    epoch: int
    attempt: int
    buffered: int
    orders: int
    updates: int
    applied: int
    duplicates: int
    waiting: int
    unknown_orders: int
    images: int
    void_images: int
    old_images: int
    holes: dict[str, int]


class OrderBookL3(OrderBook):
    """The public view of an order-by-order book: its levels, and the orders that make them."""

    __slots__ = ("_orders",)

    def __init__(self, source: L3Sync) -> None:
        """Read from `source`."""
        super().__init__(source)
        self._orders = source

    @property
    def order_count(self) -> int:
        """Orders resting now."""
        return self._orders.order_count

    @property
    def allows_crossed(self) -> bool:
        """Whether the venue's status explains a crossed book now (auction)."""
        return self._orders.allows_crossed

    def order(self, order_id: str) -> RestingOrder | None:
        """Return a resting order, None if it does not rest."""
        return self._orders.order(order_id)

    def queue(self, side: Side, price: float) -> list[RestingOrder]:
        """Return the orders that rest at a price, in their order of arrival; none: an empty list.

        Cost O(orders at the price).
        """
        return self._orders.queue(side, price)


class L3Sync:
    """Synchronises an order-by-order book. Takes `OrderEvent`s in, gives status and gaps out.

    1. Queue the stream. 2. Fetch the book at level 3 (`FetchSnapshot`; its orders come in by
    `on_snapshot` as `open` events that all carry the image's sequence). 3. Drop queued events up to
    that sequence. 4. Replay the rest; go on live: each event carries the last one's sequence + 1; a
    jump is a hole, the book is UNSOUND and fetched again; a lower one is old, unless three in a row
    are newer by time: then the venue counts anew and the book is fetched again.

    After a reconnect it is what it was if the first event follows, if the venue's heartbeat names
    its number as the newest (`witness`), or if a fresh image stands at it: a quiet product need not
    wait for its next event. A heartbeat that names a later number shows a lost tail.

    `open` puts an order into the book, `match` takes from the maker's order, `change` sets its size
    (and price), `done` takes it out. What speaks of an order that does not rest changes nothing.

    Source: docs.cdp.coinbase.com/exchange/websocket-feed/channels ("full"), checked 2026-11-22.

    Made by the pipeline, lives as long as the stream, over reconnects. It passes no events on:
    subscribers of `full` are served by the stream's own gate.

    Attributes:
        trust: The book's trust (a stream of its own beside the `full` events).
        book: The public view of the levels.
        ladder: The levels.
        sequence: Number the book stands at.
        state: How far it is.
        last_event: Newest event taken in, None before the first.
        last_applied: Newest event that is in the book, None before the first.
        allows_crossed: True while the venue's status explains a crossed book (auction): it is
            flagged, not rebuilt. Set by the pipeline.
    """

    def __init__(
        self,
        trust: TrustKeeper,
        *,
        price_scale: int = 8,
        size_scale: int = 8,
        limits: BookLimits | None = None,
    ) -> None:
        """Start without a book, with the instrument's decimals."""
        self.trust = trust
        self.ladder = Ladder(price_scale, size_scale)
        self.sequence = 0
        self.state = BookState.WAITING
        self.last_event: OrderEvent | None = None
        self.last_applied: OrderEvent | None = None
        self.allows_crossed = False
        self.book = OrderBookL3(self)
        self._orders = OrderPool(self.ladder)
        limits = limits or BookLimits(buffer_max=ORDERS_BUFFER_MAX)
        self._limits = limits
        self._rebuild: Rebuild[OrderEvent] = Rebuild(
            trust.stream, SnapshotSource.REST, _follows, limits
        )
        self._holes = BookHoles(trust)
        self._crossing = CrossingWatch(trust, limits)
        self._is_reconnected = False
        self._quiet_due_ns = NEVER_NS
        self._suspected = 0
        self._suspect_due_ns = NEVER_NS
        self._votes = 0
        self._updates = self._applied = self._duplicates = self._waiting = 0
        self._images = self._void_images = self._old_images = 0

    def __repr__(self) -> str:
        """Return trust, state and sequence."""
        return f"L3Sync({self.trust}, {self.state}, {self.sequence})"

    def admit(self, event: MarketData, out: Output) -> None:
        """Judge one event of the feed; one without a number (`activate`) is not of the book."""
        assert isinstance(event, OrderEvent), f"no order event: {type(event).__name__}"
        if event.sequence <= 0:
            return
        self._updates += 1
        self.last_event = event
        if self.state is BookState.LIVE:
            if event.sequence == self.sequence + 1:
                self._apply(event, out)
                return
            if event.sequence <= self.sequence:
                self._drop_old(event, out)
                return
            cause = "reconnect" if self._is_reconnected else "sequence"
            self._desync(cause, self.sequence + 1, event.sequence - 1, event, out)
        self._await_image(event, out)

    def _drop_old(self, event: OrderEvent, out: Output) -> None:
        """Drop an event that is in the book, unless events are newer by time: counted anew."""
        self._duplicates += 1
        last = self.last_applied
        # The time of an image may be older than its number.
        newest_ns = 0 if last is None or last.marks & Mark.REST else last.ts_event_ns
        is_newer = event.ts_event_ns > newest_ns > 0
        self._votes = self._votes + 1 if is_newer else 0
        if self._votes >= RESTART_VOTES:
            self._desync("restart", self.sequence + 1, 0, event, out)
            self._rebuild.keep(event)

    def _apply(self, event: OrderEvent, out: Output) -> None:
        try:
            has_changed = self._orders.apply(event)
        except ValueError:  # a number that no book can hold
            self._desync("number", 0, 0, event, out)
            self._await_image(event, out)
            return
        self.sequence = event.sequence
        self.last_applied = event
        self._applied += 1
        if self._is_reconnected or self.trust.current is not _SOUND:
            self._proven()
            self._connected(event.ts_recv_ns, event.ts_mono_ns, out)
        if has_changed:
            self._look_at_top(event, out)

    def _proven(self) -> None:
        """The book stands where the venue stands: over a reconnect as well."""
        self._is_reconnected = False
        self._quiet_due_ns = NEVER_NS
        if self._rebuild.purpose is Purpose.REFRESH:
            self._rebuild.end()

    def _connected(self, now_ns: int, mono_ns: int, out: Output, cause: str = "first_data") -> None:
        self.trust.report("freshness", _SOUND, "fresh", now_ns, mono_ns, out)
        self.trust.report("connection", _SOUND, cause, now_ns, mono_ns, out)

    def witness(self, number: int, mono_ns: int) -> None:
        """Hear from the venue's heartbeat that the product has reached `number`.

        If that is where the book stands, nothing was missed. What is still missing after a grace is
        a lost tail: the heartbeat may have overtaken the feed.
        """
        if self.state is not BookState.LIVE or self._suspect_due_ns != NEVER_NS:
            return
        if number > self.sequence:
            self._suspected = number
            self._suspect_due_ns = mono_ns + int(self._limits.tail_grace_s * SECOND_NS)
        elif number == self.sequence and self._is_reconnected:
            self._suspected, self._suspect_due_ns = number, mono_ns

    def _judge_tail(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Find the tail lost, or the book proven, as the heartbeat said."""
        self._suspect_due_ns = NEVER_NS
        if self.state is not BookState.LIVE:
            return
        if self.sequence < self._suspected:
            cause = "reconnect" if self._is_reconnected else "tail"
            first, last = self.sequence + 1, self._suspected
            self._holes.open(first, last, cause, now_ns, mono_ns, out)
            self._begin_sync(cause, now_ns, mono_ns, out)
        else:
            self._proven()
            self._connected(now_ns, mono_ns, out, "witnessed")

    def _look_at_top(self, event: OrderEvent, out: Output) -> None:
        top = self.ladder.best()
        if top is not None and (top[0] >= top[2] or not self._crossing.is_calm):
            self._crossing.judge(top[0], top[2], event.ts_recv_ns, event.ts_mono_ns, out)

    def _await_image(self, event: OrderEvent, out: Output) -> None:
        if self.state is BookState.WAITING:
            self._begin_sync("subscribed", event.ts_recv_ns, event.ts_mono_ns, out)
        self._connected(event.ts_recv_ns, event.ts_mono_ns, out)
        kept = self._rebuild.last_kept
        verdict = self._rebuild.keep(event)
        if verdict is Verdict.OLD:
            self._duplicates += 1
            return
        if verdict is Verdict.GAP and kept is not None:
            first, last = kept.sequence + 1, event.sequence - 1
            self._holes.open(first, last, "sequence", event.ts_recv_ns, event.ts_mono_ns, out)
        self._waiting += 1

    def _desync(self, cause: str, first: int, last: int, event: OrderEvent, out: Output) -> None:
        now_ns, mono_ns = event.ts_recv_ns, event.ts_mono_ns
        self._holes.open(first, last, cause, now_ns, mono_ns, out)
        self._begin_sync(cause, now_ns, mono_ns, out)

    def _begin_sync(self, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        self.state = BookState.SYNCING
        self._is_reconnected = False
        self._quiet_due_ns = self._suspect_due_ns = NEVER_NS
        self._votes = 0
        self._rebuild.begin(Purpose.SYNC, cause, mono_ns, out)
        self.trust.report("book", Trust.UNSOUND, cause, now_ns, mono_ns, out)
        self._crossing.forget(now_ns, mono_ns, out)

    def on_connection_gap(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Messages of the connection were lost, perhaps of this book: build it anew."""
        self.resync("connection", now_ns, mono_ns, out)

    def on_snapshot(
        self,
        orders: Sequence[OrderEvent],
        sequence: int,
        epoch: int,
        now_ns: int,
        mono_ns: int,
        out: Output,
    ) -> None:
        """Take a REST image that was asked for as `epoch`.

        Args:
            orders: One `open` for each resting order; none is right for an empty book.
            sequence: Number the image stands at.
            epoch: See `FetchSnapshot`.
            now_ns: Wall time.
            mono_ns: Monotonic time.
            out: Results.
        """
        if not self._rebuild.is_answer(epoch):
            self._void_images += 1
            return
        if self._rebuild.purpose is Purpose.REFRESH and sequence <= self.sequence:
            self._take_proof(sequence, now_ns, mono_ns, out)
            return
        if self._rebuild.purpose is Purpose.REFRESH:
            first = self.sequence + 1
            self._holes.open(first, sequence, "reconnect", now_ns, mono_ns, out)
        updates = [event for event in self._rebuild.buffer if event.sequence > sequence]
        is_behind = not self._rebuild.buffer and sequence < self.sequence
        if is_behind or (updates and updates[0].sequence != sequence + 1):
            self._old_images += 1
            if self._rebuild.is_old_again(mono_ns, self._limits.old_images_max):
                detail = f"image {sequence} is older than the events kept for it"
                self.trust.alert("old_snapshot", detail, now_ns, mono_ns, out)
            return
        self._orders.clear()
        try:
            for order in (*orders, *updates):
                self._orders.apply(order)
        except ValueError:  # a number that no book can hold: the next image may be without it
            if self.state is BookState.LIVE:
                self._begin_sync("number", now_ns, mono_ns, out)
            else:
                self._rebuild.failed(mono_ns)
            return
        self.sequence = updates[-1].sequence if updates else sequence
        self.last_applied = updates[-1] if updates else (orders[-1] if orders else None)
        self._images += 1
        self.state = BookState.LIVE
        self._proven()
        self._rebuild.end()
        self._holes.close(now_ns, mono_ns, out)
        cause = "resynced" if self._images > 1 else "synced"
        self.trust.report("book", _SOUND, cause, now_ns, mono_ns, out)
        if self.last_applied is not None:
            stamped = replace(self.last_applied, ts_recv_ns=now_ns, ts_mono_ns=mono_ns)
            self._connected(now_ns, mono_ns, out)
            self._look_at_top(stamped, out)

    def _take_proof(self, sequence: int, now_ns: int, mono_ns: int, out: Output) -> None:
        """An image of a book that may be right: at its number it is, an older one says nothing."""
        if sequence == self.sequence:
            self._proven()
            self._connected(now_ns, mono_ns, out, "witnessed")
        elif self._rebuild.is_old_again(mono_ns, self._limits.old_images_max):
            detail = f"image {sequence} is older than the book at {self.sequence}"
            self.trust.alert("old_snapshot", detail, now_ns, mono_ns, out)

    def on_snapshot_failed(self, epoch: int, mono_ns: int, wait_s: float = 0.0) -> None:
        """Take a request as failed; asked again after `wait_s`."""
        if self._rebuild.is_answer(epoch):
            self._rebuild.failed(mono_ns, wait_s)

    def resync(self, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Build the book anew; not while it is built."""
        if self.state is BookState.LIVE:
            self._holes.open(0, 0, cause, now_ns, mono_ns, out)
            self._begin_sync(cause, now_ns, mono_ns, out)

    def on_subscribed(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """The venue acknowledged the subscription: an image may be fetched from now on."""
        if self.state is BookState.WAITING:
            self._begin_sync("subscribed", now_ns, mono_ns, out)
        elif self._is_reconnected:
            self._quiet_due_ns = mono_ns + int(self._limits.reconnect_quiet_s * SECOND_NS)

    def on_open(self, now_ns: int, mono_ns: int, out: Output) -> None:  # noqa: ARG002
        """A new connection carries the stream; the book goes on if its first event follows."""
        self._rebuild.end()
        self._quiet_due_ns = self._suspect_due_ns = NEVER_NS
        if self.state is BookState.SYNCING:
            self.state = BookState.WAITING
        self._is_reconnected = self.state is BookState.LIVE

    def on_close(self, now_ns: int, mono_ns: int, out: Output, cause: str = "disconnected") -> None:
        """No connection carries the stream any more."""
        self.trust.report("connection", Trust.UNAVAILABLE, cause, now_ns, mono_ns, out)
        self._rebuild.end()
        self._quiet_due_ns = self._suspect_due_ns = NEVER_NS
        self._crossing.forget(now_ns, mono_ns, out)
        if self.state is BookState.SYNCING:
            self.state = BookState.WAITING

    @property
    def next_due_ns(self) -> int:
        """Monotonic time at which `on_timer` has something to do."""
        due_ns = min(self._quiet_due_ns, self._suspect_due_ns)
        return min(due_ns, self._rebuild.next_due_ns, self._crossing.next_due_ns)

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Do what is due: ask again for an image, judge a crossed book, prove a quiet one."""
        self._rebuild.on_timer(mono_ns, out)
        if mono_ns >= self._suspect_due_ns:
            self._judge_tail(now_ns, mono_ns, out)
        if mono_ns >= self._quiet_due_ns:
            self._quiet_due_ns = NEVER_NS
            if self._rebuild.purpose is Purpose.NONE:
                self._rebuild.begin(Purpose.REFRESH, "refresh", mono_ns, out)
        if self._crossing.is_corrupt(mono_ns, allows_crossed=self.allows_crossed):
            self.resync("crossed", now_ns, mono_ns, out)

    @property
    def next_number(self) -> int:
        """Number that the next event must have, 0 while the book is not built."""
        return self.sequence + 1 if self.state is BookState.LIVE else 0

    @property
    def order_count(self) -> int:
        """Orders resting now."""
        return len(self._orders)

    def order(self, order_id: str) -> RestingOrder | None:
        """Return a resting order, None if it does not rest."""
        return self._orders.get(order_id)

    def queue(self, side: Side, price: float) -> list[RestingOrder]:
        """Return the orders that rest at a price, in their order of arrival."""
        return self._orders.queue(side, price)

    def stats(self) -> L3Stats:
        """Return the counts."""
        rebuild = self._rebuild
        return L3Stats(
            state=self.state,
            epoch=rebuild.epoch,
            attempt=rebuild.attempt,
            buffered=len(rebuild.buffer),
            orders=len(self._orders),
            updates=self._updates,
            applied=self._applied,
            duplicates=self._duplicates,
            waiting=self._waiting,
            unknown_orders=self._orders.unknown,
            images=self._images,
            void_images=self._void_images,
            old_images=self._old_images,
            holes=dict(self._holes.counts),
        )


def _follows(kept: OrderEvent, event: OrderEvent) -> Verdict:
    if event.sequence <= kept.sequence:
        return Verdict.OLD
    return Verdict.APPLY if event.sequence == kept.sequence + 1 else Verdict.GAP
