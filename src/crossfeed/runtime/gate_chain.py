"""What stands between the decoder and a stream's own gate: for the compiled way of a message."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from crossfeed.model.events import MarketData
from crossfeed.model.output import Gate
from crossfeed.runtime.book_flow import Told
from crossfeed.runtime.carriers import MergeEntry, StandbyCarrier
from crossfeed.runtime.gates import BandGate
from crossfeed.runtime.native_gates import PRICE_FIELDS

__all__ = ["chain_of"]


def chain_of(
    native: SimpleNamespace,
    entry: Gate,
    event_class: type[MarketData],
) -> dict[str, Any]:
    """Take the way from a table's `entry` to the gate of `event_class` apart.

    Args:
        native: The compiled modules, whose classes are looked for.
        entry: What the table has for the event's class and symbol.
        event_class: That class.

    Returns:
        `kind`: what the gate is to `_cells.pyx`, OTHER where the way is not one it knows. `gate`,
        and before it, None or empty where there is no such: `band`, `standby` and the `line` in it,
        who is `told` the book and through which standby and line; `number` and `prices`: attributes
        of the event.
    """
    found: dict[str, Any] = dict.fromkeys(
        ("gate", "band", "standby", "line", "told", "told_standby", "told_line")
    )
    found |= {"kind": native.cells.OTHER, "number": "", "prices": ()}
    gate: Any = entry
    if _class_of(gate) is BandGate:
        found["band"], gate = gate.band, gate.inner
        found["prices"] = PRICE_FIELDS.get(event_class, ())
        if not isinstance(found["band"], native.states.BandState) or not found["prices"]:
            return found
    if _class_of(gate) is Told:
        carrier = gate.flow.carrier
        found["told"], found["told_line"] = gate.flow, gate.name
        if isinstance(carrier, StandbyCarrier):
            found["told_standby"] = carrier.standby
        gate = gate.inner
    if _class_of(gate) is MergeEntry:
        if not isinstance(gate.merge, native.states.StandbyState):
            return found
        found["standby"], found["line"] = gate.merge, gate.name
        gate = gate.merge.gate_of(gate.name)
    found["gate"] = gate
    if isinstance(gate, native.books.BookState):
        found["kind"] = native.cells.UPDATES if found["band"] is None else native.cells.OTHER
    elif found["told"] is None and isinstance(gate, native.states.IdState):
        found["kind"] = native.cells.NUMBERED if found["standby"] is None else native.cells.OTHER
    elif found["told"] is None and isinstance(gate, native.states.OpenState):
        found["kind"] = native.cells.LATEST
    if found["kind"] in {native.cells.NUMBERED, native.cells.LATEST}:
        found["number"] = gate.number_name
    return found


def _class_of(gate: object) -> type[object]:
    """Return the very class: what derives from a known one is not known."""
    return type(gate)
