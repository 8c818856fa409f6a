"""An order-by-order book replayed is, event by event, the one that stood live."""

import asyncio
import hashlib

import pytest

from crossfeed import Trust, VenueClient
from crossfeed.clients.replay import Replay
from crossfeed.model.trust import Side
from crossfeed.runtime.recording import Recorder
from crossfeed.simulator import FaultRule
from crossfeed.simulator.venues.coinbase.profile import TEST_KEY, TEST_PASSPHRASE, TEST_SECRET

SIGNED = {"api_key": TEST_KEY, "api_secret": TEST_SECRET, "api_passphrase": TEST_PASSPHRASE}


class Trace:
    """A digest of every order event, and of the book as it stands right after it."""

    def __init__(self, book) -> None:
        self.digest = hashlib.sha256()
        self.count = 0
        self.unsound = 0
        self._book = book

    def __call__(self, event) -> None:
        book = self._book()
        self.count += 1
        self.unsound += book.trust is not Trust.SOUND
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        top = book.best()
        queues = []
        if top is not None:
            queues += book.queue(Side.BUY, top.bid_price), book.queue(Side.SELL, top.ask_price)
        shown = (book.sequence, book.trust, book.cause, book.order_count, book.depth(5), queues)
        self.digest.update(repr((type(event).__name__, fields, shown)).encode())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("lines", [1, 2])
async def test_an_order_book_replayed_equals_the_live_one(tmp_path, simulate, reach, until, lines):
    """Losses, lost connections, images and heartbeats included."""
    venue = await simulate(venues=("coinbase",), symbols=("BTC/USD",), rate_per_s=150, seed=5)
    settings = reach(venue, "coinbase", lines=lines, **SIGNED)
    folder = tmp_path / "journal"
    async with Recorder(folder) as recorder:
        client = VenueClient(
            "coinbase",
            symbols=["BTC/USD"],
            kinds=["full", "trade"],
            settings=settings,
            recorder=recorder,
        )
        live = Trace(lambda: client.order_book_l3("BTC/USD"))
        client.on("full", live)
        client.on_feed_status(live)
        async with client:
            book = client.order_book_l3("BTC/USD")
            await until(lambda: book.trust is Trust.SOUND and live.count > 30, 30.0)
            venue.inject(FaultRule(kind="drop", channels=("full",), at=(20,), limit=1))
            venue.cut_all("coinbase")
            await until(lambda: book.trust is not Trust.SOUND, 30.0)
            venue.pause()
            await until(lambda: book.trust is Trust.SOUND, 30.0)
            venue.resume()
            seen = live.count
            await until(lambda: live.count > seen + 30 and book.trust is Trust.SOUND, 30.0)
            counted, digest = live.count, live.digest.hexdigest()
    await asyncio.to_thread(replayed, folder, counted, digest)
    assert live.unsound > 0


def replayed(folder, count: int, digest: str) -> None:
    """Play the recording up to as many events and compare."""
    replay = Replay(folder)
    again = Trace(lambda: replay.feeds["coinbase"].streams.order_book("BTC-USD"))
    found = []

    def take(event) -> None:
        if again.count < count:
            again(event)
            found.append(again.digest.hexdigest())

    replay.on("full", take)
    replay.on_feed_status(take)
    replay.play()
    assert len(found) == count
    assert found[-1] == digest
