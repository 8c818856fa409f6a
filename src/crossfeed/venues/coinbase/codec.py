"""Speaks Coinbase Exchange. Pure: frames → events and commands, wishes → frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from crossfeed.model.commands import (
    Acknowledged,
    Backfill,
    Refused,
    RestRequest,
    Resubscribe,
    Send,
    VenueNotice,
    Want,
)
from crossfeed.model.events import OrderEvent
from crossfeed.model.numbers import to_units
from crossfeed.model.output import Output
from crossfeed.model.trust import Integrity, Mark, Side, Trust
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.codec import TableCodec
from crossfeed.venues.coinbase.auth import Signer
from crossfeed.venues.coinbase.errors import VENUE_NAME
from crossfeed.venues.coinbase.profile import LIMITS
from crossfeed.venues.coinbase.rest import (
    RestReader,
    backfill_request,
    orders_request,
    poll_request,
)
from crossfeed.venues.coinbase.wire import ROUTES, ErrorFrame, Match, OrderMessage, Subscriptions
from crossfeed.venues.decoder import refusal
from crossfeed.venues.isotime import iso_ns
from crossfeed.venues.listing import SubscriptionList, is_passing
from crossfeed.venues.symbols import SymbolTable

__all__ = ["CoinbaseCodec"]

# The list of subscriptions uses other words than the request.
_ECHO_NAMES: Final = {"level2_50": "level2_batch", "ticker_1000": "ticker_batch"}
_NULLABLE: Final = ("price", "new_price", "size", "remaining_size", "new_size")
_NANO_DECIMALS: Final = 9
_FOREIGN: Final = (msgspec.MsgspecError, RecursionError, ValueError, KeyError, OverflowError)

_decode_order = msgspec.json.Decoder(OrderMessage, strict=False).decode
_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode


class CoinbaseCodec(TableCodec):
    """One connection to Coinbase Exchange.

    With a key in the options every subscribe message is signed. Without one `level2` is taken from
    `level2_batch` (see `profile.want`), which the first acknowledgement of it says in a notice.
    """

    def __init__(self, table: SymbolTable, options: CodecOptions) -> None:
        """Compile the declarations.

        Raises:
            ConfigError: The credentials are incomplete.
        """
        super().__init__(VENUE_NAME, ROUTES, table, options)
        self._signer = Signer(options) if options.api_key else None
        self._requests = SubscriptionList()
        self._rest = RestReader(table, keep_raw=options.keep_raw)
        self._full: set[str] = set()
        self._frame = b""
        self._ts_recv_ns = 0
        self._ts_mono_ns = 0
        self._is_told = options.api_key != ""

    # ── asking ──────────────────────────────────────────────────────────────

    def url_path(self, wants: Sequence[Want]) -> str:
        """Return nothing: the feed lies at the root."""
        del wants
        return ""

    def on_open(self) -> None:
        """Forget the requests of the last connection."""
        self._requests.reset()

    def subscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:
        """Return the frames that subscribe `wants`, at most 100 products and channels in each."""
        self.ask(wants)
        self._full.update(want.symbol for want in wants if want.channel == "full")
        self.needs_messages = bool(self._full)
        return list(self._requests_of("subscribe", wants, ts_ns))

    def unsubscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:
        """Return the frames that unsubscribe `wants`."""
        self.drop(wants)
        self._full.difference_update(want.symbol for want in wants if want.channel == "full")
        self.needs_messages = bool(self._full)
        return list(self._requests_of("unsubscribe", wants, ts_ns))

    def _requests_of(self, verb: str, wants: Sequence[Want], ts_ns: int) -> Iterator[bytes]:
        unique = list(dict.fromkeys(wants))
        size = LIMITS.params_per_message
        for start in range(0, len(unique), size):
            part = unique[start : start + size]
            self._requests.ask(part, is_removal=verb == "unsubscribe")
            yield self._request(verb, part, ts_ns)

    def _request(self, verb: str, wants: Sequence[Want], ts_ns: int) -> bytes:
        """Write one request; each channel has its own products."""
        channels: dict[str, list[str]] = {}
        for want in wants:
            channels.setdefault(want.channel, []).append(want.symbol)
        listed: list[dict[str, Any]] = [
            {"name": name, "product_ids": products} if any(products) else {"name": name}
            for name, products in channels.items()
        ]
        message: dict[str, Any] = {"type": verb, "channels": listed}
        if self._signer is not None and verb == "subscribe":
            message |= self._signer.fields(ts_ns)
        return msgspec.json.encode(message)

    def keepalive(self) -> bytes | None:
        """Return None: there is no application-level ping."""
        return None

    # ── receiving ───────────────────────────────────────────────────────────

    def receive(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int, out: Output) -> None:
        """Decode one frame; see `Codec.receive`."""
        route, message, events = self._decoder.decode(frame, ts_recv_ns, ts_mono_ns)
        if events is None:
            self._frame, self._ts_recv_ns, self._ts_mono_ns = frame, ts_recv_ns, ts_mono_ns
            self._handlers[route.handler](message, out)
        elif self._full and route.wire is Match and message.product_id in self._full:
            self._frame, self._ts_recv_ns, self._ts_mono_ns = frame, ts_recv_ns, ts_mono_ns
            orders = [] if route.marks & Mark.HISTORY else [self._order_of_match()]
            if Want("matches", message.product_id) in self._asked.get(message.product_id, ()):
                out.events += events
            out.events += orders
        else:
            out.events += events

    def on_order(self, message: OrderMessage, out: Output) -> None:
        """Take one event of the order-by-order feed."""
        out.events.append(self._order_event(message))

    def _order_of_match(self) -> OrderEvent:
        """Read a match as what it is in `full`: an event of the maker's order."""
        try:
            message = _decode_order(self._frame)
        except _FOREIGN as exc:
            raise refusal(VENUE_NAME, exc, self._frame) from exc
        return self._order_event(message)

    def _order_event(self, message: OrderMessage) -> OrderEvent:
        try:
            symbol, unified = self.symbols[message.product_id]
            fields = _decode_fields(self._frame)
            _check_nulls(message, fields)
            ts_event_ns = iso_ns(message.time) if message.time else _seconds(fields)
        except _FOREIGN as exc:
            raise refusal(VENUE_NAME, exc, self._frame) from exc
        sizes = (message.new_size, message.remaining_size, message.size)
        return OrderEvent(
            exchange=VENUE_NAME,
            symbol=symbol,
            unified=unified,
            ts_event_ns=ts_event_ns,
            ts_sent_ns=0,
            ts_recv_ns=self._ts_recv_ns,
            ts_mono_ns=self._ts_mono_ns,
            marks=Mark.NONE,
            integrity=Integrity.SEQUENCED,
            trust=Trust.SOUND,
            raw=self._frame if self.options.keep_raw else None,
            raw_index=0,
            kind=message.type,
            sequence=message.sequence,
            order_id=message.order_id or message.maker_order_id,
            side=Side(message.side),
            # A market order has no price; old messages write 0 for that.
            price=message.new_price or message.price or None,
            size=next((size for size in sizes if size is not None), None),
            fields=fields,
        )

    def on_subscriptions(self, message: Subscriptions, out: Output) -> None:
        """Compare the whole current list with what was asked."""
        listed: set[tuple[str, str]] = set()
        for channel in message.channels:
            name = _ECHO_NAMES.get(channel.name, channel.name)
            listed.add((name, ""))
            listed.update((name, product) for product in channel.product_ids or ())
        change = self._requests.take_list(lambda want: (want.channel, want.symbol) in listed)
        if change.added:
            out.commands.append(Acknowledged(change.added))
            self._tell_batch(change.added, out)
        if change.removed:
            out.commands.append(Acknowledged(change.removed, is_removal=True))
        out.commands += [Resubscribe(w.channel, w.symbol, "unlisted") for w in change.lost]

    def _tell_batch(self, wants: Sequence[Want], out: Output) -> None:
        """Say once that the book comes in batches, as `level2` itself needs a key."""
        if self._is_told or not any(want.channel == "level2_batch" for want in wants):
            return
        self._is_told = True
        text = "level2 needs an API key; the books come from level2_batch (every 50 ms)"
        out.commands.append(VenueNotice("level2_batch", text, is_error=False))

    def on_error(self, message: ErrorFrame, out: Output) -> None:
        """Tell what is refused; ask again for the rest, as one bad product spoils its request."""
        text = ": ".join(part for part in (message.message, message.reason) if part)
        refused = None if is_passing(text) else self._requests.take_error(text)
        if refused is None:
            out.commands.append(VenueNotice("", text))
            return
        verb = "unsubscribe" if refused.is_removal else "subscribe"
        if refused.is_removal:
            out.commands.append(VenueNotice("unsubscribe", text))
        else:
            is_auth = "authenti" in text.lower() or "signature" in text.lower()
            out.commands.append(Refused(refused.refused, text, is_auth))
            self.drop(refused.refused)
        out.commands += [
            Send(frame) for frame in self._requests_of(verb, refused.again, self._ts_recv_ns)
        ]

    # ── REST ────────────────────────────────────────────────────────────────

    def snapshot_request(self, symbol: str, epoch: int, attempt: int) -> RestRequest | None:
        """Return the call for all orders where `full` is asked; else the stream brings the book."""
        del attempt
        return orders_request(symbol, epoch) if symbol in self._full else None

    def backfill_request(self, wanted: Backfill) -> RestRequest | None:
        """Return the first page of missing trades, None for other streams."""
        return backfill_request(wanted)

    def poll_request(self, want: Want) -> RestRequest | None:
        """Return the call that stands in for a stream; None for heartbeats, status and orders."""
        return poll_request(want)

    def receive_rest(
        self,
        request: RestRequest,
        status: int,
        body: bytes,
        ts_recv_ns: int,
        ts_mono_ns: int,
        out: Output,
    ) -> RestRequest | None:
        """Decode a REST answer; see `Codec.receive_rest`."""
        return self._rest.receive(request, status, body, ts_recv_ns, ts_mono_ns, out)


def _check_nulls(message: OrderMessage, fields: dict[str, Any]) -> None:
    """Refuse a number that is the text "null": read leniently it becomes None like a real null."""
    for name in _NULLABLE:
        if getattr(message, name) is None and fields.get(name) is not None:
            msg = f"{name} is no number"
            raise ValueError(msg)


def _seconds(fields: dict[str, Any]) -> int:
    """Return the time of an `activate`, "1483736448.299000" seconds, in ns; 0 without one."""
    text = fields.get("timestamp")
    if not isinstance(text, str):
        return 0
    return to_units(text, _NANO_DECIMALS)
