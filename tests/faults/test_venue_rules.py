"""Venues that count what we send and close what they do not like: we keep within, and come back."""

import pytest

from crossfeed.model.trust import Trust
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator.framing import CloseCode
from crossfeed.testing.virtual import VENUES

NS = 1_000_000_000


@pytest.mark.fault("C02")
@pytest.mark.parametrize("venue", VENUES)
def test_a_connection_closed_for_its_conduct_is_back_at_once(world, venue, tally):
    """1008 after a late pong is no ban; after each of many the wait grows."""
    run = world(venue, seed=5, rate_per_s=10)
    feed = run.feeds[venue]
    run.run(40)
    line = feed.lines[0]
    waits_s = []
    for _ in range(4):
        session = next(iter(run.room.simulator.exchanges[venue].sessions.values()))
        began_ns, attempts = run.mono_ns(), len(line.attempts)
        session.close(CloseCode.POLICY, "Pong timeout", run.now_ns())
        for _ in range(600):
            run.run(0.1)
            if len(line.attempts) > attempts and line.is_up:
                break
        waits_s.append((line.attempts[attempts] - began_ns) / NS)
    assert waits_s[0] <= 1.5
    assert waits_s[-1] > waits_s[0]
    run.run(30)
    for symbol in feed.symbols():
        trusts = [feed.trust(kind, symbol).current for kind in ("trade", "book")]
        assert trusts == [Trust.SOUND, Trust.SOUND]
    tally(injected=4, detected=4, recovered=4, lost=0, doubled=0)


@pytest.mark.fault("C08")
def test_connections_together_keep_the_limits_of_an_address(world, tally):
    """Advanced Trade counts 8 messages a second over all connections; two of ours send twelve."""
    channels = ("trade", "book", "ticker", "kline_5m", "heartbeat", "status")
    requests = [(kind, "BTC/USD") for kind in channels]
    run = world("coinbase_advanced", seed=6, requests=requests, settings=FeedSettings(lines=2))
    feed = run.feeds["coinbase_advanced"]
    run.run(30)
    for line in feed.lines:
        line.link.lose()
    run.run(30)
    assert [line.is_settled for line in feed.lines] == [True, True]
    assert run.room.ledger.violations == {}
    tally(injected=2, detected=2, recovered=2, lost=0, doubled=0)
