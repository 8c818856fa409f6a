"""Other people's clients use the simulator by URL override, and see what the ledger says.

Needs the extra `peers`; skipped without it.
"""

from __future__ import annotations

import asyncio

import pytest

from crossfeed.simulator import Simulator
from crossfeed.simulator.venues.coinbase.profile import TEST_KEY, TEST_PASSPHRASE, TEST_SECRET

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(60),
]
DEADLINE_S = 15.0


@pytest.fixture
async def simulator():
    venues = ("binance", "coinbase", "kraken", "coinbase_advanced")
    async with Simulator(venues=venues, rate_per_s=100.0) as one:
        yield one


def make_client(simulator, venue):
    """Return a ccxt pro client of a venue, aimed at the simulator."""
    ccxt = pytest.importorskip("ccxt.pro", reason="needs the extra `peers`")
    ws, rest = simulator.ws_url(venue), simulator.rest_url(venue)
    if venue == "binance":
        client = ccxt.binance({"options": {"fetchMarkets": {"types": ["spot"]}}})
        client.has["fetchCurrencies"] = False
        client.urls["api"]["public"] = f"{rest}/api/v3"
        client.urls["api"]["ws"]["spot"] = f"{ws}/ws"
    elif venue == "kraken":
        client = ccxt.kraken()
        client.urls["api"]["public"] = rest
        client.urls["api"]["ws"]["publicV2"] = ws
    elif venue == "coinbase":
        client = ccxt.coinbaseexchange(
            {"apiKey": TEST_KEY, "secret": TEST_SECRET, "password": TEST_PASSPHRASE}
        )
        client.urls["api"]["public"] = rest
        client.urls["api"]["ws"] = ws
    else:
        client = ccxt.coinbase()
        client.urls["api"]["rest"] = rest.removesuffix("/api/v3/brokerage")
        client.urls["api"]["ws"] = ws
        pair = {"id": "BTC-USD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD"}
        more = {"type": "spot", "spot": True, "precision": {"price": 0.01, "amount": 1e-8}}
        client.set_markets([client.safe_market_structure({**pair, **more})])
    return client


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken", "coinbase_advanced"])
async def test_ccxt_sees_the_truth(simulator, venue):
    client = make_client(simulator, venue)
    symbol = "BTC/USDT" if venue == "binance" else "BTC/USD"
    market = simulator.market(venue, "BTC/USD")
    try:
        async with asyncio.timeout(DEADLINE_S):
            if venue != "coinbase_advanced":
                await client.load_markets()
                assert symbol in client.markets
            seen = {}
            while len(seen) < 20:
                for trade in await client.watch_trades(symbol):
                    seen[int(trade["id"])] = trade
            ticker = await client.watch_ticker(symbol)
            book = await client.watch_order_book(symbol)
            simulator.pause()
            # Books settle once the last batch is in: compare the whole top then.
            bids, asks = market.book.depth(5)
            scale = market.instrument.ticks
            top = [price / scale for price, _ in bids], [price / scale for price, _ in asks]
            # ccxt updates the book in place and tells nobody.
            while top != tuple([row[0] for row in book[side][:5]] for side in ("bids", "asks")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        await client.close()
    truth = {one.id: one for one in market.trades}
    for number, trade in seen.items():
        assert trade["price"] == truth[number].price / scale
        assert trade["amount"] == pytest.approx(truth[number].lots / market.instrument.lots)
    assert ticker["last"] > 0
    assert simulator.ledger.totals()["violations"] == 0


async def test_python_binance_sees_the_truth(simulator):
    binance = pytest.importorskip("binance", reason="needs the extra `peers`")
    client = binance.AsyncClient()
    sockets = binance.BinanceSocketManager(client)
    sockets.STREAM_URL = simulator.ws_url("binance") + "/"
    market = simulator.market("binance", "BTC/USD")
    try:
        async with asyncio.timeout(DEADLINE_S), sockets.trade_socket("BTCUSDT") as socket:
            ids = [(await socket.recv())["t"] for _ in range(20)]
    finally:
        await client.close_connection()
    assert ids == list(range(ids[0], ids[0] + 20))
    assert {one.id for one in market.trades} >= set(ids)
