"""Carries out a fault schedule on one venue: messages, connections, HTTP."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import msgspec

from crossfeed.simulator.corruption import (
    READABLE,
    broken_frame,
    corrupt,
    with_bad_checksum,
)
from crossfeed.simulator.delivery import Subscription
from crossfeed.simulator.faults import FaultRule
from crossfeed.simulator.http_faults import handshake_fault, rest_fault
from crossfeed.simulator.outgoing import Cut, RawBytes
from crossfeed.simulator.shadow import BookUpdate

if TYPE_CHECKING:
    from crossfeed.simulator.exchange import Exchange
    from crossfeed.simulator.http import Request, Response
    from crossfeed.simulator.session import Session

__all__ = ["FaultInjector"]

_NS = 1_000_000_000
_MASK = (1 << 64) - 1
_UNIT = 1.0 / (1 << 64)
#: Messages a stall holds back per connection; more are lost.
HELD_MAX = 200_000
#: What a mid-frame cut begins to send.
_HALF = b'{"this message":"was cut in the middle of its frame and must never be delivered"}'


def chance(salt: int, number: int) -> float:
    """Return a number in 0..1 that depends on both arguments only (the splitmix64 finaliser)."""
    mixed = (salt + number * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return (mixed ^ (mixed >> 31)) * _UNIT


class _Item(msgspec.Struct):
    """One message on its way."""

    sub: Subscription
    payload: bytes
    first: int = -1
    last: int = -1
    events: int = 1
    lots: int = 0
    book: BookUpdate | None = None

    def account(self) -> None:
        """Count the message as delivered."""
        line = self.sub.line
        if self.book is not None:
            line.apply(self.book)
        elif self.last < 0:
            line.count(self.events, self.lots)
        else:
            line.record(self.first, self.last, self.events, self.lots)

    def lose(self, kind: str) -> None:
        """Count the message as made and not delivered."""
        self.sub.line.lose(kind, self.first, self.last, self.book)


class _Active:
    """A rule at work: its counters."""

    def __init__(self, rule: FaultRule, place: int, start_ns: int) -> None:
        self.rule = rule
        self.place = place
        self.start_ns = start_ns + round(rule.after_s * _NS)
        self.end_ns = None if rule.until_s is None else start_ns + round(rule.until_s * _NS)
        self.hits = 0

    def is_on(self, now_ns: int) -> bool:
        """Tell whether the rule may act now."""
        rule = self.rule
        return (
            now_ns >= self.start_ns
            and (self.end_ns is None or now_ns < self.end_ns)
            and (rule.limit is None or self.hits < rule.limit)
        )


class _State:
    """What the injector keeps about one subscription."""

    def __init__(self, rules: list[tuple[_Active, int]]) -> None:
        self.rules = rules
        self.ordinal = 0
        self.run_left = 0
        self.swapped: _Item | None = None


class FaultInjector:
    """The faults of one venue.

    Whether a message is hit depends on the seed, the rule, the stream, the connection's number and
    the message's id alone: the same seed and the same traffic give the same faults.
    """

    def __init__(self, exchange: Exchange, seed: int) -> None:
        """Build an injector without rules; it passes everything on."""
        self._exchange = exchange
        self._seed = seed
        self._rules: list[_Active] = []
        self._states: dict[Subscription, _State] = {}
        self._requests: dict[int, int] = {}
        self._held: dict[int, list[_Item]] = {}
        self._delayed: dict[int, _Item] = {}
        self._delays = 0
        self._stale: dict[str, Response] = {}
        self.is_stopped = False
        exchange.refuse = self._refuse
        exchange.tamper = self._tamper

    # ── rules ──────────────────────────────────────────────────────────────

    def add(self, rules: tuple[FaultRule, ...], start_ns: int) -> None:
        """Put rules to work; their times count from `start_ns`."""
        self.is_stopped = False
        for rule in rules:
            if not rule.is_for_venue(self._exchange.name):
                continue
            active = _Active(rule, len(self._rules), start_ns)
            self._rules.append(active)
            if not rule.is_message and not rule.is_http:
                self._schedule(active, start_ns)
        for sub, state in self._states.items():
            state.rules = self._find_rules(sub)

    def _schedule(self, active: _Active, start_ns: int) -> None:
        """Let a connection or venue rule act at its times."""
        rule = active.rule
        random = Random(f"{self._seed}/{self._exchange.name}/{active.place}/{rule.kind}")
        period_ns = round(rule.every_s * _NS)

        def once(now_ns: int) -> None:
            if not self.is_stopped and active.is_on(now_ns):
                active.hits += 1
                self._strike(active, random, now_ns)

        def repeat(now_ns: int) -> int | None:
            once(now_ns)
            return None if self.is_stopped else now_ns + period_ns

        for moment_s in rule.at_s:
            self._exchange.scheduler.at(start_ns + round(moment_s * _NS), once)
        if period_ns:
            first_ns = max(active.start_ns, start_ns + period_ns)
            self._exchange.scheduler.at(first_ns, repeat)

    def stop(self) -> None:
        """End all faults: what is held, swapped or delayed is delivered now."""
        self.is_stopped = True
        for number in tuple(self._held):
            self._release(number)
        waiting = [state.swapped for state in self._states.values() if state.swapped is not None]
        waiting.extend(self._delayed.values())
        self._delayed.clear()
        for state in self._states.values():
            state.swapped = None
        for item in waiting:
            if not item.sub.is_over:
                self._send(item)

    def forget(self, sub: Subscription) -> None:
        """Forget a subscription that is over."""
        self._states.pop(sub, None)

    # ── messages ───────────────────────────────────────────────────────────

    def deliver(
        self, sub: Subscription, payload: bytes, first: int, last: int, events: int, lots: int
    ) -> None:
        """Deliver a message, or do something worse with it."""
        self._judge(_Item(sub, payload, first, last, events, lots))

    def deliver_book(self, sub: Subscription, payload: bytes, book: BookUpdate) -> None:
        """Deliver an update of a checksummed book, or do something worse with it."""
        self._judge(_Item(sub, payload, book=book))

    def _judge(self, item: _Item) -> None:
        """Find the first rule that hits a message, and carry it out."""
        session = item.sub.session
        held = self._held.get(session.number)
        if held is not None:
            if len(held) < HELD_MAX:
                held.append(item)
            else:
                item.payload = session.seal(item.payload)
                item.lose("overflow")
            return
        if not self.is_stopped and self._rules:
            state = self._state(item.sub)
            state.ordinal += 1
            if state.run_left:
                state.run_left -= 1
                item.lose("dropped")
                return
            number = item.last if item.last >= 0 else state.ordinal
            now_ns = self._exchange.scheduler.now_ns
            for active, salt in state.rules:
                if active.is_on(now_ns) and _hits(active.rule, salt, number, state.ordinal):
                    active.hits += 1
                    self._count(active.rule.kind)
                    self._spoil(active.rule, state, item, now_ns)
                    return
        self._send(item)

    def _state(self, sub: Subscription) -> _State:
        """Return what is kept about a subscription."""
        state = self._states.get(sub)
        if state is None:
            state = self._states[sub] = _State(self._find_rules(sub))
        return state

    def _find_rules(self, sub: Subscription) -> list[tuple[_Active, int]]:
        """Return the message rules of a subscription, each with its salt."""
        venue, channel, symbol = sub.stream.key
        names = (symbol, sub.stream.record.unified)
        return [
            (active, self._salt(active, sub))
            for active in self._rules
            if active.rule.is_message and active.rule.is_for(venue, channel, names)
        ]

    def _salt(self, active: _Active, sub: Subscription) -> int:
        """Return what makes a rule's luck on a stream and connection its own."""
        text = f"{self._seed}/{active.place}/{'/'.join(sub.stream.key)}/{sub.session.number}"
        return zlib.crc32(text.encode()) << 32 | zlib.crc32(text[::-1].encode())

    def _spoil(self, rule: FaultRule, state: _State, item: _Item, now_ns: int) -> None:
        """Do to one message what a rule says."""
        sub, line = item.sub, item.sub.line
        if rule.kind == "drop":
            item.payload = sub.session.seal(item.payload)
            item.lose("dropped")
            state.run_left = rule.run - 1
        elif rule.kind == "double":
            line.counts["doubled"] += 1
            payload = self._send(item)
            sub.session.put(payload)
            item.account()
        elif rule.kind == "swap":
            line.counts["swapped"] += 1
            earlier, state.swapped = state.swapped, item
            if earlier is not None:
                self._send(earlier)
        elif rule.kind == "delay":
            line.counts["delayed"] += 1
            self._delay(item, now_ns + round(rule.duration_s * _NS))
        elif rule.kind == "bad_checksum" and item.book is not None:
            line.counts["bad_checksum"] += 1
            sub.session.put(with_bad_checksum(item.payload, item.book.crc))
            line.spoil_book()
        elif rule.variant in READABLE:
            line.counts["corrupted"] += 1
            item.payload = corrupt(item.payload, rule.variant)
            self._send(item)
        else:
            payload = sub.session.seal(item.payload)
            item.lose("corrupted")
            sub.session.put_spoiled(corrupt(payload, rule.variant))

    def _delay(self, item: _Item, due_ns: int) -> None:
        """Send a message later, on its own."""
        self._delays += 1
        number = self._delays
        self._delayed[number] = item

        def release(now_ns: int) -> None:
            del now_ns
            waiting = self._delayed.pop(number, None)
            if waiting is not None and not waiting.sub.is_over:
                self._send(waiting)

        self._exchange.scheduler.at(due_ns, release)

    def _send(self, item: _Item) -> bytes:
        """Send a message and account for it, then one that it was swapped with."""
        session = item.sub.session
        payload = session.seal(item.payload)
        session.put(payload)
        item.account()
        state = self._states.get(item.sub)
        if state is not None and state.swapped is not None and state.swapped is not item:
            swapped, state.swapped = state.swapped, None
            self._send(swapped)
        return payload

    # ── connections and the venue ──────────────────────────────────────────

    def _strike(self, active: _Active, random: Random, now_ns: int) -> None:
        """Carry out a connection or venue rule."""
        rule, exchange = active.rule, self._exchange
        if rule.kind in {"restart", "maintenance", "quiet", "halt"}:
            self._count(rule.kind)
            exchange.suffer(rule, now_ns)
            return
        sessions = [exchange.sessions[number] for number in sorted(exchange.sessions)]
        sessions = [one for one in sessions if one.subs]
        if sessions and rule.connections == "one":
            sessions = [sessions[int(random.random() * len(sessions))]]
        strikes: dict[str, Callable[[Session, FaultRule, int], None]] = {
            "cut": self._cut,
            "stall": self._stall,
            "frame": self._frame,
            "shutdown": self._shutdown,
        }
        for session in sessions:
            self._count(rule.kind)
            strikes[rule.kind](session, rule, now_ns)

    def _cut(self, session: Session, rule: FaultRule, now_ns: int) -> None:
        """End a connection; what is held for it is lost."""
        self._held.pop(session.number, None)
        mode = rule.variant
        if mode == "clean":
            session.close(rule.code, rule.reason, now_ns)
        elif mode == "eof":
            session.cut(Cut("eof"), now_ns)
        elif mode == "reset":
            session.cut(Cut("reset"), now_ns)
        else:
            session.cut(Cut("mid_frame", _HALF), now_ns)

    def _stall(self, session: Session, rule: FaultRule, now_ns: int) -> None:
        """Hold everything for a connection back; its pings are answered unless it is deaf."""
        if session.is_held or session.is_deaf:
            return
        if rule.variant != "no_pong":
            self._held[session.number] = []
            session.is_held = True
        session.is_deaf = rule.variant in {"deaf", "no_pong"}

        def release(now_ns: int) -> None:
            del now_ns
            self._release(session.number, lose=rule.variant != "hold")

        self._exchange.scheduler.at(now_ns + round(rule.duration_s * _NS), release)

    def _release(self, number: int, *, lose: bool = False) -> None:
        """End a stall: deliver what was held, or lose it."""
        held = self._held.pop(number, None)
        session = self._exchange.sessions.get(number)
        if session is not None:
            session.is_held = False
            session.is_deaf = False
        if held is None or session is None:
            return
        for item in held:
            if item.sub.is_over:
                continue
            if lose and not self.is_stopped:
                item.payload = session.seal(item.payload)
                item.lose("stalled")
            else:
                self._judge(item)

    @staticmethod
    def _frame(session: Session, rule: FaultRule, now_ns: int) -> None:
        """Send a frame that breaks RFC 6455, or one at its edge."""
        del now_ns
        session.out.append(RawBytes(broken_frame(rule.variant)))

    def _shutdown(self, session: Session, rule: FaultRule, now_ns: int) -> None:
        """Announce the end of a connection, and end it later."""
        self._exchange.announce_shutdown(session, now_ns)
        self._exchange.scheduler.at(
            now_ns + round(rule.duration_s * _NS), lambda at_ns: session.close(1001, "", at_ns)
        )

    def _count(self, kind: str) -> None:
        self._exchange.ledger.faults[self._exchange.name, kind] += 1

    def on_reply(self, session: Session, start: int, now_ns: int) -> None:
        """Lose or delay the reply to a request: what the session put out from `start` on."""
        rule = self._http_rule("ack", "", now_ns)
        if rule is None:
            return
        reply = next((one for one in session.out[start:] if isinstance(one, bytes)), None)
        if reply is None:
            return
        session.out.remove(reply)
        if rule.variant == "late":

            def send(now_ns: int) -> None:
                del now_ns
                if not session.is_over:
                    session.out.append(reply)

            self._exchange.scheduler.at(now_ns + round(rule.duration_s * _NS), send)

    # ── HTTP ───────────────────────────────────────────────────────────────

    def _http_rule(self, kind: str, path: str, now_ns: int) -> FaultRule | None:
        """Return the HTTP rule that hits a request, if one does."""
        if self.is_stopped:
            return None
        for active in self._rules:
            rule = active.rule
            if rule.kind != kind or rule.path not in path or not active.is_on(now_ns):
                continue
            ordinal = self._requests[active.place] = self._requests.get(active.place, 0) + 1
            is_hit = (
                _hits(rule, self._seed << 8 | active.place, ordinal, ordinal)
                if rule.probability is not None or rule.every or rule.at
                else True
            )
            if is_hit:
                active.hits += 1
                self._count(kind)
                return rule
        return None

    def _refuse(self, request: Request, now_ns: int) -> Response | None:
        """Return the refusal of a handshake."""
        rule = self._http_rule("handshake", request.path, now_ns)
        return handshake_fault(rule, request) if rule is not None else None

    def _tamper(self, request: Request, now_ns: int) -> Response | None:
        """Return a spoiled answer to a REST request."""
        rule = self._http_rule("rest", request.path, now_ns)
        if rule is None:
            return None

        def truth() -> Response:
            return self._exchange.answer(request, "faults", now_ns)

        if rule.variant == "stale":
            key = f"{request.path}?{request.query}"
            return self._stale.setdefault(key, truth())
        return rest_fault(rule, truth)


def _hits(rule: FaultRule, salt: int, number: int, ordinal: int) -> bool:
    """Tell whether a rule hits a message."""
    if rule.at:
        return ordinal in rule.at
    if rule.every:
        return ordinal % rule.every == 0
    return chance(salt, number) < (rule.probability or 0.0)
