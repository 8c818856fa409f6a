"""Binance spot as a whole: handshake, streams of one and of all symbols, REST."""

from __future__ import annotations

from typing import ClassVar

from crossfeed.simulator.delivery import Stream
from crossfeed.simulator.exchange import Board, Exchange
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.ledger import Ledger
from crossfeed.simulator.limits import SlidingWindow
from crossfeed.simulator.market import Market
from crossfeed.simulator.session import Session
from crossfeed.simulator.venues.binance.board import BinanceBoard, prefix_of, publish_plain
from crossfeed.simulator.venues.binance.profile import CONNECTS
from crossfeed.simulator.venues.binance.rest import BinanceRest
from crossfeed.simulator.venues.binance.session import BinanceSession
from crossfeed.simulator.venues.binance.streams import StreamName
from crossfeed.simulator.world import World

__all__ = ["BinanceExchange"]

_MS = 1_000_000


class BinanceExchange(Exchange):
    """stream.binance.com and api.binance.com on one port."""

    name: ClassVar[str] = "binance"
    owner: ClassVar[str] = "binance"

    def __init__(self, world: World, ledger: Ledger) -> None:
        """Build the venue without sessions."""
        super().__init__(world, ledger)
        self._connects: dict[str, SlidingWindow] = {}
        self._rest = BinanceRest(self)
        self._all_market: dict[str, Stream] = {}

    def admit(self, request: Request, peer: str, now_ns: int) -> Response | None:
        """Refuse unknown paths and too many attempts."""
        window = self._connects.setdefault(peer, SlidingWindow(*CONNECTS))
        if not window.hit(now_ns):
            self.violation("connects per window")
            return Response(429, b"", {"Retry-After": str(round(CONNECTS[1]))})
        path = request.path.rstrip("/")
        if path in {"/ws", "/stream"} or path.startswith("/ws/"):
            return None
        return json_response({"code": -1000, "msg": "Not found"}, 404)

    def open_session(self, number: int, request: Request, now_ns: int) -> Session:
        """Make a stream session."""
        return BinanceSession(self, number, request, now_ns)

    def make_board(self, market: Market) -> Board:
        """Make the board of one symbol."""
        return BinanceBoard(self, market)

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer a REST request."""
        return self._rest.answer(request, peer, now_ns)

    def announce_shutdown(self, session: Session, now_ns: int) -> None:
        """Send serverShutdown, which is never subscribed."""
        assert isinstance(session, BinanceSession), "made by open_session"
        body = f'{{"e":"serverShutdown","E":{now_ns // session.div}}}'.encode()
        if session.is_combined:
            body = b'{"stream":"!serverShutdown","data":' + body + b"}"
        session.put(body)

    def binance_board(self, symbol: str) -> BinanceBoard | None:
        """Return the board of a listed symbol."""
        board = self.board(symbol)
        assert board is None or isinstance(board, BinanceBoard), "made by make_board"
        return board

    def open_stream(self, name: StreamName) -> Stream | None:
        """Return the stream of a name, None if nothing will ever come on it."""
        if name.kind == "silent":
            return None
        if not name.symbol:
            return self._open_all_market(name)
        board = self.binance_board(name.symbol)
        return board.open(name) if board is not None else None

    def _open_all_market(self, name: StreamName) -> Stream:
        """Return a stream over all symbols: an array of those that changed since the last one."""
        stream = self._all_market.get(name.channel)
        if stream is None:
            record = self.ledger.stream((self.name, name.channel, ""), "", "none")
            stream = self._all_market[name.channel] = Stream(record)
        seen: dict[str, int] = {}
        prefix = prefix_of(name.name)
        target = stream

        def push(now_ns: int) -> None:
            boards = [self.binance_board(symbol) for symbol in self.lively()]
            changed = [
                board
                for board in boards
                if board is not None and seen.get(board.symbol) != board.market.ids.trade
            ]
            seen.update({board.symbol: board.market.ids.trade for board in changed})
            if changed:

                def write(div: int) -> bytes:
                    parts = [
                        board.mini_ticker(now_ns, div)
                        if name.kind == "miniTickers"
                        else board.rolling_ticker(name.window, now_ns, div)
                        for board in changed
                    ]
                    return b"[" + b",".join(parts) + b"]"

                publish_plain(target, prefix, write)

        self.push_while_wanted(stream, name.period_ms * _MS, push)
        return stream
