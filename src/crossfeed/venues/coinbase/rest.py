"""REST calls of Coinbase Exchange: missing trades, stand-ins for streams, all resting orders."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from crossfeed.errors import DecodeError, SchemaChangedError
from crossfeed.model.commands import Backfill, RestRequest, Want
from crossfeed.model.events import MarketData, OrderEvent, Trade
from crossfeed.model.output import Output
from crossfeed.model.trust import Integrity, Mark, Side, Trust
from crossfeed.venues.coinbase.errors import VENUE_NAME, check_status
from crossfeed.venues.coinbase.wire import REST_ROUTES
from crossfeed.venues.decoder import Decoder, SymbolNames, refusal
from crossfeed.venues.isotime import iso_ns
from crossfeed.venues.symbols import SymbolTable
from crossfeed.venues.wire import Count, Size

__all__ = ["RestReader", "backfill_request", "orders_request", "poll_request"]

PAGE_TRADES: Final = 1000
"""Most trades of one page (api-reference: get product trades, checked 2026-11-22)."""
_POLL_TRADES: Final = 100

_FOREIGN: Final = (msgspec.MsgspecError, RecursionError, ValueError, KeyError, OverflowError)


class _Orders(Struct):
    """`GET /products/{id}/book?level=3`: one row for each resting order."""

    bids: list[tuple[Size, Size, str]]
    asks: list[tuple[Size, Size, str]]
    sequence: Count
    time: str = ""


class _OrderTexts(Struct):
    """The same with the numbers as sent."""

    bids: list[tuple[str, str, str]]
    asks: list[tuple[str, str, str]]


_decode_orders = msgspec.json.Decoder(_Orders, strict=False).decode
_decode_texts = msgspec.json.Decoder(_OrderTexts).decode
_decode_array = msgspec.json.Decoder(list[Raw]).decode


def backfill_request(wanted: Backfill) -> RestRequest | None:
    """Return the first page of missing trades; None for streams that REST cannot repair.

    Pages run upwards: ids are contiguous, so the page older than `first + 1000` begins at `first`.
    (The venue's `before` cannot do that: it gives the newest page above an id, not the next one.)
    """
    if wanted.stream.channel != "trade" or wanted.first <= 0 or wanted.last < wanted.first:
        return None
    return _trades_page(wanted.stream.symbol, wanted.first, wanted.last, epoch=0)


def _trades_page(symbol: str, first: int, last: int, *, epoch: int) -> RestRequest:
    after = min(first + PAGE_TRADES, last + 1)
    return RestRequest(
        purpose="backfill",
        path=f"/products/{symbol}/trades",
        query=(("limit", str(min(PAGE_TRADES, after - first))), ("after", str(after))),
        symbol=symbol,
        channel="trade",
        epoch=epoch,
        first=first,
        last=last,
    )


def poll_request(want: Want) -> RestRequest | None:
    """Return the call that stands in for a stream; None for heartbeats, status and orders."""
    product = f"/products/{want.symbol}"
    if want.channel == "matches":
        query = (("limit", str(_POLL_TRADES)),)
        return RestRequest(
            purpose="poll",
            path=f"{product}/trades",
            query=query,
            symbol=want.symbol,
            channel="trade",
        )
    if want.channel in {"ticker", "ticker_batch"}:
        return RestRequest(
            purpose="poll", path=f"{product}/ticker", symbol=want.symbol, channel="ticker"
        )
    if want.channel in {"level2", "level2_batch"}:
        return RestRequest(
            purpose="poll",
            path=f"{product}/book",
            query=(("level", "2"),),
            symbol=want.symbol,
            channel="book",
        )
    return None


def orders_request(symbol: str, epoch: int) -> RestRequest:
    """Return the call for all resting orders. Not to be polled: the venue blocks who does."""
    return RestRequest(
        purpose="snapshot",
        path=f"/products/{symbol}/book",
        query=(("level", "3"),),
        symbol=symbol,
        channel="full",
        epoch=epoch,
    )


class RestReader:
    """Decodes the answers; made by the codec, which lends it the table of symbols."""

    def __init__(self, table: SymbolTable, *, keep_raw: bool) -> None:
        """Compile the declarations."""
        self._table = table
        self._keep_raw = keep_raw
        self._names: SymbolNames = {}
        self._decoder = Decoder(VENUE_NAME, REST_ROUTES, self._names, keep_raw=keep_raw)

    def receive(
        self,
        request: RestRequest,
        status: int,
        body: bytes,
        ts_recv_ns: int,
        ts_mono_ns: int,
        out: Output,
    ) -> RestRequest | None:
        """Decode one answer; see `Codec.receive_rest`."""
        check_status(status, body)
        self._names[""] = (request.symbol, self._unified(request.symbol))
        try:
            if request.channel == "trade":
                return self._trades(request, body, ts_recv_ns, ts_mono_ns, out)
            if request.channel == "full":
                out.events += self._orders(request, body, ts_recv_ns, ts_mono_ns)
            else:
                out.events += self._decode(body, ts_recv_ns, ts_mono_ns)
        except DecodeError:
            raise
        except _FOREIGN as exc:
            raise refusal(VENUE_NAME, exc, body) from exc
        return None

    def _decode(self, body: bytes, ts_recv_ns: int, ts_mono_ns: int) -> list[MarketData]:
        _, _, events = self._decoder.decode(body, ts_recv_ns, ts_mono_ns)
        return events or []

    def _unified(self, symbol: str) -> str:
        instrument = self._table.get(symbol)
        return instrument.unified if instrument is not None else ""

    def _trades(
        self, request: RestRequest, body: bytes, ts_recv_ns: int, ts_mono_ns: int, out: Output
    ) -> RestRequest | None:
        trades: list[MarketData] = []
        for raw in _decode_array(body):
            trades += self._decode(bytes(raw), ts_recv_ns, ts_mono_ns)
        trades.sort(key=_trade_id)
        if request.purpose != "backfill":
            out.events += trades
            return None
        after = min(request.first + PAGE_TRADES, request.last + 1)
        out.events += [
            replace(trade, marks=Mark.BACKFILLED)
            for trade in trades
            if request.first <= _trade_id(trade) < after
        ]
        if after > request.last:
            return None
        return _trades_page(request.symbol, after, request.last, epoch=request.epoch)

    def _orders(
        self, request: RestRequest, body: bytes, ts_recv_ns: int, ts_mono_ns: int
    ) -> list[OrderEvent]:
        """Turn every resting order into an `open` at the snapshot's sequence."""
        orders, texts = _decode_orders(body), _decode_texts(body)
        ts_event_ns = iso_ns(orders.time) if orders.time else 0
        unified = self._unified(request.symbol)
        raw = body if self._keep_raw else None
        events: list[OrderEvent] = []
        for side, rows, written in (
            (Side.BUY, orders.bids, texts.bids),
            (Side.SELL, orders.asks, texts.asks),
        ):
            for (price, size, order_id), (price_text, size_text, _) in zip(
                rows, written, strict=True
            ):
                events.append(
                    OrderEvent(
                        exchange=VENUE_NAME,
                        symbol=request.symbol,
                        unified=unified,
                        ts_event_ns=ts_event_ns,
                        ts_sent_ns=0,
                        ts_recv_ns=ts_recv_ns,
                        ts_mono_ns=ts_mono_ns,
                        marks=Mark.REST | Mark.SNAPSHOT,
                        integrity=Integrity.SEQUENCED,
                        trust=Trust.SOUND,
                        raw=raw,
                        raw_index=len(events),
                        kind="open",
                        sequence=orders.sequence,
                        order_id=order_id,
                        side=side,
                        price=price,
                        size=size,
                        fields={
                            "product_id": request.symbol,
                            "order_id": order_id,
                            "side": str(side),
                            "price": price_text,
                            "remaining_size": size_text,
                        },
                    )
                )
        return events


def _trade_id(event: MarketData) -> int:
    if not isinstance(event, Trade):
        detail = f"a {event.data_type} among the trades"
        raise SchemaChangedError(VENUE_NAME, "wrong_type", detail, event.raw or b"")
    return event.trade_id
