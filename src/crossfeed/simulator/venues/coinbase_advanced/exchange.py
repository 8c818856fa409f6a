"""Coinbase Advanced Trade as a whole: a second API of the Exchange's order books."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec

from crossfeed.simulator.delivery import Stream
from crossfeed.simulator.exchange import Board, Exchange
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.ledger import Ledger
from crossfeed.simulator.limits import TokenBucket
from crossfeed.simulator.market import Market
from crossfeed.simulator.session import Session
from crossfeed.simulator.venues.coinbase_advanced import wire
from crossfeed.simulator.venues.coinbase_advanced.board import AdvancedBoard
from crossfeed.simulator.venues.coinbase_advanced.profile import CONNECTS
from crossfeed.simulator.venues.coinbase_advanced.rest import AdvancedRest
from crossfeed.simulator.venues.coinbase_advanced.session import AdvancedSession
from crossfeed.simulator.world import World

__all__ = ["AdvancedExchange"]

_NS = 1_000_000_000
_HEARTBEAT_NS = _NS
#: The venue does not state the interval.
_STATUS_NS = 5 * _NS


class AdvancedExchange(Exchange):
    """advanced-trade-ws.coinbase.com and api.coinbase.com/api/v3/brokerage on one port."""

    name: ClassVar[str] = "coinbase_advanced"
    owner: ClassVar[str] = "coinbase"

    def __init__(self, world: World, ledger: Ledger) -> None:
        """Build the venue without sessions."""
        super().__init__(world, ledger)
        self._connects: dict[str, TokenBucket] = {}
        self._rest = AdvancedRest(self)
        self._streams = {
            channel: Stream(ledger.stream((self.name, channel, ""), "", "none"))
            for channel in ("heartbeats", "status")
        }

    def admit(self, request: Request, peer: str, now_ns: int) -> Response | None:
        """Refuse unknown paths and too many attempts."""
        if not self._connects.setdefault(peer, TokenBucket(*CONNECTS)).hit(now_ns):
            self.violation("connects per window")
            return json_response({"message": "rate limit exceeded"}, 429)
        if request.path not in {"/", ""}:
            return json_response({"error": "NOT_FOUND"}, 404)
        return None

    def open_session(self, number: int, request: Request, now_ns: int) -> Session:
        """Make a market-data session."""
        return AdvancedSession(self, number, request, now_ns)

    def make_board(self, market: Market) -> Board:
        """Make the board of one product."""
        return AdvancedBoard(self, market)

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer a REST request."""
        return self._rest.answer(request, peer, now_ns)

    def resolve(self, product: str) -> str:
        """Return the product whose book a name stands for: BTC-USDC is BTC-USD."""
        if product not in self.instruments and product.endswith("-USDC"):
            dollar = product.removesuffix("C")
            if dollar in self.instruments:
                return dollar
        return product

    def advanced_board(self, product: str) -> AdvancedBoard:
        """Return the board of a listed product."""
        board = self.board(product)
        assert isinstance(board, AdvancedBoard), f"{product} is listed: checked before"
        return board

    # ── channels without products ──────────────────────────────────────────

    def begin_global(self, channel: str, session: AdvancedSession, now_ns: int) -> None:
        """Subscribe a session to heartbeats or status."""
        stream = self._streams[channel]
        sub = self.subscribe(session, stream, 0)
        if sub is None:
            return
        bodies: dict[str, tuple[int, Callable[[int], bytes]]] = {
            "heartbeats": (_HEARTBEAT_NS, self._heartbeat_body),
            "status": (_STATUS_NS, self._status_body),
        }
        period_ns, write = bodies[channel]
        if channel == "status":
            session.put(write(now_ns))
            sub.line.count(1, 0)

        def push(now_ns: int) -> None:
            body = write(now_ns)
            for subs in tuple(stream.groups.values()):
                for one in tuple(subs):
                    one.deliver_plain(body)

        self.push_while_wanted(stream, period_ns, push)

    def _heartbeat_body(self, now_ns: int) -> bytes:
        return wire.heartbeat(now_ns, (now_ns - self.world.start_ns) // _NS)

    def _status_body(self, now_ns: int) -> bytes:
        products = [
            wire.status_product(one, is_trading=self.is_trading(one.symbol))
            for one in self.instruments.values()
        ]
        event = msgspec.json.encode({"type": "snapshot", "products": products}).decode()
        return wire.envelope("status", now_ns, event)
