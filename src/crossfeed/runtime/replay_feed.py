"""One recorded feed as its venue's port, and the clients connected to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from crossfeed.errors import CrossfeedError
from crossfeed.runtime.pace import Pace
from crossfeed.runtime.replay_answers import Answer, Answers
from crossfeed.runtime.replay_currencies import currencies_for
from crossfeed.runtime.replay_exchange import HistoryExchange
from crossfeed.runtime.replay_protocols import (
    PROTOCOLS,
    HistoryProtocol,
    channel_and_symbol,
    is_book,
)
from crossfeed.runtime.replay_survey import WINDOW_RECORDS, Lookahead
from crossfeed.simulator.delivery import Subscription
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.server import PortServer
from crossfeed.simulator.session import Session

if TYPE_CHECKING:
    from crossfeed.runtime.replay_server import ReplayServer

__all__ = ["FeedServer", "HistorySession"]

log = logging.getLogger("crossfeed.replay")

NS: Final = 1_000_000_000
NO_ANSWER: Final = Response(404, b'{"message":"not in the recording"}')


class HistorySession(Session):
    """One client's connection to history: requests are answered, frames are put by the server.

    Attributes:
        asked_ns: Monotonic time of its last request.
        at_ns: Where its history is, wall time; 0 before it begins.
        passed: Records that its history has passed, those of other feeds too.
        segment: The segment it is in.
        segment_began: Records passed before that.
    """

    def __init__(
        self,
        feed: FeedServer,
        number: int,
        request: Request,
        now_ns: int,
        speaks: HistoryProtocol,
        pace: Pace,
    ) -> None:
        super().__init__(feed.exchange.as_exchange(), number, request, now_ns)
        self.speaks = speaks
        self.pace = pace
        self.asked_ns = self.at_ns = 0
        self.passed = self.segment = self.segment_began = 0
        self._feed = feed
        self._owners: dict[str, str] = {}
        self._subscriptions: dict[str, Subscription] = {}

    def on_text(self, payload: bytes, now_ns: int) -> None:
        """Answer a request; history begins soon after the last subscription."""
        del now_ns
        self.asked_ns = self._feed.now_mono_ns()
        for reply in self.speaks.on_text(payload):
            self.put(reply)
        self._feed.begin(self)

    def seal(self, payload: bytes) -> bytes:
        """Make a recorded frame this connection's own."""
        return self.speaks.seal(payload)

    def take_frame(self, line: str, frame: bytes, *, is_past: bool = False) -> bool:
        """Put a recorded frame if it is for this client; say whether.

        Of several lines that carried a stream, only the first one's frames are given. Of the past
        before the wanted moment only what books are made of.
        """
        wanted, owners, speaks = self.speaks.wanted, self._owners, self.speaks
        for key in speaks.keys(frame):
            if key in wanted and owners.setdefault(key, line) == line:
                if is_past and not is_book(key):
                    return False
                self._give(key, frame)
                return True
        return False

    def _give(self, key: str, frame: bytes) -> None:
        exchange = self._feed.exchange
        if exchange.injector is None:
            self.put(self.seal(frame))
            return
        found = self._subscriptions.get(key)
        if found is None or found.injector is None:
            found = exchange.subscription(self, *channel_and_symbol(key))
            self._subscriptions[key] = self.subs[key, ""] = found
        found.deliver_plain(frame)

    def drop_line(self, line: str) -> None:
        """Let another line carry what this one carried."""
        self._owners = {key: owner for key, owner in self._owners.items() if owner != line}


