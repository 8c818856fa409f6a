"""The aggregator of a replay: fed by recorded events, its timers driven by the recorded time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.errors import ConfigError, UnknownSymbolError
from crossfeed.model.events import MarketData
from crossfeed.model.status import FeedStatus
from crossfeed.model.unified import UnifiedMarketData
from crossfeed.runtime.replay import FeedReplay

__all__ = ["ReplayAggregate"]

FEED_TYPES: Final = frozenset({"trade", "ticker", "book_ticker", "feed_status", "gap"})


class ReplayAggregate:
    """Aggregates what a replay gives out. Made and owned by the replay.

    Without a configuration of its own it repeats the recorded aggregator: the same configuration,
    symbols and timer firings, hence the same values. With one its timers run at their own moments.

    Args:
        config: How to aggregate; None: as recorded.
        feeds: Gives the feeds of the present run.
        publish: Takes the values.
    """

    def __init__(
        self,
        config: AggregatorConfig | None,
        feeds: Callable[[], Iterable[FeedReplay]],
        publish: Callable[[Iterable[UnifiedMarketData]], None],
    ) -> None:
        """Wait for the first event, or for the recorded configuration."""
        self._config = config
        self._feeds = feeds
        self._publish = publish
        self._machine: Aggregator | None = None
        self._hears_status = False

    @property
    def has_timers(self) -> bool:
        """Whether it runs timers of its own: `advance` must be called before each record."""
        return self._config is not None

    def reset(self) -> None:
        """Forget everything: another run begins."""
        self._machine = None

    def adopt(self, recorded: dict[str, Any]) -> None:
        """Begin as the recorded aggregator did; without effect with a configuration of our own.

        Raises:
            ConfigError: It ran with something this build does not know.
        """
        if self._config is not None:
            return
        try:
            config = msgspec.convert(recorded["config"], AggregatorConfig)
            symbols = msgspec.convert(recorded["symbols"], dict[str, dict[str, str]])
        except (KeyError, msgspec.ValidationError) as error:
            raise ConfigError(f"recorded aggregator: {error}", field="aggregator") from error
        self._hears_status = True
        self._machine = Aggregator(config, symbols=symbols)

    def stop(self) -> None:
        """Learn that the recorded aggregator was about to be stopped."""
        self._hears_status = False

    def _resolved(self, config: AggregatorConfig) -> dict[str, dict[str, str]]:
        """Find each unified symbol at each recorded feed."""
        resolved: dict[str, dict[str, str]] = {}
        for unified, named in config.symbol_map.items():
            for feed in self._feeds():
                name = feed.venue.name
                if name in config.exchanges and (not named or name in named):
                    try:
                        found = feed.instrument(named.get(name, unified)).symbol
                    except UnknownSymbolError:
                        continue
                    resolved.setdefault(unified, {})[name] = found
        return resolved

    def on_event(self, event: MarketData) -> None:
        """Take one event and publish what comes of it."""
        if event.data_type not in FEED_TYPES:
            return
        machine, config = self._machine, self._config
        if machine is None:
            if config is None:
                return
            # All feeds have told their instruments before the first event.
            machine = self._machine = Aggregator(config, symbols=self._resolved(config))
        if isinstance(event, FeedStatus):
            # Ended by its owner: that says nothing against the data.
            is_ours = not self._hears_status if config is None else event.cause == "closed"
            if is_ours:
                return
        values = machine.on_event(event, event.ts_mono_ns, event.ts_recv_ns)
        if values:
            self._publish(values)

    def advance(self, now_ns: int, mono_ns: int) -> None:
        """Let timers of our own run at their moments, before the record of this time."""
        machine = self._machine
        if machine is None or self._config is None:
            return
        while machine.next_due_ns is not None and machine.next_due_ns <= mono_ns:
            due_ns = machine.next_due_ns
            self._publish(machine.on_timer(due_ns, now_ns - mono_ns + due_ns))

    def on_timer(self, now_ns: int, mono_ns: int, *, is_end: bool) -> None:
        """Run the recorded timers, for the last time with `is_end`."""
        machine = self._machine
        if machine is not None and self._config is None:
            self._publish((machine.close if is_end else machine.on_timer)(mono_ns, now_ns))
