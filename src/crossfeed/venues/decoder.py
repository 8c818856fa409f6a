"""Turns declarations into decoders: frames → events, by generated builders. No venue is named here.

For each route one Python function is generated from the declaration's annotations, which makes the
events with positional arguments straight from the decoded Struct; nothing is looked up by name per
message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from crossfeed.errors import (
    DecodeError,
    InvalidValueError,
    MalformedFrameError,
    SchemaChangedError,
    UnknownMessageError,
)
from crossfeed.model.events import MarketData
from crossfeed.model.trust import Mark, Trust
from crossfeed.venues import wire
from crossfeed.venues.isotime import iso_ns
from crossfeed.venues.wire import Route, Routes, Wire

__all__ = ["Decoder", "SymbolNames"]

Builder = Callable[[Any, bytes | None, int, int], list[MarketData]]
SymbolNames = dict[str, tuple[str, str]]
"""Venue symbol as sent -> (venue symbol, unified symbol), of the symbols asked for."""

_KINDS: Final = (
    wire.Num, wire.Int, wire.UnixTime, wire.IsoTime, wire.Yes, wire.Choice, wire.Text, wire.Symbol,
    wire.SnapshotFlag, wire.PairLevels, wire.SidedLevels, wire.ObjectLevels,
)  # fmt: skip
_LEVEL_KINDS: Final = (wire.LevelPrice, wire.LevelSize, wire.LevelSide)
_PAIR: Final = 2
# An error may quote what came; the frame itself decides how long that is.
_DETAIL_CHARS_MAX: Final = 200
# 2009-01-01, before anything was traded, and the end of 2261, near the end of 64-bit ns.
_TIME_MIN_NS: Final = 1_230_768_000 * 10**9
_TIME_MAX_NS: Final = 9_214_646_400 * 10**9


_HEADS_MAX: Final = 64
_HEAD_BYTES_MAX: Final = 128
_Entry = tuple[Callable[[bytes], Any], Route, Builder | None]


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


class Decoder:
    """Decodes the frames of one connection.

    Args:
        exchange: Name that the events carry.
        routes: The venue's declarations.
        symbols: Symbols asked for; shared with the codec, which changes it as subscriptions change.
        time_unit_ns: Unit of `UnixTime` fields that leave it open.
        keep_raw: Whether events keep their frame.
    """

    def __init__(
        self,
        exchange: str,
        routes: Routes,
        symbols: SymbolNames,
        *,
        time_unit_ns: int = 1_000_000,
        keep_raw: bool = True,
    ) -> None:
        """Compile one builder for each route that yields events. Cost about 1 ms a route."""
        self._exchange = exchange
        self._routes = routes
        self._keep_raw = keep_raw
        self._guess = routes.guess.match
        self._probe = msgspec.json.Decoder(routes.probe, strict=False)
        self._head_end = routes.head_end
        self._heads: dict[bytes, _Entry] = {}
        self._decoders: dict[str, _Entry] = {}
        self._by_guess: dict[tuple[bytes, ...], _Entry] = {}
        for tag, route in routes.table.items():
            decode = msgspec.json.Decoder(route.wire, strict=False).decode
            build = (
                None
                if route.event is None
                else compile_builder(exchange, route, symbols, time_unit_ns)
            )
            self._decoders[tag] = (decode, route, build)
            self._by_guess[tuple(tag.encode().split(b"/"))] = (decode, route, build)

    def decode(
        self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int
    ) -> tuple[Route, Any, list[MarketData] | None]:
        """Decode one frame.

        Returns:
            The route, the decoded declaration, and the events (None for service messages). An empty
            object or a message with no items gives no events.

        Raises:
            DecodeError: With the reason; nothing was changed.
        """
        try:
            entry = None
            if self._head_end:
                entry = self._heads.get(frame.partition(self._head_end)[0])
            if entry is None:
                found = self._guess(frame)
                entry = self._by_guess.get(found.groups()) if found is not None else None
                if entry is None:
                    entry = self._decoders.get(self._probe.decode(frame).tag())
                    if entry is None:
                        raise UnknownMessageError(
                            self._exchange, "unknown_type", "no such message", frame
                        )
                elif self._head_end and found is not None:
                    self._remember_head(frame, found.end(), entry)
            decode, route, build = entry
            message = decode(frame)
            if build is None:
                return route, message, None
            events = build(message, frame if self._keep_raw else None, ts_recv_ns, ts_mono_ns)
        except (msgspec.MsgspecError, RecursionError, ValueError, KeyError, OverflowError) as exc:
            raise refusal(self._exchange, exc, frame) from exc
        return route, message, events

    def _remember_head(self, frame: bytes, guess_end: int, entry: _Entry) -> None:
        """Remember how messages of this sort begin, if the guess looked at nothing beyond."""
        head = frame.partition(self._head_end)[0]
        if guess_end <= len(head) <= _HEAD_BYTES_MAX and len(self._heads) < _HEADS_MAX:
            self._heads[head] = entry

    def decode_as(
        self, tag: str, body: bytes, ts_recv_ns: int, ts_mono_ns: int
    ) -> list[MarketData]:
        """Decode a body that is known to be of route `tag`.

        A REST answer, or one entry of its list.

        Returns:
            Its events.

        Raises:
            DecodeError: With the reason; nothing was changed.
        """
        decode, _, build = self._decoders[tag]
        if build is None:
            msg = f"route {tag!r} yields no events"
            raise TypeError(msg)
        try:
            return build(decode(body), body if self._keep_raw else None, ts_recv_ns, ts_mono_ns)
        except (msgspec.MsgspecError, RecursionError, ValueError, KeyError, OverflowError) as exc:
            raise refusal(self._exchange, exc, body) from exc


def refusal(exchange: str, exc: Exception, frame: bytes) -> DecodeError:
    """Give a foreign decoding exception our type and a short stable reason."""
    text = str(exc)[:_DETAIL_CHARS_MAX]
    if isinstance(exc, msgspec.ValidationError):
        if "missing required field" in text:
            return SchemaChangedError(exchange, "missing_field", text, frame)
        if "out of range" in text or "<=" in text or ">" in text:
            return InvalidValueError(exchange, "out_of_range", text, frame)
        return SchemaChangedError(exchange, "wrong_type", text, frame)
    if isinstance(exc, KeyError):
        return UnknownMessageError(exchange, "unasked_symbol", f"symbol {text}", frame)
    if isinstance(exc, RecursionError):
        return MalformedFrameError(exchange, "too_deep", "nested too deeply", frame)
    if isinstance(exc, UnicodeDecodeError):
        return MalformedFrameError(exchange, "encoding", "not UTF-8", frame)
    if isinstance(exc, msgspec.DecodeError):
        return MalformedFrameError(exchange, "syntax", text, frame)
    return InvalidValueError(exchange, "invalid_value", text, frame)


# ── compiling ─────────────────────────────────────────────────────────────────


def compile_builder(
    exchange: str, route: Route, symbols: SymbolNames, time_unit_ns: int
) -> Builder:
    """Generate the function that makes a route's events from its decoded declaration."""
    plan = _plan(route.wire, "w", 0)
    names: dict[str, object] = {"symbols": symbols, "EXCHANGE": exchange, "iso_ns": iso_ns}
    names |= {"sided": _split_sided, "SOUND": Trust.SOUND, "INTEGRITY": route.integrity}
    slots, prelude, flag = _slots(plan, names, time_unit_ns)
    body = ["def build(w, raw, recv, mono):", "    out = []"]
    indent = "    "
    if plan.loops:
        body.append("    index = 0")
    for name, source in plan.loops:
        body.append(f"{indent}for {name} in {source}:")
        indent += "    "
    body += [indent + line for line in prelude]
    index = "index" if plan.loops else "0"
    plain = _make(route.event, "EVENT", route.marks, "MARKS", route, slots, names, index)
    if flag:
        first = _make(
            route.snapshot or route.event, "SNAPSHOT", route.snapshot_marks, "SNAPSHOT_MARKS",
            route, slots, names, index,
        )  # fmt: skip
        body += [
            f"{indent}if {flag}:",
            f"{indent}    {first}",
            f"{indent}else:",
            f"{indent}    {plain}",
        ]
    else:
        body.append(indent + plain)
    if plan.loops:
        body.append(f"{indent}index += 1")
    body.append("    return out")
    exec(compile("\n".join(body), f"<builder {route.wire.__name__}>", "exec"), names)  # noqa: S102
    builder: Builder = names["build"]  # type: ignore[assignment]
    return builder


