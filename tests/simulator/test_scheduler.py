"""Simulated time does not depend on how finely it is advanced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossfeed.simulator.scheduler import Scheduler


def record(steps):
    scheduler, log = Scheduler(0), []

    def repeat(now_ns):
        log.append(("repeat", now_ns))
        return now_ns + 30

    def once(now_ns):
        log.append(("once", now_ns))
        scheduler.after(7, lambda at: log.append(("child", at)))

    scheduler.at(10, repeat)
    scheduler.at(45, once)
    for step in steps:
        scheduler.run(scheduler.now_ns + step)
    return log, scheduler.now_ns


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_granularity_does_not_matter(steps):
    log, now_ns = record(steps)
    assert log == [entry for entry in record([sum(steps)])[0] if entry[1] <= now_ns]
    assert now_ns == sum(steps)


def test_ties_run_in_order_of_scheduling():
    scheduler, log = Scheduler(0), []
    for name in "abc":
        scheduler.at(5, lambda _, name=name: log.append(name))
    scheduler.run(5)
    assert log == ["a", "b", "c"]


def test_jump_skips_missed_time():
    scheduler, log = Scheduler(0), []
    scheduler.at(10, log.append)
    scheduler.at(25, log.append)
    scheduler.jump(1_000)
    assert scheduler.skipped_ns == 990
    scheduler.run(1_100)
    assert log == [1_000, 1_015]
    scheduler.jump(2_000)
    assert scheduler.next_due_ns() is None
