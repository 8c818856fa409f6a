"""What the simulator's sessions and faults ask of their exchange, for one that plays history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, cast

from crossfeed.errors import ConfigError
from crossfeed.simulator.delivery import Stream, Subscription
from crossfeed.simulator.exchange import Exchange
from crossfeed.simulator.faults import FaultRule
from crossfeed.simulator.http import Request, Response
from crossfeed.simulator.injector import FaultInjector
from crossfeed.simulator.ledger import Line
from crossfeed.simulator.scheduler import Scheduler
from crossfeed.simulator.session import Session

__all__ = ["HistoryExchange"]

MARKET_KINDS: Final = frozenset(
    {"restart", "maintenance", "quiet", "halt", "shutdown", "bad_checksum"}
)
"""Faults of a market, or of a venue's own words: history has neither."""
FAULT_SEED: Final = 1


class _Ledger:
    """Counts what was done; nobody compares it with anything."""

    def __init__(self) -> None:
        self.faults: Counter[tuple[str, str]] = Counter()
        self.connections: Counter[tuple[str, str]] = Counter()


class _Line:
    """A ledger line that keeps nothing but counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, events: int, lots: int) -> None:
        """Count a delivery."""
        del events, lots
        self.counts["delivered"] += 1

    def lose(self, kind: str, first: int, last: int, book: object) -> None:
        """Count a loss."""
        del first, last, book
        self.counts[kind] += 1


class _Record:
    """What a rule looks at: whose stream it is."""

    def __init__(self, key: tuple[str, str, str]) -> None:
        self.key = key
        self.unified = key[2]


class HistoryExchange:
    """Stands in for an exchange: breaks no rule, has no market, and suffers faults if it is told.

    Made by a feed's server; its scheduler is run by the replay server.

    Attributes:
        name: The venue.
        sessions: Its clients, by number.
        scheduler: When faults strike and end.
        injector: The faults; None without.
        refuse: Spoils handshakes.
        tamper: Spoils REST answers.
    """

    def __init__(
        self,
        name: str,
        now_ns: int,
        answer: Callable[[Request], Response],
        forget: Callable[[Session], None],
    ) -> None:
        """Start without clients and faults."""
        self.name = name
        self.sessions: dict[int, Session] = {}
        self.scheduler = Scheduler(now_ns)
        self.ledger = _Ledger()
        self.injector: FaultInjector | None = None
        self.refuse: Callable[[Request, int], Response | None] | None = None
        self.tamper: Callable[[Request, int], Response | None] | None = None
        self._answer = answer
        self._forget = forget

    def inject(self, rules: tuple[FaultRule, ...], now_ns: int) -> int:
        """Put fault rules to work, their times counted from `now_ns`; return how many.

        Raises:
            ConfigError: None of them can happen to history.
        """
        possible = tuple(rule for rule in rules if rule.kind not in MARKET_KINDS)
        if rules and not possible:
            kinds = ", ".join(sorted({rule.kind for rule in rules}))
            raise ConfigError(f"{kinds}: history has no market to suffer it", field="faults")
        if self.injector is None:
            self.injector = FaultInjector(self.as_exchange(), FAULT_SEED)
        self.scheduler.run(now_ns)
        self.injector.add(possible, now_ns)
        return len(possible)

    def as_exchange(self) -> Exchange:
        """Return itself as what the simulator's parts are declared to take."""
        return cast("Exchange", self)

    def subscription(self, session: Session, channel: str, symbol: str) -> Subscription:
        """Make what the faults know a client's stream by."""
        stream = Stream(cast("Any", _Record((self.name, channel, symbol))))
        return Subscription(session, stream, 0, cast("Line", _Line()), self.injector)

    # ── asked by sessions and faults ────────────────────────────────────────

    def violation(self, rule: str) -> None:
        """Count nothing: history has no limits."""

    def drop(self, subscription: Subscription, cause: str) -> None:
        """Forget a client's stream."""
        del cause
        subscription.is_over = True
        if self.injector is not None:
            self.injector.forget(subscription)

    def forget(self, session: Session, what: str, now_ns: int) -> None:
        """Forget a session that is over."""
        del what, now_ns
        self.sessions.pop(session.number, None)
        self._forget(session)

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer a REST request with the truth."""
        del peer, now_ns
        return self._answer(request)
