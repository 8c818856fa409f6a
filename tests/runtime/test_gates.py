"""The small gates that put others together."""

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from crossfeed.model.events import Candle, VenueStatus
from crossfeed.model.output import Output
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.runtime.counters import Counters
from crossfeed.runtime.gates import HeartbeatGate, IntervalSorter, Passage, StatusGate, Tee
from crossfeed.runtime.market_states import MarketStates
from crossfeed.testing.events import heartbeat, trade

HEAD = ("kraken", "", "", 0, 0, 7, 8, Mark.NONE, Integrity.NONE, Trust.SOUND, None, 0)


class Sink:
    """A gate that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def admit(self, event: object, out: Output) -> None:
        """Keep it and pass it on."""
        self.events.append(event)
        out.events.append(event)


class Streams:
    """What the gates tell the streams."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []
        self.crossings: list[tuple[str, bool]] = []
        profile = SimpleNamespace(
            closed_states={"maintenance"},
            closed_products=("delisted", "halt", "no_trading"),
            auction_states={"auction"},
        )
        self.venue = SimpleNamespace(profile=profile)
        self.markets = MarketStates()

    def witness(self, *said: object) -> None:
        """Note it."""
        self.said.append(said)

    def crossing_state(self, symbol: str, *, is_allowed: bool) -> None:
        """Note it."""
        self.crossings.append((symbol, is_allowed))

    def market_state(self, symbol: str, trust: Trust, cause: str, *_: object) -> None:
        """Note it."""
        self.said.append((symbol, trust, cause))
        self.markets.note(symbol, trust, cause)


def candle(interval: str) -> Candle:
    """Make a bar."""
    return Candle(*HEAD, interval, 0, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1, False)  # noqa: FBT003


def status(system: str = "", products: list[dict[str, object]] | None = None) -> VenueStatus:
    """Make a status message."""
    return VenueStatus(*HEAD, system, products or [])


def test_candles_go_to_their_interval_and_nowhere_else() -> None:
    sorter, minute, hour, out = IntervalSorter(), Sink(), Sink(), Output()
    sorter.gates |= {"1m": minute, "1h": hour}
    for interval in ("1m", "1h", "5m", "1m"):
        sorter.admit(candle(interval), out)
    assert [len(minute.events), len(hour.events), len(out.events)] == [2, 1, 3]


def test_unasked_passes_and_is_counted() -> None:
    counters, out = Counters(), Output()
    gate = Passage(counters)
    gate.admit(status("online"), out)
    assert (counters.unasked, len(out.events)) == (1, 1)


def test_tee_hands_to_all_in_turn() -> None:
    first, second, out = Sink(), Sink(), Output()
    event = trade(1)
    Tee((first, second)).admit(event, out)
    assert first.events == second.events == [event]


@pytest.mark.fault("S02")
def test_heartbeats_bear_witness_for_the_trades() -> None:
    streams, out = Streams(), Output()
    gate = HeartbeatGate(Sink(), streams)
    gate.admit(heartbeat(0, 5.0), out)
    gate.admit(heartbeat(4711, 6.0), out)
    gate.admit(replace(heartbeat(4711, 7.0), sequence=90), out)
    assert streams.said == [
        ("trade", "BTC-USD", 4711, 6_000_000),
        ("trade", "BTC-USD", 4711, 7_000_000),
        ("full", "BTC-USD", 90, 7_000_000),
        ("book_l3", "BTC-USD", 90, 7_000_000),
    ]
    assert len(out.events) == 3


@pytest.mark.fault("C09", "S19")
def test_status_closes_and_opens_markets() -> None:
    streams, out = Streams(), Output()
    gate = StatusGate(Sink(), streams)
    gate.admit(status("maintenance"), out)
    gate.admit(status("online"), out)
    assert streams.said == [
        ("", Trust.UNAVAILABLE, "maintenance"),
        ("", Trust.SOUND, "online"),
    ]
    streams.said.clear()
    products = [
        {"id": "BTC-USD", "status": "online"},  # was never closed: nothing to say
        {"id": "ETH-USD", "status": "DELISTED"},
        {"symbol": "SOL/USD", "status": "halt"},
        {"id": "XRP-USD"},
        {"status": "delisted"},
        {"id": "ADA-USD", "status": "something new"},
        {"id": "DOT-USD", "status": "online", "no_trading": True},
        {"id": "UNI-USD", "status": "online", "no_trading": "no"},
    ]
    gate.admit(status(products=products), out)
    gate.admit(status(products=products), out)  # said once
    gate.admit(status(products=[{"id": "ETH-USD", "status": "online"}]), out)
    assert streams.said == [
        ("ETH-USD", Trust.CLOSED, "delisted"),
        ("SOL/USD", Trust.CLOSED, "halt"),
        ("DOT-USD", Trust.CLOSED, "no_trading"),
        ("ETH-USD", Trust.SOUND, "online"),
    ]


@pytest.mark.fault("S13")
def test_status_says_where_crossed_books_are_no_mistake() -> None:
    streams, out = Streams(), Output()
    gate = StatusGate(Sink(), streams)
    products = [
        {"id": "A", "status": "auction"},
        {"id": "B", "status": "online", "auction": True},
        {"id": "C", "status": "online", "auction": "no"},
    ]
    gate.admit(status(products=products), out)
    gate.admit(status("auction"), out)
    gate.admit(status("online"), out)
    assert streams.crossings == [
        ("A", True),
        ("B", True),
        ("C", False),
        ("", True),
        ("", False),
    ]
