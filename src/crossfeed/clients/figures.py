"""What the metrics read of the clients, in the metrics' own words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from crossfeed.clients.venue_client import VenueClient
from crossfeed.servers.metrics import TrustFigure, VenueFigures

__all__ = ["venue_figures"]

STEPS = ("stale", "silent_lines", "missing_first", "resubscribes", "reconnects", "other_endpoints")


def venue_figures(clients: Iterable[VenueClient]) -> list[VenueFigures]:
    """Read the counters of `clients`; reads only, so any thread may ask."""
    return [_figures(client) for client in clients]


def _figures(client: VenueClient) -> VenueFigures:
    stats = client.get_stats()
    processed: Counter[str] = Counter()
    for kind, count in client.passed_by_kind():
        processed[kind] += count
    states = Counter(str(record.state) for record in list(client.gaps.records()))
    return VenueFigures(
        exchange=client.venue.name,
        received=stats["frames"],
        processed=processed,
        invalid=stats["invalid_by_reason"],
        connections_active=sum(
            1 for each in stats["connections"].values() if each["state"] == "connected"
        ),
        reconnections=stats["reconnect_attempts"],
        gaps=states,
        duplicates=stats["duplicates"],
        dropped=sum(s.dropped for s in list(client.router.subscriptions)),
        processing=client.processing,
        trusts=[
            TrustFigure(trust.stream.channel, trust.stream.symbol, int(trust.current))
            for trust in list(client.trusts())
        ],
        steps={name: int(stats["freshness"][name]) for name in STEPS},
    )
