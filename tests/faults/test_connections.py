"""Connections that end, stall, are refused or are replaced; venues that close for a while."""

from __future__ import annotations

import re

import pytest

from crossfeed.model.trust import Trust
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator.faults import FaultRule
from crossfeed.testing.virtual import VENUES

NS = 1_000_000_000
ENDS = {
    "reset": (("T01",), FaultRule(kind="cut", mode="reset", every_s=9.0)),
    "reset in mid frame": (("T01",), FaultRule(kind="cut", mode="mid_frame", every_s=9.0)),
    "end without a close frame": (("T02",), FaultRule(kind="cut", mode="eof", every_s=9.0)),
    "close 1000": (("C01",), FaultRule(kind="cut", mode="clean", code=1000, every_s=9.0)),
    "close 1001": (("C01",), FaultRule(kind="cut", mode="clean", code=1001, every_s=9.0)),
    "close 1011": (("C04",), FaultRule(kind="cut", mode="clean", code=1011, every_s=9.0)),
    "close 1013": (("C04",), FaultRule(kind="cut", mode="clean", code=1013, every_s=70.0)),
    "stalled and lost": (
        ("T04",),
        FaultRule(kind="stall", mode="lose", every_s=7.0, duration_s=2.0),
    ),
    "stalled and late": (
        ("T08", "S05"),
        FaultRule(kind="stall", mode="hold", every_s=7.0, duration_s=2.0),
    ),
    "shutdown notice": (("C07",), FaultRule(kind="shutdown", every_s=20.0, duration_s=10.0)),
    "maintenance": (("C09",), FaultRule(kind="maintenance", every_s=20.0, duration_s=5.0)),
    "halt": (
        ("S19",),
        FaultRule(kind="halt", symbols=("ETH/USD",), every_s=15.0, duration_s=5.0),
    ),
    "images refused": (("S10",), FaultRule(kind="rest", status=503, probability=0.5)),
    "images cut off": (("S10",), FaultRule(kind="rest", mode="truncated", probability=0.5)),
    "a web page for an image": (("S10",), FaultRule(kind="rest", mode="html", probability=0.5)),
    "images slow": (
        ("S10",),
        FaultRule(kind="rest", mode="slow", duration_s=3.0, probability=0.5),
    ),
    "old images": (
        ("S08", "S11"),
        FaultRule(kind="rest", mode="stale", probability=0.7),
    ),
    "handshakes refused": (("H08",), FaultRule(kind="handshake", status=503, probability=0.7)),
    "told to wait": (
        ("H05",),
        FaultRule(kind="handshake", status=429, retry_after_s=3, probability=0.4),
    ),
    "replies lost": (("D19",), FaultRule(kind="ack", mode="lost", probability=0.3)),
}
NEED_CUTS = {"images refused", "images cut off", "a web page for an image", "images slow",
             "old images", "handshakes refused", "told to wait", "replies lost"}  # fmt: skip
CUTS = FaultRule(kind="cut", mode="reset", every_s=11.0)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.fault(i) for i in ENDS[n][0]]) for n in ENDS]
)
def test_nothing_is_lost_unseen_and_all_is_sound_again(world, is_full, tally, name):
    rules = [ENDS[name][1], CUTS] if name in NEED_CUTS else [ENDS[name][1]]
    injected = late = lost = 0
    for seed in range(1, 3 if is_full else 2):
        run = world(*VENUES, seed=seed, rate_per_s=15, faults=rules)
        run.run(120 if is_full else 36)
        run.drain(grace_s=70 if "1013" in name else 12)
        verdict = run.verdict()
        # A message of level2_batch that never came cannot be noticed: the channel has no numbers.
        unproven = "coinbase" if name == "stalled and lost" else "nothing"
        found = [text for text in verdict.violations if not re.match(f"{unproven} .* book", text)]
        assert found == [], f"{name}, seed {seed}"
        assert not run.room.ledger.violations, f"{name}, seed {seed}"
        injected += sum(run.room.ledger.faults.values())
        late += verdict.total("late")
        lost += verdict.total("lost")
        for feed in run.feeds.values():
            bad = [trust for trust in feed.streams.trusts() if trust.current is not Trust.SOUND]
            assert not bad, f"{name}, seed {seed}"
    assert injected > 0 or (name == "close 1013" and not is_full)
    tally(injected=injected, detected=injected, recovered=late, lost=lost, doubled=0)


@pytest.mark.fault("C06")
@pytest.mark.parametrize("lines", [1, 2])
def test_rotations_under_load_lose_and_double_nothing(world, is_full, tally, figure, lines):
    run = world(*VENUES, seed=8, rate_per_s=30, settings=FeedSettings(lines=lines))
    rotations = 30 if is_full else 4
    for _ in range(rotations):
        run.run(4)
        for feed in run.feeds.values():
            feed.rotate(feed.lines[0])
        for _ in range(8):  # the state at and after each switch equals the truth
            run.run(0.1)
            run.look()
    run.run(5)
    verdict = run.verdict()
    assert verdict.violations == []
    done = sum(feed.rotations for feed in run.feeds.values())
    assert done == rotations * len(VENUES)
    holes = verdict.total("holes")
    told = [change for feed in run.feeds.values() for change in alarms(feed)]
    assert told == []
    tally(injected=done, detected=done, lost=holes, doubled=verdict.count)
    figure(
        "lost or doubled over planned rotations",
        holes + verdict.count,
        0,
        detail=f"{done} rotations, lines={lines}",
    )


