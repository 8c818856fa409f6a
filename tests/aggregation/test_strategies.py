"""Strategies as an extension point: found by name, one contract for all."""

import pytest

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import AggregationStrategy
from crossfeed.aggregation.strategies import registry
from crossfeed.aggregation.strategies.base import PriceView
from crossfeed.errors import ConfigError


class Highest:
    """A strategy of somebody else's: the highest price."""

    name = "highest"
    keeps_last = True
    spans_venues = True

    def price(self, view: PriceView) -> float:
        """Return the highest of the latest prices."""
        return max(view.latest_prices())


class FixedView:
    """Prices to choose from."""

    last_price = 3.0

    def latest_prices(self) -> list[float]:
        """Return three prices."""
        return [1.0, 2.0, 6.0]

    def weighted_price(self) -> float | None:
        """Return the weighted one."""
        return 4.0

    def default_price(self) -> float:
        """Return the default one."""
        return 5.0


class EmptyView(FixedView):
    """The same without volume."""

    def weighted_price(self) -> float | None:
        """Return none: nothing has a volume."""
        return None


@pytest.fixture
def highest(monkeypatch):
    """Register the strategy for one test."""
    monkeypatch.setattr(registry, "_strategies", dict(registry._strategies))
    registry.register_strategy(Highest())


def test_every_member_has_its_strategy() -> None:
    """Each member of the document's enumeration is a registered strategy, and nothing else is."""
    assert registry.strategy_names() == tuple(str(member) for member in AggregationStrategy)
    for member in AggregationStrategy:
        strategy = registry.find_strategy(member)
        assert strategy is not None
        assert strategy.name == member


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("first", 3.0),
        ("last", 3.0),
        ("average", 3.0),
        ("median", 2.0),
        ("weighted", 4.0),
        ("best_bid_ask", 5.0),
    ],
)
def test_price_of(name, price) -> None:
    """What each strategy takes of the view."""
    assert registry.find_strategy(name).price(FixedView()) == price


def test_weighted_without_volume() -> None:
    """Where nothing can be weighed, the default holds."""
    assert registry.find_strategy("weighted").price(EmptyView()) == 5.0


def test_only_first_does_not_keep_the_last() -> None:
    """FIRST alone publishes nothing at the end of an interval."""
    keepers = {n for n in registry.strategy_names() if registry.find_strategy(n).keeps_last}
    assert set(registry.strategy_names()) - keepers == {"first"}


@pytest.mark.usefixtures("highest")
def test_a_registered_strategy_works(make) -> None:
    """Another package's strategy is configured by its name like ours."""
    aggregator = Aggregator(make.config(aggregation_strategy="Highest"))
    events = [make.trade("binance", 5.0), make.trade("kraken", 3.0, at_s=0.1)]
    assert make.feed(aggregator, events)[-1].data["price"] == 5.0


def test_a_strategy_that_is_gone_is_an_error(make, highest, monkeypatch) -> None:  # noqa: ARG001
    """A configuration outlives the registration it was checked against."""
    config = make.config(aggregation_strategy="highest")
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="registered no more"):
        Aggregator(config)


@pytest.mark.usefixtures("highest")
def test_names_are_taken_once() -> None:
    """Two strategies never share a name, and a name is in lower case."""
    with pytest.raises(ConfigError, match="taken"):
        registry.register_strategy(Highest())
    loud = Highest()
    loud.name = "Loud"
    with pytest.raises(ConfigError, match="lower-case"):
        registry.register_strategy(loud)
