"""The quiet end of a run: faults stop, every earlier loss becomes visible, the market stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossfeed.simulator.exchange import Exchange
    from crossfeed.simulator.world import World

__all__ = ["Drain"]

_NS = 1_000_000_000
_POLL_NS = 100_000_000
#: After the last forced trade: batches, heartbeats and tickers go out, then it is still.
_SETTLE_NS = 1_300_000_000


class Drain:
    """Runs on the world's schedule, so it works in virtual time as well.

    A loss at the very end of a stream cannot be seen by anybody: nothing follows it. So faults
    stop first; the market goes on for `grace_s`, in which clients reconnect; then each market that
    still has an unseen loss is made to trade once more, until none is left or `limit_s` has
    passed; then the market stops, and what was collected for the next batch still goes out.
    """

    def __init__(
        self, world: World, exchanges: dict[str, Exchange], *, grace_s: float, limit_s: float
    ) -> None:
        """Begin at the present simulated time."""
        self._world = world
        self._exchanges = exchanges
        now_ns = world.scheduler.now_ns
        self._ready_ns = now_ns + round(grace_s * _NS)
        self._limit_ns = self._ready_ns + round(limit_s * _NS)
        self.is_done = False
        for exchange in exchanges.values():
            exchange.stop_faults()
        world.scheduler.at(now_ns + _POLL_NS, self._poll)

    def _poll(self, now_ns: int) -> int | None:
        """Look for unseen losses, make the markets that have them trade."""
        if now_ns < self._ready_ns:
            return now_ns + _POLL_NS
        tails = self._tails()
        if not tails or now_ns >= self._limit_ns:
            self._world.is_paused = True
            self._world.scheduler.at(now_ns + _SETTLE_NS, self._finish)
            return None
        for owner, unified in tails:
            self._world.touch(owner, unified)
        return now_ns + _POLL_NS

    def _tails(self) -> dict[tuple[str, str], None]:
        """Return the markets with an unseen loss on a live line, or on one that may come back."""
        tails: dict[tuple[str, str], None] = {}
        for exchange in self._exchanges.values():
            for record in exchange.ledger.streams.values():
                if record.key[0] != exchange.name or record.chain == "none" or not record.unified:
                    continue
                if any(line.has_tail for line in record.lines):
                    tails[exchange.owner, record.unified] = None
        return tails

    def _finish(self, now_ns: int) -> None:
        """End."""
        del now_ns
        self.is_done = True