def _make(
    event: type[MarketData] | None,
    event_name: str,
    marks: Mark,
    marks_name: str,
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
    return f"out.append({event_name}({', '.join(arguments)}))"


def _plan(declaration: type[Struct], path: str, depth: int) -> _Plan:
    """Walk a declaration; nested Structs become attribute paths, lists of Structs become loops."""
    plan = _Plan([], [])
    for field, hint in get_type_hints(declaration, include_extras=True).items():
        if field not in declaration.__struct_fields__:
            continue
        kind, base, is_optional = _split_hint(hint)
        where = f"{path}.{field}"
        if kind is not None:
            plan.fields.append(_Field(where, kind, base, is_optional))
        elif isinstance(base, type) and issubclass(base, Wire):
            inner = _plan(base, where, depth)
            plan.fields.extend(inner.fields)
            plan.loops.extend(inner.loops)
        elif get_origin(base) is list and _is_wire(get_args(base)[0]):
            item = f"i{depth}"
            inner = _plan(get_args(base)[0], item, depth + 1)
            plan.fields.extend(inner.fields)
            plan.loops.append((item, where))
            plan.loops.extend(inner.loops)
    return plan


def _is_wire(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, Wire)


def _split_hint(hint: object) -> tuple[Any, Any, bool]:
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
            low, high = _TIME_MIN_NS // unit_ns, _TIME_MAX_NS // unit_ns
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
    price, size, side = _level_names(get_args(field.hint)[0])
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


def _level_names(row: type[Wire]) -> tuple[str, str, tuple[str, str] | None]:
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


# ── the exact reading ─────────────────────────────────────────────────────────


class ExactReader:
    """Serves `raw_message` and `exact` of a venue's events from the same declarations."""

    def __init__(self, routes: Routes) -> None:
        """Take the venue's declarations; nothing is compiled until the first read."""
        self._routes = routes
        self._probe = msgspec.json.Decoder(routes.probe, strict=False)

    def reads(self, raw: bytes) -> bool:
        """Say whether `raw` is a frame of this protocol."""
        return self._route_of(raw) is not None

    def _route_of(self, raw: bytes) -> Route | None:
        found = self._routes.guess.match(raw)
        route = None
        if found is not None:
            tag = b"/".join(part or b"" for part in found.groups()).decode("ascii", "replace")
            route = self._routes.table.get(tag)
        if route is not None:
            return route
        try:
            return self._routes.table.get(self._probe.decode(raw).tag())
        except msgspec.MsgspecError:
            return None

    def message(self, event: MarketData) -> dict[str, Any]:
        """Return the venue's own message, without its envelope."""
        message: Any = msgspec.json.decode(event.raw or b"{}")
        if self._routes.payload_key and isinstance(message, dict):
            message = message.get(self._routes.payload_key, message)
        if isinstance(message, list):
            message = message[event.raw_index] if event.raw_index < len(message) else message
        return message if isinstance(message, dict) else {"data": message}

    def exact(self, event: MarketData) -> Mapping[str, Any]:
        """Return the declared numbers of the event as Decimals; levels as lists of Decimal pairs.

        Cost: a full decode of the frame with the standard json module; meant for the rare exact
            need.
        """
        raw = event.raw or b"{}"
        route = self._route_of(raw)
        if route is None:
            return {}
        tree = json.loads(raw, parse_float=Decimal)
        items: list[dict[str, Any]] = []
        _exact_items(route.wire, tree, {}, items)
        return items[event.raw_index] if event.raw_index < len(items) else {}


def _exact_items(
    declaration: type[Struct], tree: object, outer: dict[str, Any], items: list[dict[str, Any]]
) -> None:
    """Collect one mapping per event, in the order in which the builder makes them."""
    values = dict(outer)
    loop: tuple[type[Struct], list[Any]] | None = None
    wire_names = dict(
        zip(declaration.__struct_fields__, declaration.__struct_encode_fields__, strict=True)
    )
    hints = get_type_hints(declaration, include_extras=True)
    for field, key in wire_names.items():
        kind, base, _ = _split_hint(hints[field])
        value = tree.get(key) if isinstance(tree, dict) else None
        if value is None:
            continue
        if kind is not None:
            _exact_leaf(kind, base, value, values)
        elif _is_wire(base):
            nested: list[dict[str, Any]] = []
            _exact_items(base, value, values, nested)
            if _has_loop(base):
                items.extend(nested)
                return
            values |= nested[0]
        elif get_origin(base) is list and _is_wire(get_args(base)[0]):
            loop = (get_args(base)[0], value)
    if loop is None:
        items.append(values)
        return
    for entry in loop[1]:
        _exact_items(loop[0], entry, values, items)


def _has_loop(declaration: type[Struct]) -> bool:
    return bool(_plan(declaration, "w", 0).loops)


def _exact_leaf(
    kind: object,
    base: object,
    value: Any,  # noqa: ANN401 - JSON of any shape
    values: dict[str, Any],
) -> None:
    if isinstance(kind, wire.Num):
        values[kind.slot] = Decimal(str(value))
    elif isinstance(kind, wire.PairLevels):
        values[kind.slot] = [(Decimal(str(row[0])), Decimal(str(row[1]))) for row in value]
    elif isinstance(kind, wire.SidedLevels):
        for slot, is_bid in (("bids", True), ("asks", False)):
            values[slot] = [
                (Decimal(str(price)), Decimal(str(size)))
                for side, price, size in value
                if (side == kind.bid) is is_bid
            ]
    elif isinstance(kind, wire.ObjectLevels):
        row = get_args(base)[0]
        keys = dict(zip(row.__struct_fields__, row.__struct_encode_fields__, strict=True))
        price, size, side = _level_names(row)
        pairs = [(r, (Decimal(str(r[keys[price]])), Decimal(str(r[keys[size]])))) for r in value]
        if side is None:
            values[kind.slot] = [pair for _, pair in pairs]
        else:
            name, bid = keys[side[0]], side[1]
            values["bids"] = [pair for r, pair in pairs if r[name] == bid]
            values["asks"] = [pair for r, pair in pairs if r[name] != bid]
