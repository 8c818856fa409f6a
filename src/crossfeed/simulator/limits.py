"""How venues count: strict sliding windows, lazy token buckets and weights a minute."""

from __future__ import annotations

from collections import deque

__all__ = ["SlidingWindow", "TokenBucket", "WeightWindow"]

_NS = 1_000_000_000


class SlidingWindow:
    """Allows at most `count` hits in any `span_s` seconds. A refused hit counts as well."""

    def __init__(self, count: int, span_s: float) -> None:
        """Build an empty window."""
        self._count = count
        self._span_ns = round(span_s * _NS)
        self._hits: deque[int] = deque(maxlen=count + 1)

    def hit(self, now_ns: int) -> bool:
        """Count one hit; tell whether it is still within the limit."""
        hits = self._hits
        hits.append(now_ns)
        return len(hits) <= self._count or hits[-1] - hits[0] >= self._span_ns


class TokenBucket:
    """Refills `rate_per_s` tokens a second up to `burst`; a refused hit takes none."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        """Build a full bucket."""
        self._rate = rate_per_s / _NS
        self._burst = float(burst)
        self._tokens = float(burst)
        self._last_ns = 0

    def hit(self, now_ns: int) -> bool:
        """Take one token; tell whether there was one."""
        self._tokens = min(self._burst, self._tokens + (now_ns - self._last_ns) * self._rate)
        self._last_ns = now_ns
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class WeightWindow:
    """Counts weights per calendar minute, as REST weight limits do."""

    def __init__(self, limit: int, span_s: int = 60) -> None:
        """Build an empty window of `span_s` seconds, aligned to the epoch."""
        self.limit = limit
        self._span_ns = span_s * _NS
        self._window = -1
        self.used = 0

    def hit(self, now_ns: int, weight: int) -> bool:
        """Add `weight`; tell whether the sum is still within the limit."""
        window = now_ns // self._span_ns
        if window != self._window:
            self._window = window
            self.used = 0
        self.used += weight
        return self.used <= self.limit

    def retry_after_s(self, now_ns: int) -> int:
        """Return the whole seconds until the window ends, at least 1."""
        return max(1, -(-((now_ns // self._span_ns + 1) * self._span_ns - now_ns) // _NS))
