"""Compiles declarations into builders: functions that make a message's events. No venue is named.

For each route one Python function is generated from the declaration's annotations, which makes the
events with positional arguments straight from the decoded Struct; nothing is looked up by name per
message.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from msgspec import Struct

from crossfeed.model.events import MarketData
from crossfeed.model.trust import Mark, Trust
from crossfeed.venues import wire
from crossfeed.venues.isotime import iso_ns
from crossfeed.venues.wire import Route, Wire

__all__ = [
    "Builder",
    "SymbolNames",
    "compile_builder",
    "is_wire",
    "level_names",
    "plan_of",
    "split_hint",
]

Builder = Callable[[Any, bytes | None, int, int], list[MarketData]]
"""(decoded declaration, frame, wall and monotonic receive time) -> events."""
SymbolNames = dict[str, tuple[str, str]]
"""Venue symbol as sent -> (venue symbol, unified symbol), of the symbols asked for."""

_KINDS: Final = (
    wire.Num, wire.Int, wire.UnixTime, wire.IsoTime, wire.Yes, wire.Choice, wire.Text, wire.Symbol,
    wire.SnapshotFlag, wire.PairLevels, wire.SidedLevels, wire.ObjectLevels,
)  # fmt: skip
_LEVEL_KINDS: Final = (wire.LevelPrice, wire.LevelSize, wire.LevelSide)
_PAIR: Final = 2
# 2009-01-01, before anything was traded, and the end of 2261, near the end of 64-bit ns.
TIME_MIN_NS: Final = 1_230_768_000 * 10**9
TIME_MAX_NS: Final = 9_214_646_400 * 10**9


class _Field(NamedTuple):
    """One declared leaf: the expression that reads it, its kind and its type."""

    expression: str
    kind: Any
    hint: Any
    is_optional: bool


class _Plan(NamedTuple):
    """All leaves of a message, and the loops that lead to its items."""

    fields: list[_Field]
    loops: list[tuple[str, str]]


def compile_builder(
    exchange: str, route: Route, symbols: SymbolNames, time_unit_ns: int
) -> Builder:
    """Generate the function that makes a route's events from its decoded declaration."""
    declaration, envelope = _unwrapped(route.wire)
    plan = plan_of(declaration, "w", 0)
    names: dict[str, object] = {"symbols": symbols, "EXCHANGE": exchange, "iso_ns": iso_ns}
    names |= {"sided": _split_sided, "SOUND": Trust.SOUND, "INTEGRITY": route.integrity}
    slots, prelude, flag = _slots(plan, names, time_unit_ns)
    make = functools.partial(_make, route=route, slots=slots, names=names)
    index = "index" if plan.loops else "0"
    made = make(route.event, "EVENT", route.marks, "MARKS", index=index)
    if flag:
        event = route.snapshot or route.event
        first = make(event, "SNAPSHOT", route.snapshot_marks, "SNAPSHOT_MARKS", index=index)
        made = f"{first} if {flag} else {made}"
    body = ["def build(w, raw, recv, mono):"]
    if envelope:
        body.append(f"    w = w.{envelope}")
    indent = "    "
    if plan.loops:
        body += ["    out = []", "    index = 0"]
    for name, source in plan.loops:
        body.append(f"{indent}for {name} in {source}:")
        indent += "    "
    body += [indent + line for line in prelude]
    if plan.loops:
        body += [f"{indent}out.append({made})", f"{indent}index += 1"]
        if route.order:
            names["ORDER"] = attrgetter(route.order)
            body.append("    out.sort(key=ORDER)")
        body.append("    return out")
    else:
        body.append(f"    return [{made}]")
    exec(compile("\n".join(body), f"<builder {route.wire.__name__}>", "exec"), names)  # noqa: S102
    builder: Builder = names["build"]  # type: ignore[assignment]
    return builder


