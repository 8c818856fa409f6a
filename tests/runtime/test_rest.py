"""The REST side of a session: instruments, repairs, and what is done without it."""

import pytest

from crossfeed import (
    GapState,
    Mark,
    OverflowPolicy,
    Trust,
    UnknownSymbolError,
    VenueClient,
)
from crossfeed.simulator import FaultRule

pytestmark = pytest.mark.usefixtures("leaves_no_task")


@pytest.fixture
async def binance(simulate):
    """A simulated Binance of a quick market."""
    return await simulate(venues=("binance",), symbols=("BTC/USD", "ODD/USD"), rate_per_s=400)


@pytest.fixture
def connect(binance, reach):
    """Make a client of trades."""

    def make(symbol: str = "BTC/USD", kinds=("trade",), **changes) -> VenueClient:
        settings = reach(binance, "binance", **changes)
        return VenueClient("binance", symbols=[symbol], kinds=kinds, settings=settings)

    return make


# ── instruments ───────────────────────────────────────────────────────────────


async def test_what_only_the_venue_knows_is_learnt_from_it(connect, until) -> None:
    client = connect("ODDUSDT")
    with pytest.raises(UnknownSymbolError):
        client.instrument("ODDUSDT")
    seen = []
    client.on("trade", seen.append)
    async with client:
        assert client.instrument("ODD/USDT").symbol == "ODDUSDT"
        await until(lambda: seen)


async def test_instruments_are_asked_for_once(connect) -> None:
    client = connect()
    for _ in range(2):
        async with client:
            await client.subscribe(["ODDUSDT"], ["trade"])
    assert client._session.rest.requests == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"mode": "status", "status": 503},
        {"mode": "html"},
        {"mode": "truncated"},
        {"mode": "slow", "duration_s": 5.0},
    ],
    ids=lambda fault: fault["mode"],
)
async def test_without_an_answer_the_built_in_ones_stand_in(
    binance, connect, until, caplog, fault
) -> None:
    binance.inject(FaultRule(kind="rest", path="exchangeInfo", **fault))
    client = connect(metadata_deadline_s=0.3)
    seen = []
    client.on("trade", seen.append)
    async with client:
        await until(lambda: seen)
    assert "no live instrument list" in caplog.text
    with pytest.raises(UnknownSymbolError):
        client.instrument("ODDUSDT")


async def test_builtin_never_asks(connect, until) -> None:
    client = connect(metadata="builtin")
    seen = []
    client.on("trade", seen.append)
    async with client:
        await until(lambda: seen)
        assert client._session.rest.requests == 0


async def test_an_own_stream_address_without_a_rest_address_asks_nobody(
    connect, until, caplog
) -> None:
    """Asking the real venue about a venue of one's own would mix two worlds."""
    client = connect(rest_url="")
    seen = []
    client.on("trade", seen.append)
    async with client:
        await until(lambda: seen)
        assert client._session.rest.requests == 0
    assert "no REST address: give rest_url beside ws_url" in caplog.text


# ── repairs ───────────────────────────────────────────────────────────────────


class Story:
    """Trades and gaps of a client, in the order they were told."""

    def __init__(self, client: VenueClient) -> None:
        self.trades: list[tuple[int, bool]] = []
        self.states: list[GapState] = []
        client.on("trade", self._trade)
        client.on_gap(lambda gap: self.states.append(gap.record.state))

    def _trade(self, trade) -> None:
        self.trades.append((trade.trade_id, bool(trade.marks & Mark.BACKFILLED)))

    @property
    def ids(self) -> list[int]:
        """The trades' ids."""
        return [number for number, _ in self.trades]


HOLE = FaultRule(kind="drop", channels=("trades",), at=(15,), run=4)


async def test_late_repairs_are_marked_and_hold_nothing_back(binance, connect, until) -> None:
    client = connect(backfill="late")
    story = Story(client)
    binance.inject(HOLE)
    async with client:
        await until(lambda: story.states[-1:] == [GapState.BACKFILLED])
    late = [number for number, is_late in story.trades if is_late]
    assert len(late) == 4
    assert story.ids != sorted(story.ids)
    assert sorted(story.ids) == list(range(min(story.ids), max(story.ids) + 1))


async def test_held_repairs_keep_the_order(binance, connect, until) -> None:
    client = connect(backfill="hold")
    story = Story(client)
    binance.inject(HOLE)
    async with client:
        await until(lambda: story.states[-1:] == [GapState.BACKFILLED])
        count = len(story.ids)
        await until(lambda: len(story.ids) > count + 20)
    assert story.ids == list(range(story.ids[0], story.ids[0] + len(story.ids)))
    assert sum(is_late for _, is_late in story.trades) == 4


async def test_without_backfill_a_hole_is_recorded_as_lost(binance, connect, until) -> None:
    client = connect(backfill="off")
    story = Story(client)
    binance.inject(HOLE)
    async with client:
        await until(lambda: story.states)
        await until(lambda: client.get_stats()["gaps_open"] == 0)
        stats = client.get_stats()
    assert story.states[-1] is GapState.LOST
    assert (stats["gaps"], stats["gaps_lost"], stats["events_missing"]) == (1, 1, 4)
    assert stats["events_repaired"] == 0


async def test_a_repair_that_fails_is_asked_for_again(binance, connect, until) -> None:
    client = connect()
    story = Story(client)
    binance.inject(HOLE, FaultRule(kind="rest", path="rades", status=503, limit=1))
    async with client:
        await until(lambda: story.states[-1:] == [GapState.BACKFILLED])
        assert client._session.rest.requests == 3  # instruments, refused, answered
    assert sorted(story.ids) == list(range(min(story.ids), max(story.ids) + 1))


async def test_the_stream_is_unsound_while_a_hole_is_open(binance, connect, until) -> None:
    client = connect()
    states = []
    client.on_feed_status(lambda status: states.append(status.current))
    binance.inject(HOLE)
    async with client:
        await until(lambda: states[-2:] == [Trust.UNSOUND, Trust.SOUND])


async def test_a_stream_reads_repairs_like_everything_else(binance, connect) -> None:
    client = connect()
    binance.inject(HOLE)
    ids = []
    async with client, client.stream("trade", policy=OverflowPolicy.DISCONNECT) as stream:
        async for trade in stream:
            ids.append(trade.trade_id)
            if len(ids) > 60:
                break
    assert len(ids) == len(set(ids))