@pytest.mark.fault("S18")
def test_line_failures_under_load_lose_and_double_nothing(world, is_full, tally, figure):
    run = world(*VENUES, seed=9, rate_per_s=30, settings=FeedSettings(lines=2))
    failures = 0
    for number in range(40 if is_full else 6):
        run.run(6)
        for feed in run.feeds.values():
            if all(line.is_settled for line in feed.lines):
                feed.lines[number % 2].drop("test")
                failures += 1
        for _ in range(5):
            run.run(0.1)
            run.look()
    run.run(6)
    verdict = run.verdict()
    assert verdict.violations == []
    assert failures > 10
    holes = verdict.total("holes")
    tally(injected=failures, detected=failures, lost=holes, doubled=verdict.count)
    figure(
        "lost or doubled with two lines, one failing",
        holes + verdict.count,
        0,
        detail=f"{failures} failures",
    )


@pytest.mark.fault("S01", "S17", "S18")
def test_two_lines_heal_each_others_losses(world, is_full, tally):
    """Losses hit each line on its own: what one lacks the other has."""
    rule = FaultRule(kind="drop", channels=("trades", "depth*"), probability=0.02)
    run = world(*VENUES, seed=10, rate_per_s=30, faults=[rule], settings=FeedSettings(lines=2))
    run.run(120 if is_full else 20)
    run.drain()
    verdict = run.verdict()
    assert verdict.violations == []
    dropped = run.room.ledger.faults.total()
    lost = verdict.total("lost")
    assert verdict.total("holes") < dropped / 5
    tally(injected=dropped, detected=dropped, recovered=dropped - lost, lost=lost)


def alarms(feed) -> list[str]:
    """Return every trust that fell after it had been sound once."""
    found = []
    for key, changes in feed.recording.trust.items():
        was_sound = False
        for change in changes:
            if was_sound and change.current != "SOUND":
                found.append(f"{key} at {change.at_ns / NS:.1f}: {change.current} {change.cause}")
            was_sound |= change.current == "SOUND"
    return found


@pytest.mark.fault("C06")
@pytest.mark.parametrize("venues", [("binance", "kraken"), ("coinbase", "coinbase_advanced")])
def test_a_day_with_its_rotation_raises_no_false_alarm(world, is_full, figure, tally, venues):
    """A clean day, quiet hours included: no gap, no stale stream, and each cut is forestalled."""
    hours = 24 if is_full else 1
    run = world(*venues, seed=12, rate_per_s=0.5, tick_s=1.0)
    run.look_ns = 60 * NS
    for hour in range(hours):
        for _ in range(15 if is_full else 3):
            # One hour in eight is quiet: minutes without a trade, an order or a change.
            run.room.simulator.world.is_paused = hour % 8 == 5
            run.run(210)
            run.room.simulator.world.is_paused = False
            run.run(30)
    verdict = run.verdict()
    assert verdict.violations == []
    found = [f"{name}: {text}" for name, feed in run.feeds.items() for text in alarms(feed)]
    found += [f"{name}: {key}" for name, feed in run.feeds.items() for key in feed.recording.holes]
    assert found[:10] == []
    cuts = 1 if is_full and "binance" in run.feeds else 0  # the others have no known limit
    assert sum(feed.rotations for feed in run.feeds.values()) == cuts
    assert run.room.ledger.connections["binance", "lifetime"] == 0
    tally(injected=cuts, detected=cuts)
    length = "24 h" if is_full else "12 min"
    detail = f"{length} of {' and '.join(venues)}, quiet hours included"
    figure("false alarms, clean day", len(found), 0, detail=detail)


@pytest.mark.fault("C10")
def test_a_hundred_connections_come_back_within_their_limits(world, is_full, tally, figure):
    symbols = [f"C{number:02d}/USDT" for number in range(100)]
    first: list[float] = []
    last: list[float] = []
    densest = broken = 0
    for seed in range(12 if is_full else 2):
        run = world(
            "binance",
            requests=[("trade", symbol) for symbol in symbols],
            settings=FeedSettings(streams_per_connection=1),
            symbols=symbols,
            seed=seed,
            rate_per_s=5,
            orders_wanted=20,
            tick_s=1.0,
        )
        run.run(60)
        feed = run.feeds["binance"]
        assert all(line.is_settled for line in feed.lines)
        outage = FaultRule(kind="handshake", status=503, until_s=30.0)
        run.room.simulator.inject(outage)
        run.room.simulator.cut_all("binance")
        run.run(30)
        over_ns = run.mono_ns()
        run.run(60)
        assert all(line.is_settled for line in feed.lines), seed
        back = sorted((line.attempts[-1] - over_ns) / NS for line in feed.lines)
        first.append(back[0])
        last.append(back[-1])
        moments = sorted(moment for line in feed.lines for moment in line.attempts)
        densest = max(densest, *(sum(m <= n < m + NS for n in moments) for m in moments))
        broken += sum(run.room.ledger.violations.values())
    runs = len(last)
    tally(injected=100 * runs, detected=100 * runs, recovered=100 * runs, lost=0)
    detail = f"{runs} runs of a pool of 100"
    first.sort()
    p99 = first[min(runs - 1, runs * 99 // 100)]
    figure("30 s outage: first connection, p99", p99, 5.0, "s", detail=detail)
    figure("30 s outage: all of 100 connections", max(last), 25.0, "s", detail=detail)
    figure("30 s outage: connects in any one second", densest, 15, detail=detail)
    figure("30 s outage: venue limits broken", broken, 0, detail=detail)
