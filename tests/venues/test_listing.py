"""Requests without ids: settled by whole lists and by errors that name what they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.model.commands import Want
from crossfeed.venues.listing import REQUESTS_MAX, SubscriptionList, is_passing, named_wants

A, B, C = Want("trades", "A-USD"), Want("trades", "B-USD"), Want("book", "A-USD")
WANTS = (A, B, C, Want("status", ""))


def listed(*wants):
    """Return the judge of a list that holds `wants`."""
    return lambda want: want in wants


def test_list_confirms_what_it_holds():
    """One list settles what it holds of all requests under way, the rest waits."""
    requests = SubscriptionList()
    requests.ask([])
    assert not requests.is_waiting
    requests.ask([A, B])
    requests.ask([C])
    change = requests.take_list(listed(A))
    assert (change.added, change.removed, change.lost) == ((A,), (), ())
    assert requests.is_waiting
    assert requests.take_list(listed(A, B, C)).added == (B, C)
    assert not requests.is_waiting
    assert requests.take_list(listed(A, B, C)).added == ()


def test_resubscription_is_settled_in_order():
    """Unsubscribe and subscribe: each list settles one step, none is taken for a loss."""
    requests = SubscriptionList()
    requests.ask([A])
    requests.take_list(listed(A))
    requests.ask([A], is_removal=True)
    requests.ask([A])
    late = requests.take_list(listed(A))
    assert (late.added, late.removed, late.lost) == ((), (), ())
    gone = requests.take_list(listed())
    assert (gone.added, gone.removed, gone.lost) == ((), (A,), ())
    back = requests.take_list(listed(A))
    assert (back.added, back.removed, back.lost) == ((A,), (), ())


def test_what_disappears_is_lost_once():
    """A confirmed want that a list leaves out is told once."""
    requests = SubscriptionList()
    requests.ask([A, B])
    requests.take_list(listed(A, B))
    assert requests.take_list(listed(B)).lost == (A,)
    assert requests.take_list(listed(B)).lost == ()


def test_reset_forgets_everything():
    """A new connection knows no request and nothing confirmed."""
    requests = SubscriptionList()
    requests.ask([A])
    requests.take_list(listed(A))
    requests.ask([B])
    requests.reset()
    assert not requests.is_waiting
    assert requests.take_list(listed()).lost == ()
    assert requests.take_error("B-USD is unknown") is None


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("A-USD is not a valid product", [A, C]),
        ("A-USD has no channel book", [C]),
        ("book needs a key.", [C]),
        ("'A-USD', 'B-USD' are delisted.", [A, B, C]),
        ("A-USDT is delisted; BA-USD too", []),
        ("", []),
    ],
)
def test_names_in_a_reason(reason, named):
    """Symbols decide, channels narrow; words must match whole."""
    assert named_wants([A, B, C], reason) == named


def test_error_is_laid_to_the_request_that_holds_the_name():
    """The request that names the bad product is refused, the other goes on waiting."""
    requests = SubscriptionList()
    requests.ask([B])
    requests.ask([A, C, B])
    refusal = requests.take_error("A-USD is delisted")
    assert refusal is not None
    assert (refusal.refused, refusal.again, refusal.is_removal) == ((A, C), (B,), False)
    assert requests.take_list(listed(B)).added == (B,)


def test_error_without_a_name_takes_the_oldest_request():
    """Requests are answered in order, so an unnamed error belongs to the oldest."""
    requests = SubscriptionList()
    requests.ask([A], is_removal=True)
    requests.ask([B])
    refusal = requests.take_error("no")
    assert refusal is not None
    assert (refusal.refused, refusal.again, refusal.is_removal) == ((A,), (), True)


def test_requests_are_bounded():
    """A venue that never answers costs bounded memory."""
    requests = SubscriptionList()
    for number in range(REQUESTS_MAX + 10):
        requests.ask([Want("trades", str(number))])
    everything = requests.take_list(lambda _: True)
    assert len(everything.added) == REQUESTS_MAX


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("rate limit exceeded", True),
        ("ErrSlowConsume: client too slow", True),
        ("Too Many Requests", True),
        ("FOO-BAR is not a valid product", False),
        ("authentication failure", False),
    ],
)
def test_haste_is_no_refusal(reason, expected):
    """What the venue says of our pace says nothing of what we asked."""
    assert is_passing(reason) is expected


@given(st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from(WANTS), min_size=1)), max_size=8))
def test_honest_venue_settles_everything(steps):
    """Whatever is asked, a venue that answers each request in order leaves nothing open or lost."""
    requests = SubscriptionList()
    truth: set[Want] = set()
    answers: list[set[Want]] = []
    for is_removal, wants in steps:
        requests.ask(wants, is_removal=is_removal)
        truth = truth - set(wants) if is_removal else truth | set(wants)
        answers.append(set(truth))
    believed: set[Want] = set()
    for answer in answers:
        change = requests.take_list(answer.__contains__)
        assert change.lost == ()
        believed = (believed | set(change.added)) - set(change.removed)
    assert believed == truth
    assert not requests.is_waiting