def _make(
    event: type[MarketData] | None,
    event_name: str,
    marks: Mark,
    marks_name: str,
    *,
    route: Route,
    slots: Mapping[str, str],
    names: dict[str, object],
    index: str,
) -> str:
    """Write the constructor call of one event class; every attribute must have a source."""
    if event is None:
        msg = f"{route.wire.__name__}: a route without an event cannot be built"
        raise TypeError(msg)
    names[event_name] = event
    names[marks_name] = marks
    fixed = {
        "exchange": "EXCHANGE", "ts_event_ns": "0", "ts_sent_ns": "0", "ts_recv_ns": "recv",
        "ts_mono_ns": "mono", "marks": marks_name, "integrity": "INTEGRITY", "trust": "SOUND",
        "raw": "raw", "raw_index": index,
    }  # fmt: skip
    arguments: list[str] = []
    for field in event.__struct_fields__:
        if field in slots:
            arguments.append(slots[field])
        elif field in route.constants:
            constant = f"{event_name}_{field}"
            names[constant] = route.constants[field]
            arguments.append(constant)
        elif field in fixed:
            arguments.append(fixed[field])
        else:
            msg = f"{route.wire.__name__}: nothing fills {event.__name__}.{field}"
            raise TypeError(msg)
    return f"{event_name}({', '.join(arguments)})"


@functools.cache
def _hints(declaration: type[Struct]) -> dict[str, Any]:
    """Return a declaration's annotations; read once, for each connection compiles them anew."""
    return get_type_hints(declaration, include_extras=True)


def _unwrapped(declaration: type[Wire]) -> tuple[type[Wire], str]:
    """Return what an envelope of one part holds, and the part's name; else the same and ""."""
    parts = declaration.__struct_fields__
    inner: Any = _hints(declaration)[parts[0]] if len(parts) == 1 else None
    return (inner, parts[0]) if is_wire(inner) else (declaration, "")


def plan_of(declaration: type[Struct], path: str, depth: int) -> _Plan:
    """Walk a declaration; nested Structs become attribute paths, lists of Structs become loops."""
    plan = _Plan([], [])
    for field, hint in _hints(declaration).items():
        if field not in declaration.__struct_fields__:
            continue
        kind, base, is_optional = split_hint(hint)
        where = f"{path}.{field}"
        if kind is not None:
            plan.fields.append(_Field(where, kind, base, is_optional))
        elif isinstance(base, type) and issubclass(base, Wire):
            inner = plan_of(base, where, depth)
            plan.fields.extend(inner.fields)
            plan.loops.extend(inner.loops)
        elif get_origin(base) is list and is_wire(get_args(base)[0]):
            item = f"i{depth}"
            inner = plan_of(get_args(base)[0], item, depth + 1)
            plan.fields.extend(inner.fields)
            plan.loops.append((item, where))
            plan.loops.extend(inner.loops)
    return plan


def is_wire(hint: object) -> bool:
    """Say whether a type is a declaration."""
    return isinstance(hint, type) and issubclass(hint, Wire)


def split_hint(hint: object) -> tuple[Any, Any, bool]:
    """Return (kind, plain type, optional) of an annotation."""
    kind = None
    if get_origin(hint) is Annotated:
        base, *extras = get_args(hint)
        kind = next((extra for extra in extras if isinstance(extra, _KINDS)), None)
    else:
        base = hint
    return kind, base, type(None) in get_args(base)


