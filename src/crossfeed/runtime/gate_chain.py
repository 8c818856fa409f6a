"""What stands between the decoder and a stream's own gate: for the compiled way of a message."""

from __future__ import annotations

from typing import Any

from crossfeed.model.events import MarketData
from crossfeed.model.output import Gate
from crossfeed.runtime.book_flow import Told
from crossfeed.runtime.carriers import MergeEntry, StandbyCarrier
from crossfeed.runtime.gates import BandGate
from crossfeed.runtime.native_gates import PRICE_FIELDS

__all__ = ["chain_of"]


def chain_of(
    path: Any,  # noqa: ANN401 - a compiled module
    entry: Gate,
    event_class: type[MarketData],
) -> dict[str, Any]:
    """Take the way from a table's `entry` to the gate of `event_class` apart.

    Args:
        path: The compiled way of a message, whose classes are looked for.
        entry: What the table has for the event's class and symbol.
        event_class: That class.

    Returns:
        `kind`: what the gate is to `_path.pyx`, OTHER where the way is not one it knows. `gate`,
        and before it, None or empty where there is no such: `band`, `standby` and the `line` in it,
        who is `told` the book and through which standby and line; `number` and `prices`: attributes
        of the event.
    """
    found: dict[str, Any] = dict.fromkeys(
        ("gate", "band", "standby", "line", "told", "told_standby", "told_line")
    )
    found |= {"kind": path.OTHER, "number": "", "prices": ()}
    gate: Any = entry
    if _class_of(gate) is BandGate:
        found["band"], gate = gate.band, gate.inner
        found["prices"] = PRICE_FIELDS.get(event_class, ())
        if not isinstance(found["band"], path.BandState) or not found["prices"]:
            return found
    if _class_of(gate) is Told:
        carrier = gate.flow.carrier
        found["told"], found["told_line"] = gate.flow, gate.name
        if isinstance(carrier, StandbyCarrier):
            found["told_standby"] = carrier.standby
        gate = gate.inner
    if _class_of(gate) is MergeEntry:
        if not isinstance(gate.merge, path.StandbyState):
            return found
        found["standby"], found["line"] = gate.merge, gate.name
        gate = gate.merge.gate_of(gate.name)
    found["gate"] = gate
    if isinstance(gate, path.BookState):
        found["kind"] = path.UPDATES if found["band"] is None else path.OTHER
    elif found["told"] is None and isinstance(gate, path.IdState):
        found["kind"] = path.NUMBERED if found["standby"] is None else path.OTHER
    elif found["told"] is None and isinstance(gate, path.OpenState):
        found["kind"] = path.LATEST
    if found["kind"] in {path.NUMBERED, path.LATEST}:
        found["number"] = gate.number_name
    return found


def _class_of(gate: object) -> type[object]:
    """Return the very class: what derives from a known one is not known."""
    return type(gate)
