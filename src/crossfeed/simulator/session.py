"""What the sessions of all venues have in common: output, limits, pings, deadlines, the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from crossfeed.simulator.delivery import Subscription
from crossfeed.simulator.framing import CloseCode, Frame, Opcode
from crossfeed.simulator.limits import SlidingWindow
from crossfeed.simulator.outgoing import Close, Cut, Outgoing, Ping, Pong

if TYPE_CHECKING:
    from crossfeed.simulator.exchange import Exchange
    from crossfeed.simulator.http import Request

__all__ = ["Session", "SessionRules"]

_NS = 1_000_000_000


class SessionRules(msgspec.Struct, frozen=True, kw_only=True):
    """A venue's rules for one connection. A None is a rule the venue does not have."""

    #: Client messages (data, pings, pongs) allowed in any `message_span_s` seconds.
    message_count: int | None = None
    message_span_s: float = 1.0
    #: They are counted over all connections of an address, not one by one.
    are_messages_shared: bool = False
    #: Server pings: distance, and how long the pong may take.
    ping_every_s: float | None = None
    pong_within_s: float = 60.0
    #: The first subscription must arrive within this time, seconds.
    subscribe_within_s: float | None = None
    #: Connections without any message from the client end after this time, seconds.
    idle_s: float | None = None
    #: A connection is cut at this age, seconds.
    lifetime_s: float | None = None
    #: A client that leaves more than this unread is closed, bytes.
    unread_bytes_max: int = 16 << 20
    slow_close_code: int = CloseCode.POLICY
    slow_reason: str = "slow consumer"
    rate_close_code: int = CloseCode.POLICY
    rate_reason: str = "Too many requests"


