"""The simulator without sockets, in virtual time: what pure cores and fault suites drive.

```python
room = MemorySimulator(venues=("binance",), rate_per_s=100, seed=7)
link = room.connect("binance", "/stream?streams=btcusdt@trade")
room.advance(1_000_000_000)  # one second
messages = link.receive()
```
The same seed and the same calls at the same times give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from crossfeed.simulator.clock import ManualClock
from crossfeed.simulator.faults import Schedule
from crossfeed.simulator.framing import Frame, Opcode
from crossfeed.simulator.http import Request, Response
from crossfeed.simulator.outgoing import Close, Cut, Outgoing, Ping
from crossfeed.simulator.session import Session
from crossfeed.simulator.simulator import DEFAULT_SYMBOLS, DEFAULT_VENUES, Simulator

__all__ = ["MemoryLink", "MemorySimulator", "RefusedHandshake"]


_STEP_NS = 1_000_000_000


class RefusedHandshake(Exception):  # noqa: N818 - an answer, not a fault of the simulator
    """The venue refused a connection; `response` says how."""

    def __init__(self, response: Response) -> None:
        """Build from the venue's answer."""
        self.response = response
        super().__init__(f"handshake refused: {response.status}")


class MemoryLink:
    """A client's end of one connection. Pings are answered at once unless told otherwise."""

    def __init__(self, room: MemorySimulator, session: Session) -> None:
        """Hold one session; made by `MemorySimulator.connect`."""
        self._room = room
        self._session = session
        self._items: list[Outgoing] = []
        self.answers_pings = True
        self.pings: list[bytes] = []
        #: How the connection ended, None while it lives.
        self.end: Close | Cut | None = None

    @property
    def number(self) -> int:
        """Return the connection's number in the ledger."""
        return self._session.number

    def send(self, data: bytes, opcode: Opcode = Opcode.TEXT) -> None:
        """Send one message now."""
        if self.end is None:
            self._session.on_frame(Frame(opcode, data), self._room.now_ns)
            self.collect()

    def receive(self) -> list[bytes]:
        """Return the text messages that have arrived since the last call."""
        self.collect()
        return [item for item in self.receive_all() if isinstance(item, bytes)]

    def receive_all(self) -> list[Outgoing]:
        """Return everything that has arrived since the last call, control frames included."""
        self.collect()
        items, self._items = self._items, []
        return items

    def advance(self, now_ns: int) -> None:
        """Let the whole room's time pass until `now_ns`."""
        self._room.advance_to(now_ns)

    def collect(self) -> None:
        """Take what the session has to say, and answer its pings."""
        for item in self._session.take():
            if self.end is not None:
                return
            self._items.append(item)
            if isinstance(item, Ping):
                self.pings.append(item.payload)
                if self.answers_pings:
                    self._session.on_frame(Frame(Opcode.PONG, item.payload), self._room.now_ns)
            elif isinstance(item, Close | Cut):
                self.end = item

    def lose(self) -> None:
        """Break the connection from the client's side, without a close frame."""
        if self.end is None:
            self.collect()
            self.end = Cut("reset")
            self._session.finish("lost", self._room.now_ns)


class MemorySimulator:
    """The venues, their markets and the ledger, driven by hand."""

    def __init__(
        self,
        venues: Sequence[str] = DEFAULT_VENUES,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        *,
        rate_per_s: float | Mapping[str, float] = 200.0,
        seed: int = 1,
        faults: str | Path | Schedule | None = None,
        clock: ManualClock | None = None,
        taker_share: float = 0.35,
        orders_wanted: int | None = None,
    ) -> None:
        """Build the venues at the clock's present time. Options as for `Simulator`."""
        self.clock = clock if clock is not None else ManualClock()
        self.simulator = Simulator(
            venues,
            symbols,
            rate_per_s=rate_per_s,
            seed=seed,
            faults=faults,
            clock=self.clock,
            taker_share=taker_share,
            orders_wanted=orders_wanted,
        )
        self.ledger = self.simulator.ledger
        self.links: list[MemoryLink] = []

    @property
    def now_ns(self) -> int:
        """Return the present time."""
        return self.clock.now_ns()

    def connect(
        self, venue: str, path: str = "/", headers: Mapping[str, str] | None = None
    ) -> MemoryLink:
        """Open a connection.

        Raises:
            RefusedHandshake: the venue refused it.
        """
        bare, _, query = path.partition("?")
        request = Request("GET", unquote(bare), query, dict(headers or {}))
        outcome = self.simulator.exchanges[venue].connect(request, "memory", self.now_ns)
        if isinstance(outcome, Response):
            raise RefusedHandshake(outcome)
        link = MemoryLink(self, outcome)
        self.links.append(link)
        return link

    def rest(self, venue: str, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Make a GET request; a delay asked for is the caller's to keep."""
        bare, _, query = path.partition("?")
        request = Request("GET", unquote(bare), query, dict(headers or {}))
        return self.simulator.exchanges[venue].handle(request, "memory", self.now_ns)

    def advance(self, nanoseconds: int) -> None:
        """Let time pass; links answer their pings at least once a second of it."""
        self.advance_to(self.now_ns + nanoseconds)

    def drain(self, *, grace_s: float = 2.0, limit_s: float = 5.0) -> None:
        """Stop the faults, let every loss become visible to the links there are, then stop."""
        self.simulator.begin_drain(grace_s=grace_s, limit_s=limit_s)
        while not self.simulator.is_drained:
            self.advance(_STEP_NS // 10)

    def advance_to(self, now_ns: int) -> None:
        """Let time pass until `now_ns`."""
        while self.now_ns < now_ns:
            self.clock.advance(min(now_ns - self.now_ns, _STEP_NS))
            self.simulator.world.step(self.now_ns)
            for link in self.links:
                link.collect()
            self.links = [link for link in self.links if link.end is None]
