"""A venue that freezes in mid-stream: out of the aggregate in time, and back without a human."""

import pytest

from crossfeed import (
    AggregationStrategy,
    AggregatorConfig,
    ArbitrageDetector,
    FeatureExtractor,
    MarketDataAggregator,
)
from crossfeed.simulator import FaultRule

VENUES = ("binance", "coinbase", "kraken")
AGE_LIMIT_S = 0.5
SECOND_NS = 1_000_000_000


NUMBERS = ("best_bid", "best_ask", "best_bid_quantity", "best_ask_quantity")


class Users:
    """Who lives on the aggregate: its latest value, arbitrage, features."""

    def __init__(self) -> None:
        self.values = []
        self.misused = 0
        self.detector = ArbitrageDetector(age_limit_s=3600.0, sound_only=False)
        self.features = FeatureExtractor(derived=True)

    def __call__(self, value) -> None:
        self.values.append(value)
        self.features.extract({name: value.data[name] for name in NUMBERS})
        used = {value.data["best_bid_exchange"], value.data["best_ask_exchange"]}
        if self.detector.check_opportunity(value):
            found = self.detector.opportunities[-1]
            used |= {found["buy_exchange"], found["sell_exchange"]}
        self.misused += not used <= set(value.exchanges)

    @property
    def members(self) -> set[str]:
        """Who takes part now."""
        return set(self.values[-1].exchanges)


@pytest.mark.fault("T04", "C09")
@pytest.mark.timeout(90)
@pytest.mark.parametrize("mode", ["lose", "deaf"])
async def test_a_frozen_venue_leaves_the_aggregate_and_comes_back(
    simulate, reach, until, mode
) -> None:
    """All its data stops while pings are answered, or the socket is half dead."""
    simulator = await simulate(venues=VENUES, symbols=("BTC/USD",), rate_per_s=300, seed=2)
    config = AggregatorConfig(
        exchanges=list(VENUES),
        symbols=["BTC/USD"],
        aggregation_strategy=AggregationStrategy.BEST_BID_ASK,
        update_interval=0.0,
        age_limits_s={"book_ticker": AGE_LIMIT_S},
    )
    aggregator = MarketDataAggregator(
        config, venues={venue: reach(simulator, venue) for venue in VENUES}
    )
    users = Users()
    aggregator.subscribe("BTC/USD", "book_ticker", users)
    async with aggregator:
        await until(lambda: users.values and users.members == set(VENUES), 20.0)
        stall = FaultRule(
            kind="stall",
            mode=mode,
            venues=("kraken",),
            at_s=(0.0,),
            duration_s=1.5,
            connections="all",
        )
        simulator.inject(stall)
        await until(lambda: "kraken" not in users.members, 20.0)
        out = users.values[-1]
        newest_ns = max(
            event.ts_mono_ns
            for value in users.values
            for event in value.source_data
            if event.exchange == "kraken"
        )
        took_part = [value for value in users.values if "kraken" in value.exchanges]
        oldest_s = max((value.ts_mono_ns - newest_ns) / SECOND_NS for value in took_part)
        assert oldest_s <= AGE_LIMIT_S, "no value was made with a quote beyond its limit"
        (excluded,) = out.excluded
        assert (excluded.exchange, excluded.reason) == ("kraken", "stale")
        assert excluded.age_s >= AGE_LIMIT_S
        await until(lambda: users.members == set(VENUES), 30.0)
        assert not users.values[-1].excluded
        left_out = [value for value in users.values if "kraken" not in value.exchanges]
        assert len(left_out) > 10
        assert users.misused == 0, "who is left out is not used by anybody"
