"""What happens at Coinbase right now? Prices, trades and the order book through callbacks.

Without an API key the book comes from level2_batch, every 50 ms; the client says so in its log.

    python examples/coinbase_client.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import CoinbaseChannel, CoinbaseConfig, CoinbaseWebSocket, MarketData


async def main(options: Options) -> None:
    """Connect, print what comes, close."""
    async with venues(options, "coinbase") as settings:
        config = CoinbaseConfig(
            product_ids=["BTC-USD", "ETH-USD"],
            channels=[CoinbaseChannel.TICKER, CoinbaseChannel.MATCHES, CoinbaseChannel.LEVEL2],
            settings=settings["coinbase"],
        )
        client = CoinbaseWebSocket(config)

        @client.on_ticker
        def handle_ticker(data: MarketData) -> None:
            print(f"{data.symbol}: ${data.data['price']}")

        @client.on_matches
        def handle_trade(data: MarketData) -> None:
            print(f"Trade: {data.symbol} ${data.data['price']} x {data.data['size']}")

        @client.on_level2
        def handle_orderbook(data: MarketData) -> None:
            if data.data_type == "orderbook_snapshot":
                print(f"Snapshot: {len(data.data['bids'])} bids, {len(data.data['asks'])} asks")
            else:
                print(f"Update: {len(data.data['changes'])} changes")

        async with client:
            await options.wait()


run(main)
