"""Is the peer alive? A pure rule: pings by deadline, any data counts as life, silence has a limit.

The rule is polled by its own deadlines. A poll that comes far too late (the process was stopped,
the loop was blocked) proves nothing about the peer: what it sent is still unread. Such a poll
grants one more ping.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from msgspec import Struct

__all__ = ["Heartbeat", "HeartbeatLimits", "Pulse"]

NS_PER_S: Final = 1_000_000_000
_LATE_NS: Final = 1 * NS_PER_S
_FORGIVEN_MAX: Final = 2


class HeartbeatLimits(Struct, frozen=True, kw_only=True):
    """When to ping and when to give up. Seconds; 0 switches a rule off.

    Attributes:
        ping_interval_s: A ping is sent this long after the last one, data or no data.
        ping_timeout_s: Without a pong or any data for this long after a ping, the peer is dead.
        silence_max_s: Without any frame for this long, the peer is dead.
        app_ping_interval_s: The venue's own ping message is sent this often.
    """

    ping_interval_s: float = 5.0
    ping_timeout_s: float = 5.0
    silence_max_s: float = 30.0
    app_ping_interval_s: float = 0.0


class Pulse(Enum):
    """What a poll asks for."""

    NOTHING = auto()
    PING = auto()
    APP_PING = auto()
    DEAD_PING = auto()
    DEAD_SILENT = auto()


class Heartbeat:
    """The rule for one connection, from its opening on.

    Attributes:
        ping_failures: Pings without a pong while data kept flowing: counted, never fatal.
        late_polls: Polls that came so late that the peer was given another chance.
        rtt_ns: Round trip of the last answered ping, 0 if none.
    """

    __slots__ = (
        "_app_due_ns",
        "_app_interval_ns",
        "_forgiven",
        "_interval_ns",
        "_ping_due_ns",
        "_ping_sent_ns",
        "_serial",
        "_silence_ns",
        "_timeout_ns",
        "_waits_since_ns",
        "late_polls",
        "ping_failures",
        "rtt_ns",
    )

    def __init__(self, limits: HeartbeatLimits, now_ns: int) -> None:
        """Start at `now_ns`, the opening of the connection."""
        self._interval_ns = round(limits.ping_interval_s * NS_PER_S)
        self._timeout_ns = round(limits.ping_timeout_s * NS_PER_S)
        self._silence_ns = round(limits.silence_max_s * NS_PER_S)
        self._app_interval_ns = round(limits.app_ping_interval_s * NS_PER_S)
        self._ping_due_ns = now_ns + self._interval_ns
        self._app_due_ns = now_ns + self._app_interval_ns
        self._ping_sent_ns: int | None = None
        self._waits_since_ns = now_ns
        self._serial = 0
        self._forgiven = 0
        self.ping_failures = 0
        self.late_polls = 0
        self.rtt_ns = 0

    def next_poll_ns(self, last_frame_ns: int) -> int | None:
        """Return when to poll next; None if every rule is off.

        Args:
            last_frame_ns: Monotonic time of the last frame of any kind, 0 if none came.
        """
        due = [
            due_ns
            for due_ns, is_on in (
                (self._ping_due_ns, self._interval_ns and self._ping_sent_ns is None),
                ((self._ping_sent_ns or 0) + self._timeout_ns, self._ping_sent_ns is not None),
                (self._app_due_ns, self._app_interval_ns),
                (max(last_frame_ns, self._waits_since_ns) + self._silence_ns, self._silence_ns),
            )
            if is_on
        ]
        return min(due) if due else None

    def poll(self, now_ns: int, last_frame_ns: int) -> Pulse:
        """Say what is due at `now_ns`; call again until it says `NOTHING`.

        Args:
            now_ns: Monotonic time.
            last_frame_ns: Monotonic time of the last frame of any kind, 0 if none came.
        """
        if last_frame_ns > self._waits_since_ns:
            self._forgiven = 0
        sent_ns = self._ping_sent_ns
        if sent_ns is not None and now_ns >= sent_ns + self._timeout_ns:
            if last_frame_ns >= sent_ns:
                self.ping_failures += 1
                self._end_ping(sent_ns)
            elif self._is_late(now_ns, sent_ns + self._timeout_ns):
                self._forgive(now_ns)
            else:
                return Pulse.DEAD_PING
        silent_until_ns = max(last_frame_ns, self._waits_since_ns) + self._silence_ns
        if self._silence_ns and now_ns >= silent_until_ns:
            if not self._is_late(now_ns, silent_until_ns):
                return Pulse.DEAD_SILENT
            self._forgive(now_ns)
        if self._app_interval_ns and now_ns >= self._app_due_ns:
            self._app_due_ns = now_ns + self._app_interval_ns
            return Pulse.APP_PING
        if self._interval_ns and self._ping_sent_ns is None and now_ns >= self._ping_due_ns:
            return Pulse.PING
        return Pulse.NOTHING

    def ping_payload(self, now_ns: int) -> bytes:
        """Note that a ping goes out now; return its payload, new for each ping."""
        self._ping_sent_ns = now_ns
        self._serial += 1
        return b"%d" % self._serial

    def on_pong(self, now_ns: int, payload: bytes) -> None:
        """Note a pong. Unasked ones and those to older pings are life, but no answer."""
        if self._ping_sent_ns is not None and payload == b"%d" % self._serial:
            self.rtt_ns = now_ns - self._ping_sent_ns
            self._end_ping(self._ping_sent_ns)

    def _end_ping(self, sent_ns: int) -> None:
        self._ping_sent_ns = None
        self._ping_due_ns = sent_ns + self._interval_ns

    def _is_late(self, now_ns: int, due_ns: int) -> bool:
        """Say whether this poll comes too late to prove anything (at most twice in a row)."""
        return now_ns >= due_ns + _LATE_NS and self._forgiven < _FORGIVEN_MAX

    def _forgive(self, now_ns: int) -> None:
        self._forgiven += 1
        self.late_polls += 1
        self._waits_since_ns = now_ns
        if self._ping_sent_ns is not None:
            self._ping_sent_ns = None
            self._ping_due_ns = now_ns
