"""One Advanced Trade connection: one counter over all its frames.

Source: docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from crossfeed.simulator.framing import CloseCode
from crossfeed.simulator.json_values import as_list, as_object
from crossfeed.simulator.session import Session
from crossfeed.simulator.venues.coinbase_advanced import wire
from crossfeed.simulator.venues.coinbase_advanced.profile import CHANNELS, IDLE_S, RULES

if TYPE_CHECKING:
    from crossfeed.simulator.http import Request
    from crossfeed.simulator.venues.coinbase_advanced.exchange import AdvancedExchange

__all__ = ["AdvancedSession"]

_NS = 1_000_000_000
_MARK_WITHIN = 160
_IDLE_CHECK_NS = 5 * _NS
#: Channels without products.
_GLOBAL = frozenset({"heartbeats", "status"})


class _RefusedError(Exception):
    """A request the venue refuses."""


class AdvancedSession(Session):
    """A connection to the market-data endpoint."""

    rules = RULES

    def __init__(
        self, exchange: AdvancedExchange, number: int, request: Request, now_ns: int
    ) -> None:
        """Build the session without subscriptions."""
        super().__init__(exchange, number, request, now_ns)
        self._venue = exchange
        self.channels: dict[str, list[str]] = {}
        self._next_number = 0
        self._sealed = -1
        self._sent_ns = now_ns
        record = exchange.ledger.stream((exchange.name, "sequence_num", str(number)), "", "ids")
        self._line = record.open_line(number)

    def on_open(self, now_ns: int) -> None:
        """Arm the deadlines."""
        super().on_open(now_ns)
        self.exchange.scheduler.at(now_ns + _IDLE_CHECK_NS, self._idle)

    def has_subscribed(self) -> bool:
        """Tell whether anything is subscribed."""
        return bool(self.channels)

    # ── numbering ──────────────────────────────────────────────────────────

    def seal(self, payload: bytes) -> bytes:
        """Give a message this connection's next number."""
        if wire.MARK not in payload[:_MARK_WITHIN]:
            return payload
        self._sealed = self._next_number
        self._next_number += 1
        return payload.replace(wire.MARK, b'"sequence_num":%d' % self._sealed, 1)

    def put(self, payload: bytes) -> None:
        """Send one text message, numbered, and account for its number."""
        sealed = self.seal(payload)
        self.out.append(sealed)
        self._sent_ns = self.exchange.scheduler.now_ns
        self._line.record(self._sealed, self._sealed, 1, 0)

    def _idle(self, now_ns: int) -> int | None:
        """End a connection that had no update for long."""
        if self.is_over:
            return None
        if now_ns - self._sent_ns > IDLE_S * _NS:
            self.exchange.violation("idle connection")
            self.close(CloseCode.NORMAL, "", now_ns)
            return None
        return now_ns + _IDLE_CHECK_NS

    def finish(self, what: str, now_ns: int) -> None:
        """Leave all streams, and end the numbering."""
        if not self.is_over:
            self._line.is_live = False
            # A new connection numbers anew: what was lost at the end of this one shows in the
            # streams, not here.
            self._line.has_tail = False
        super().finish(what, now_ns)

    # ── requests ───────────────────────────────────────────────────────────

    def on_text(self, payload: bytes, now_ns: int) -> None:
        """Carry out a request: snapshots first, then the list of subscriptions."""
        try:
            request = self._parse(payload)
            channel = request["channel"]
            products = self._products(request)
            if request["type"] == "subscribe":
                self._subscribe(channel, products, now_ns)
            else:
                self._unsubscribe(channel, products)
        except _RefusedError as error:
            self.out.append(msgspec.json.encode({"type": "error", "message": str(error)}))
            return
        self._echo(now_ns)

    @staticmethod
    def _parse(payload: bytes) -> dict[str, Any]:
        """Check the frame of a request."""
        try:
            request = as_object(json.loads(payload))
        except (ValueError, RecursionError):
            raise _RefusedError("failed to unmarshal message") from None
        if request is None or request.get("type") not in ("subscribe", "unsubscribe"):
            raise _RefusedError("type has to be either subscribe or unsubscribe")
        channel = request.get("channel")
        if channel in ("user", "futures_balance_summary"):
            raise _RefusedError("authentication failure")
        if channel not in CHANNELS:
            raise _RefusedError(f"channel not supported: {channel}")
        return request

    def _products(self, request: dict[str, Any]) -> list[str]:
        """Return the products of a request; USDC products are aliases of USD ones."""
        given = as_list(request.get("product_ids") or [])
        if given is None or not all(isinstance(name, str) for name in given):
            raise _RefusedError("product_ids must be a list")
        channel = request["channel"]
        if channel in _GLOBAL:
            return []
        names = list(dict.fromkeys(self._venue.resolve(name) for name in given))
        if not names and request["type"] == "subscribe":
            raise _RefusedError("failure to subscribe: no product_ids")
        unknown = [name for name in names if name not in self._venue.instruments]
        if unknown:
            raise _RefusedError(f"failure to subscribe: unknown product {unknown[0]}")
        return names

    def _subscribe(self, channel: str, products: list[str], now_ns: int) -> None:
        """Subscribe, and send the snapshots."""
        known = self.channels.setdefault(channel, [])
        if channel in _GLOBAL:
            if not known:
                known.append(channel)
                self._venue.begin_global(channel, self, now_ns)
            return
        for product in products:
            if product in known:
                continue
            known.append(product)
            board = self._venue.advanced_board(product)
            sub = self.exchange.subscribe(self, board.open(channel), 0)
            if sub is not None:
                board.greet(channel, sub, now_ns)

    def _unsubscribe(self, channel: str, products: list[str]) -> None:
        """Unsubscribe products, or a whole channel."""
        known = self.channels.get(channel, [])
        for product in products or tuple(known):
            if product in known:
                known.remove(product)
            sub = self.subs.get((channel, "" if channel in _GLOBAL else product))
            if sub is not None:
                self.exchange.drop(sub)
        if not known:
            self.channels.pop(channel, None)

    def _echo(self, now_ns: int) -> None:
        """Send the whole map of subscriptions."""
        subscriptions = msgspec.json.encode({"subscriptions": self.channels}).decode()
        self.put(wire.envelope("subscriptions", now_ns, subscriptions))
