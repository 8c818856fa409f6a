"""Prometheus metrics: names and labels of the contract, bounded, on loopback."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from crossfeed.errors import ConfigError
from crossfeed.runtime.histogram import Histogram
from crossfeed.servers.metrics import FeedCollector, MetricsServer, TrustFigure, VenueFigures


def figures(exchange: str = "binance", **changes: object) -> VenueFigures:
    """Make the figures of one venue."""
    processing = Histogram()
    for value in (500, 1_500, 3_000_000):
        processing.add(value)
    parts = {
        "received": 10,
        "processed": {"trade": 6, "ticker": 2},
        "invalid": {"syntax": 1},
        "connections_active": 2,
        "reconnections": 3,
        "gaps": {"backfilled": 4},
        "duplicates": 5,
        "dropped": 7,
        "processing": processing,
        "trusts": [TrustFigure("trade", "BTCUSDT", 0)],
    }
    return VenueFigures(exchange=exchange, **(parts | changes))


def scraped(venues: list[VenueFigures]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what a scraper reads: (name, labels) -> value."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FeedCollector(lambda: venues))
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_names_and_labels_of_the_contract() -> None:
    found = scraped([figures()])
    venue = ("exchange", "binance")
    assert found["ws_messages_received_total", (venue,)] == 10
    assert found["ws_messages_processed_total", (venue, ("type", "trade"))] == 6
    assert found["ws_messages_processed_total", (venue, ("type", "ticker"))] == 2
    assert found["ws_connections_active", (venue,)] == 2
    assert found["ws_reconnection_attempts_total", (venue,)] == 3
    assert found["ws_invalid_messages_total", (venue, ("reason", "syntax"))] == 1
    assert found["ws_message_processing_seconds_count", ()] == 3
    assert found["ws_message_processing_seconds_sum", ()] == pytest.approx(0.003002)
    assert found["ws_message_processing_seconds_bucket", (("le", "1e-06"),)] == 1
    assert found["ws_message_processing_seconds_bucket", (("le", "2e-06"),)] == 2
    assert found["ws_message_processing_seconds_bucket", (("le", "+Inf"),)] == 3
    assert found["crossfeed_gaps", (venue, ("state", "backfilled"))] == 4
    assert found["crossfeed_duplicates_total", (venue,)] == 5
    assert found["crossfeed_subscriber_dropped_total", (venue,)] == 7
    assert (
        found["crossfeed_stream_trust", (("channel", "trade"), venue, ("symbol", "BTCUSDT"))] == 0
    )


def test_several_venues_and_their_common_histogram() -> None:
    found = scraped([figures("binance"), figures("kraken")])
    assert found["ws_messages_received_total", (("exchange", "kraken"),)] == 10
    assert found["ws_message_processing_seconds_count", ()] == 6


def test_no_venue_is_no_mistake() -> None:
    assert scraped([])["ws_message_processing_seconds_count", ()] == 0


@pytest.mark.fault("W11")
def test_hostile_labels_are_escaped_and_series_capped() -> None:
    hostile = '"} 1\nforged_metric{a="b\\'
    many = [TrustFigure("trade", f"S{number}", 0) for number in range(6_000)]
    venue = figures(
        invalid={hostile: 1, "x" * 500: 1},
        trusts=[TrustFigure("trade", hostile, 2), *many],
    )
    found = scraped([venue, figures("kraken")])
    names = {name for name, _ in found}
    assert "forged_metric" not in names
    labels = [dict(key) for name, key in found if name == "ws_invalid_messages_total"]
    assert {len(label["reason"]) for label in labels} >= {len(hostile), 100}
    assert max(len(label["reason"]) for label in labels) == 100
    trusts = [key for name, key in found if name == "crossfeed_stream_trust"]
    assert len(trusts) == 5_000


# ── the server ────────────────────────────────────────────────────────────────


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """A server on a free port."""
    made = MetricsServer(lambda: [figures()], 0)
    yield made
    made.close()
    made.close()


def test_it_serves_on_loopback(server: MetricsServer) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'ws_messages_received_total{exchange="binance"} 10.0' in text


def test_after_close_nobody_listens() -> None:
    server = MetricsServer(list, 0)
    server.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=1)


def test_a_port_that_is_taken_or_none_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"metrics_port: port {port} cannot be used"):
            MetricsServer(list, port)
    for wrong in (-1, 65_536):
        with pytest.raises(ConfigError, match=r"metrics_port: .* is no port"):
            MetricsServer(list, wrong)
