"""A sink may do what it wants: the feed does not notice, and every event is accounted for."""

import threading
from collections.abc import Sequence

import pytest

from crossfeed.errors import ConfigError, SinkError, SinkUnavailableError
from crossfeed.model.events import MarketData
from crossfeed.sinks.runner import SinkRunner, SinkStats
from crossfeed.testing.events import trade

DEADLINE_S = 10


class MemorySink:
    """Keeps events; fails, blocks and refuses as told."""

    name = "memory"

    def __init__(self, *failures: Exception) -> None:
        """Fail the first writes with `failures`."""
        self.failures = list(failures)
        self.events: list[MarketData] = []
        self.may_write = threading.Event()
        self.may_write.set()
        self.is_writing = threading.Event()
        self.failed = threading.Event()
        self.opens = self.closes = 0

    def open(self) -> None:
        self.opens += 1

    def write(self, events: Sequence[MarketData]) -> int:
        self.is_writing.set()
        self.may_write.wait(DEADLINE_S)
        if self.failures:
            self.failed.set()
            raise self.failures.pop(0)
        self.events += events
        return len(events)

    def close(self) -> None:
        self.closes += 1


def balanced(stats: SinkStats) -> bool:
    """Say whether every event is accounted for."""
    parts = stats.stored + stats.not_new + stats.dropped + stats.waiting
    return stats.received == parts


def test_everything_is_written_in_order_and_batches() -> None:
    """Closing writes what waits."""
    sink = MemorySink()
    runner = SinkRunner(sink, batch_max=7)
    with runner:
        for n in range(100):
            assert runner.put(trade(n))
    stats = runner.stats()
    assert [event.trade_id for event in sink.events] == list(range(100))
    assert (stats.stored, stats.dropped, stats.state, sink.closes) == (100, 0, "closed", 1)
    assert 15 <= stats.batches <= 100
    assert balanced(stats)


@pytest.mark.fault("F12")
@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_overflow_is_counted_exactly(policy: str) -> None:
    """A sink that hangs costs the feed nothing but the events beyond the queue."""
    sink = MemorySink()
    sink.may_write.clear()
    runner = SinkRunner(sink, capacity=10, batch_max=1, policy=policy)
    runner.start()
    runner.put(trade(0))
    assert sink.is_writing.wait(DEADLINE_S)
    taken = [runner.put(trade(n)) for n in range(1, 31)]
    assert runner.stats().waiting == 11
    sink.may_write.set()
    runner.close(DEADLINE_S)
    stats = runner.stats()
    kept = [event.trade_id for event in sink.events]
    assert kept == ([0, *range(21, 31)] if policy == "drop_oldest" else list(range(11)))
    assert (stats.stored, stats.dropped) == (11, 20)
    assert taken.count(False) == (0 if policy == "drop_oldest" else 20)
    assert balanced(stats)


def test_blocking_policy_loses_nothing() -> None:
    """For imports: the producer waits for the sink."""
    sink = MemorySink()
    runner = SinkRunner(sink, capacity=5, batch_max=5, policy="block")
    with runner:
        assert [runner.put(trade(n)) for n in range(500)] == [True] * 500
    assert runner.stats().stored == 500


def test_passing_failure_is_tried_again() -> None:
    """The same batch, after opening anew; nothing lost or doubled."""
    sink = MemorySink(SinkUnavailableError("away"), SinkUnavailableError("still away"))
    runner = SinkRunner(sink, retry_s=(0.001, 0.002))
    with runner:
        for n in range(5):
            runner.put(trade(n))
    stats = runner.stats()
    assert [event.trade_id for event in sink.events] == list(range(5))
    assert (stats.failures, sink.opens, stats.error) == (2, 3, "still away")
    assert balanced(stats)


@pytest.mark.fault("F14")
@pytest.mark.parametrize("error", [SinkError("no such table"), ZeroDivisionError("bug")])
def test_final_failure_ends_this_sink_only(error: Exception) -> None:
    """Told, counted, isolated: the other sink goes on."""
    bad, good = MemorySink(error), MemorySink()
    with SinkRunner(bad, batch_max=1) as failing, SinkRunner(good) as working:
        failing.put(trade(0))
        working.put(trade(0))
        assert bad.failed.wait(DEADLINE_S)
        assert failing._thread is not None
        failing._thread.join(DEADLINE_S)
        assert not failing.put(trade(1))
        assert working.put(trade(1))
    stats = failing.stats()
    assert (stats.state, stats.stored, stats.dropped) == ("failed", 0, 2)
    assert str(error) in stats.error
    assert balanced(stats)
    assert len(good.events) == 2
    assert bad.closes == 1


def test_close_has_a_deadline() -> None:
    """A sink that never comes back does not hold up the end; what is lost is counted."""
    sink = MemorySink(*(SinkUnavailableError("away") for _ in range(100_000)))
    runner = SinkRunner(sink, retry_s=(0.001, 0.001))
    runner.start()
    for n in range(5):
        runner.put(trade(n))
    runner.close(0.05)
    stats = runner.stats()
    assert (stats.dropped, stats.waiting, stats.state) == (5, 0, "closed")
    assert not runner.put(trade(9))
    assert balanced(runner.stats())
    assert "memory closed" in repr(runner)


@pytest.mark.parametrize(
    "options", [{"capacity": 0}, {"batch_max": 0}, {"policy": "drop_everything"}]
)
def test_limits_are_checked(options: dict[str, object]) -> None:
    """Before anything starts."""
    with pytest.raises(ConfigError):
        SinkRunner(MemorySink(), **options)