class FeedServer:
    """One feed's port. Satisfies the simulator's `Endpoint`.

    Attributes:
        begun: The clients to whom history is sent.
        answers: What REST requests are answered with; another one when history begins elsewhere.
    """

    def __init__(self, server: ReplayServer, name: str, venue: str, answers: Answers) -> None:
        self.name = name
        self.venue = venue
        self.port = PortServer(self, server.clock.now_ns)
        self.begun: set[HistorySession] = set()
        self._server = server
        self._number = 0
        self.answers = answers
        self._aheads: list[Lookahead] = []
        self._looking = asyncio.Lock()
        now_ns = server.clock.now_ns()
        self.exchange = HistoryExchange(venue, now_ns, self._answer, self._over)

    # ── the simulator's side ────────────────────────────────────────────────

    def connect(self, request: Request, peer: str, now_ns: int) -> Session | Response:
        """Accept a client, unless a fault refuses it."""
        del peer
        refusal = self.exchange.refuse(request, now_ns) if self.exchange.refuse else None
        if refusal is not None:
            return refusal
        self._number += 1
        speaks = PROTOCOLS[self.venue](request.path, request.query)
        pace = self._server.new_pace()
        session = HistorySession(self, self._number, request, now_ns, speaks, pace)
        self.exchange.sessions[session.number] = session
        if speaks.wanted and self.venue == "binance":
            self.begin(session)
        return session

    def handle(
        self, request: Request, peer: str, now_ns: int
    ) -> Response | Coroutine[Any, Any, Response]:
        """Answer a REST request, unless a fault spoils the answer.

        What was not answered up to where history is may have been soon after: that takes a look.
        """
        del peer
        is_known = self.answers.has(request.path, request.params) or self._made(request)
        if is_known or not any(one.passed for one in self.begun):
            return self._handled(request, now_ns)
        return self._looked(request, now_ns)

    def _handled(self, request: Request, now_ns: int) -> Response:
        exchange = self.exchange
        spoiled = exchange.tamper(request, now_ns) if exchange.tamper is not None else None
        return spoiled if spoiled is not None else self._answer(request)

    async def _looked(self, request: Request, now_ns: int) -> Response:
        """Look a window ahead of every client, then answer."""
        try:
            async with self._looking:
                await self._look_ahead()
        except CrossfeedError as error:
            log.warning("replay server: %s: nothing is known ahead: %r", self.name, error)
        return self._handled(request, now_ns)

    async def _look_ahead(self) -> None:
        """Read what was answered a window ahead of every client; clients side by side share that.

        Raises:
            JournalError: The folder cannot be read.
        """
        used: dict[Lookahead, None] = {}
        for session in [one for one in self.begun if one.passed]:
            known = (each for each in (*used, *self._aheads) if self._serves(each, session))
            ahead = next(known, None)
            if ahead is None:
                where = (session.segment, session.segment_began)
                ahead = Lookahead(self._server.folder, self.name, self.answers, *where)
            used[ahead] = None
            await ahead.reach(session.passed + WINDOW_RECORDS)
        self._aheads = list(used)

    def _serves(self, ahead: Lookahead, session: HistorySession) -> bool:
        """Say whether what lies ahead of a client is known, or soonest read on from there."""
        is_here = ahead.began <= session.passed and ahead.passed >= session.segment_began
        return is_here and ahead.answers is self.answers

    def _answer(self, request: Request) -> Response:
        """Return what was recorded for a request, or for the one most like it."""
        found = self.answers.all_for(request.path)
        if not found:
            return self._made(request) or NO_ANSWER
        asked = dict(parse_qsl(request.query, keep_blank_values=True))

        def likeness(answer: Answer) -> int:
            query = answer.query
            return sum(1 if query.get(k) == v else -1 for k, v in asked.items() if k in query)

        best = max(found, key=likeness)
        named = [name for name in ("symbol", "pair") if name in best.query]
        if any(name in asked and asked[name] != best.query[name] for name in named):
            return NO_ANSWER
        return Response(best.status, best.body)

    def _made(self, request: Request) -> Response | None:
        """Answer what no journal holds and every client asks: ping, time, currencies."""
        if request.path.endswith("/ping"):
            return json_response({})
        if request.path.lower().endswith("/time"):
            now_ns = self._server.clock.now_ns()
            value: dict[str, Any] = {"serverTime": now_ns // 1_000_000, "epoch": now_ns / NS}
            return json_response(value)
        instruments = self.answers.instruments()
        found = currencies_for(request.path, b"" if instruments is None else instruments.body)
        return None if found is None else json_response(found)

    def _over(self, session: Session) -> None:
        assert isinstance(session, HistorySession)
        session.pace.end()
        self.begun.discard(session)

    def now_mono_ns(self) -> int:
        """Return monotonic time."""
        return self._server.clock.monotonic_ns()

    def begin(self, session: HistorySession) -> None:
        """Begin history for a client that has subscribed."""
        if session in self.begun or not session.speaks.wanted:
            return
        self.begun.add(session)
        self._server.tasks.spawn(self._server.play(self, session), f"{self.name}:{session.number}")

    # ── answers ─────────────────────────────────────────────────────────────

    def begin_anew(self, answers: Answers) -> None:
        """Answer with these from now on: history begins elsewhere."""
        self.answers = answers
        self._aheads = []

    def forget_passed(self) -> None:
        """Forget the answers that lie a window behind all clients."""
        place = min((one.passed for one in self.begun), default=0) - WINDOW_RECORDS
        self.answers.forget_passed(place)
        for ahead in self._aheads:
            ahead.began = max(ahead.began, place)
