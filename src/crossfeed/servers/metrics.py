"""Prometheus metrics.

Read from plain counters when they are asked for, nothing on the data path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from crossfeed.errors import ConfigError

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

__all__ = ["FeedCollector", "MetricsServer", "TrustFigure", "VenueFigures"]

BUCKETS_S: Final = (
    1e-6,
    2e-6,
    5e-6,
    1e-5,
    2e-5,
    5e-5,
    1e-4,
    2e-4,
    5e-4,
    1e-3,
    5e-3,
    1e-2,
    1e-1,
    1.0,
)
LABEL_CHARS_MAX: Final = 100
SERIES_MAX: Final = 5_000
PORT_MAX: Final = 65_535


class Buckets(Protocol):
    """A histogram as `runtime.histogram.Histogram` keeps it (ns)."""

    @property
    def count(self) -> int:
        """Values counted."""
        ...

    @property
    def total(self) -> int:
        """Sum of the values, ns."""
        ...

    def buckets(self) -> list[tuple[float, int]]:
        """Return (upper edge in ns, count) ascending."""
        ...


class TrustFigure(Struct, frozen=True):
    """Trust of one stream: 0 sound, 1 stale, 2 unsound, 3 closed, 4 unavailable."""

    channel: str
    symbol: str
    trust: int


class VenueFigures(Struct, frozen=True, kw_only=True):
    """What is read of one venue's client.

    Attributes:
        exchange: Name of the feed.
        received: Frames received.
        processed: Events let through, by data type.
        invalid: Frames refused, by reason.
        connections_active: Connections up now.
        reconnections: Attempts to connect again.
        gaps: Gap records by state.
        duplicates: Repeated events dropped.
        dropped: Events lost to subscribers' queue policies.
        processing: Time from frame to the end of its inline handlers (sampled), ns.
        trusts: Trust of the open streams.
        steps: What was found silent and done about it, by name.
    """

    exchange: str
    received: int
    processed: Mapping[str, int]
    invalid: Mapping[str, int]
    connections_active: int
    reconnections: int
    gaps: Mapping[str, int]
    duplicates: int
    dropped: int
    processing: Buckets
    trusts: Sequence[TrustFigure] = ()
    steps: Mapping[str, int] = {}


class FeedCollector:
    """Makes the metrics of all venues at scrape time. Names and labels are the contract's."""

    def __init__(self, read: Callable[[], Sequence[VenueFigures]]) -> None:
        """Ask `read` at each scrape; it must be safe to call from another thread."""
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        venues = self._read()
        yield _counter("ws_messages_received", "Messages received", venues, lambda v: v.received)
        yield _by_label("ws_messages_processed", "Messages processed", "type", venues, "processed")
        yield _processing(venues)
        active = GaugeMetricFamily(
            "ws_connections_active", "Active connections", labels=["exchange"]
        )
        for venue in venues:
            active.add_metric([venue.exchange], venue.connections_active)
        yield active
        yield _counter(
            "ws_reconnection_attempts", "Reconnection attempts", venues, lambda v: v.reconnections
        )
        yield _by_label("ws_invalid_messages", "Invalid messages", "reason", venues, "invalid")
        yield _gaps(venues)
        yield _counter(
            "crossfeed_duplicates", "Repeated events dropped", venues, lambda v: v.duplicates
        )
        yield _counter(
            "crossfeed_subscriber_dropped",
            "Events lost to queue policies",
            venues,
            lambda v: v.dropped,
        )
        yield _by_label(
            "crossfeed_freshness", "Streams found silent, and steps taken", "step", venues, "steps"
        )
        yield _trusts(venues)


def _counter(
    name: str, text: str, venues: Sequence[VenueFigures], value: Callable[[VenueFigures], int]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=["exchange"])
    for venue in venues:
        family.add_metric([venue.exchange], value(venue))
    return family


def _by_label(
    name: str, text: str, label: str, venues: Sequence[VenueFigures], attribute: str
) -> Metric:
    family = CounterMetricFamily(name, text, labels=["exchange", label])
    for venue in venues:
        values: Mapping[str, int] = getattr(venue, attribute)
        for key, value in values.items():
            family.add_metric([venue.exchange, key[:LABEL_CHARS_MAX]], value)
    return family


def _gaps(venues: Sequence[VenueFigures]) -> Metric:
    """Tell the gap records by state; a gauge, for a repair takes one out of `open`."""
    family = GaugeMetricFamily("crossfeed_gaps", "Gap records", labels=["exchange", "state"])
    for venue in venues:
        for state, count in venue.gaps.items():
            family.add_metric([venue.exchange, state], count)
    return family


def _processing(venues: Sequence[VenueFigures]) -> Metric:
    """Put all venues' fine buckets into the few of the metric."""
    name = "ws_message_processing_seconds"
    family = HistogramMetricFamily(name, "Processing time (sampled)")
    counts = [0] * (len(BUCKETS_S) + 1)
    for venue in venues:
        for edge_ns, count in venue.processing.buckets():
            place = next((i for i, limit in enumerate(BUCKETS_S) if edge_ns <= limit * 1e9), -1)
            counts[place] += count
    rows: list[tuple[str, float]] = []
    seen = 0
    for limit, count in zip((*BUCKETS_S, float("inf")), counts, strict=True):
        seen += count
        rows.append(("+Inf" if limit == float("inf") else repr(limit), seen))
    family.add_metric([], rows, sum(venue.processing.total for venue in venues) / 1e9)
    return family


def _trusts(venues: Sequence[VenueFigures]) -> Metric:
    """Tell the trust of the streams; capped, so that no symbol list can flood the scraper."""
    family = GaugeMetricFamily(
        "crossfeed_stream_trust",
        "Trust of a stream: 0 sound, 1 stale, 2 unsound, 3 closed, 4 unavailable",
        labels=["exchange", "channel", "symbol"],
    )
    left = SERIES_MAX
    for venue in venues:
        for figure in venue.trusts[:left]:
            labels = [venue.exchange, figure.channel, figure.symbol[:LABEL_CHARS_MAX]]
            family.add_metric(labels, figure.trust)
        left = max(0, left - len(venue.trusts))
    return family


class MetricsServer:
    """Serves `/metrics` on a loopback port, in a thread of its own.

    `close()` ends it, twice safely.
    """

    def __init__(
        self, read: Callable[[], Sequence[VenueFigures]], port: int, host: str = "127.0.0.1"
    ) -> None:
        """Listen.

        Raises:
            ConfigError: The port is none, or taken.
        """
        if not 0 <= port <= PORT_MAX:
            raise ConfigError(f"{port} is no port (0..{PORT_MAX})", field="metrics_port")
        registry = CollectorRegistry(auto_describe=False)
        registry.register(FeedCollector(read))
        try:
            started: tuple[WSGIServer, Thread] = start_http_server(
                port, addr=host, registry=registry
            )
        except OSError as error:
            text = f"port {port} cannot be used: {error.strerror}"
            raise ConfigError(text, field="metrics_port") from error
        self._server, self._thread = started
        self.port: int = self._server.server_port
        self._is_closed = False

    def close(self) -> None:
        """Stop listening and end the thread."""
        if self._is_closed:
            return
        self._is_closed = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
