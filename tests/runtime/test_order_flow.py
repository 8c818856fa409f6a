"""The order-by-order book beside `full`: equal to the venue's own orders, whatever is lost."""

from decimal import Decimal

import pytest

from crossfeed import Trust, UnknownSymbolError, VenueClient
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Side
from crossfeed.runtime.order_flow import L3_KIND, OrderFlow
from crossfeed.simulator import FaultRule
from crossfeed.simulator.venues.coinbase.profile import TEST_KEY, TEST_PASSPHRASE, TEST_SECRET
from crossfeed.testing.events import order
from crossfeed.venues.registry import find_venue

SIGNED = {"api_key": TEST_KEY, "api_secret": TEST_SECRET, "api_passphrase": TEST_PASSPHRASE}
ALL = 1 << 30


@pytest.fixture(autouse=True)
async def _clean(leaves_no_task: None) -> None:
    """Every test ends everything that it started."""


@pytest.fixture
async def venue(simulate):
    """A simulated Coinbase of a quick market."""
    return await simulate(venues=("coinbase",), symbols=("BTC/USD",), rate_per_s=500)


@pytest.fixture
def client(venue, reach):
    """A client with the simulator's key that asks for `full`."""
    settings = reach(venue, "coinbase", **SIGNED)
    return VenueClient("coinbase", symbols=["BTC/USD"], kinds=["full"], settings=settings)


@pytest.fixture
def agree(venue, true_depth, until):
    """Return a coroutine function: let the market rest, and compare all orders of both sides."""

    async def compare(client):
        venue.pause()
        book, market = client.order_book_l3("BTC/USD"), venue.market("coinbase", "BTC/USD")
        await until(
            lambda: book.trust is Trust.SOUND and book.sequence == market.ids.sequence, 10.0
        )
        bids, asks = true_depth(venue, "coinbase", "BTC/USD", ALL)
        assert [list(side) for side in book.depth_exact(ALL)] == [bids, asks]
        lot = Decimal(1).scaleb(-market.instrument.grid.lot_decimals)
        levels = [(Side.BUY, market.book.bids), (Side.SELL, market.book.asks)]
        count = 0
        for (side, true), found in zip(levels, book.depth(ALL), strict=True):
            for (tick, level), (price, _) in zip(
                sorted(true.items(), reverse=side is Side.BUY), found, strict=True
            ):
                queue = [one.units for one in book.queue(side, price)]
                lots = [one.lots * lot * 10**8 for one in level.queue.values()]
                assert queue == lots, tick
                count += len(lots)
        assert book.order_count == count > 0
        first = book.queue(Side.BUY, book.best().bid_price)[0]
        assert book.order(first.order_id) == first
        venue.resume()

    return compare


async def test_the_book_equals_the_venues_orders(client, agree, until) -> None:
    numbers = []
    client.on("full", lambda event: numbers.append(event.sequence))
    with pytest.raises(UnknownSymbolError, match='subscribe kind "full"'):
        client.order_book_l3("BTC/USD")
    async with client:
        await until(lambda: len(numbers) > 200)
        await agree(client)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert dict(client.passed_by_kind())[L3_KIND] > 0
        kinds = {str(trust.stream.channel) for trust in client.trusts()}
        assert kinds == {"full", L3_KIND, "heartbeat"}
        assert client.gaps.totals().found == 0
        with pytest.raises(UnknownSymbolError):
            client.book("BTC/USD")
        await client.unsubscribe(["BTC/USD"], ["full"])
        with pytest.raises(UnknownSymbolError):
            client.order_book_l3("BTC/USD")
        assert list(client.trusts()) == []


@pytest.mark.fault("S08")
async def test_a_lost_message_makes_it_fetch_the_orders_again(venue, client, agree, until) -> None:
    numbers = []
    client.on("full", lambda event: numbers.append(event.sequence))
    async with client:
        await agree(client)
        venue.inject(FaultRule(kind="drop", channels=("full",), at=(50,), limit=1))
        await until(lambda: client.gaps.totals().found >= 2)
        await agree(client)
        assert len(numbers) == len(set(numbers))
        records = {record.stream.channel: record for record in client.gaps.records()}
        book, full = records[L3_KIND], records["full"]
        assert (book.first, book.last) == (full.first, full.last)
        assert set(range(numbers[0], numbers[-1] + 1)) - set(numbers) == {book.first}
        assert (str(book.state), str(full.state)) == ("snapshot", "lost")
        client.resync("BTC/USD")
        assert client.order_book_l3("BTC/USD").trust is Trust.UNSOUND
        await agree(client)


@pytest.mark.parametrize("lines", [1, 2])
async def test_it_outlives_its_connection(venue, reach, agree, until, lines) -> None:
    settings = reach(venue, "coinbase", lines=lines, **SIGNED)
    client = VenueClient("coinbase", symbols=["BTC/USD"], kinds=["full"], settings=settings)
    numbers = []
    client.on("full", lambda event: numbers.append(event.sequence))
    async with client:
        await agree(client)
        venue.cut_all("coinbase")
        await until(lambda: client.get_stats()["reconnect_attempts"] >= lines)
        seen = len(numbers)
        await until(lambda: len(numbers) > seen + 50)
        await agree(client)
        assert numbers == sorted(set(numbers))
        assert client.gaps.totals().open == 0


@pytest.mark.fault("S02")
@pytest.mark.parametrize("is_missed", [False, True])
async def test_a_quiet_product_is_proven_after_a_reconnect(
    venue, client, agree, until, is_missed
) -> None:
    """The heartbeat names the newest number: no event need come to show whether one was missed."""
    heard = []
    client.on("full", lambda event: heard.append(event.sequence))
    async with client:
        await agree(client)
        book, market = client.order_book_l3("BTC/USD"), venue.market("coinbase", "BTC/USD")
        venue.pause()
        # The book may stand there by its image, before the feed has brought what led to it.
        await until(lambda: book.sequence == market.ids.sequence == max(heard, default=0))
        if is_missed:
            venue.inject(FaultRule(kind="stall", mode="lose", at_s=(0.0,), duration_s=0.3))
            venue.resume()
            await until(lambda: market.ids.sequence > book.sequence + 5)
            venue.pause()
        venue.cut_all("coinbase")
        full = next(t for t in client.trusts() if t.stream.channel == "full")
        await until(lambda: book.trust is Trust.UNAVAILABLE)
        await until(lambda: book.trust is Trust.SOUND)
        # What proves the book proves the feed it is made from, in the same step; but what an image
        # shows to be missing may still be on its way in the feed, and has a second's grace.
        if is_missed:
            await until(lambda: full.current is Trust.SOUND)
        assert full.current is Trust.SOUND
        assert book.sequence == market.ids.sequence
        assert (book.cause == "witnessed") is not is_missed
        await agree(client)
        assert full.current is Trust.SOUND
        causes = {(gap.stream.channel, gap.cause) for gap in client.gaps.records()}
        assert causes <= {("full", "tail"), (L3_KIND, "reconnect")}
        assert bool(causes) is is_missed


async def test_an_image_without_orders_is_asked_for_again() -> None:
    instrument = find_venue("coinbase").builtin()[0]
    trust = StreamTrust(Stream("coinbase", L3_KIND, instrument.symbol), GapLedger())
    flow, out = OrderFlow(trust, instrument), Output()
    flow.sync.admit(order("received", 5, "a"), out)
    flow.on_snapshot([], 1, 0, 0, out)
    assert flow.sync.stats().attempt == 1
    flow.sync.on_timer(0, flow.sync.next_due_ns, out)
    assert [command.epoch for command in out.commands] == [1, 2]
