"""What happens at Binance right now? Trades and 24 h statistics through callbacks.

python examples/binance_client.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import BinanceConfig, BinanceStream, BinanceWebSocket, MarketData


async def main(options: Options) -> None:
    """Connect, print what comes, close."""
    async with venues(options, "binance") as settings:
        config = BinanceConfig(
            symbols=["BTCUSDT", "ETHUSDT"],
            streams=[BinanceStream.TRADE, BinanceStream.TICKER, BinanceStream.BOOK_TICKER],
            settings=settings["binance"],
        )
        client = BinanceWebSocket(config)

        @client.on_trade
        def handle_trade(data: MarketData) -> None:
            print(f"Trade: {data.symbol} ${data.data['price']} x {data.data['quantity']}")

        @client.on_ticker
        def handle_ticker(data: MarketData) -> None:
            print(f"24h: ${data.data['last_price']} ({data.data['price_change_percent']}%)")

        async with client:
            await options.wait()
            print(f"{client.get_stats()['message_count']} messages")


run(main)
