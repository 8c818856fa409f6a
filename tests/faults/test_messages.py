"""Single messages that go wrong, counted one by one against the venues' own account."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from crossfeed.model.trust import Mark
from crossfeed.simulator.faults import FaultRule
from crossfeed.testing.checker import Fault
from crossfeed.testing.virtual import VENUES

IS_FULL = os.environ.get("CROSSFEED_FAULTS") == "full"

RATES = {"binance": 60.0, "coinbase": 40.0, "kraken": 12.0}
CHAINED = ("chained", "level2")
CASES = {
    "missing": (("S01",), FaultRule(kind="drop", channels=CHAINED, probability=0.03)),
    # As many as the venues' REST budgets can repair.
    "missing trades": (("S01",), FaultRule(kind="drop", channels=("trades",), probability=0.12)),
    "missing in a row": (
        ("S01",),
        FaultRule(kind="drop", channels=CHAINED, probability=0.01, run=5),
    ),
    "doubled": (
        ("S03",),
        FaultRule(kind="double", channels=("trades", "depth*"), probability=0.05),
    ),
    "swapped": (("S04",), FaultRule(kind="swap", channels=("trades",), probability=0.03)),
    "late": (
        ("S04", "S05"),
        FaultRule(kind="delay", channels=("trades",), probability=0.02, duration_s=0.4),
    ),
    "counted anew": (("S06",), FaultRule(kind="restart", every_s=13.0)),
    "wrong checksum": (
        ("S12",),
        FaultRule(kind="bad_checksum", channels=("book-*",), probability=0.03),
    ),
    "cut-off JSON": (
        ("D11",),
        FaultRule(kind="corrupt", channels=CHAINED, probability=0.02, mode="json"),
    ),
    "invalid UTF-8": (
        ("D12",),
        FaultRule(kind="corrupt", channels=CHAINED, probability=0.02, mode="utf8"),
    ),
    "NaN": (
        ("D01",),
        FaultRule(kind="corrupt", channels=("trades",), probability=0.02, mode="nan"),
    ),
    "price zero": (
        ("D02",),
        FaultRule(kind="corrupt", channels=("trades",), probability=0.02, mode="zero"),
    ),
    "field missing": (
        ("D06",),
        FaultRule(kind="corrupt", channels=("trades",), probability=0.02, mode="missing"),
    ),
    "unknown type": (
        ("D09",),
        FaultRule(kind="corrupt", channels=("trades",), probability=0.02, mode="unknown"),
    ),
    "another symbol": (
        ("D18",),
        FaultRule(kind="corrupt", channels=("trades",), probability=0.02, mode="foreign"),
    ),
}
SECONDS = {
    "missing": 150,
    "missing trades": 200,
    "missing in a row": 90,
    "doubled": 60,
    "swapped": 60,
    "counted anew": 200,
}
PARTS = {"missing": 2, "missing trades": 4, "missing in a row": 2}
"""Cases that run with further seeds in the full form, each a test of its own."""


def injected_in(world) -> Counter[str]:
    """Return what the venues did wrong, message by message and restart by restart."""
    counts: Counter[str] = Counter()
    for record in world.room.ledger.streams.values():
        for line in record.lines:
            counts.update(line.counts)
    for (_, kind), number in world.room.ledger.faults.items():
        if kind == "restart":
            counts[kind] += number
    return counts


@pytest.mark.parametrize(
    ("name", "part"),
    [
        pytest.param(name, part, marks=[pytest.mark.fault(i) for i in CASES[name][0]])
        for name in CASES
        for part in range(PARTS.get(name, 1) if IS_FULL else 1)
    ],
)
def test_every_single_one_is_seen_and_accounted_for(
    world, is_full, tally, record_property, name, part
):
    rule = CASES[name][1]
    totals: Counter[str] = Counter()
    for seed in range(1 + 2 * part, (3 if is_full else 2) + 2 * part):
        run = world(*VENUES, seed=seed, rate_per_s=RATES, faults=[rule])
        run.look_ns = 200_000_000
        run.run(SECONDS.get(name, 60) if is_full else 15)
        run.drain()
        verdict = run.verdict()
        assert verdict.violations == [], f"{name}, seed {seed}"
        assert not run.room.ledger.violations
        totals.update(
            injected=sum(injected_in(run).values()),
            gaps=run.room.ledger.gaps() + run.room.ledger.totals()["desyncs"],
            disordered=verdict.of(Fault.DISORDER) + verdict.of(Fault.UNMARKED),
            undetected=verdict.of(Fault.UNDETECTED) + verdict.of(Fault.UNSOUND_BOOK),
            recovered=verdict.total("late"),
            lost=verdict.total("lost"),
            doubled=verdict.of(Fault.DOUBLED),
            ranges=verdict.total("ranges"),
            exact=verdict.total("ranges_exact"),
        )
        for feed in run.feeds.values():
            assert all(trust.current.name == "SOUND" for trust in feed.streams.trusts()), seed
            assert feed.open_holes() == 0, seed
    assert totals["injected"] > 0
    tally(
        injected=totals["injected"],
        detected=totals["injected"] - totals["undetected"],
        recovered=totals["recovered"],
        lost=totals["lost"],
        doubled=totals["doubled"],
    )
    record_property("losses", dict(totals))


@pytest.mark.fault("D05")
def test_a_price_ten_times_too_high_is_marked_and_not_taken_for_true(world, is_full, tally):
    rule = FaultRule(kind="corrupt", channels=("trades",), probability=0.01, mode="x10")
    run = world(*VENUES, seed=4, rate_per_s=RATES)
    wrong: list[bool] = []

    def watch(feed):
        def note(event):
            if event.data_type == "trade":
                truth = run.truth(feed.venue.name, event.symbol).epochs[-1]
                made = truth.get(event.trade_id)
                if made is not None and made[0] != event.price:
                    wrong.append(bool(event.marks & Mark.SUSPECT))

        return note

    for feed in run.feeds.values():
        feed.listeners.append(watch(feed))
    run.run(10)
    run.room.simulator.inject(rule)
    run.run(120 if is_full else 20)
    tally(injected=len(wrong), detected=sum(wrong))
    assert len(wrong) > 5
    assert all(wrong), f"{wrong.count(False)} of {len(wrong)} were given out unmarked"
