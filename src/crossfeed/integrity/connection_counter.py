"""Frame counters of whole connections: a hole concerns everything the connection carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from crossfeed.model.output import Output

__all__ = ["ConnectionCounter", "HoleObserver"]


class HoleObserver(Protocol):
    """What a hole in a connection's own numbering concerns: gates and books of that connection."""

    def on_connection_gap(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Messages of this connection were lost; which ones is not known."""
        ...


class ConnectionCounter:
    """Checks a venue's per-connection frame counter (Coinbase Advanced `sequence_num`).

    Fed from every frame, acknowledgements included. A hole concerns every stream of the connection.

    Attributes:
        frames: Frames seen.
        holes: Holes found.
        lost: Frames lost in them.
        old: Frames that came again or too late.
    """

    def __init__(self, observers: Sequence[HoleObserver] = (), *, first: int | None = None) -> None:
        """Start before the first frame; `first` is its number where the venue fixes it (0)."""
        self.observers = list(observers)
        self.frames = 0
        self.holes = 0
        self.lost = 0
        self.old = 0
        self._first = first
        self._expected = first

    def on_open(self) -> None:
        """Begin with a new connection."""
        self._expected = self._first

    def observe(self, number: int, now_ns: int, mono_ns: int, out: Output) -> bool:
        """Check one frame's number, before its events are judged.

        Returns:
            True if the frame is new. False if it is old: its events must be dropped.
        """
        self.frames += 1
        expected = self._expected
        if expected is not None and number < expected:
            self.old += 1
            return False
        self._expected = number + 1
        if expected is not None and number > expected:
            self.holes += 1
            self.lost += number - expected
            for observer in self.observers:
                observer.on_connection_gap(now_ns, mono_ns, out)
        return True

    def __repr__(self) -> str:
        """Return the next number and the counts."""
        return f"ConnectionCounter(next {self._expected}, {self.holes} holes, {self.old} old)"
