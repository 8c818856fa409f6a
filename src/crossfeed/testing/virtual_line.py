"""One connection in virtual time: handshake, subscriptions, frames, deadlines, the next attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from crossfeed.errors import ConnectionLostError, CrossfeedError, HandshakeRejectedError
from crossfeed.integrity.freshness import Freshness
from crossfeed.model.commands import Want
from crossfeed.model.output import Output
from crossfeed.runtime.gates import Pulse
from crossfeed.runtime.line_parts import watch_streams
from crossfeed.runtime.links import make_send_budget
from crossfeed.runtime.pipeline import PureCore
from crossfeed.simulator.memory import MemoryLink, RefusedHandshake
from crossfeed.simulator.outgoing import Close, RawBytes
from crossfeed.transport.listener import OnFrame
from crossfeed.transport.reconnect import Backoff, ReconnectPolicy, Refusal

if TYPE_CHECKING:
    from crossfeed.testing.virtual_feed import VirtualFeed

__all__ = ["VirtualLine"]

NS: Final = 1_000_000_000
PROTOCOL_ERROR: Final = 1002


class VirtualLine:
    """One connection of a `VirtualFeed`, over all its reconnects.

    Attributes:
        wants: Its subscriptions, and whether the venue acknowledged them.
        link: The connection, None while there is none.
        is_replaced: A rotation is putting another in its place.
        is_waiting: Waits for the venue's shared rule to admit its attempt.
        attempts: Monotonic times of its connection attempts, ns.
    """

    def __init__(self, feed: VirtualFeed, name: str, core: PureCore, wants: Sequence[Want]) -> None:
        """Prepare; `connect` opens."""
        self.feed = feed
        self.name = name
        self.core = core
        self.wants: dict[Want, bool] = dict.fromkeys(wants, False)
        self.link: MemoryLink | None = None
        self.freshness = Freshness()
        self.is_replaced = False
        self.is_waiting = False
        self._is_trying = False
        self.attempts: list[int] = []
        self._world = feed.world
        self._is_closed = False
        self._heard_ns = self._opened_ns = 0
        self._asked_ns = 0
        self._rotate_due_ns = 0
        settings, limits = feed.settings, feed.venue.profile.limits
        backoff = Backoff(base_s=settings.reconnect_base_s, cap_s=settings.reconnect_cap_s)
        passing = dict.fromkeys(feed.venue.profile.passing_close_codes, Refusal.PASSING)
        self._policy = ReconnectPolicy(backoff, feed.random, close_codes=passing)
        self._sends = feed.send_budget or make_send_budget(limits)
        self._send_due_ns = 0
        tap = feed.tap
        self._record: OnFrame = _nothing if tap is None else tap.frames(name, _nothing)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""
        return self.link is not None

    @property
    def is_settled(self) -> bool:
        """Whether the venue has acknowledged every subscription it did not refuse."""
        return self.is_up and all(
            acknowledged or want in self.feed.refused for want, acknowledged in self.wants.items()
        )

    # ── life ────────────────────────────────────────────────────────────────

    def connect(self) -> None:
        """Try to connect as soon as the venue's shared rule allows it."""
        if self._is_closed or self.is_up or self._is_trying:
            return
        mono_ns = self._world.mono_ns()
        wait_ns = self.feed.admission.wait_ns(mono_ns)
        if wait_ns > 0:
            self.is_waiting = True
            self._world.after(wait_ns, self.ask_again)
            return
        self._is_trying = True
        attempt = self.feed.admission.start(mono_ns)
        self.attempts.append(mono_ns)

        def shake() -> None:
            self._is_trying = False
            try:
                link = self._world.room.connect(
                    self.feed.venue.name, self.core.codec.url_path(list(self.wants))
                )
            except RefusedHandshake as refusal:
                retry = refusal.response.headers.get("Retry-After")
                error = HandshakeRejectedError(
                    str(refusal),
                    status=refusal.response.status,
                    retry_after_s=float(retry) if retry else None,
                )
                self.feed.admission.on_failure(self._world.mono_ns(), attempt, error)
                self._try_again(error, 0)
                self.feed.wake()
                return
            self.feed.admission.on_success(attempt)
            self._opened(link)
            self.feed.wake()

        self._world.after(self._world.half_trip_ns, shake)

    def ask_again(self) -> None:
        """Ask the venue's shared rule again: time has passed, or another attempt has ended."""
        if self.is_waiting:
            self.is_waiting = False
            self.connect()

    def _opened(self, link: MemoryLink) -> None:
        """Subscribe everything on a fresh connection."""
        if self._is_closed:
            link.lose()
            return
        self.link = link
        now_ns, mono_ns = self._world.now_ns(), self._world.mono_ns()
        self._heard_ns = self._opened_ns = mono_ns
        self._send_due_ns = mono_ns
        self._plan_rotation(mono_ns)
        wants = [want for want in self.wants if want not in self.feed.refused]
        self.wants.update(dict.fromkeys(wants, False))
        tap = self.feed.tap
        if tap is not None:
            tap.keep(self.name, "core_open", now_ns, mono_ns)
        self.core.on_open()
        self.freshness.on_open(mono_ns)
        self.freshness.listen(Pulse(self.feed.streams.table(self.name)))
        out = Output()
        self.feed.streams.line_up(self.name, wants, now_ns, mono_ns, out)
        for want in wants:
            if tap is not None:
                key = f"{want.channel}/{want.symbol}"
                tap.keep(self.name, "watch", 0, mono_ns, key=key, want=want)
            watch_streams(self.freshness, self.feed.streams, self.name, [want], mono_ns)
        self.feed.give(out, self)
        self._subscribe(wants)

    def _plan_rotation(self, mono_ns: int) -> None:
        """Set the time to be replaced, before the venue cuts the connection for its age."""
        lifetime_s = self.feed.venue.profile.limits.lifetime_s
        if lifetime_s:
            margin_s = min(self.feed.settings.rotate_margin_s, lifetime_s / 2)
            early_s = margin_s + self.feed.random.uniform(0.0, margin_s / 2)
            self._rotate_due_ns = mono_ns + round((lifetime_s - early_s) * NS)

    def _subscribe(self, wants: Sequence[Want]) -> None:
        self._asked_ns = self._world.mono_ns()
        self._note("subscribe", wants)
        for frame in self.core.codec.subscribe(wants, self._world.now_ns()):
            self.send(frame)

    def _note(self, call: str, wants: Sequence[Want]) -> None:
        tap = self.feed.tap
        if tap is not None:
            key = ",".join(f"{want.channel}/{want.symbol}" for want in wants)
            tap.keep(self.name, call, self._world.now_ns(), key=key, wants=wants)

    def resubscribe(self, wants: Sequence[Want]) -> None:
        """Unsubscribe and subscribe again, for new images."""
        if self.is_up:
            self._note("unsubscribe", wants)
            for frame in self.core.codec.unsubscribe(wants, self._world.now_ns()):
                self.send(frame)
            self.wants.update(dict.fromkeys(wants, False))
            self._subscribe(wants)

    def send(self, frame: bytes) -> None:
        """Send a frame within the venue's message rate, in order."""
        link, mono_ns = self.link, self._world.mono_ns()
        if link is None:
            return
        wait_ns = max(self._sends.message_wait_ns(mono_ns), self._send_due_ns - mono_ns, 0)
        self._sends.record(mono_ns + wait_ns)
        self._send_due_ns = mono_ns + wait_ns

        def go() -> None:
            if self.link is link:
                link.send(frame)

        self._world.after(wait_ns, go)

    def acknowledged(self, wants: Sequence[Want]) -> None:
        """Note what the venue confirmed."""
        for want in wants:
            if want in self.wants:
                self.wants[want] = True
                if self.feed.tap is not None:
                    mono_ns = self._world.mono_ns()
                    self.feed.tap.step(self.name, "acknowledged", 0, mono_ns, want=want)
                for flow in self.feed.streams.of(want):
                    self.freshness.acknowledged(flow.stream, self._world.mono_ns())

    # ── frames and timers ───────────────────────────────────────────────────

    def pump(self) -> None:
        """Take everything that has arrived."""
        link = self.link
        if link is None:
            return
        items = link.receive_all()
        if not items:
            return
        now_ns, mono_ns = self._world.now_ns(), self._world.mono_ns()
        self._heard_ns = mono_ns
        for item in items:
            if isinstance(item, bytes):
                self._record(item, now_ns, mono_ns)
                self.feed.give(self.core.feed(item, now_ns, mono_ns), self)
                if self.link is not link:
                    return
            elif isinstance(item, RawBytes):
                self.drop("protocol", close_code=PROTOCOL_ERROR)
                return
        end = link.end
        if end is not None:
            self._lost("disconnected", end.code if isinstance(end, Close) else 1006)

    def tick(self) -> None:
        """Look whether connection and streams are still alive."""
        if self.link is None:
            return
        now_ns, mono_ns = self._world.now_ns(), self._world.mono_ns()
        limits = self.feed.venue.profile.limits
        is_unanswered = not all(self.wants.values()) and not self.is_settled
        if mono_ns - self._heard_ns > limits.silence_max_s * NS:
            self.drop("silent")
            return
        if is_unanswered and mono_ns - self._asked_ns > limits.ack_deadline_s * NS:
            pending = [want for want, done in self.wants.items() if not done]
            self._subscribe([want for want in pending if want not in self.feed.refused])
        if 0 < self._rotate_due_ns <= mono_ns:
            self._rotate_due_ns = 0
            self.feed.rotate(self, "age")
        if mono_ns >= self.freshness.next_due_ns:
            out = Output()
            if self.feed.tap is not None:
                self.feed.tap.timer(self.name, "freshness", now_ns, mono_ns)
            self.freshness.on_timer(now_ns, mono_ns, out)
            self.feed.streams.review(now_ns, mono_ns, out)
            self.feed.give(out, self)

    # ── the end ─────────────────────────────────────────────────────────────

    def drop(self, cause: str, *, close_code: int = 1006) -> None:
        """Break the connection from our side, and connect anew."""
        if self.link is not None:
            self.link.lose()
            self._lost(cause, close_code)

    def close(self, cause: str) -> None:
        """Close for good."""
        self._is_closed = True
        if self.link is not None:
            self.link.lose()
            self.link = None
            self._down(cause)

    def _down(self, cause: str) -> None:
        out = Output()
        now_ns, mono_ns = self._world.now_ns(), self._world.mono_ns()
        self.wants = dict.fromkeys(self.wants, False)
        self.feed.streams.line_down(self.name, list(self.wants), cause, now_ns, mono_ns, out)
        self.feed.give(out, self)

    def _lost(self, cause: str, close_code: int) -> None:
        """Forget the broken connection and plan the next attempt."""
        self.link = None
        self.feed.reconnects += 1
        self._down(cause)
        self.feed.admission.on_lost()
        self.feed.wake()
        error = ConnectionLostError(cause, close_code=close_code)
        self._try_again(error, self._heard_ns - self._opened_ns)

    def _try_again(self, error: CrossfeedError, good_data_ns: int) -> None:
        decision = self._policy.on_failure(error, good_data_ns=good_data_ns)
        self._world.after(decision.wait_ns, self.connect)


def _nothing(frame: bytes, now_ns: int, mono_ns: int) -> None:
    """Do nothing with a frame that was recorded, or is not to be."""
