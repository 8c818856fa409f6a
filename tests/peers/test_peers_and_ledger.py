"""Other people's clients read the simulator to the last message: their counts equal the ledger's.

With the extra `peers` (`make peers`); skipped with the reason without it. What they see of prices,
tickers and books is compared in tests/simulator/test_peers.py; here nothing may be missing.
"""

import asyncio
import contextlib
import itertools
import logging

import pytest

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(60),
]
DEADLINE_S = 20.0
REASON = "needs the extra `peers`"


@pytest.fixture
async def simulator(simulate):
    """All venues with one market."""
    venues = ("binance", "coinbase", "kraken")
    return await simulate(venues=venues, symbols=("BTC/USD",), rate_per_s=150)


def line_of(simulator, venue: str, channel: str):
    """Return what the ledger knows of the only client of a stream."""
    (record,) = [
        record
        for (name, kind, _), record in simulator.ledger.streams.items()
        if (name, kind) == (venue, channel) and record.lines
    ]
    (line,) = record.lines
    return line


@pytest.mark.parametrize(
    ("venue", "channel"), [("binance", "trade"), ("coinbase", "matches"), ("kraken", "trade")]
)
async def test_ccxt_gets_every_trade(simulator, venue, channel, ccxt_client) -> None:
    client = ccxt_client(simulator, venue)
    symbol = "BTC/USDT" if venue == "binance" else "BTC/USD"
    trades: dict[int, float] = {}

    async def follow() -> None:
        while True:
            for trade in await client.watch_trades(symbol):
                trades[int(trade["id"])] = float(trade["amount"])

    try:
        async with asyncio.timeout(DEADLINE_S):
            await client.load_markets()
            following = asyncio.create_task(follow())
            while len(trades) < 60:  # noqa: ASYNC110 - another client's work
                await asyncio.sleep(0.01)
            simulator.pause()
            line = line_of(simulator, venue, channel)
            while not trades or max(trades) != line.last:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await following
        await client.close()
    counted = {number: size for number, size in trades.items() if number > line.last - line.events}
    assert len(counted) == line.events
    assert sum(counted.values()) == pytest.approx(float(line.stream.volume(line.lots)))
    assert simulator.ledger.totals()["violations"] == 0


async def test_python_binance_gets_trades_tickers_and_a_book(simulator) -> None:
    binance = pytest.importorskip("binance", reason=REASON)
    client = binance.AsyncClient()
    client.API_URL = simulator.rest_url("binance") + "/api"
    sockets = binance.BinanceSocketManager(client)
    sockets.STREAM_URL = simulator.ws_url("binance") + "/"
    seen: dict[str, list[dict]] = {"trade": [], "24hrTicker": [], "depthUpdate": []}

    async def follow(socket) -> None:
        async with socket as stream:
            while True:
                message = await stream.recv()
                seen[message["e"]].append(message)

    followers = [
        asyncio.create_task(follow(socket))
        for socket in (
            sockets.trade_socket("BTCUSDT"),
            sockets.symbol_ticker_socket("BTCUSDT"),
            sockets.depth_socket("BTCUSDT", interval=100),
        )
    ]
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not (len(seen["trade"]) > 40 and all(seen.values())):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            simulator.pause()
            await asyncio.sleep(0.3)  # the depth stream is paced
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        await client.close_connection()

    line = line_of(simulator, "binance", "trade")
    assert len(seen["trade"]) == line.events
    assert [message["t"] for message in seen["trade"]] == list(range(line.first, line.last + 1))
    volume = sum(float(message["q"]) for message in seen["trade"])
    assert volume == pytest.approx(float(line.stream.volume(line.lots)))
    depth = seen["depthUpdate"]
    assert all(late["U"] == early["u"] + 1 for early, late in itertools.pairwise(depth))
    assert depth[-1]["u"] == line_of(simulator, "binance", "depth@100ms").last
    # Pushed every second, also while the others were being stopped.
    tickers = line_of(simulator, "binance", "ticker").messages
    assert tickers - 1 <= len(seen["24hrTicker"]) <= tickers
    assert float(seen["24hrTicker"][-1]["c"]) > 0


async def test_unicorn_gets_every_trade_and_best_price(simulator) -> None:
    """It runs threads and loops of its own: the simulator answers it from ours."""
    unicorn = pytest.importorskip("unicorn_binance_websocket_api", reason=REASON)
    logging.getLogger("unicorn_binance_websocket_api").setLevel(logging.CRITICAL)
    seen: dict[str, list[dict]] = {"btcusdt@trade": [], "btcusdt@bookTicker": []}

    def take(message: dict) -> None:
        if "stream" in message:
            seen[message["stream"]].append(message["data"])

    manager = await asyncio.to_thread(
        unicorn.BinanceWebSocketApiManager,
        exchange="binance.com",
        output_default="dict",
        warn_on_update=False,
        high_performance=True,
        websocket_base_uri=simulator.ws_url("binance") + "/",
    )
    try:
        manager.create_stream(
            channels=["trade", "bookTicker"], markets=["btcusdt"], process_stream_data=take
        )
        async with asyncio.timeout(DEADLINE_S):
            while not all(len(messages) > 40 for messages in seen.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            simulator.pause()
            line = line_of(simulator, "binance", "trade")
            quoted = line_of(simulator, "binance", "bookTicker")
            while (  # noqa: ASYNC110
                seen["btcusdt@trade"][-1]["t"] != line.last
                or len(seen["btcusdt@bookTicker"]) < quoted.messages
            ):
                await asyncio.sleep(0.01)
    finally:
        await asyncio.to_thread(manager.stop_manager)
    trades = seen["btcusdt@trade"]
    assert [message["t"] for message in trades] == list(range(line.first, line.last + 1))
    volume = sum(float(message["q"]) for message in trades)
    assert volume == pytest.approx(float(line.stream.volume(line.lots)))
    quotes = seen["btcusdt@bookTicker"]
    assert all(late["u"] > early["u"] for early, late in itertools.pairwise(quotes))
    assert len(quotes) == quoted.messages
    assert simulator.ledger.totals()["violations"] == 0