def _slots(
    plan: _Plan, names: dict[str, object], time_unit_ns: int
) -> tuple[dict[str, str], list[str], str]:
    """Turn the leaves into the expressions that fill the slots.

    The lines before them, and the flag.
    """
    slots: dict[str, str] = {}
    prelude: list[str] = []
    flag = ""
    for number, field in enumerate(plan.fields):
        kind, source = field.kind, field.expression
        expression = source
        if isinstance(kind, wire.Symbol):
            prelude.append(f"symbol, unified = symbols[{source}]")
            slots |= {"symbol": "symbol", "unified": "unified"}
            continue
        if isinstance(kind, wire.SnapshotFlag):
            flag = f"{source} == {kind.value!r}"
            continue
        if isinstance(kind, wire.SidedLevels | wire.ObjectLevels | wire.PairLevels):
            _level_slots(field, number, slots, prelude, names)
            continue
        if isinstance(kind, wire.Int) and kind.factor != 1:
            expression = f"{source} * {kind.factor}"
        elif isinstance(kind, wire.Int) and kind.negative_is_none:
            unknown = f"{source} is None or " if field.is_optional else ""
            slots[kind.slot] = f"(None if {unknown}{source} < 0 else {source})"
            continue
        elif isinstance(kind, wire.Num) and kind.zero_is_none:
            slots[kind.slot] = f"({source} or None)"
            continue
        elif isinstance(kind, wire.UnixTime):
            unit_ns = kind.unit_ns or time_unit_ns
            low, high = TIME_MIN_NS // unit_ns, TIME_MAX_NS // unit_ns
            unknown = f"{source} is not None and " if field.is_optional else ""
            prelude += [
                f"if {unknown}not {low} < {source} < {high}:",
                f"    raise ValueError(f'no time in units of {unit_ns} ns: {{{source}}}')",
            ]
            added = f"({source} + {kind.add})" if kind.add else source
            expression = f"{added} * {unit_ns}"
        elif isinstance(kind, wire.IsoTime):
            expression = f"iso_ns({source})"
        elif isinstance(kind, wire.Choice):
            names[f"C{number}"] = dict(kind.values)
            expression = f"C{number}[{source}]"
        if field.is_optional and expression != source:
            expression = f"(0 if {source} is None else {expression})"
        slots[kind.slot] = expression
    return slots, prelude, flag


def _level_slots(
    field: _Field,
    number: int,
    slots: dict[str, str],
    prelude: list[str],
    names: dict[str, object],
) -> None:
    """Fill `bids` and `asks` from one of the three shapes of levels."""
    kind, source = field.kind, field.expression
    if isinstance(kind, wire.PairLevels):
        row = get_args(get_args(field.hint)[0])
        plain = len(row) == _PAIR
        slots[kind.slot] = source if plain else f"[row[:2] for row in {source}]"
        return
    if isinstance(kind, wire.SidedLevels):
        prelude.append(f"bids{number}, asks{number} = sided({source}, {kind.bid!r})")
        slots |= {"bids": f"bids{number}", "asks": f"asks{number}"}
        return
    price, size, side = level_names(get_args(field.hint)[0])
    if side is None:
        # Often one side is empty: then no comprehension is entered.
        slots[kind.slot] = f"([(row.{price}, row.{size}) for row in {source}] if {source} else [])"
        return
    name, bid = side
    for slot, sign in (("bids", "=="), ("asks", "!=")):
        slots[slot] = (
            f"[(row.{price}, row.{size}) for row in {source} if row.{name} {sign} {bid!r}]"
        )
    names.setdefault("levels", None)


def level_names(row: type[Wire]) -> tuple[str, str, tuple[str, str] | None]:
    """Return the attribute names of price, size and (side, word for bid) in an object level."""
    price = size = ""
    side: tuple[str, str] | None = None
    for field, hint in get_type_hints(row, include_extras=True).items():
        kind = next((x for x in get_args(hint)[1:] if isinstance(x, _LEVEL_KINDS)), None)
        if isinstance(kind, wire.LevelPrice):
            price = field
        elif isinstance(kind, wire.LevelSize):
            size = field
        elif isinstance(kind, wire.LevelSide):
            side = (field, kind.bid)
    return price, size, side


def _split_sided(
    rows: list[tuple[str, float, float]], bid: str
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    bids: list[tuple[float, float]] = []
    asks: list[tuple[float, float]] = []
    for side, price, size in rows:
        (bids if side == bid else asks).append((price, size))
    return bids, asks
