"""What is done about a dead stream: resubscribe, then a new connection, then another endpoint."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from crossfeed.model.commands import Reconnect, Resubscribe
from crossfeed.model.output import Output
from crossfeed.model.status import Stream

__all__ = ["Escalation", "EscalationLimits"]

SECOND_NS: Final = 1_000_000_000
DOUBLINGS_MAX: Final = 16


class EscalationLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Patience of each step.

    Attributes:
        resubscribe_s: A resubscription has this long to bring data.
        reconnect_s: A new connection has this long to bring data; doubles with each further one.
        patience_max_s: Longest patience.
        calm_s: A stream that was fresh for this long begins at the first step again.
    """

    resubscribe_s: float = 5.0
    reconnect_s: float = 15.0
    patience_max_s: float = 300.0
    calm_s: float = 30.0


class _Ladder:
    """How far one stream has climbed."""

    __slots__ = ("fresh_since_ns", "step", "wait_until_ns")

    def __init__(self) -> None:
        self.step = 0
        self.wait_until_ns = 0
        self.fresh_since_ns = 0


class Escalation:
    """The steps of one connection's streams. Owned by a `Freshness`.

    A stream that is dead alone is resubscribed, again and again with doubling patience; its
    connection, which serves others well, is left alone. When the connection is dead, one stream is
    resubscribed, then the connection is renewed, then another endpoint is taken, in turns.

    Attributes:
        resubscribes: Steps of the first kind.
        reconnects: Steps of the second kind.
        other_endpoints: Steps of the third kind.
    """

    def __init__(self, limits: EscalationLimits) -> None:
        """Start with everything calm."""
        self._limits = limits
        self._streams: dict[Stream, _Ladder] = {}
        self._connection = _Ladder()
        self.resubscribes = 0
        self.reconnects = 0
        self.other_endpoints = 0

    def escalate(self, stream: Stream, mono_ns: int, out: Output, *, is_connection: bool) -> None:
        """Take the next step for a dead stream if the patience of the last one has run out.

        Args:
            stream: The stream.
            mono_ns: Monotonic time.
            out: Gets the command.
            is_connection: Whether nothing else on the connection lives either.
        """
        ladder = self._streams.setdefault(stream, _Ladder())
        ladder.fresh_since_ns = 0
        if is_connection:
            ladder = self._connection
            ladder.fresh_since_ns = 0
        if mono_ns < ladder.wait_until_ns:
            return
        limits, step = self._limits, ladder.step
        ladder.step += 1
        if step == 0 or not is_connection:
            self.resubscribes += 1
            out.commands.append(Resubscribe(stream.channel, stream.symbol, "stale"))
            patience_s = limits.resubscribe_s * 2.0 ** min(step, DOUBLINGS_MAX)
        else:
            is_other = step % 2 == 0
            self.other_endpoints += is_other
            self.reconnects += not is_other
            out.commands.append(Reconnect("stale", is_other_endpoint=is_other))
            patience_s = limits.reconnect_s * 2.0 ** min(step - 1, DOUBLINGS_MAX)
        ladder.wait_until_ns = mono_ns + int(min(patience_s, limits.patience_max_s) * SECOND_NS)

    def recovered(self, stream: Stream, mono_ns: int) -> None:
        """Take note that a stream is fresh; after a while it starts from the first step again."""
        for ladder in (self._streams.get(stream), self._connection):
            if ladder is None or not ladder.step:
                continue
            ladder.fresh_since_ns = ladder.fresh_since_ns or mono_ns
            if mono_ns - ladder.fresh_since_ns >= self._limits.calm_s * SECOND_NS:
                ladder.step = ladder.wait_until_ns = ladder.fresh_since_ns = 0

    def carry_on(self, last: Escalation) -> None:
        """Go on with the counts of a connection that was replaced."""
        self.resubscribes += last.resubscribes
        self.reconnects += last.reconnects
        self.other_endpoints += last.other_endpoints

    def forget(self, stream: Stream) -> None:
        """Forget a stream that is not watched any more."""
        self._streams.pop(stream, None)
