"""Whole clients with one part sabotaged: the judge must notice each of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from crossfeed.books.assembly import Assembler
from crossfeed.integrity.connection_counter import ConnectionCounter
from crossfeed.integrity.continuity import IdGate
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import Want
from crossfeed.model.sequencing import Verdict
from crossfeed.model.trust import Mark, Trust
from crossfeed.simulator.faults import FaultRule
from crossfeed.testing.checker import Fault
from crossfeed.testing.virtual import VirtualWorld
from crossfeed.venues.registry import find_venue

REQUESTS = [(kind, symbol) for symbol in ("BTC/USD", "ETH/USD") for kind in ("trade", "book")]
LOSSES = [
    FaultRule(kind="drop", channels=("chained", "level2"), probability=0.02),
    FaultRule(kind="double", channels=("trades",), probability=0.02),
    FaultRule(kind="bad_checksum", channels=("book-*",), probability=0.01),
]


def run(venue: str, tamper=None, *, extra=(), is_drained=True) -> VirtualWorld:
    """Run one client for half a virtual minute under losses; `tamper` gets it before it starts."""
    venues = ("coinbase", "coinbase_advanced") if venue.startswith("coinbase") else (venue,)
    world = VirtualWorld(venues, seed=21, rate_per_s=40, faults=[*LOSSES, *extra])
    world.look_ns = 100_000_000
    feed = world.feed(venue, REQUESTS)
    if tamper is not None:
        feed.listeners[:] = [tamper(feed.listeners[0])]
    world.run(30)
    if is_drained:
        world.drain()
    return world


RULE = type(find_venue("binance").book_rule(Want("depth@100ms", "BTCUSDT")))


def always(*, answer):
    return lambda *_: answer


def silent_about_holes(tell):
    return lambda event: None if event.data_type == "gap" else tell(event)


def forgetful(tell):
    count = 0

    def listener(event):
        nonlocal count
        count += 1
        if event.data_type != "trade" or count % 97:
            tell(event)

    return listener


def rounding(tell):
    def listener(event):
        is_trade = event.data_type == "trade"
        tell(replace(event, price=round(event.price * 0.9999999, 6)) if is_trade else event)

    return listener


def unmarking(tell):
    def listener(event):
        tell(replace(event, marks=Mark.NONE) if event.data_type == "trade" else event)

    return listener


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [
        (silent_about_holes, Fault.UNDETECTED),
        (forgetful, Fault.UNDETECTED),
        (rounding, Fault.WRONG_VALUE),
        (unmarking, Fault.INEXACT),
    ],
)
def test_a_client_that_tells_less_or_else_than_the_truth_is_caught(tamper, fault):
    assert run("binance", tamper).verdict().of(fault) > 0


def test_the_same_client_untampered_passes():
    assert run("binance").verdict().violations == []


def test_a_client_that_does_not_look_at_trade_ids_is_caught(monkeypatch):
    def admit(self, event, out):
        self.last_event = event
        out.events.append(event)

    monkeypatch.setattr(IdGate, "admit", admit)
    verdict = run("coinbase").verdict()
    assert verdict.of(Fault.UNDETECTED) > 0
    assert verdict.of(Fault.DOUBLED) > 0


def test_a_client_that_reports_ranges_one_too_short_is_caught(monkeypatch):
    right = GapLedger.open

    def short(self, stream, first, last, *rest, **named):
        return right(self, stream, first, max(first, last - 1), *rest, **named)

    monkeypatch.setattr(GapLedger, "open", short)
    assert run("kraken").verdict().of(Fault.UNDETECTED) > 0


def test_a_book_that_applies_whatever_comes_is_caught(monkeypatch):
    monkeypatch.setattr(RULE, "follow", always(answer=Verdict.APPLY))
    assert run("binance").verdict().of(Fault.UNSOUND_BOOK) > 0


def test_a_book_that_takes_an_old_image_for_a_new_one_is_caught(monkeypatch):
    stale = FaultRule(kind="rest", mode="stale", path="depth")
    assert (
        run("binance", extra=(stale,), is_drained=False).verdict(may_be_open=True).violations == []
    )
    monkeypatch.setattr(RULE, "bridge", always(answer=Verdict.APPLY))
    broken = run("binance", extra=(stale,), is_drained=False).verdict()
    assert broken.of(Fault.UNSOUND_BOOK) > 0


def test_a_book_that_trusts_every_checksum_is_caught(monkeypatch):
    monkeypatch.setattr(Assembler, "is_verified", always(answer=True))
    assert run("kraken").verdict().of(Fault.UNSOUND_BOOK) > 0


def test_a_client_that_ignores_the_frame_numbers_is_caught(monkeypatch):
    monkeypatch.setattr(ConnectionCounter, "observe", always(answer=True))
    assert run("coinbase_advanced").verdict().of(Fault.UNSOUND_BOOK) > 0


def test_a_client_that_calls_everything_sound_is_caught(monkeypatch):
    right = StreamTrust.report

    def report(self, source, _, *rest, **named):
        right(self, source, Trust.SOUND, *rest, **named)

    monkeypatch.setattr(StreamTrust, "report", report)
    assert run("kraken").verdict().of(Fault.UNSOUND_BOOK) > 0
