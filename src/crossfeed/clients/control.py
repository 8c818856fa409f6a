"""What a running feed answers on its control socket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from crossfeed.clients.aggregator import MarketDataAggregator
from crossfeed.clients.venue_client import VenueClient
from crossfeed.errors import ConfigError
from crossfeed.runtime.instrument_cache import cache_folder
from crossfeed.servers.control import ControlServer

__all__ = ["control_folder", "control_server"]


def control_folder() -> Path:
    """Return the folder of the control sockets of this user."""
    return cache_folder() / "run"


def control_server(aggregator: MarketDataAggregator) -> ControlServer:
    """Make the control socket of a running aggregator: gaps, resync, audits."""
    clients = aggregator.clients

    def client_of(request: Mapping[str, Any]) -> VenueClient:
        name = str(request.get("venue", ""))
        if name not in clients:
            raise ConfigError(f"no venue {name!r} runs here (there are: {', '.join(clients)})")
        return clients[name]

    def gaps(request: Mapping[str, Any]) -> object:
        names = [str(request["venue"])] if request.get("venue") else list(clients)
        return {
            name: {
                "totals": msgspec.to_builtins(client_of({"venue": name}).gaps.totals()),
                "records": [msgspec.to_builtins(r) for r in clients[name].gaps.records()],
            }
            for name in names
        }

    def resync(request: Mapping[str, Any]) -> object:
        client = client_of(request)
        symbol = str(request.get("symbol", ""))
        client.resync(symbol)
        return {"resync": client.book(symbol).symbol}

    def audits(request: Mapping[str, Any]) -> object:
        return {
            name: [
                {
                    "symbol": audit.symbol,
                    "score": None if audit.report is None else audit.report.score,
                    "is_exact": audit.is_exact,
                }
                for audit in client.audits()
            ]
            for name, client in clients.items()
            if request.get("venue") in {None, "", name}
        }

    handlers = {"gaps": gaps, "resync": resync, "audits": audits}
    return ControlServer(control_folder(), handlers)
