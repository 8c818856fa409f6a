"""Speaks Kraken's Spot WebSocket v2 for one connection: frames → events, wishes → frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

from crossfeed.errors import UnsupportedChannelError
from crossfeed.model.commands import (
    Acknowledged,
    Backfill,
    Refused,
    RestRequest,
    Resubscribe,
    VenueNotice,
    Want,
)
from crossfeed.model.events import Candle, MarketData, Quote, Ticker
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.model.trust import Mark
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.codec import TableCodec
from crossfeed.venues.decoder import refusal
from crossfeed.venues.kraken import rest
from crossfeed.venues.kraken.candles import Bars
from crossfeed.venues.kraken.profile import INTERVALS, NAME, PROFILE, parameter_of
from crossfeed.venues.kraken.requests import Requests
from crossfeed.venues.kraken.symbols import instrument_of_pair
from crossfeed.venues.kraken.wire import (
    ROUTES,
    ErrorMessage,
    InstrumentMessage,
    OhlcMessage,
    PairItem,
    Pong,
    Reply,
    TickerItem,
    TickerMessage,
)
from crossfeed.venues.symbols import SymbolTable

__all__ = ["KrakenCodec"]

_BBO: Final = "ticker:bbo"
_TICKER_WORDS: Final = (_BBO, "ticker")
_UNASKED_CHANNELS: Final = ("status", "heartbeat")
_BOTH: Final = (True, True)
_QUOTES_ONLY: Final = (True, False)
_RATE: Final = "exceeded msg rate"
_ALREADY: Final = "already subscribed"


class KrakenCodec(TableCodec):
    """See `Codec`. The words of the wants are explained in `profile.py`.

    What Kraken sends unasked (status, heartbeat), or what needs nothing on the wire, is
    acknowledged by the pong of a ping sent in place of a subscription: it proves that the
    connection carries both ways.

    Attributes:
        quoted: Symbols whose tickers shall yield quotes, and only these.
    """

    def __init__(self, table: SymbolTable, options: CodecOptions) -> None:
        """Compile the declarations for one connection."""
        super().__init__(NAME, ROUTES, table, options)
        self._requests = Requests()
        self._bars = Bars()
        self._triggers: dict[str, str] = {}
        self._ticker_kinds: dict[str, tuple[bool, bool]] = {}
        self.quoted: set[str] = set()
        self._scales: dict[str, tuple[int, int]] = {}

    # ── asking ──────────────────────────────────────────────────────────────

    def url_path(self, wants: Sequence[Want]) -> str:  # noqa: ARG002 - all channels share one path
        """Return the path of version 2."""
        return "/v2"

    def on_open(self) -> None:
        """Forget the last connection: its requests, ticker subscriptions, unfinished bars."""
        self._requests.clear()
        self._triggers.clear()
        self._bars.clear()

    def subscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:  # noqa: ARG002
        """Return the frames that subscribe `wants`: one per channel with its parameter.

        Raises:
            UnsupportedChannelError: Two depths of one symbol's book: their messages could not be
                told apart. Nothing was changed.
        """
        self._check_depths(wants)
        self.ask(wants)
        tickers = [want for want in wants if want.channel in _TICKER_WORDS]
        moved = [
            w for w in tickers if w.symbol in self._triggers and not self._is_carried(w.symbol)
        ]
        frames = self._frames("unsubscribe", moved, ())
        for want in tickers:
            self._triggers[want.symbol] = self._trigger(want.symbol)
            self._note_kinds(want.symbol)
        for want in wants:
            if want.channel.startswith("book:"):
                self._note_scales(self.table.get(want.symbol))
        return frames + self._frames("subscribe", wants, wants)

    def unsubscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:  # noqa: ARG002
        """Return the frames that unsubscribe `wants`.

        Where a symbol's other ticker want remains, its subscription is moved to that one's trigger.
        """
        self.drop(wants)
        tickers = [want for want in wants if want.channel in _TICKER_WORDS]
        kept = [want for want in tickers if self._is_carried(want.symbol)]
        frames = self._frames("unsubscribe", [w for w in wants if w not in kept], wants)
        if kept:
            frames.append(self._ping(kept, is_removal=True))
        staying: list[Want] = []
        for symbol in dict.fromkeys(want.symbol for want in tickers if want not in kept):
            trigger = self._trigger(symbol)
            self._triggers.pop(symbol, None)
            if trigger:
                self._triggers[symbol] = trigger
                staying.append(Want(_BBO if trigger == "bbo" else "ticker", symbol))
        for want in wants:
            self._forget(want)
        return frames + self._frames("subscribe", staying, ())

    def keepalive(self) -> bytes:
        """Return the venue's ping."""
        return self._ping((), is_removal=False)

    def _ping(self, wants: Iterable[Want], *, is_removal: bool) -> bytes:
        return self._requests.frame("ping", None, wants, is_removal=is_removal)

    def _frames(self, method: str, wants: Iterable[Want], settled: Iterable[Want]) -> list[bytes]:
        """Return the frames of one method; their answers settle those of `settled` they concern."""
        is_removal = method == "unsubscribe"
        awaited = set(settled)
        groups: dict[tuple[tuple[str, Any], ...], list[Want]] = {}
        unasked: list[Want] = []
        for want in dict.fromkeys(wants):
            if want.channel in _UNASKED_CHANNELS:
                unasked.append(want)
            else:
                groups.setdefault(self._params(want, is_removal=is_removal), []).append(want)
        frames: list[bytes] = []
        size = PROFILE.limits.params_per_message
        for params, group in groups.items():
            symbols = list(dict.fromkeys(want.symbol for want in group))
            for start in range(0, len(symbols), size):
                part = symbols[start : start + size]
                named = set(part)
                concerned = awaited.intersection(want for want in group if want.symbol in named)
                body = dict(params) | ({"symbol": part} if part != [""] else {})
                frames.append(self._requests.frame(method, body, concerned, is_removal=is_removal))
        if unasked:
            frames.append(self._ping(unasked, is_removal=is_removal))
        return frames

    def _params(self, want: Want, *, is_removal: bool) -> tuple[tuple[str, Any], ...]:
        """Return the parameters of a want's subscription beside its symbol."""
        word = want.channel.partition(":")[0]
        params: list[tuple[str, Any]] = [("channel", word)]
        if word == "ticker":
            params.append(("event_trigger", self._triggers.get(want.symbol, "bbo")))
        elif word == "book":
            params.append(("depth", parameter_of(want.channel)))
        elif word == "ohlc":
            params.append(("interval", parameter_of(want.channel)))
        if not is_removal:
            history = self.options.parameters.get("trade_snapshot", "") == "true"
            params.append(("snapshot", word != "trade" or history))
        return tuple(params)

    def _check_depths(self, wants: Sequence[Want]) -> None:
        books = [want for want in (*self.asked(), *wants) if want.channel.startswith("book:")]
        depths: dict[str, str] = {}
        for want in books:
            other = depths.setdefault(want.symbol, want.channel)
            if other != want.channel:
                msg = (
                    f"kraken: {want.symbol} is subscribed as {other}; another depth needs "
                    "another connection, for its messages do not name theirs"
                )
                raise UnsupportedChannelError(msg)

    def _forget(self, want: Want) -> None:
        """Forget what was kept for a want that is no longer asked for."""
        if want.channel in _TICKER_WORDS:
            self._note_kinds(want.symbol)
        elif want.channel.startswith("book:"):
            self._scales.pop(want.symbol, None)
        elif want.channel.startswith("ohlc:"):
            self._bars.forget(want.symbol, INTERVALS[parameter_of(want.channel)])

    # ── tickers: one subscription per symbol ────────────────────────────────

    def _channels(self, symbol: str) -> set[str]:
        """Return the channels asked for of a symbol."""
        return {want.channel for want in self._asked.get(symbol, ())}

    def _trigger(self, symbol: str) -> str:
        """Return the trigger that a symbol's ticker wants need, empty if there are none."""
        channels = self._channels(symbol)
        return "bbo" if _BBO in channels else "trades" if "ticker" in channels else ""

    def _is_carried(self, symbol: str) -> bool:
        """Say whether the connection carries a symbol's ticker with the trigger its wants need."""
        carried = self._triggers.get(symbol, "")
        return bool(carried) and carried == self._trigger(symbol)

    def _note_kinds(self, symbol: str) -> None:
        """Note which events a symbol's tickers shall yield."""
        channels = self._channels(symbol)
        kinds = (_BBO in channels, "ticker" in channels)
        if any(kinds):
            self._ticker_kinds[symbol] = kinds
        else:
            self._ticker_kinds.pop(symbol, None)
        if kinds == _QUOTES_ONLY:
            self.quoted.add(symbol)
        else:
            self.quoted.discard(symbol)

    def on_ticker(self, message: TickerMessage, events: list[Quote], out: Output) -> None:
        """Let pass the quotes, and make the tickers, that are wanted of each symbol.

        A side without a price (0) makes no quote, a missing last price no ticker.
        """
        for event in events:
            item = message.data[event.raw_index]
            quote = event
            if not event.ts_event_ns:
                quote = structs.replace(event, marks=event.marks | Mark.RECEIVE_TIME)
            has_quote, has_ticker = self._ticker_kinds.get(event.symbol, _BOTH)
            if has_quote and item.bid and item.ask:
                out.events.append(quote)
            if has_ticker and item.last:
                out.events.append(_ticker_of(item, quote))

    # ── candles ─────────────────────────────────────────────────────────────

    def on_ohlc(self, message: OhlcMessage, events: list[Candle], out: Output) -> None:  # noqa: ARG002
        """Emit bars, and the last one closed when the next begins; see `Bars.update`."""
        self._bars.update(events, out.events)

    def on_ohlc_snapshot(
        self,
        message: OhlcMessage,  # noqa: ARG002
        events: list[Candle],
        out: Output,
    ) -> None:
        """Emit the bars of a snapshot; see `Bars.replace`."""
        self._bars.replace(events, out.events)

    # ── instruments ─────────────────────────────────────────────────────────

    def on_instrument(
        self, message: InstrumentMessage, events: list[MarketData], out: Output
    ) -> None:
        """Adopt what the venue says of its pairs; resubscribe books whose decimals changed.

        Raises:
            DecodeError: A pair lacks what we need. Nothing was changed.
        """
        instruments: list[Instrument] = []
        for pair in message.data.pairs:
            try:
                item = msgspec.convert(pair, PairItem)
            except msgspec.ValidationError as exc:
                raise refusal(NAME, exc, events[0].raw or b"") from exc
            made = instrument_of_pair(item, self.table.get(item.symbol))
            if made is not None:
                instruments.append(made)
        self.table.adopt(instruments)
        out.events += events
        for instrument in instruments:
            if self._scales.get(instrument.symbol, _scales(instrument)) != _scales(instrument):
                self._note_scales(instrument)
                out.commands += [
                    Resubscribe(channel, instrument.symbol, "precision")
                    for channel in sorted(self._channels(instrument.symbol))
                    if channel.startswith("book:")
                ]

    def _note_scales(self, instrument: Instrument | None) -> None:
        """Remember the decimals that a book of this connection was last subscribed with."""
        if instrument is not None:
            self._scales[instrument.symbol] = _scales(instrument)

    # ── answers ─────────────────────────────────────────────────────────────

    def on_subscribed(self, reply: Reply, out: Output) -> None:
        """Take the answer to a subscription, one for each symbol."""
        wants = self._requests.settle(reply, is_removal=False)
        error = reply.error.lower()
        if reply.success or error.startswith(_ALREADY):
            if wants:
                out.commands.append(Acknowledged(wants))
        elif _RATE in error or not wants:
            # No judgement of the wants: they are asked again when their deadline passes.
            out.commands.append(VenueNotice("subscribe", reply.error))
        else:
            out.commands.append(Refused(wants, reply.error))
        _warn(reply, out)

    def on_unsubscribed(self, reply: Reply, out: Output) -> None:
        """Take the answer to an unsubscription. A refused one means that nothing was subscribed."""
        wants = self._requests.settle(reply, is_removal=True)
        is_over = reply.success or _RATE not in reply.error.lower()
        if not reply.success:
            out.commands.append(VenueNotice("unsubscribe", reply.error, is_error=not is_over))
        if is_over and wants:
            out.commands.append(Acknowledged(wants, is_removal=True))
        _warn(reply, out)

    def on_pong(self, pong: Pong, out: Output) -> None:
        """Take the answer to a ping; it acknowledges what was asked with it."""
        wants, is_removal = self._requests.take(pong.req_id)
        if wants:
            out.commands.append(Acknowledged(wants, is_removal=is_removal))

    def on_error(self, message: ErrorMessage, out: Output) -> None:
        """Pass on an error that answers no known request."""
        out.commands.append(VenueNotice("error", message.error or message.error_capital))

    # ── REST ────────────────────────────────────────────────────────────────

    def snapshot_request(self, symbol: str, epoch: int, attempt: int) -> RestRequest | None:  # noqa: ARG002
        """Return None: the stream brings its own snapshot."""
        return None

    def backfill_request(self, wanted: Backfill) -> RestRequest | None:
        """Return the first page of missing trades, None for other channels."""
        return rest.backfill_request(self.table, wanted)

    def poll_request(self, want: Want) -> RestRequest | None:
        """Return the request that stands in for a stream; a book's serves its audit as well."""
        return rest.poll_request(self.table, want)

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
        result = rest.result_of(status, body)
        instrument = self.table.get(request.symbol)
        marks = Mark.BACKFILLED if request.purpose == "backfill" else Mark.REST
        if request.channel.startswith("book"):
            marks |= Mark.SNAPSHOT
        head = rest.Head(
            symbol=request.symbol,
            unified=instrument.unified if instrument is not None else "",
            ts_recv_ns=ts_recv_ns,
            ts_mono_ns=ts_mono_ns,
            marks=marks,
            keep_raw=self.options.keep_raw,
        )
        events, following = rest.answer(request, result, body, head, self.table)
        out.events += events
        return following


def _warn(reply: Reply, out: Output) -> None:
    for text in (reply.result.warnings if reply.result is not None else None) or ():
        out.commands.append(VenueNotice("warning", text, is_error=False))


def _scales(instrument: Instrument) -> tuple[int, int]:
    return instrument.price_scale, instrument.size_scale


def _ticker_of(item: TickerItem, quote: Quote) -> Ticker:
    """Make the ticker of a message from its fields and its quote."""
    return Ticker(
        quote.exchange, quote.symbol, quote.unified, quote.ts_event_ns, quote.ts_sent_ns,
        quote.ts_recv_ns, quote.ts_mono_ns, quote.marks, quote.integrity, quote.trust, quote.raw,
        quote.raw_index, item.last, item.change, item.change_pct, None, item.high or None,
        item.low or None, item.volume, None, item.vwap or None, item.bid or None,
        item.bid_qty if item.bid else None, item.ask or None, item.ask_qty if item.ask else None,
        None, None,
    )  # fmt: skip
