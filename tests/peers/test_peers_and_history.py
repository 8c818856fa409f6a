"""Other people's clients, unmodified, connect to a recording as to the venue itself.

With the extra `peers` (`make peers`); skipped with the reason without it.
"""

import asyncio
import contextlib
import itertools
import logging
from pathlib import Path

import pytest

from crossfeed.clients.replay import Replay
from crossfeed.clients.venue_client import VenueClient
from crossfeed.runtime.recording import Recorder
from crossfeed.runtime.replay_server import ReplayServer
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator import Simulator

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(60),
]
DEADLINE_S = 20.0
RECORDED_S = 4.0
VENUES = ("binance", "coinbase", "kraken")
REASON = "needs the extra `peers`"


async def record(folder: Path) -> None:
    """Record trades, books and tickers of simulated venues."""
    async with (
        Simulator(VENUES, ("BTC/USD",), rate_per_s=150, seed=4) as simulator,
        Recorder(folder) as recorder,
        contextlib.AsyncExitStack() as stack,
    ):
        for venue in VENUES:
            settings = FeedSettings(
                ws_url=simulator.ws_url(venue), rest_url=simulator.rest_url(venue)
            )
            client = VenueClient(
                venue, symbols=["BTC/USD"], kinds=["trade", "book", "ticker"],
                settings=settings, recorder=recorder,
            )  # fmt: skip
            await stack.enter_async_context(client)
        await asyncio.sleep(RECORDED_S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    logging.getLogger("crossfeed").setLevel(logging.ERROR)
    path = tmp_path_factory.mktemp("history") / "journal"
    asyncio.run(record(path))
    return path


def recorded_trades(folder: Path, venue: str) -> dict[int, float]:
    trades = Replay(folder, feeds=[venue]).events("trade")
    return {trade.trade_id: trade.quantity for trade in trades if not trade.marks}


@pytest.mark.parametrize("venue", VENUES)
async def test_ccxt_gets_every_recorded_trade(folder, venue, ccxt_client) -> None:
    wanted, trades = recorded_trades(folder, venue), {}
    symbol = "BTC/USDT" if venue == "binance" else "BTC/USD"
    async with ReplayServer(folder, speed=4.0) as server:
        client = ccxt_client(server, venue)

        async def follow() -> None:
            while True:
                for trade in await client.watch_trades(symbol):
                    trades[int(trade["id"])] = float(trade["amount"])

        following = None
        try:
            async with asyncio.timeout(DEADLINE_S):
                await client.load_markets()
                following = asyncio.create_task(follow())
                while not wanted.keys() <= trades.keys():
                    if following.done():
                        following.result()
                    await asyncio.sleep(0.01)
        finally:
            if following is not None:
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await following
            await client.close()
    assert len(wanted) > 100
    assert {number: trades[number] for number in wanted} == pytest.approx(wanted)


async def test_ccxt_builds_the_recorded_book(folder, ccxt_client) -> None:
    """REST image and updates by number: the same top as ours at some moment near the end."""
    replay = Replay(folder, feeds=["binance"])
    tops = set()

    def look(book) -> None:
        top = book.best()
        if top is not None:
            tops.add((top.bid_price, top.ask_price))

    replay.on("book", look)
    replay.play()
    async with ReplayServer(folder, speed=2.0) as server:
        client = ccxt_client(server, "binance")
        try:
            async with asyncio.timeout(DEADLINE_S):
                await client.load_markets()
                seen = set()
                while len(seen) < 5:
                    book = await client.watch_order_book("BTC/USDT")
                    seen.add((book["bids"][0][0], book["asks"][0][0]))
        finally:
            await client.close()
    assert seen <= tops


async def test_python_binance_gets_trades_and_a_gapless_book(folder) -> None:
    binance = pytest.importorskip("binance", reason=REASON)
    wanted = recorded_trades(folder, "binance")
    trades, updates = {}, []
    async with ReplayServer(folder, speed=4.0) as server:
        client = binance.AsyncClient()
        client.API_URL = server.rest_url("binance") + "/api"
        sockets = binance.BinanceSocketManager(client)
        sockets.STREAM_URL = server.ws_url("binance") + "/"

        async def follow(socket) -> None:
            async with socket as stream:
                while True:
                    message = await stream.recv()
                    if message["e"] == "trade":
                        trades[message["t"]] = float(message["q"])
                    else:
                        updates.append((message["U"], message["u"]))

        followers = [
            asyncio.create_task(follow(socket))
            for socket in (
                sockets.trade_socket("BTCUSDT"),
                sockets.depth_socket("BTCUSDT", interval=100),
            )
        ]
        try:
            async with asyncio.timeout(DEADLINE_S):
                info = await client.get_exchange_info()
                image = await client.get_order_book(symbol="BTCUSDT")
                while not (wanted.keys() <= trades.keys() and len(updates) > 10):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)
            await client.close_connection()
    assert any(one["symbol"] == "BTCUSDT" for one in info["symbols"])
    assert trades == pytest.approx(wanted)
    assert all(late[0] == early[1] + 1 for early, late in itertools.pairwise(updates))
    assert updates[0][0] <= image["lastUpdateId"] + 1
