"""Speaks Coinbase Advanced Trade. Pure: frames → events and commands, wishes → frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from crossfeed.errors import UnknownMessageError
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
from crossfeed.model.events import Candle, MarketData
from crossfeed.model.output import Output
from crossfeed.model.trust import Mark
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.codec import TableCodec
from crossfeed.venues.coinbase_advanced.auth import TokenMaker
from crossfeed.venues.coinbase_advanced.errors import EXCHANGE_NAME
from crossfeed.venues.coinbase_advanced.profile import LIMITS
from crossfeed.venues.coinbase_advanced.rest import (
    RestReader,
    backfill_request,
    poll_request,
)
from crossfeed.venues.coinbase_advanced.wire import (
    CANDLE_NS,
    ROUTES,
    Candles,
    ErrorFrame,
    Numbered,
    Subscriptions,
)
from crossfeed.venues.listing import SubscriptionList, is_passing
from crossfeed.venues.symbols import SymbolTable

__all__ = ["AdvancedCodec"]

_HEARTBEATS: Final = Want("heartbeats", "")

_decode_numbered = msgspec.json.Decoder(Numbered).decode


class AdvancedCodec(TableCodec):
    """One connection to Coinbase Advanced Trade.

    `heartbeats` is always subscribed too: channels without news are closed after 60 to 90 s
    otherwise, and its frames show a hole in the connection's numbers within a second.
    """

    sequence_field = "sequence_num"

    def __init__(self, table: SymbolTable, options: CodecOptions) -> None:
        """Compile the declarations.

        Raises:
            ConfigError: A key is given that cannot sign (see `TokenMaker`).
        """
        super().__init__(EXCHANGE_NAME, ROUTES, table, options)
        self._tokens = TokenMaker(options) if options.api_key else None
        self._requests = SubscriptionList()
        self._rest = RestReader(keep_raw=options.keep_raw)
        self._candles: dict[str, Candle] = {}
        self._is_heartbeat_wanted = False
        self._ts_recv_ns = 0
        self._events: list[MarketData] = []

    # ── asking ──────────────────────────────────────────────────────────────

    def url_path(self, wants: Sequence[Want]) -> str:
        """Return nothing: the feed lies at the root."""
        del wants
        return ""

    def on_open(self) -> None:
        """Forget the requests, the counter and the unfinished candles of the last connection."""
        self._requests.reset()
        self._candles.clear()
        self.connection_sequence = None

    def names_on_wire(self, symbol: str) -> tuple[str, ...]:
        """Return `symbol`, its USD book and the names the venue uses for that."""
        instrument = self.table.get(symbol)
        if instrument is None:
            return (symbol,)
        return tuple(dict.fromkeys((symbol, instrument.symbol, *instrument.aliases)))

    def subscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:
        """Return the frames that subscribe `wants`: one channel in each, and the heartbeats."""
        self.ask(wants)
        self._is_heartbeat_wanted |= _HEARTBEATS in wants
        wants = [*wants, _HEARTBEATS] if wants else []
        return list(self._requests_of("subscribe", wants, ts_ns))

    def unsubscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:
        """Return the frames that unsubscribe `wants`. The heartbeats come back at once."""
        self.drop(wants)
        for want in wants:
            if want.channel == "candles":
                self._candles.pop(want.symbol, None)
        frames = list(self._requests_of("unsubscribe", wants, ts_ns))
        if _HEARTBEATS in wants:
            self._is_heartbeat_wanted = False
            frames += self._requests_of("subscribe", [_HEARTBEATS], ts_ns)
        return frames

    def _requests_of(self, verb: str, wants: Sequence[Want], ts_ns: int) -> Iterator[bytes]:
        channels: dict[str, list[Want]] = {}
        for want in dict.fromkeys(wants):
            channels.setdefault(want.channel, []).append(want)
        size = LIMITS.params_per_message
        for channel, members in channels.items():
            for start in range(0, len(members), size):
                part = members[start : start + size]
                self._requests.ask(part, is_removal=verb == "unsubscribe")
                message: dict[str, Any] = {"type": verb, "channel": channel}
                if any(want.symbol for want in part):
                    message["product_ids"] = [want.symbol for want in part]
                if self._tokens is not None:
                    message["jwt"] = self._tokens.token(ts_ns)
                yield msgspec.json.encode(message)

    def keepalive(self) -> bytes | None:
        """Return None: there is no application-level ping."""
        return None

    # ── receiving ───────────────────────────────────────────────────────────

    def receive(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int, out: Output) -> None:
        """Decode one frame; see `Codec.receive`."""
        self.connection_sequence = None
        try:
            route, message, events = self._decoder.decode(frame, ts_recv_ns, ts_mono_ns)
        except UnknownMessageError:
            self.connection_sequence = _number_of(frame)
            raise
        self.connection_sequence = message.sequence_num
        if route.handler:
            self._ts_recv_ns, self._events = ts_recv_ns, events or []
            self._handlers[route.handler](message, out)
        else:
            out.events += events or ()

    def on_candles(self, message: Candles, out: Output) -> None:
        """Complete the candles: a bar is final when the next one has begun."""
        del message
        bars: list[Candle] = []
        newest: dict[str, int] = {}
        for event in self._events:
            assert isinstance(event, Candle), "the candles route makes candles"
            bars.append(event)
            newest[event.symbol] = max(event.open_time_ns, newest.get(event.symbol, 0))
        bars.sort(key=_open_time_ns)
        for bar in bars:
            out.events += self._advance(bar, is_newest=bar.open_time_ns == newest[bar.symbol])

    def _advance(self, bar: Candle, *, is_newest: bool) -> Iterator[Candle]:
        """Yield what one bar tells: the end of the bar before it, and its own state."""
        bar = replace(bar, close_time_ns=bar.open_time_ns + CANDLE_NS)
        last = self._candles.get(bar.symbol)
        if last is not None and last.open_time_ns < bar.open_time_ns:
            yield replace(
                last,
                is_closed=True,
                marks=Mark.NONE,
                ts_recv_ns=bar.ts_recv_ns,
                ts_mono_ns=bar.ts_mono_ns,
            )
            last = None
        if is_newest and (last is None or last.open_time_ns == bar.open_time_ns):
            self._candles[bar.symbol] = bar
            yield bar
            return
        if last is None or last.open_time_ns == bar.open_time_ns:
            self._candles.pop(bar.symbol, None)
        is_history = bool(bar.marks & Mark.SNAPSHOT)
        marks = bar.marks | Mark.HISTORY if is_history else bar.marks
        yield replace(bar, is_closed=True, marks=marks)

    def on_subscriptions(self, message: Subscriptions, out: Output) -> None:
        """Compare the whole current list with what was asked."""
        listed: set[tuple[str, str]] = set()
        for event in message.events:
            for channel, products in event.subscriptions.items():
                listed.add((channel, ""))
                listed.update((channel, name) for name in _texts(products))

        def is_listed(want: Want) -> bool:
            return any((want.channel, name) in listed for name in self.names_on_wire(want.symbol))

        change = self._requests.take_list(is_listed)
        added = self._asked_for(change.added)
        if added:
            out.commands.append(Acknowledged(added))
        if change.removed:
            out.commands.append(Acknowledged(change.removed, is_removal=True))
        out.commands += [Resubscribe(w.channel, w.symbol, "unlisted") for w in change.lost]

    def on_error(self, message: ErrorFrame, out: Output) -> None:
        """Tell what is refused, and ask again for the rest of that request."""
        text = ": ".join(part for part in (message.message, message.reason) if part)
        refused = None if is_passing(text) else self._requests.take_error(text)
        if refused is None or refused.is_removal:
            out.commands.append(VenueNotice("unsubscribe" if refused else "", text))
        else:
            wants = self._asked_for(refused.refused)
            is_auth = "authenti" in text.lower() or "jwt" in text.lower()
            if wants:
                out.commands.append(Refused(wants, text, is_auth))
                self.drop(wants)
            else:
                out.commands.append(VenueNotice(_HEARTBEATS.channel, text))
        if refused is not None and refused.again:
            verb = "unsubscribe" if refused.is_removal else "subscribe"
            frames = self._requests_of(verb, refused.again, self._ts_recv_ns)
            out.commands += [Send(frame) for frame in frames]

    def _asked_for(self, wants: Sequence[Want]) -> tuple[Want, ...]:
        """Leave out the heartbeats where they were our own idea."""
        return tuple(want for want in wants if want != _HEARTBEATS or self._is_heartbeat_wanted)

    # ── REST ────────────────────────────────────────────────────────────────

    def snapshot_request(self, symbol: str, epoch: int, attempt: int) -> RestRequest | None:
        """Return None: the stream brings the book."""
        del symbol, epoch, attempt
        return None

    def backfill_request(self, wanted: Backfill) -> RestRequest | None:
        """Return the first page of missing trades, None for other streams."""
        return backfill_request(wanted)

    def poll_request(self, want: Want) -> RestRequest | None:
        """Return the call that stands in for a stream; None for candles, heartbeats and status."""
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
        instrument = self.table.get(request.symbol)
        pair = (request.symbol, instrument.unified if instrument is not None else "")
        names = dict.fromkeys(("", *self.names_on_wire(request.symbol)), pair)
        return self._rest.receive(request, status, body, ts_recv_ns, ts_mono_ns, out, names=names)


def _texts(products: object) -> list[str]:
    """Return the names of a list; whatever else stands in its place names nothing."""
    try:
        return msgspec.convert(products, list[str])
    except msgspec.ValidationError:
        return []


def _open_time_ns(bar: Candle) -> int:
    return bar.open_time_ns


def _number_of(frame: bytes) -> int | None:
    """Return the number of a frame that holds nothing for us.

    None where it may hold more than the one event that was not understood: then the counter is to
    show a hole.
    """
    try:
        numbered = _decode_numbered(frame)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return numbered.sequence_num if len(numbered.events) <= 1 else None
