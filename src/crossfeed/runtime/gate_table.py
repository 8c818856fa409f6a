"""Where the events of one connection go: its table of gates, made anew as streams come and go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from crossfeed.integrity.open_gates import ChainGate
from crossfeed.model.events import DepthDelta, Heartbeat, MarketData, VenueStatus
from crossfeed.model.output import Gate
from crossfeed.runtime.gates import (
    BandGate,
    HeartbeatGate,
    IntervalSorter,
    Passage,
    PulseGate,
    StatusGate,
    Tee,
)
from crossfeed.runtime.kinds import BANDED, BOOK_CLASSES, CLASSES

if TYPE_CHECKING:
    from crossfeed.runtime.streams import Flow, StreamSet

__all__ = ["GateTable", "fill_table"]

GateTable = dict[tuple[type[MarketData], str], Gate]
"""Where the events of one connection go, by event class and venue symbol: read on the data path."""


def fill_table(table: GateTable, name: str, flows: Iterable[Flow], streams: StreamSet) -> None:
    """Put what connection `name` carries into its table, and what venues tell unasked.

    Args:
        table: The connection's; empty.
        name: The connection.
        flows: All open streams.
        streams: Whose they are.
    """
    for flow in flows:
        if name in flow.carrier.lines:
            _enter(table, name, flow, streams)
    # Venues tell their own state unasked (maintenance): it is always listened to.
    table.setdefault((VenueStatus, ""), StatusGate(Passage(streams.counters), streams))
    table.setdefault((Heartbeat, ""), PulseGate(streams.counters))


def _enter(table: GateTable, name: str, flow: Flow, streams: StreamSet) -> None:
    """Put one stream into one connection's table."""
    symbol, kind = flow.want.symbol, flow.kind
    if flow.book is not None:
        entry = flow.book.entry(name)
        for event_class in BOOK_CLASSES:
            raw = table.get((event_class, symbol))
            is_joined = event_class is DepthDelta and isinstance(raw, ChainGate)
            table[event_class, symbol] = Tee((raw, entry)) if raw and is_joined else entry
        return
    entry = flow.carrier.entry(name)
    key = (CLASSES["kline" if kind.startswith("kline") else kind], symbol)
    band = streams.band(symbol) if kind in BANDED else None
    if kind.startswith("kline"):
        sorter = table.setdefault(key, IntervalSorter())
        assert isinstance(sorter, IntervalSorter), "candles are sorted by interval"
        sorter.gates[kind.partition("_")[2]] = entry
    elif kind == "heartbeat":
        table[key] = HeartbeatGate(entry, streams)
    elif kind == "status":
        table[key] = StatusGate(entry, streams)
    elif band is not None:
        table[key] = BandGate(entry, band, key[0])
    elif key in table:
        table[key] = Tee((entry, table[key]))
    else:
        table[key] = entry
