"""Two lines of everything: one falls silent, is slow, or dies at any moment; nobody may notice."""

from __future__ import annotations

import pytest

from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus
from crossfeed.model.trust import Trust
from crossfeed.runtime.settings import FeedSettings
from crossfeed.testing.virtual import VENUES

NS = 1_000_000_000
TWO = FeedSettings(lines=2)
STREAMS = {
    # venue: what its frames of one stream hold, and the stream
    "binance": (b"btcusdt@trade", b"BTCUSDT@trade", "trade", "BTCUSDT"),
    "coinbase": (b'"type":"match","', b'"type":"last_match"', "trade", "BTC-USD"),
    "coinbase_advanced": (b'"channel":"market_trades"', b"", "trade", "BTC-USD"),
    "kraken": (b'"channel":"book"', b"", "book", "BTC/USD"),
}


class Muted:
    """One line of a feed that brings only what is not of some streams, and answers all the rest."""

    def __init__(self, line, *patterns: bytes) -> None:
        self.line = line
        self._feed = line.core.feed
        self._patterns = [pattern for pattern in patterns if pattern]
        line.core.feed = self.feed

    def feed(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> Output:
        """Lose what is muted."""
        if any(pattern in frame for pattern in self._patterns):
            return Output()
        return self._feed(frame, ts_recv_ns, ts_mono_ns)

    def end(self) -> None:
        """Let everything through again."""
        self.line.core.feed = self._feed


def told(feed) -> tuple[list[str], list[str]]:
    """Return two growing lists: every fall of a trust, and every alert."""
    falls: list[str] = []
    alerts: list[str] = []

    def note(event) -> None:
        if not isinstance(event, FeedStatus):
            return
        text = f"{event.channel} {event.symbol}: {event.cause} ({event.detail})"
        if event.previous is event.current:
            alerts.append(text)
        elif event.previous is Trust.SOUND:
            falls.append(text)

    feed.listeners.append(note)
    return falls, alerts


@pytest.mark.fault("T04", "S18")
@pytest.mark.parametrize("venue", VENUES)
def test_one_silent_stream_of_one_line_is_found_behind_the_other(world, venue, tally):
    """The line lives, its other streams too; only the sibling line shows that one is missing."""
    run = world(venue, seed=21, rate_per_s=10, settings=TWO)
    run.look_ns = 2 * NS
    feed = run.feeds[venue]
    run.run(10)
    good, bad = feed.lines
    falls, alerts = told(feed)
    *patterns, kind, symbol = STREAMS[venue]
    muted = Muted(bad, *patterns)
    began_ns = run.mono_ns()
    limit_s = feed.venue.profile.channel(kind).age_limit_s or 30.0
    run.run(limit_s - 4)
    assert bad.freshness.stats().silent_lines == 0
    for _ in range(100):
        run.run(0.1)
        if any(symbol in alert and "line_silent" in alert for alert in alerts):
            break
    took_s = (run.mono_ns() - began_ns) / NS
    assert took_s <= limit_s + 1.2, took_s  # a line may have been mute for the last market action
    assert alerts[0].startswith(f"{kind} ")
    run.run(60)  # still mute: one step after the other, on this line only
    steps = bad.freshness.stats()
    assert steps.resubscribes >= 1
    assert steps.reconnects >= 1
    assert steps.other_endpoints >= 1
    assert good.freshness.stats().resubscribes == 0
    assert (len(good.attempts), good.is_up) == (1, True)
    assert len(bad.attempts) >= 3
    muted.end()
    run.run(30)
    seen = steps.silent_lines
    run.run(15)
    assert bad.freshness.stats().silent_lines == seen, "well again, for good"
    assert falls == []
    verdict = run.verdict()
    assert (verdict.violations, verdict.total("holes")) == ([], 0)
    tally(injected=1, detected=1, recovered=1, lost=0, doubled=0)
