"""What a machine gives back: events for the right, commands for the session."""

from __future__ import annotations

from typing import Protocol

from crossfeed.model.commands import Command
from crossfeed.model.events import MarketData

__all__ = ["Gate", "Output"]


class Output:
    """Collects the results of one step, in order. Made by the caller, filled by the machines.

    Attributes:
        events: To be delivered, in this order.
        commands: To be carried out by the session, in this order.
    """

    __slots__ = ("commands", "events")

    def __init__(self) -> None:
        """Start empty."""
        self.events: list[MarketData] = []
        self.commands: list[Command] = []

    def __repr__(self) -> str:
        """Return the counts."""
        return f"Output({len(self.events)} events, {len(self.commands)} commands)"


class Gate(Protocol):
    """Judges the events of one stream: lets them pass, drops them, or adds what it found out.

    Called for each event in the order of arrival; must be cheap when all is well.
    """

    def admit(self, event: MarketData, out: Output) -> None:
        """Append to `out.events` what subscribers shall see because of `event`."""
        ...
