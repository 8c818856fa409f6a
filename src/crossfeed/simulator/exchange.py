"""What all simulated venues have in common: sessions, streams, boards, limits and REST."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from crossfeed.simulator.delivery import Stream, Subscription
from crossfeed.simulator.faults import FaultRule
from crossfeed.simulator.http import Request, Response
from crossfeed.simulator.injector import FaultInjector
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.ledger import Chain, Ledger
from crossfeed.simulator.limits import SlidingWindow
from crossfeed.simulator.market import Market
from crossfeed.simulator.session import Session

if TYPE_CHECKING:
    from crossfeed.simulator.ledger import Cause
    from crossfeed.simulator.world import World

__all__ = ["Board", "Exchange"]

_ALL_MAX = 100


class Board:
    """One symbol of one venue: turns what its market does into the venue's streams.

    Created when the symbol is first asked for; then told of every action of the market.
    """

    def __init__(self, exchange: Exchange, market: Market) -> None:
        """Build a board without subscribers."""
        self.exchange = exchange
        self.market = market
        self.symbol = market.instrument.symbol
        self.streams: dict[str, Stream] = {}

    def stream(self, channel: str, chain: Chain = "none") -> Stream:
        """Return the stream of a channel of this symbol, making it at its first use."""
        stream = self.streams.get(channel)
        if stream is None:
            instrument = self.market.instrument
            record = self.exchange.ledger.stream(
                (self.exchange.name, channel, self.symbol),
                instrument.unified,
                chain,
                instrument.grid.lot_decimals,
            )
            stream = self.streams[channel] = Stream(record)
        return stream

    def on_action(self, now_ns: int) -> None:
        """Publish what the market's last action changed. For the venue to say."""

    def on_restart(self) -> None:
        """Note that the market's numbering begins anew."""
        for stream in self.streams.values():
            for line in stream.record.lines:
                line.rebase()


