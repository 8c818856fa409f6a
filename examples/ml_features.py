"""How do I feed a model? Turns each best bid and ask into a row of numbers.

python examples/ml_features.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import AggregatorConfig, FeatureExtractor, MarketDataAggregator, UnifiedMarketData


class Model:
    """Stands in for yours."""

    def predict(self, row: object) -> float:
        """Say something about a row of features."""
        spread, bid_volume, ask_volume, _ = row  # type: ignore[misc]
        return float((bid_volume - ask_volume) / (bid_volume + ask_volume) - spread)


async def main(options: Options) -> None:
    """Predict with every change of the consolidated quote."""
    model = Model()
    feature_extractor = FeatureExtractor()

    def handle_orderbook(data: UnifiedMarketData) -> None:
        features = feature_extractor.extract(
            {
                "spread": data.data["spread_percent"],
                "bid_volume": data.data["best_bid_quantity"],
                "ask_volume": data.data["best_ask_quantity"],
                "num_exchanges": len(data.exchanges),
            }
        )

        model_input = features.to_numpy()
        prediction = model.predict(model_input)
        print(f"{data.symbol} {model_input.round(6).tolist()} -> {prediction:+.3f}")

    async with venues(options, "binance", "coinbase") as settings:
        config = AggregatorConfig(
            exchanges=["binance", "coinbase"], symbols=["BTC/USD"], update_interval=0.2
        )
        aggregator = MarketDataAggregator(config, venues=settings)
        aggregator.subscribe("BTC/USD", "book_ticker", handle_orderbook)
        async with aggregator:
            await options.wait()


run(main)
