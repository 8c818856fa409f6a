"""Strategies by name. Ours are always there; other packages add theirs with `register_strategy`."""

from __future__ import annotations

from typing import Final

from crossfeed.aggregation.strategies.average import Average
from crossfeed.aggregation.strategies.base import Strategy
from crossfeed.aggregation.strategies.best_bid_ask import BestBidAsk
from crossfeed.aggregation.strategies.first import First
from crossfeed.aggregation.strategies.last import Last
from crossfeed.aggregation.strategies.median import Median
from crossfeed.aggregation.strategies.weighted import Weighted
from crossfeed.errors import ConfigError

__all__ = ["find_strategy", "register_strategy", "strategy_names"]

_OURS: Final[tuple[Strategy, ...]] = (
    First(),
    Last(),
    Average(),
    Median(),
    Weighted(),
    BestBidAsk(),
)
_strategies: Final[dict[str, Strategy]] = {strategy.name: strategy for strategy in _OURS}


def register_strategy(strategy: Strategy) -> None:
    """Make `strategy` known under its name, before a configuration names it.

    Raises:
        ConfigError: The name is taken, or not in lower case.
    """
    name = strategy.name
    if not name or name != name.lower():
        raise ConfigError(f"{name!r} is no lower-case name", field="aggregation_strategy")
    if name in _strategies:
        raise ConfigError(f"{name!r} is taken; choose another", field="aggregation_strategy")
    _strategies[name] = strategy


def find_strategy(name: str) -> Strategy | None:
    """Return the strategy with that name, None if there is none."""
    return _strategies.get(name)


def strategy_names() -> tuple[str, ...]:
    """Return the names of all strategies, ours first."""
    return tuple(_strategies)