class Exchange:
    """One simulated venue: a pure machine over the world's markets.

    Subclasses say how sessions speak, what boards publish and what REST answers.
    """

    #: Name of the venue, and of the venue whose order books it shows.
    name: ClassVar[str] = ""
    owner: ClassVar[str] = ""

    def __init__(self, world: World, ledger: Ledger) -> None:
        """Build the venue without sessions."""
        self.world = world
        self.ledger = ledger
        self.scheduler = world.scheduler
        self.sessions: dict[int, Session] = {}
        self._messages: dict[str, SlidingWindow] = {}
        self.boards: dict[str, Board] = {}
        self.injector: FaultInjector | None = None
        self.system = "online"
        #: Symbols that do not trade at present.
        self.halted: set[str] = set()
        self.refuse: Callable[[Request, int], Response | None] | None = None
        self.tamper: Callable[[Request, int], Response | None] | None = None
        self._numbers = 0
        self._pushing: set[tuple[str, str, str]] = set()
        #: Sessions that may have output; the shell takes and clears them.
        self.instruments: dict[str, Instrument] = {
            instrument.symbol: instrument for instrument in world.instruments(self.owner)
        }

    # ── for the shell ──────────────────────────────────────────────────────

    def connect(self, request: Request, peer: str, now_ns: int) -> Session | Response:
        """Answer an upgrade request: a new session, or the refusal.

        Args:
            request: The handshake.
            peer: The client's address, as limits count it.
            now_ns: Present time.
        """
        refusal = self.refuse(request, now_ns) if self.refuse is not None else None
        if refusal is None:
            refusal = self.admit(request, peer, now_ns)
        if refusal is not None:
            self.ledger.connections[self.name, f"refused {refusal.status}"] += 1
            return refusal
        self._numbers += 1
        session = self.open_session(self._numbers, request, now_ns)
        if session.rules.are_messages_shared and session.messages is not None:
            session.messages = self._messages.setdefault(peer, session.messages)
        self.sessions[session.number] = session
        self.ledger.log_connection(self.name, session.number, "accepted", now_ns)
        session.on_open(now_ns)
        return session

    def handle(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer a REST request."""
        response = self.tamper(request, now_ns) if self.tamper is not None else None
        if response is not None:
            self.ledger.requests[self.name, "fault"] += 1
            return response
        response = self.answer(request, peer, now_ns)
        kind = "ok" if response.status < 400 else f"status {response.status}"  # noqa: PLR2004
        self.ledger.requests[self.name, kind] += 1
        return response

    # ── for the venue to say ───────────────────────────────────────────────

    def admit(self, request: Request, peer: str, now_ns: int) -> Response | None:
        """Return the refusal of a handshake, None to accept it."""
        raise AssertionError((request, peer, now_ns))  # pragma: no cover

    def open_session(self, number: int, request: Request, now_ns: int) -> Session:
        """Make the session of an accepted handshake."""
        raise AssertionError((number, request, now_ns))  # pragma: no cover

    def make_board(self, market: Market) -> Board:
        """Make the board of one market."""
        raise AssertionError(market)  # pragma: no cover

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer a REST request within the venue's limits."""
        raise AssertionError((request, peer, now_ns))  # pragma: no cover

    # ── shared ─────────────────────────────────────────────────────────────

    def board(self, symbol: str) -> Board | None:
        """Return the board of a listed symbol, None for an unknown one."""
        board = self.boards.get(symbol)
        if board is None:
            instrument = self.instruments.get(symbol)
            if instrument is None:
                return None
            market = self.world.market(self.owner, instrument.unified)
            board = self.boards[symbol] = self.make_board(market)
            self.world.watch(market, board)
        return board

    def lively(self) -> list[str]:
        """Return the symbols that answers about "all symbols" tell of.

        With thousands of symbols only those that somebody asked for or that have traded: making
        all markets for one question would stop the loop for seconds.
        """
        if len(self.instruments) <= _ALL_MAX:
            return list(self.instruments)
        return [
            symbol
            for symbol, one in self.instruments.items()
            if self.world.has_market(self.owner, one.unified)
        ]

    def market(self, symbol: str) -> Market | None:
        """Return the market of a listed symbol, None for an unknown one."""
        board = self.board(symbol)
        return board.market if board is not None else None

    def subscribe(self, session: Session, stream: Stream, rep: int) -> Subscription | None:
        """Subscribe a session; None if it already is."""
        key = stream.key[1:]
        if key in session.subs:
            return None
        line = stream.record.open_line(session.number)
        sub = Subscription(session, stream, rep, line, self.injector)
        session.subs[key] = sub
        stream.add(sub)
        return sub

    def drop(self, sub: Subscription, cause: Cause = "resubscribe") -> None:
        """End a subscription."""
        del sub.session.subs[sub.stream.key[1:]]
        sub.stream.remove(sub)
        sub.line.end(cause)
        sub.is_over = True
        if self.injector is not None:
            self.injector.forget(sub)

    def forget(self, session: Session, what: str, now_ns: int) -> None:
        """Note that a session is over."""
        self.sessions.pop(session.number, None)
        self.ledger.log_connection(self.name, session.number, what, now_ns)

    def violation(self, rule: str) -> None:
        """Count a client's breach of a rule of the venue."""
        self.ledger.violations[self.name, rule] += 1

    def every(self, period_ns: int, task: Callable[[int], bool]) -> None:
        """Call `task` on the grid of `period_ns` until it returns False."""

        def run(now_ns: int) -> int | None:
            return (now_ns // period_ns + 1) * period_ns if task(now_ns) else None

        self.scheduler.at((self.scheduler.now_ns // period_ns + 1) * period_ns, run)

    def push_while_wanted(
        self, stream: Stream, period_ns: int, push: Callable[[int], None]
    ) -> None:
        """Call `push` on the grid of `period_ns` while a stream has subscribers; never twice."""
        if stream.key in self._pushing:
            return
        self._pushing.add(stream.key)

        def tick(now_ns: int) -> bool:
            if not stream.groups:
                self._pushing.discard(stream.key)
                return False
            push(now_ns)
            return True

        self.every(period_ns, tick)

    # ── faults ─────────────────────────────────────────────────────────────

    def inject(self, rules: tuple[FaultRule, ...], now_ns: int) -> None:
        """Put fault rules to work; their times count from `now_ns`."""
        if self.injector is None:
            self.injector = FaultInjector(self, self.world.options.seed)
            for sub in self.all_subscriptions():
                sub.injector = self.injector
        self.injector.add(rules, now_ns)

    def stop_faults(self) -> None:
        """End all faults; what they hold back is delivered."""
        if self.injector is not None:
            self.injector.stop()

    def announce_shutdown(self, session: Session, now_ns: int) -> None:
        """Tell a client that its connection will end soon; most venues say nothing."""

    def set_system(self, system: str) -> None:
        """Change the venue's state (online, maintenance) and tell those who are told."""
        self.system = system

    def is_trading(self, symbol: str) -> bool:
        """Tell whether a symbol trades at present."""
        return self.system == "online" and symbol not in self.halted

    def set_halted(self, symbols: Sequence[str], *, is_halted: bool) -> None:
        """Halt or resume single symbols, and tell those who are told."""
        (self.halted.update if is_halted else self.halted.difference_update)(symbols)

    def suffer(self, rule: FaultRule, now_ns: int) -> None:
        """Let the venue suffer: restart its numbering, go quiet, into maintenance, or halt."""
        chosen = [
            one
            for one in self.instruments.values()
            if not rule.symbols or {one.symbol, one.unified} & set(rule.symbols)
        ]
        if rule.kind == "restart":
            for one in chosen:
                if one.symbol in self.boards:
                    market = self.boards[one.symbol].market
                    market.restart_ids(rule.value)
                    self.world.announce_restart(market)
            return
        resting = {(self.owner, one.unified) for one in chosen}
        self.world.resting |= resting
        if rule.kind == "maintenance":
            self.set_system("maintenance")
        elif rule.kind == "halt":
            self.set_halted([one.symbol for one in chosen], is_halted=True)

        def end(now_ns: int) -> None:
            del now_ns
            self.world.resting -= resting
            if rule.kind == "maintenance":
                self.set_system("online")
            elif rule.kind == "halt":
                self.set_halted([one.symbol for one in chosen], is_halted=False)

        self.scheduler.at(now_ns + round(rule.duration_s * 1e9), end)

    def all_subscriptions(self) -> Iterable[Subscription]:
        """Return every live subscription of the venue."""
        for session in self.sessions.values():
            yield from session.subs.values()