class Session:
    """One client connection of one venue: a pure machine.

    Created by its exchange when a handshake succeeds. Input comes through `on_frame`, time through
    the exchange's scheduler, output collects in `out` until the shell takes it.
    """

    rules = SessionRules()

    def __init__(self, exchange: Exchange, number: int, request: Request, now_ns: int) -> None:
        """Build the session and arm its deadlines."""
        self.exchange = exchange
        self.number = number
        self.request = request
        self.opened_ns = now_ns
        self.out: list[Outgoing] = []
        self.subs: dict[tuple[str, str], Subscription] = {}
        self.is_over = False
        #: Faults: nothing is delivered for a while; or not even pings are answered.
        self.is_held = False
        self.is_deaf = False
        self.pongs_expected: list[bytes] = []
        rules = self.rules
        #: Counts client messages, None if nobody does; the exchange may give one for several.
        self.messages = (
            SlidingWindow(rules.message_count, rules.message_span_s)
            if rules.message_count is not None
            else None
        )
        self._pings = 0
        self._pong_due_ns = 0
        self.heard_ns = now_ns

    # ── life ───────────────────────────────────────────────────────────────

    def on_open(self, now_ns: int) -> None:
        """Arm the deadlines; subclasses greet and subscribe what the URL asked for."""
        rules, at = self.rules, self.exchange.scheduler.at
        if rules.ping_every_s is not None:
            at(now_ns + round(rules.ping_every_s * _NS), self._ping)
        if rules.subscribe_within_s is not None:
            at(now_ns + round(rules.subscribe_within_s * _NS), self._subscribe_deadline)
        if rules.lifetime_s is not None:
            at(now_ns + round(rules.lifetime_s * _NS), self._lifetime)

    def on_frame(self, frame: Frame, now_ns: int) -> None:
        """Take one message or control frame from the client."""
        if self.is_over or self.is_deaf:
            return
        self.heard_ns = now_ns
        if frame.opcode is Opcode.CLOSE:
            self.finish("closed by client", now_ns)
            code = int.from_bytes(frame.payload[:2], "big") if len(frame.payload) > 1 else 1000
            self.out.append(Close(code))
            return
        if self.messages is not None and not self.messages.hit(now_ns):
            self.exchange.violation("message rate")
            self.close(self.rules.rate_close_code, self.rules.rate_reason, now_ns)
            return
        if frame.opcode is Opcode.PING:
            self.out.append(Pong(frame.payload))
        elif frame.opcode is Opcode.PONG:
            self._on_pong(frame.payload)
        else:
            # No venue here has binary requests: they are read as text.
            start = len(self.out)
            self.on_text(frame.payload, now_ns)
            if self.exchange.injector is not None:
                self.exchange.injector.on_reply(self, start, now_ns)

    def on_text(self, payload: bytes, now_ns: int) -> None:
        """Take one text message. For the venue to say."""
        raise AssertionError((payload, now_ns))  # pragma: no cover - every venue defines it

    def put(self, payload: bytes) -> None:
        """Send one text message."""
        self.out.append(payload)

    def put_spoiled(self, payload: bytes) -> None:
        """Send one text message that a fault has made unreadable: it is no delivery."""
        self.out.append(payload)

    def seal(self, payload: bytes) -> bytes:
        """Make a stream's message this connection's own (number it); none here does so."""
        return payload

    def take(self) -> list[Outgoing]:
        """Return what is to be sent, in order, and forget it."""
        out, self.out = self.out, []
        return out

    def close(self, code: int, reason: str, now_ns: int) -> None:
        """Close with a code and reason; nothing is delivered any more."""
        if not self.is_over:
            self.finish(f"closed {code}", now_ns)
            self.out.append(Close(code, reason))

    def cut(self, cut: Cut, now_ns: int) -> None:
        """End without a close frame."""
        if not self.is_over:
            self.finish(f"cut {cut.mode}", now_ns)
            self.out.append(cut)

    def finish(self, what: str, now_ns: int) -> None:
        """Leave all streams; the connection is lost or about to end. Idempotent."""
        if self.is_over:
            return
        self.is_over = True
        for sub in tuple(self.subs.values()):
            self.exchange.drop(sub, "cut")
        self.exchange.forget(self, what, now_ns)

    # ── deadlines ──────────────────────────────────────────────────────────

    def _ping(self, now_ns: int) -> int | None:
        """Ping, and expect the same payload back in time."""
        if self.is_over:
            return None
        rules = self.rules
        if self.pongs_expected and now_ns >= self._pong_due_ns:
            self.exchange.violation("pong deadline")
            self.close(CloseCode.POLICY, "Pong timeout", now_ns)
            return None
        self._pings += 1
        payload = str(now_ns // 1_000_000).encode()
        if not self.pongs_expected:
            self._pong_due_ns = now_ns + round(rules.pong_within_s * _NS)
        self.pongs_expected.append(payload)
        self.out.append(Ping(payload))
        assert rules.ping_every_s is not None, "pings are armed only where the venue has them"
        return now_ns + round(rules.ping_every_s * _NS)

    def _on_pong(self, payload: bytes) -> None:
        """Take a pong: it answers its ping and all earlier ones; others keep nothing alive."""
        if payload in self.pongs_expected:
            self.pongs_expected = self.pongs_expected[self.pongs_expected.index(payload) + 1 :]
            self._pong_due_ns = self.exchange.scheduler.now_ns + round(
                self.rules.pong_within_s * _NS
            )

    def _subscribe_deadline(self, now_ns: int) -> None:
        """End a connection that has subscribed nothing in time."""
        if not self.is_over and not self.subs and not self.has_subscribed():
            self.exchange.violation("subscribe deadline")
            self.close(CloseCode.POLICY, "", now_ns)

    def has_subscribed(self) -> bool:
        """Tell whether something without a stream (a status channel) is subscribed."""
        return False

    def _lifetime(self, now_ns: int) -> None:
        """Cut a connection that has reached its age."""
        if not self.is_over:
            self.exchange.ledger.connections[self.exchange.name, "lifetime"] += 1
            self.close(CloseCode.GOING_AWAY, "", now_ns)
