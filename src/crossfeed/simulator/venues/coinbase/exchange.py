"""Coinbase Exchange as a whole: handshake, status channel, REST."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from crossfeed.simulator.delivery import Stream
from crossfeed.simulator.exchange import Board, Exchange
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.ledger import Ledger
from crossfeed.simulator.limits import TokenBucket
from crossfeed.simulator.market import Market
from crossfeed.simulator.session import Session
from crossfeed.simulator.venues.coinbase.board import CoinbaseBoard
from crossfeed.simulator.venues.coinbase.profile import CONNECTS
from crossfeed.simulator.venues.coinbase.rest import CoinbaseRest, currencies, status_product
from crossfeed.simulator.venues.coinbase.session import CoinbaseSession
from crossfeed.simulator.world import World

__all__ = ["CoinbaseExchange"]

#: The venue says "a preset interval" without a number.
_STATUS_NS = 5_000_000_000


class CoinbaseExchange(Exchange):
    """ws-feed.exchange.coinbase.com and api.exchange.coinbase.com on one port."""

    name: ClassVar[str] = "coinbase"
    owner: ClassVar[str] = "coinbase"

    def __init__(self, world: World, ledger: Ledger) -> None:
        """Build the venue without sessions."""
        super().__init__(world, ledger)
        self._connects: dict[str, TokenBucket] = {}
        self._rest = CoinbaseRest(self)
        self._status = Stream(ledger.stream((self.name, "status", ""), "", "none"))

    def admit(self, request: Request, peer: str, now_ns: int) -> Response | None:
        """Refuse unknown paths and too many attempts."""
        if not self._connects.setdefault(peer, TokenBucket(*CONNECTS)).hit(now_ns):
            self.violation("connects per window")
            return json_response({"message": "Too many connection requests"}, 429)
        if request.path not in {"/", ""}:
            return json_response({"message": "NotFound"}, 404)
        return None

    def open_session(self, number: int, request: Request, now_ns: int) -> Session:
        """Make a feed session."""
        return CoinbaseSession(self, number, request, now_ns)

    def make_board(self, market: Market) -> Board:
        """Make the board of one product."""
        return CoinbaseBoard(self, market)

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer a REST request."""
        return self._rest.answer(request, peer, now_ns)

    def coinbase_board(self, product: str) -> CoinbaseBoard:
        """Return the board of a listed product."""
        board = self.board(product)
        assert isinstance(board, CoinbaseBoard), f"{product} is listed: checked before"
        return board

    def begin_status(self, session: CoinbaseSession) -> None:
        """Subscribe a session to the status channel and send it the first one."""
        sub = self.subscribe(session, self._status, 0)
        if sub is None:
            return
        session.put(self._status_body())
        sub.line.count(1, 0)
        self.push_while_wanted(self._status, _STATUS_NS, self._push_status)

    def _push_status(self, now_ns: int) -> None:
        """Publish the status."""
        del now_ns
        body = self._status_body()
        for subs in tuple(self._status.groups.values()):
            for sub in tuple(subs):
                sub.deliver_plain(body)

    def _status_body(self) -> bytes:
        """Write products and currencies."""
        return msgspec.json.encode(
            {
                "type": "status",
                "currencies": currencies(self.instruments.values()),
                "products": [
                    status_product(one, is_trading=self.is_trading(one.symbol))
                    for one in self.instruments.values()
                ],
            }
        )
