"""Whole clients against whole venues in virtual time, judged by the independent checker."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import astuple

from crossfeed.runtime.settings import FeedSettings
from crossfeed.testing.virtual import VENUES, VirtualWorld

KINDS = ("trade", "book", "book_ticker", "ticker")
REQUESTS = [(kind, symbol) for symbol in ("BTC/USD", "ETH/USD") for kind in KINDS]


def trace_of(seed: int, faults: str) -> tuple[str, int]:
    """Return a digest of every event that all clients of one world gave out, and their number."""
    world = VirtualWorld(seed=seed, faults=faults, rate_per_s=40)
    digest, count = hashlib.sha256(), 0

    def note(event: object) -> None:
        nonlocal count
        count += 1
        digest.update(repr(astuple(event)).encode())

    for venue in VENUES:
        world.feed(venue, REQUESTS).listeners.append(note)
    world.run(20)
    return digest.hexdigest(), count


def test_the_same_seed_gives_the_same_events():
    first, second, other = trace_of(5, "harsh"), trace_of(5, "harsh"), trace_of(6, "harsh")
    assert first == second
    assert first != other
    assert first[1] > 1_000


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("faults", ["none", "default", "harsh"])
def test_nothing_is_lost_unseen_and_nothing_unsound_is_called_sound(venue, faults):
    venues = ("coinbase", "coinbase_advanced") if venue.startswith("coinbase") else (venue,)
    world = VirtualWorld(venues, seed=11, faults=faults, rate_per_s=30)
    feed = world.feed(venue, REQUESTS)
    world.run(40)
    world.drain()
    verdict = world.verdict()
    assert verdict.violations == [], f"seed 11, {venue}, {faults}"
    sent, delivered, lost = (verdict.total(name) for name in ("sent", "delivered", "lost"))
    assert delivered + lost == sent > 200
    assert verdict.total("tail") == 0
    assert verdict.total("ranges_exact") == verdict.total("ranges")
    assert (verdict.total("holes") + feed.reconnects > 0) == (faults != "none")
    assert all(book.sound > 10 for book in verdict.books.values())
    assert all(trust.current.name == "SOUND" for trust in feed.streams.trusts())
    assert not world.room.ledger.violations


@pytest.mark.parametrize("venue", VENUES)
def test_two_lines_lose_nothing_while_they_are_cut_in_turn(venue):
    venues = ("coinbase", "coinbase_advanced") if venue.startswith("coinbase") else (venue,)
    world = VirtualWorld(venues, seed=3, rate_per_s=30)
    feed = world.feed(venue, REQUESTS, settings=FeedSettings(lines=2))
    for number in range(10):
        world.run(6)  # longer than the longest wait before a reconnect: one line is always up
        assert all(line.is_settled for line in feed.lines)
        feed.lines[number % 2].drop("test")
    world.run(5)
    verdict = world.verdict()
    assert verdict.violations == []
    assert verdict.total("holes") == 0
    assert feed.reconnects == 10


@pytest.mark.parametrize("venue", VENUES)
def test_a_rotation_loses_and_doubles_nothing(venue):
    venues = ("coinbase", "coinbase_advanced") if venue.startswith("coinbase") else (venue,)
    world = VirtualWorld(venues, seed=3, rate_per_s=30)
    feed = world.feed(venue, REQUESTS)
    for _ in range(5):
        world.run(5)
        feed.rotate(feed.lines[0])
    world.run(5)
    verdict = world.verdict()
    assert verdict.violations == []
    assert (verdict.total("holes"), feed.rotations) == (0, 5)
