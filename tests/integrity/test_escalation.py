"""The steps against a dead stream, each with its patience and its count."""

import pytest

from crossfeed.integrity.escalation import Escalation, EscalationLimits
from crossfeed.model.commands import Reconnect, Resubscribe
from crossfeed.model.output import Output
from crossfeed.model.status import Stream

S = 1_000_000_000
TRADES = Stream("binance", "trade", "BTCUSDT")
QUOTES = Stream("binance", "book_ticker", "BTCUSDT")


def steps(escalation, until_s, *, is_connection, stream=TRADES, from_s=0):
    """Escalate each second; return (second, command) of the steps taken."""
    taken = []
    for second in range(from_s, until_s):
        out = Output()
        escalation.escalate(stream, second * S, out, is_connection=is_connection)
        taken += [(second, command) for command in out.commands]
    return taken


@pytest.mark.fault("T04")
def test_a_dead_connection_is_resubscribed_renewed_moved():
    """Resubscribe, new connection, other endpoint, each with its own patience."""
    escalation = Escalation(EscalationLimits(resubscribe_s=5, reconnect_s=15))
    taken = steps(escalation, 120, is_connection=True)
    assert taken == [
        (0, Resubscribe("trade", "BTCUSDT", "stale")),
        (5, Reconnect("stale")),
        (20, Reconnect("stale", is_other_endpoint=True)),
        (50, Reconnect("stale")),
        (110, Reconnect("stale", is_other_endpoint=True)),
    ]
    assert (escalation.resubscribes, escalation.reconnects, escalation.other_endpoints) == (1, 2, 2)


def test_many_dead_streams_are_one_dead_connection():
    """A hundred silent streams do not make a hundred reconnects."""
    escalation = Escalation(EscalationLimits())
    out = Output()
    for number in range(100):
        stream = Stream("binance", "trade", f"S{number}")
        escalation.escalate(stream, 0, out, is_connection=True)
    assert len(out.commands) == 1


def test_a_stream_dead_alone_is_only_resubscribed():
    """Its connection serves others well: patience doubles up to its limit."""
    escalation = Escalation(EscalationLimits(resubscribe_s=1, patience_max_s=8))
    taken = steps(escalation, 40, is_connection=False)
    assert [second for second, _ in taken] == [0, 1, 3, 7, 15, 23, 31, 39]
    assert {type(command) for _, command in taken} == {Resubscribe}


def test_a_calm_stream_begins_at_the_first_step_again():
    """But not at once: a line that flaps goes on climbing."""
    escalation = Escalation(EscalationLimits(calm_s=30))
    steps(escalation, 6, is_connection=True)
    escalation.recovered(TRADES, 10 * S)
    escalation.recovered(TRADES, 20 * S)
    assert steps(escalation, 30, from_s=21, is_connection=True)[0][1].is_other_endpoint
    escalation.recovered(TRADES, 100 * S)
    escalation.recovered(TRADES, 131 * S)
    assert isinstance(steps(escalation, 133, from_s=132, is_connection=True)[0][1], Resubscribe)


def test_recovery_of_what_was_never_dead_is_nothing():
    """And a forgotten stream is forgotten."""
    escalation = Escalation(EscalationLimits())
    escalation.recovered(QUOTES, 0)
    steps(escalation, 1, is_connection=False)
    escalation.forget(TRADES)
    escalation.forget(TRADES)
    assert len(steps(escalation, 1, is_connection=False)) == 1
