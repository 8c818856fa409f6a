"""Make before break: a connection is replaced under load; nothing is lost, nothing doubled."""

import asyncio

import pytest

from crossfeed import Mark, Trust, VenueClient
from crossfeed.model.commands import Rotate

pytestmark = pytest.mark.usefixtures("leaves_no_task")

KINDS = {
    "binance": ["trade", "book", "ticker"],
    "coinbase": ["trade", "book", "ticker"],
    "coinbase_advanced": ["trade", "book", "ticker"],
    "kraken": ["trade", "book_ticker", "ticker"],
}


class Watched:
    """A client of a quick simulated venue, and what it handed out."""

    def __init__(self, venue: str, settings) -> None:
        self.client = VenueClient(venue, symbols=["BTC/USD"], kinds=KINDS[venue], settings=settings)
        self.trades: list[int] = []
        self.times: dict[str, list[int]] = {}
        self.statuses: list[tuple[str, Trust]] = []
        self.client.on("*", self._keep)

    def _keep(self, event) -> None:
        if event.data_type == "feed_status":
            self.statuses.append((event.channel, event.current))
        elif event.data_type == "trade" and not event.marks & Mark.HISTORY:
            self.trades.append(event.trade_id)
        else:
            self.times.setdefault(event.data_type, []).append(event.ts_mono_ns)

    def rotate(self) -> str:
        """Have the connection replaced, as before the venue's cut; return its name."""
        session = self.client._session
        (connection,) = session.connections
        session.execute(connection, [Rotate("a test")])
        return connection.name

    @property
    def is_rotating(self) -> bool:
        """Whether a connection is being replaced."""
        return bool(self.client._session.links._rotating)

    @property
    def connections(self) -> list[str]:
        """Names of the connections."""
        return list(self.client.get_stats()["connections"])


@pytest.fixture
async def watch(simulate, reach):
    """Start watched clients of simulated venues."""

    async def start(venue: str, **changes) -> Watched:
        simulator = await simulate(venues=(venue,), symbols=("BTC/USD",), rate_per_s=500)
        watched = Watched(venue, reach(simulator, venue, **changes))
        watched.simulator = simulator
        return watched

    return start


@pytest.mark.fault("C06")
@pytest.mark.parametrize("venue", sorted(KINDS))
async def test_nothing_is_lost_and_nothing_doubled(watch, until, venue) -> None:
    watched = await watch(venue)
    async with watched.client:
        await until(lambda: len(watched.trades) > 20)
        for _ in range(2):
            watched.statuses.clear()
            old = watched.rotate()
            await until(
                lambda old=old: len(watched.connections) == 1 and watched.connections != [old]
            )
            count = len(watched.trades)
            await until(lambda count=count: len(watched.trades) > count + 20)
            assert all(trust <= Trust.STALE for _, trust in watched.statuses), watched.statuses
        stats = watched.client.get_stats()
    ids = watched.trades
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert (stats["gaps"], stats["state"]) == (0, "connected")
    for times in watched.times.values():
        assert times == sorted(times)  # of two lines only one is given out at a time


@pytest.mark.fault("C06")
async def test_the_book_stays_right_through_a_rotation(watch, until, true_depth) -> None:
    """Coinbase's batches have no numbers: the output switches whole, at a sound point."""
    watched = await watch("coinbase")
    async with watched.client as client:
        await until(lambda: client.book("BTC/USD").trust is Trust.SOUND)
        book = client.book("BTC/USD")
        old = watched.rotate()
        await until(lambda: watched.connections != [old])
        assert client.book("BTC/USD") is book  # whoever holds it goes on with it
        watched.simulator.pause()
        truth = watched.simulator
        await until(lambda: book.depth_exact(30) == true_depth(truth, "coinbase", "BTC/USD", 30))
        assert book.trust is Trust.SOUND


async def test_a_rotation_that_cannot_connect_keeps_the_old_connection(watch, until) -> None:
    from crossfeed.simulator import FaultRule

    watched = await watch("binance", connect_deadline_s=0.4, reconnect_attempts_max=1)
    async with watched.client:
        await until(lambda: len(watched.trades) > 5)
        watched.simulator.inject(FaultRule(kind="handshake", status=503))
        old = watched.rotate()
        log = watched.simulator.ledger.connections
        await until(lambda: log["binance", "refused 503"] and not watched.is_rotating)
        assert watched.connections == [old]
        count = len(watched.trades)
        await until(lambda: len(watched.trades) > count + 20)
    ids = watched.trades
    assert ids == list(range(ids[0], ids[0] + len(ids)))


@pytest.mark.fault("P05")
@pytest.mark.parametrize("passes", [0, 1, 3, 6, 10, 15, 25, 40])
async def test_closing_during_a_rotation_leaves_nothing(watch, until, passes) -> None:
    watched = await watch("coinbase")
    async with watched.client:
        await until(lambda: watched.trades)
        watched.rotate()
        for _ in range(passes):
            await asyncio.sleep(0)
    await until(lambda: not watched.simulator.exchanges["coinbase"].sessions)


async def test_a_connection_is_replaced_once_at_a_time(watch, until) -> None:
    watched = await watch("binance")
    async with watched.client:
        await until(lambda: watched.trades)
        watched.rotate()
        old = watched.rotate()
        await until(lambda: watched.connections != [old] and not watched.is_rotating)
        log = watched.simulator.ledger.connections
        assert log["binance", "accepted"] == 2
