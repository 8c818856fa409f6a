"""A session's connections: what is left when one could not be made, and which wants share one."""

import pytest
from msgspec.structs import replace

from crossfeed import Trust, VenueClient
from crossfeed.errors import TransportError
from crossfeed.simulator import FaultRule
from crossfeed.venues.binance.codec import BinanceCodec
from crossfeed.venues.registry import find_venue


@pytest.fixture(autouse=True)
async def _clean(leaves_no_task: None) -> None:
    """Every test ends everything that it started."""


async def test_a_subscription_that_found_no_connection_can_be_repeated(
    simulate, reach, until
) -> None:
    """The connection that was not made does not stand for one that carries the stream."""
    venue = await simulate(venues=("coinbase",), symbols=("BTC/USD", "ETH/USD"), rate_per_s=300)
    settings = reach(venue, "coinbase", streams_per_connection=1)
    client = VenueClient("coinbase", symbols=["BTC/USD"], kinds=["ticker"], settings=settings)
    async with client:
        venue.inject(FaultRule(kind="handshake", status=503))
        client._session.settings = replace(settings, connect_deadline_s=0.3)
        with pytest.raises(TransportError):
            await client.subscribe(["ETH/USD"], ["ticker"])
        assert len(client.get_stats()["connections"]) == 1
        venue.calm()
        client._session.settings = settings
        await client.subscribe(["ETH/USD"], ["ticker"])
        await until(lambda: {t.current for t in client.trusts()} == {Trust.SOUND})
        assert len(client.get_stats()["connections"]) == 2


class ForkedCodec(BinanceCodec):
    """Serves the trades at another address than the rest, as venues with several paths do."""

    def url_path(self, wants):
        paths = {"/stream" if want.channel == "trade" else "/ws" for want in wants}
        assert len(paths) == 1, "the wants of one connection have one path"
        return paths.pop()


async def test_wants_of_different_paths_do_not_share_a_connection(
    simulate, reach, until, monkeypatch
) -> None:
    """However much room there is: at the start, and for what is added later."""
    venue = await simulate(venues=("binance",), symbols=("BTC/USDT", "ETH/USDT"), rate_per_s=300)
    forked = replace(find_venue("binance"), make_codec=ForkedCodec)
    monkeypatch.setattr("crossfeed.clients.venue_client.find_venue", lambda _: forked)
    settings = reach(venue, "binance")
    client = VenueClient(
        "binance", symbols=["BTC/USDT"], kinds=["trade", "book_ticker"], settings=settings
    )
    async with client:
        await client.subscribe(["ETH/USDT"], ["trade", "book_ticker"])
        await until(lambda: {t.current for t in client.trusts()} == {Trust.SOUND})
        urls = [stats["url"] for stats in client.get_stats()["connections"].values()]
        assert len(urls) == 2
        assert {url.rstrip(")").rpartition("/")[2] for url in urls} == {"stream", "ws"}


@pytest.mark.fault("P11")
async def test_the_timers_go_on_after_one_that_failed(simulate, reach, until, monkeypatch) -> None:
    """Without them nothing would be found stale, repaired or rotated any more, and nobody told."""
    venue = await simulate(venues=("kraken",), symbols=("BTC/USD",), rate_per_s=50)
    client = VenueClient(
        "kraken", symbols=["BTC/USD"], kinds=["ticker"], settings=reach(venue, "kraken")
    )
    runs, errors = [], []

    def fail(mono_ns):
        runs.append(mono_ns)
        if len(runs) == 1:
            raise ValueError("a bug of ours")

    monkeypatch.setattr(client._session.auditor, "on_timer", fail)
    client.on_error(errors.append)
    async with client:
        await until(lambda: len(runs) > 2)
        await until(lambda: errors)
    assert [str(error) for error in errors] == ["a bug of ours"]
