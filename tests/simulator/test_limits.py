"""How venues count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crossfeed.simulator.limits import SlidingWindow, TokenBucket, WeightWindow

S = 1_000_000_000


@given(st.lists(st.integers(0, 600_000_000), max_size=60))
def test_a_sliding_window_is_strict(gaps):
    window, now_ns, hits = SlidingWindow(5, 1.0), 0, []
    for gap in gaps:
        now_ns += gap
        hits.append(now_ns)
        assert window.hit(now_ns) == (sum(1 for hit in hits if hit > now_ns - S) <= 5)


def test_a_bucket_refills():
    bucket = TokenBucket(10.0, 15)
    assert [bucket.hit(0) for _ in range(16)] == [True] * 15 + [False]
    assert not bucket.hit(S // 20)
    assert bucket.hit(S // 10)
    assert not bucket.hit(S // 10)


def test_weights_count_by_calendar_minute():
    window = WeightWindow(100)
    assert window.hit(59 * S, 100)
    assert not window.hit(59 * S, 1)
    assert window.retry_after_s(59 * S) == 1
    assert window.hit(60 * S, 100)
    assert window.used == 100
    assert window.retry_after_s(60 * S) == 60
