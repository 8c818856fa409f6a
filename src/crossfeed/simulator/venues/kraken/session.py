"""One Kraken v2 connection: methods in, one acknowledgement per symbol and channels out.

Source: docs.kraken.com/exchange/api-reference/spot-websocket-v2.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from crossfeed.simulator.json_values import as_list, as_object
from crossfeed.simulator.limits import SlidingWindow
from crossfeed.simulator.session import Session
from crossfeed.simulator.stamps import iso_micro
from crossfeed.simulator.venues.kraken import wire
from crossfeed.simulator.venues.kraken.profile import DEPTHS, INTERVALS, MESSAGES, RULES

if TYPE_CHECKING:
    from crossfeed.simulator.delivery import Stream, Subscription
    from crossfeed.simulator.http import Request
    from crossfeed.simulator.venues.kraken.exchange import KrakenExchange

__all__ = ["KrakenSession"]

_HEARTBEAT_NS = 1_000_000_000
_INT64_MASK = (1 << 63) - 1
_PER_SYMBOL = ("book", "ticker", "trade", "ohlc")
#: channel -> (parameter, default, allowed values)
_OPTIONS: dict[str, tuple[str, int | str, tuple[int | str, ...]]] = {
    "book": ("depth", 10, DEPTHS),
    "ohlc": ("interval", 1, INTERVALS),
    "ticker": ("event_trigger", "trades", ("trades", "bbo")),
}
_BAD_OPTION = {
    "book": "Subscription depth not supported",
    "ohlc": "Subscription ohlc interval not supported",
    "ticker": "Event trigger not supported",
}


class _Ask(msgspec.Struct):
    """One subscribe or unsubscribe request, read."""

    method: str
    channel: str
    symbols: list[str]
    option: int | str
    has_snapshot: bool
    tail: dict[str, Any]


class KrakenSession(Session):
    """A connection to /v2."""

    rules = RULES

    def __init__(
        self, exchange: KrakenExchange, number: int, request: Request, now_ns: int
    ) -> None:
        """Build the session without subscriptions."""
        super().__init__(exchange, number, request, now_ns)
        self._venue = exchange
        self._messages = SlidingWindow(*MESSAGES)
        self._has_sent = False
        self._has_heartbeat = False
        self.connection_id = (number * 0x9E3779B97F4A7C15) & _INT64_MASK

    def on_open(self, now_ns: int) -> None:
        """Send the status."""
        super().on_open(now_ns)
        self.put(wire.status(self._venue.system, self.connection_id))

    def put(self, payload: bytes) -> None:
        """Send one text message, and remember that something was sent."""
        self._has_sent = True
        self.out.append(payload)

    def has_subscribed(self) -> bool:
        """Tell whether anything is subscribed."""
        return bool(self.subs)

    def on_text(self, payload: bytes, now_ns: int) -> None:
        """Carry out one method."""
        if not self._messages.hit(now_ns):
            self.exchange.violation("message rate")
            self.put(b'{"Error":"Exceeded msg rate"}')
            return
        try:
            request = as_object(json.loads(payload))
        except (ValueError, RecursionError):
            request = None
        method = None if request is None else request.get("method")
        if request is None or not isinstance(method, str):
            self._answer({"error": "Malformed request", "success": False}, now_ns, {})
            return
        tail = {"req_id": request["req_id"]} if "req_id" in request else {}
        if method == "ping":
            self._answer({"method": "pong"}, now_ns, tail)
        elif method in {"subscribe", "unsubscribe"}:
            self._on_subscription(request, tail, now_ns)
        else:
            body = {"method": method, "error": "Unsupported event", "success": False}
            self._answer(body, now_ns, tail)

    def _answer(self, body: dict[str, Any], now_ns: int, tail: dict[str, Any]) -> None:
        """Send a reply with its times."""
        stamp = iso_micro(now_ns)
        self.put(msgspec.json.encode({**body, "time_in": stamp, "time_out": stamp, **tail}))

    # ── subscriptions ──────────────────────────────────────────────────────

    def _on_subscription(self, request: dict[str, Any], tail: dict[str, Any], now_ns: int) -> None:
        """Answer a subscribe or unsubscribe, symbol by symbol."""
        method = request["method"]
        params = as_object(request.get("params")) or {}
        channel = params.get("channel")

        def refuse(error: str, **more: object) -> None:
            body = {"error": error, "method": method, "success": False, **more}
            self._answer(body, now_ns, tail)

        if channel == "instrument":
            self._on_instrument(method, params, tail, now_ns)
            return
        if channel not in _PER_SYMBOL:
            refuse("Unknown channel" if channel is not None else "Malformed request")
            return
        symbols = as_list(params.get("symbol"))
        if not symbols:
            refuse("Malformed request")
            return
        option: int | str = ""
        if channel in _OPTIONS:
            name, default, allowed = _OPTIONS[channel]
            option = params.get(name, default)
            if option not in allowed or type(option) is not type(default):
                for symbol in symbols:
                    refuse(_BAD_OPTION[channel], symbol=symbol)
                return
        has_snapshot = params.get("snapshot", channel != "trade") is True
        for symbol in symbols:
            board = self._venue.kraken_board(symbol) if isinstance(symbol, str) else None
            if board is None:
                refuse(f"Currency pair not supported {symbol}", symbol=symbol)
                continue
            ask = _Ask(method, channel, [symbol], option, has_snapshot, tail)
            if method == "subscribe":
                self._subscribe(ask, board.open(channel, option), now_ns)
            else:
                self._unsubscribe(ask, board.open(channel, option), now_ns)

    def _ack(self, ask: _Ask, now_ns: int) -> None:
        """Acknowledge one symbol."""
        result: dict[str, Any] = {"channel": ask.channel}
        if ask.channel in _OPTIONS:
            result[_OPTIONS[ask.channel][0]] = ask.option
        result["snapshot"] = ask.has_snapshot
        result["symbol"] = ask.symbols[0]
        if ask.channel == "ohlc":
            result["warnings"] = ["timestamp is deprecated, use interval_begin"]
        self._answer({"method": ask.method, "result": result, "success": True}, now_ns, ask.tail)

    def _refuse(self, ask: _Ask, error: str, now_ns: int) -> None:
        """Refuse one symbol."""
        body = {
            "error": error,
            "method": ask.method,
            "success": False,
            "symbol": ask.symbols[0],
        }
        self._answer(body, now_ns, ask.tail)

    def _subscribe(self, ask: _Ask, stream: Stream, now_ns: int) -> None:
        """Subscribe one symbol of one channel."""
        if self._same(ask) is not None:
            self._refuse(ask, "Already subscribed", now_ns)
            return
        sub = self.exchange.subscribe(self, stream, 0)
        assert sub is not None, "no subscription of this channel and symbol exists"
        self._ack(ask, now_ns)
        if ask.has_snapshot:
            board = self._venue.kraken_board(ask.symbols[0])
            assert board is not None, "checked before"
            board.greet(ask.channel, ask.option, sub, now_ns)
        self._start_heartbeat(now_ns)

    def _same(self, ask: _Ask) -> Subscription | None:
        """Return the session's subscription of this channel and symbol, whatever its option."""
        symbol = ask.symbols[0]
        return next(
            (
                sub
                for (channel, name), sub in self.subs.items()
                if name == symbol and channel.partition("-")[0] == ask.channel
            ),
            None,
        )

    def _unsubscribe(self, ask: _Ask, stream: Stream, now_ns: int) -> None:
        """Unsubscribe one symbol of one channel; the option must be the subscribed one."""
        sub = self.subs.get(stream.key[1:])
        if sub is None:
            self._refuse(ask, "Subscription Not Found", now_ns)
            return
        self.exchange.drop(sub)
        self._ack(ask, now_ns)

    def _on_instrument(
        self, method: str, params: dict[str, Any], tail: dict[str, Any], now_ns: int
    ) -> None:
        """Answer for the instrument channel, which has no symbols."""
        stream = self._venue.instrument_stream
        has_snapshot = params.get("snapshot", True) is True
        sub = self.subs.get(stream.key[1:])
        body: dict[str, Any] = {
            "method": method,
            "result": {"channel": "instrument", "snapshot": has_snapshot},
            "success": True,
        }
        if method == "unsubscribe":
            if sub is not None:
                self.exchange.drop(sub)
            self._answer(body, now_ns, tail)
            return
        if sub is not None:
            body = {"error": "Already subscribed", "method": method, "success": False}
            self._answer(body, now_ns, tail)
            return
        sub = self.exchange.subscribe(self, stream, 0)
        assert sub is not None, "checked before"
        self._answer(body, now_ns, tail)
        if has_snapshot:
            self.put(self._venue.instrument_body())
            sub.line.count(1, 0)
        self._start_heartbeat(now_ns)

    def _start_heartbeat(self, now_ns: int) -> None:
        """Begin to send a heartbeat after each second without anything else."""
        if not self._has_heartbeat:
            self._has_heartbeat = True
            self.exchange.scheduler.at(now_ns + _HEARTBEAT_NS, self._heartbeat)

    def _heartbeat(self, now_ns: int) -> int | None:
        if self.is_over:
            return None
        if not self._has_sent and not self.is_held:
            self.put(wire.HEARTBEAT)
        self._has_sent = False
        return now_ns + _HEARTBEAT_NS
