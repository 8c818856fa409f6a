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
from crossfeed.venues.kraken.profile import INTERVALS, NAME, PROFILE, parameter_of
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

PENDING_MAX: Final = 4096
"""Requests awaiting answers; the oldest are forgotten beyond (their wants are asked again)."""

_BBO: Final = "ticker:bbo"
_TICKER_WORDS: Final = (_BBO, "ticker")
_UNASKED_CHANNELS: Final = ("status", "heartbeat")
_BOTH: Final = (True, True)
_RATE: Final = "exceeded msg rate"
_ALREADY: Final = "already subscribed"
_LENGTH_NS: Final = {word: minutes * 60_000_000_000 for minutes, word in INTERVALS.items()}


class KrakenCodec(TableCodec):
    """See `Codec`. The words of the wants are explained in `profile.py`.

    What Kraken sends unasked (status, heartbeat) or what needs nothing on the wire is acknowledged
    by the pong of a ping sent in place of a subscription: it proves that the connection carries
    both ways.

    Symbols asked to leave stay known until the venue confirms it, so that what is still under way
    is decoded rather than refused.
    """

    def __init__(self, table: SymbolTable, options: CodecOptions) -> None:
        """Compile the declarations for one connection."""
        super().__init__(NAME, ROUTES, table, options)
        self._req_id = 0
        self._pending: dict[int, tuple[set[Want], bool]] = {}
        self._leaving: set[Want] = set()
        self._triggers: dict[str, str] = {}
        self._ticker_kinds: dict[str, tuple[bool, bool]] = {}
        self._bars: dict[tuple[str, str], Candle] = {}
        self._scales: dict[str, tuple[int, int]] = {}

    # ── asking ──────────────────────────────────────────────────────────────

    def url_path(self, wants: Sequence[Want]) -> str:  # noqa: ARG002 - all channels share one path
        """Return the path of version 2."""
        return "/v2"

    def on_open(self) -> None:
        """Forget the last connection: its requests, ticker subscriptions, unfinished bars."""
        self._pending.clear()
        self._triggers.clear()
        self._bars.clear()
        self._forget(self._leaving.copy())

    def subscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:  # noqa: ARG002
        """Return the frames that subscribe `wants`: one per channel with its parameter.

        Raises:
            UnsupportedChannelError: Two depths of one symbol's book: their messages could not be
            told
                apart. Nothing was changed.
        """
        self._check_depths(wants)
        self._leaving.difference_update(wants)
        self.ask(wants)
        for want in wants:
            if want.channel.startswith("book:"):
                self._note_scales(self.table.get(want.symbol))
        frames: list[bytes] = []
        tickers = [want for want in wants if want.channel in _TICKER_WORDS]
        self._set_ticker_kinds(tickers)
        moved = [
            w for w in tickers if w.symbol in self._triggers and not self._is_carried(w.symbol)
        ]
        frames += self._requests("unsubscribe", moved, ())
        for want in tickers:
            self._triggers[want.symbol] = self._trigger(want.symbol)
        return frames + self._requests("subscribe", wants, wants)

    def unsubscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:  # noqa: ARG002
        """Return the frames that unsubscribe `wants`.

        Where a symbol's other ticker want remains, its subscription is moved to that one's trigger.
        """
        self._leaving.update(wants)
        tickers = [want for want in wants if want.channel in _TICKER_WORDS]
        kept = [want for want in tickers if self._is_carried(want.symbol)]
        frames = self._requests("unsubscribe", [w for w in wants if w not in kept], wants)
        if kept:
            frames.append(self._ping(kept, is_removal=True))
        staying: list[Want] = []
        for symbol in {want.symbol for want in tickers if want not in kept}:
            trigger = self._trigger(symbol)
            self._triggers.pop(symbol, None)
            if trigger:
                self._triggers[symbol] = trigger
                staying.append(Want(_BBO if trigger == "bbo" else "ticker", symbol))
        return frames + self._requests("subscribe", staying, ())

    def keepalive(self) -> bytes:
        """Return the venue's ping."""
        return self._ping((), is_removal=False)

    def _requests(self, method: str, wants: Iterable[Want], settled: Sequence[Want]) -> list[bytes]:
        """Return the frames of one method; their answers settle those of `settled` they concern."""
        is_removal = method == "unsubscribe"
        groups: dict[tuple[tuple[str, Any], ...], list[Want]] = {}
        unasked: list[Want] = []
        for want in dict.fromkeys(wants):
            if want.channel in _UNASKED_CHANNELS:
                unasked.append(want)
            else:
                groups.setdefault(self._params(want, is_removal=is_removal), []).append(want)
        frames: list[bytes] = []
        size = PROFILE.limits.params_per_message
        awaited = set(settled)
        for params, group in groups.items():
            symbols = list(dict.fromkeys(want.symbol for want in group))
            for start in range(0, len(symbols), size):
                part = symbols[start : start + size]
                named = set(part)
                concerned = awaited.intersection(want for want in group if want.symbol in named)
                body = dict(params) | ({"symbol": part} if part != [""] else {})
                frames.append(_frame(method, self._expect(concerned, is_removal=is_removal), body))
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

    def _expect(self, wants: Iterable[Want], *, is_removal: bool) -> int:
        """Number a request whose answer settles `wants`."""
        self._req_id += 1
        self._pending[self._req_id] = (set(wants), is_removal)
        if len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        return self._req_id

    def _ping(self, wants: Iterable[Want], *, is_removal: bool) -> bytes:
        return _frame("ping", self._expect(wants, is_removal=is_removal), None)

    def _check_depths(self, wants: Sequence[Want]) -> None:
        depths: dict[str, str] = {
            want.symbol: want.channel for want in self.asked() if want.channel.startswith("book:")
            and want not in self._leaving
        }  # fmt: skip
        for want in wants:
            if want.channel.startswith("book:"):
                other = depths.setdefault(want.symbol, want.channel)
                if other != want.channel:
                    msg = (
                        f"kraken: {want.symbol} is subscribed as {other}; another depth needs "
                        "another connection, for its messages do not name theirs"
                    )
                    raise UnsupportedChannelError(msg)

    # ── tickers: one subscription per symbol ────────────────────────────────

    def _staying(self, symbol: str) -> set[str]:
        """Return the channels of a symbol that are asked for and not leaving."""
        wants = self._asked.get(symbol, set()) - self._leaving
        return {want.channel for want in wants}

    def _trigger(self, symbol: str) -> str:
        """Return the trigger that a symbol's ticker wants need, empty if there are none."""
        channels = self._staying(symbol)
        return "bbo" if _BBO in channels else "trades" if "ticker" in channels else ""

    def _is_carried(self, symbol: str) -> bool:
        """Say whether the connection carries a symbol's ticker with the trigger its wants need."""
        carried = self._triggers.get(symbol, "")
        return bool(carried) and carried == self._trigger(symbol)

    def _set_ticker_kinds(self, wants: Iterable[Want]) -> None:
        for symbol in {want.symbol for want in wants}:
            channels = {want.channel for want in self._asked.get(symbol, ())}
            kinds = (_BBO in channels, "ticker" in channels)
            if any(kinds):
                self._ticker_kinds[symbol] = kinds
            else:
                self._ticker_kinds.pop(symbol, None)

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

    # ── candles: a bar is final when the next one begins ────────────────────

    def on_ohlc(self, message: OhlcMessage, events: list[Candle], out: Output) -> None:  # noqa: ARG002
        """Emit each bar; before the first of a new interval the last one once more, closed.

        The closed bar carries the receive time of the message that closed it and the raw text of
        the one it was last changed by. A late change of an older bar is emitted closed.
        """
        for event in events:
            key = (event.symbol, event.interval)
            last = self._bars.get(key)
            is_old = last is not None and event.open_time_ns < last.open_time_ns
            bar = _bar(event, event.marks, is_closed=is_old)
            if last is not None and event.open_time_ns > last.open_time_ns:
                out.events.append(
                    structs.replace(
                        last,
                        is_closed=True,
                        marks=Mark.NONE,
                        ts_recv_ns=event.ts_recv_ns,
                        ts_mono_ns=event.ts_mono_ns,
                    )
                )
            out.events.append(bar)
            if not is_old:
                self._bars[key] = bar

    def on_ohlc_snapshot(
        self,
        message: OhlcMessage,  # noqa: ARG002
        events: list[Candle],
        out: Output,
    ) -> None:
        """Emit the bars of a snapshot, oldest first; all but a series' newest are closed."""
        bars = sorted(events, key=lambda bar: bar.open_time_ns)
        newest = {(bar.symbol, bar.interval): bar.open_time_ns for bar in bars}
        for event in bars:
            key = (event.symbol, event.interval)
            is_closed = event.open_time_ns < newest[key]
            marks = event.marks | Mark.HISTORY if is_closed else event.marks
            bar = _bar(event, marks, is_closed=is_closed)
            if not is_closed:
                self._bars[key] = bar
            out.events.append(bar)

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
                    for channel in self._staying(instrument.symbol)
                    if channel.startswith("book:")
                ]

    def _note_scales(self, instrument: Instrument | None) -> None:
        """Remember the decimals that a book of this connection was last subscribed with."""
        if instrument is not None:
            self._scales[instrument.symbol] = _scales(instrument)

    # ── answers ─────────────────────────────────────────────────────────────

    def on_subscribed(self, reply: Reply, out: Output) -> None:
        """Take the answer to a subscription, one for each symbol."""
        wants = self._settle(reply, is_removal=False)
        error = reply.error.lower()
        if reply.success or error.startswith(_ALREADY):
            if wants:
                out.commands.append(Acknowledged(wants))
        elif _RATE in error or not wants:
            # Not a judgement of the wants: they are asked again when their deadline passes.
            out.commands.append(VenueNotice("subscribe", reply.error))
        else:
            out.commands.append(Refused(wants, reply.error))
        self._warn(reply, out)

    def on_unsubscribed(self, reply: Reply, out: Output) -> None:
        """Take the answer to an unsubscription. A refused one means that nothing was subscribed."""
        wants = self._settle(reply, is_removal=True)
        is_over = reply.success or _RATE not in reply.error.lower()
        if not reply.success:
            out.commands.append(VenueNotice("unsubscribe", reply.error, is_error=not is_over))
        if is_over and wants:
            self._forget(wants)
            out.commands.append(Acknowledged(wants, is_removal=True))
        self._warn(reply, out)

    def on_pong(self, pong: Pong, out: Output) -> None:
        """Take the answer to a ping; it acknowledges what was asked with it."""
        wants, is_removal = self._pending.pop(pong.req_id, (set[Want](), False))
        if wants:
            self._forget(wants if is_removal else ())
            out.commands.append(Acknowledged(_ordered(wants), is_removal=is_removal))

    def on_error(self, message: ErrorMessage, out: Output) -> None:
        """Pass on an error that answers no known request."""
        out.commands.append(VenueNotice("error", message.error or message.error_capital))

    def _settle(self, reply: Reply, *, is_removal: bool) -> tuple[Want, ...]:
        """Return the wants a reply concerns, and take them off the request they were asked with."""
        symbol = reply.symbol or (reply.result.symbol if reply.result is not None else "")
        asked, _ = self._pending.get(reply.req_id, (None, False))
        if asked is None:
            return _ordered(self._wants_of(reply, symbol, is_removal=is_removal))
        # An error that names no symbol may still do so in its text; else it concerns the whole
        # request.
        found = {want for want in asked if want.symbol == symbol}
        if not found and not symbol:
            found = {w for w in asked if w.symbol and w.symbol in reply.error.split()} or set(asked)
        asked -= found
        if not asked:
            del self._pending[reply.req_id]
        return _ordered(found)

    def _wants_of(self, reply: Reply, symbol: str, *, is_removal: bool) -> set[Want]:
        """Return the wants that a reply without our number describes by its result."""
        result = reply.result
        if result is None:
            return set()
        number = result.depth or result.interval
        name = f"{result.channel}:{number}" if number else result.channel
        names = _TICKER_WORDS if name == "ticker" else (name,)
        known = self._leaving if is_removal else self._asked.get(symbol, set())
        return {want for want in known if want.channel in names and want.symbol == symbol}

    def _forget(self, wants: Iterable[Want]) -> None:
        """Drop those of `wants` that were not asked for again meanwhile."""
        gone = [want for want in wants if want in self._leaving]
        self._leaving.difference_update(gone)
        self.drop(gone)
        self._set_ticker_kinds(gone)
        for want in gone:
            if want.channel.startswith("book:"):
                self._scales.pop(want.symbol, None)
            elif want.channel.startswith("ohlc:"):
                self._bars.pop((want.symbol, INTERVALS[parameter_of(want.channel)]), None)

    def _warn(self, reply: Reply, out: Output) -> None:
        for text in (reply.result.warnings if reply.result is not None else None) or ():
            out.commands.append(VenueNotice("warning", text, is_error=False))

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


def _frame(method: str, req_id: int, params: dict[str, Any] | None) -> bytes:
    message: dict[str, Any] = {"method": method}
    if params is not None:
        message["params"] = params
    return msgspec.json.encode(message | {"req_id": req_id})


def _ordered(wants: Iterable[Want]) -> tuple[Want, ...]:
    return tuple(sorted(wants, key=lambda want: (want.symbol, want.channel)))


def _scales(instrument: Instrument) -> tuple[int, int]:
    return instrument.price_scale, instrument.size_scale


def _bar(event: Candle, marks: Mark, *, is_closed: bool) -> Candle:
    """Give a bar its end, its state, and its marks."""
    open_ns = event.open_time_ns
    return Candle(
        event.exchange, event.symbol, event.unified, event.ts_event_ns, event.ts_sent_ns,
        event.ts_recv_ns, event.ts_mono_ns,
        marks if event.ts_event_ns else marks | Mark.RECEIVE_TIME, event.integrity, event.trust,
        event.raw, event.raw_index, event.interval, open_ns, open_ns + _LENGTH_NS[event.interval],
        event.open, event.high, event.low, event.close, event.volume, event.trades, is_closed,
    )  # fmt: skip


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
