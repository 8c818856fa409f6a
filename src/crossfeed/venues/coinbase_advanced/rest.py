"""REST calls of Coinbase Advanced Trade, and the backfill through Coinbase Exchange's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from crossfeed.errors import DecodeError, InvalidValueError, SchemaChangedError
from crossfeed.model.commands import Backfill, RestRequest, Want
from crossfeed.model.events import MarketData, Ticker, Trade
from crossfeed.model.numbers import decimal_of
from crossfeed.model.output import Output
from crossfeed.model.trust import Integrity, Mark
from crossfeed.venues.coinbase_advanced.errors import EXCHANGE_NAME, VENUE_NAME, check_status
from crossfeed.venues.coinbase_advanced.profile import EXCHANGE_BASE
from crossfeed.venues.coinbase_advanced.wire import REST_ROUTES, MarketTicker
from crossfeed.venues.decoder import Decoder, SymbolNames, refusal

__all__ = ["RestReader", "backfill_request", "poll_request", "trade_id_of"]

PAGE_TRADES: Final = 1000
"""Most trades of one page of the Exchange's (api-reference: get product trades, 2026-11-22)."""
_POLL_TRADES: Final = 100
_INFINITE: Final = float("inf")
_BOOK_LEVELS: Final = 1000

_FOREIGN: Final = (msgspec.MsgspecError, RecursionError, ValueError, KeyError, OverflowError)

_decode_array = msgspec.json.Decoder(list[Raw]).decode
_decode_ticker = msgspec.json.Decoder(MarketTicker).decode


def backfill_request(wanted: Backfill) -> RestRequest | None:
    """Return the first page of missing trades; None for streams that REST cannot repair.

    The venue's own call pages by time and gives 100 at most. The Exchange's serves the same trades
    under the same ids, a thousand a page. Pages run upwards: ids are contiguous, so the page older
    than `first + 1000` begins at `first`.
    """
    if wanted.stream.channel != "trade" or wanted.first <= 0 or wanted.last < wanted.first:
        return None
    return _trades_page(wanted.stream.symbol, wanted.first, wanted.last, epoch=0)


def _trades_page(symbol: str, first: int, last: int, *, epoch: int) -> RestRequest:
    after = min(first + PAGE_TRADES, last + 1)
    return RestRequest(
        purpose="backfill",
        path=f"/products/{symbol}/trades",
        query=(("limit", str(after - first)), ("after", str(after))),
        symbol=symbol,
        channel="trade",
        epoch=epoch,
        first=first,
        last=last,
        base=EXCHANGE_BASE,
    )


def poll_request(want: Want) -> RestRequest | None:
    """Return the call that stands in for a stream; None for candles, heartbeats and status."""
    path = f"/market/products/{want.symbol}/ticker"
    if want.channel == "market_trades":
        query = (("limit", str(_POLL_TRADES)),)
        return RestRequest(
            purpose="poll", path=path, query=query, symbol=want.symbol, channel="trade"
        )
    if want.channel in {"ticker", "ticker_batch"}:
        query = (("limit", "1"),)
        return RestRequest(
            purpose="poll", path=path, query=query, symbol=want.symbol, channel="ticker"
        )
    if want.channel == "level2":
        return RestRequest(
            purpose="poll",
            path="/market/product_book",
            query=(("product_id", want.symbol), ("limit", str(_BOOK_LEVELS))),
            symbol=want.symbol,
            channel="book",
        )
    return None


class RestReader:
    """Decodes the answers; made by the codec."""

    def __init__(self, *, keep_raw: bool) -> None:
        """Compile the declarations."""
        self._keep_raw = keep_raw
        self._names: SymbolNames = {}
        self._decoder = Decoder(EXCHANGE_NAME, REST_ROUTES, self._names, keep_raw=keep_raw)

    def receive(
        self,
        request: RestRequest,
        status: int,
        body: bytes,
        ts_recv_ns: int,
        ts_mono_ns: int,
        out: Output,
        *,
        names: SymbolNames,
    ) -> RestRequest | None:
        """Decode one answer; see `Codec.receive_rest`. `names` holds the product asked for."""
        check_status(status, body)
        self._names.clear()
        self._names.update(names)
        try:
            if request.purpose == "backfill":
                return self._page(request, body, ts_recv_ns, ts_mono_ns, out)
            if request.channel == "book":
                out.events += self._decode([body], ts_recv_ns, ts_mono_ns)
                return None
            market = _decode_ticker(body)
            trades = self._decode(market.trades, ts_recv_ns, ts_mono_ns)
            if request.channel == "trade":
                out.events += sorted(trades, key=trade_id_of)
            else:
                out.events += self._tickers(market, trades[:1], body)
        except DecodeError:
            raise
        except _FOREIGN as exc:
            raise refusal(VENUE_NAME, exc, body) from exc
        return None

    def _decode(
        self, objects: Iterable[Raw | bytes], ts_recv_ns: int, ts_mono_ns: int
    ) -> list[MarketData]:
        decode = self._decoder.decode
        return [
            event
            for raw in objects
            for event in decode(bytes(raw), ts_recv_ns, ts_mono_ns)[2] or ()
        ]

    def _page(
        self, request: RestRequest, body: bytes, ts_recv_ns: int, ts_mono_ns: int, out: Output
    ) -> RestRequest | None:
        after = min(request.first + PAGE_TRADES, request.last + 1)
        trades = self._decode(_decode_array(body), ts_recv_ns, ts_mono_ns)
        out.events += [
            replace(trade, marks=Mark.BACKFILLED)
            for trade in sorted(trades, key=trade_id_of)
            if request.first <= trade_id_of(trade) < after
        ]
        if after > request.last:
            return None
        return _trades_page(request.symbol, after, request.last, epoch=request.epoch)

    def _tickers(
        self, market: MarketTicker, trades: list[MarketData], body: bytes
    ) -> list[MarketData]:
        """Make the ticker of the newest trade and the best prices; none without a trade."""
        return [
            Ticker(
                exchange=trade.exchange,
                symbol=trade.symbol,
                unified=trade.unified,
                ts_event_ns=trade.ts_event_ns,
                ts_sent_ns=0,
                ts_recv_ns=trade.ts_recv_ns,
                ts_mono_ns=trade.ts_mono_ns,
                marks=Mark.REST,
                integrity=Integrity.SELF_CONTAINED,
                trust=trade.trust,
                raw=body if self._keep_raw else None,
                raw_index=0,
                price=trade.price,
                price_change=None,
                price_change_percent=None,
                open=None,
                high=None,
                low=None,
                volume=None,
                quote_volume=None,
                vwap=None,
                best_bid=_price(market.best_bid),
                best_bid_quantity=None,
                best_ask=_price(market.best_ask),
                best_ask_quantity=None,
                last_quantity=trade.quantity,
                trade_id=trade.trade_id,
            )
            for trade in trades
            if isinstance(trade, Trade)
        ]


def _price(text: str) -> float | None:
    """Read a price; an empty text or 0 says that there is none."""
    price = float(decimal_of(text)) if text else 0.0
    if price == _INFINITE or price < 0:
        raise InvalidValueError(VENUE_NAME, "price", f"{text!r} is no price")
    return price if price > 0 else None


def trade_id_of(event: MarketData) -> int:
    """Return the id of a trade."""
    if not isinstance(event, Trade):
        detail = f"a {event.data_type} among the trades"
        raise SchemaChangedError(VENUE_NAME, "wrong_type", detail, event.raw or b"")
    return event.trade_id
