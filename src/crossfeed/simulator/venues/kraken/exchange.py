"""Kraken spot as a whole: handshake, instrument and status channels, REST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from crossfeed.simulator.delivery import Stream
from crossfeed.simulator.exchange import Board, Exchange
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.ledger import Ledger
from crossfeed.simulator.limits import SlidingWindow
from crossfeed.simulator.market import Market
from crossfeed.simulator.session import Session
from crossfeed.simulator.venues.kraken import wire
from crossfeed.simulator.venues.kraken.board import KrakenBoard
from crossfeed.simulator.venues.kraken.profile import CONNECTS
from crossfeed.simulator.venues.kraken.rest import KrakenRest
from crossfeed.simulator.venues.kraken.session import KrakenSession
from crossfeed.simulator.world import World

__all__ = ["KrakenExchange"]


class KrakenExchange(Exchange):
    """ws.kraken.com/v2 and api.kraken.com/0/public on one port."""

    name: ClassVar[str] = "kraken"
    owner: ClassVar[str] = "kraken"

    def __init__(self, world: World, ledger: Ledger) -> None:
        """Build the venue without sessions."""
        super().__init__(world, ledger)
        self.instrument_stream = Stream(ledger.stream((self.name, "instrument", ""), "", "none"))
        self._connects: dict[str, SlidingWindow] = {}
        self._rest = KrakenRest(self)

    def admit(self, request: Request, peer: str, now_ns: int) -> Response | None:
        """Refuse unknown paths and too many attempts."""
        if not self._connects.setdefault(peer, SlidingWindow(*CONNECTS)).hit(now_ns):
            self.violation("connects per window")
            return Response(429, b"", {"Retry-After": str(round(CONNECTS[1]))})
        if request.path.rstrip("/") != "/v2":
            return json_response({"error": ["EGeneral:Unknown path"]}, 404)
        return None

    def open_session(self, number: int, request: Request, now_ns: int) -> Session:
        """Make a v2 session."""
        return KrakenSession(self, number, request, now_ns)

    def make_board(self, market: Market) -> Board:
        """Make the board of one pair."""
        return KrakenBoard(self, market)

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer a REST request."""
        return self._rest.answer(request, peer, now_ns)

    def kraken_board(self, symbol: str) -> KrakenBoard | None:
        """Return the board of a listed pair."""
        board = self.board(symbol)
        assert board is None or isinstance(board, KrakenBoard), "made by make_board"
        return board

    def instrument_body(self) -> bytes:
        """Write all assets and pairs."""
        names = dict.fromkeys(
            name for one in self.instruments.values() for name in (one.base, one.quote)
        )
        return msgspec.json.encode(
            {
                "channel": "instrument",
                "type": "snapshot",
                "data": {
                    "assets": [wire.instrument_asset(name) for name in names],
                    "pairs": [self._pair(one) for one in self.instruments.values()],
                },
            }
        )

    def _pair(self, one: Instrument) -> dict[str, Any]:
        """Build one pair of the instrument channel."""
        return wire.instrument_pair(one, self.status_of(one.symbol))

    def status_of(self, symbol: str) -> str:
        """Return a pair's status in the venue's words."""
        return "online" if symbol not in self.halted else "cancel_only"

    def set_halted(self, symbols: Sequence[str], *, is_halted: bool) -> None:
        """Halt or resume pairs, and tell the instrument channel."""
        super().set_halted(symbols, is_halted=is_halted)
        pairs = [self._pair(self.instruments[symbol]) for symbol in symbols]
        body = msgspec.json.encode(
            {"channel": "instrument", "type": "update", "data": {"assets": [], "pairs": pairs}}
        )
        for subs in tuple(self.instrument_stream.groups.values()):
            for sub in tuple(subs):
                sub.deliver_plain(body)

    def set_system(self, system: str) -> None:
        """Change the trading engine's state (online, maintenance, …) and tell everybody."""
        super().set_system(system)
        for session in tuple(self.sessions.values()):
            assert isinstance(session, KrakenSession), "made by open_session"
            session.put(wire.status(system, session.connection_id))
