"""A session's lines to the venue: what it may send, counted where the venue counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed import VenueClient
from crossfeed.runtime.links import SEND_JITTER_S, make_send_budget
from crossfeed.simulator.limits import SlidingWindow
from crossfeed.venues.registry import find_venue, venue_names

NS = 1_000_000_000
SENDS = st.lists(
    st.tuples(
        st.sampled_from(("message", "control")),
        st.integers(0, NS // 2),
        st.integers(0, round(SEND_JITTER_S * NS)),
    ),
    min_size=20,
    max_size=120,
)


@pytest.mark.fault("C08")
@pytest.mark.parametrize("venue", venue_names())
@given(sends=SENDS)
def test_no_window_of_the_venue_sees_more_than_it_allows(venue: str, sends) -> None:
    """Whenever messages are wanted, and however they bunch up on a line that keeps their order."""
    limits = find_venue(venue).profile.limits
    budget, window = make_send_budget(limits), SlidingWindow(limits.sends_max, limits.send_window_s)
    now_ns = arrives_ns = 0
    for kind, pause_ns, delay_ns in sends:
        is_message = kind == "message"
        now_ns += pause_ns
        now_ns += (budget.message_wait_ns if is_message else budget.control_wait_ns)(now_ns)
        budget.record(now_ns)
        arrives_ns = max(arrives_ns, now_ns + delay_ns)
        assert window.hit(arrives_ns)


@pytest.mark.parametrize(("venue", "budgets"), [("coinbase_advanced", 1), ("binance", 2)])
async def test_lines_share_a_budget_where_the_venue_counts_them_together(
    simulate, reach, venue: str, budgets: int
) -> None:
    simulator = await simulate(venues=(venue,), symbols=("BTC/USD",))
    settings = reach(simulator, venue, lines=2, backfill="off")
    async with VenueClient(
        venue, symbols=["BTC/USD"], kinds=["trade"], settings=settings
    ) as client:
        lines = client._session.connections
        assert len(lines) == 2
        assert len({id(line.manager._outbox.budget) for line in lines}) == budgets


async def test_the_deadline_of_a_connection_begins_with_its_turn(simulate, reach) -> None:
    """Advanced Trade is connected to once a second: the second line waits for longer than that."""
    simulator = await simulate(venues=("coinbase_advanced",), symbols=("BTC/USD",))
    settings = reach(
        simulator, "coinbase_advanced", lines=2, backfill="off", connect_deadline_s=0.95
    )
    client = VenueClient(
        "coinbase_advanced", symbols=["BTC/USD"], kinds=["trade"], settings=settings
    )
    async with client:
        assert [line.is_live for line in client._session.connections] == [True, True]
