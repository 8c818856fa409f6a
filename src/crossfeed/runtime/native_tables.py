"""Declarations → tables for the compiled decoder. Plain dicts and tuples; no venue is named here.

A route the compiled decoder cannot serve (it holds free-form JSON, or all its messages go through
the codec's own code) is simply left out: its frames are declined and decoded as ever. Where only
some go through it, the others are served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from crossfeed.model.events import MarketData
from crossfeed.model.trust import Trust
from crossfeed.venues import wire
from crossfeed.venues.builder import TIME_MAX_NS, TIME_MIN_NS, is_wire, level_names, split_hint
from crossfeed.venues.wire import Route, Routes, Wire

__all__ = ["engine_spec"]

KINDS: Final = (
    "CHECK_INT", "CHECK_TEXT", "NUM", "INT", "TIME", "ISO", "BOOL", "WORD", "INT_WORD",
    "BOOL_WORD", "TEXT", "SYMBOL", "FLAG", "PAIRS", "SIDED", "LEVELS", "OBJECT", "ITEMS",
    "LEVEL_PRICE", "LEVEL_SIZE", "LEVEL_SIDE", "SEQUENCE",
)  # fmt: skip
"""Numbered as in `_tables.pxd`."""
LEVEL_KINDS: Final = frozenset(KINDS.index(kind) for kind in ("PAIRS", "SIDED", "LEVELS"))
SLOT_OF: Final = {"ts_recv_ns": 32, "ts_mono_ns": 33, "raw": 34, "raw_index": 35}
SLOTS_MAX: Final = 32
FIELDS_MAX: Final = 32
KEY_MAX: Final = 24
ROUTES_MAX: Final = 64
FLOAT_MAX: Final = 1.7976931348623157e308
INT_MAX: Final = 10**18
INT64_MAX: Final = 2**63 - 1
SIDES: Final = ("bids", "asks")
PAIR: Final = 2
TRIPLE: Final = 3

Spec = dict[str, Any]


class _UnservedError(Exception):
    """This route has something that the tables cannot say."""


def engine_spec(
    exchange: str,
    routes: Routes,
    *,
    time_unit_ns: int,
    sequence_field: str = "",
    plain: Callable[[str], AbstractSet[str]] | None = None,
) -> Spec:
    """Make the tables of all routes that can be served.

    Args:
        exchange: Name that the events carry.
        routes: The venue's declarations.
        time_unit_ns: Unit of times that leave it open.
        sequence_field: Wire name of the number of all frames of a connection, if there is one.
        plain: Finds the live set of symbols that a `Plain` names; None: such routes are left out.
    """
    tables: list[Spec] = []
    made: list[tuple[tuple[bytes, ...], int, Any, Any]] = []
    for tag, route in routes.table.items():
        is_refined = route.refine and (route.plain is None or plain is None)
        if route.event is None or route.handler or is_refined or len(made) >= ROUTES_MAX:
            continue
        known = len(tables)
        try:
            builder = _RouteTables(exchange, route, tables, time_unit_ns, sequence_field)
            entry = builder.make()
            if route.plain is not None and plain is not None:
                builder.restrict(route.plain.slots, plain(route.plain.symbols))
            builder.drop_unused(entry)
        except _UnservedError:
            del tables[known:]
            continue
        made.append((tuple(tag.encode().split(b"/")), *entry))
    return {"tables": tables, "routes": made, "has_sequence": bool(sequence_field)}


class _RouteTables:
    """The tables of one route."""

    def __init__(
        self, exchange: str, route: Route, tables: list[Spec], unit_ns: int, sequence_field: str
    ) -> None:
        self.exchange = exchange
        self.route = route
        self.tables = tables
        self.unit_ns = unit_ns
        self.sequence_field = sequence_field
        self.slots: dict[str, int] = {}
        self.root = 0

    def make(self) -> tuple[int, Any, Any]:
        """Return (root table, how the event is made, how the snapshot is or None)."""
        root = self.root = self._table(self.route.wire)
        loops = _has_items(self.route.wire)
        if not loops:
            self.tables[root]["is_leaf"] = True
        event = self.route.event
        assert event is not None, "only routes with events are served"
        plain = self._arguments(event, self.route.marks)
        flagged = any(field["kind"] == KINDS.index("FLAG") for field in self._fields())
        first = (
            self._arguments(self.route.snapshot or event, self.route.snapshot_marks)
            if flagged
            else None
        )
        return root, plain, first

    def restrict(self, slots: tuple[str, ...], symbols: AbstractSet[str]) -> None:
        """Decline messages of other symbols, and those in which one of the slots is missing or 0.

        Not for levels: the frame of a book's update is read again when that is asked for, and what
        is plain may have changed by then.
        """
        numbers = {self.slots[slot] for slot in slots}
        for field in self._fields():
            if field["kind"] in LEVEL_KINDS:
                raise _UnservedError
            if field["kind"] == KINDS.index("SYMBOL"):
                field["among"] = symbols
            elif field["slot"] in numbers:
                field["is_required"], field["is_nullable"], field["absent"] = True, False, None
                low, _, high = field["bounds"]
                if field["kind"] == KINDS.index("NUM") and low == 0.0:
                    field["bounds"] = (low, True, high)
                elif field["kind"] != KINDS.index("ISO"):
                    raise _UnservedError

    def drop_unused(self, entry: tuple[int, Any, Any]) -> None:
        """Only check numbers that no event of the route holds."""
        used = {slot for made in entry[1:] if made for slot in made[1] if isinstance(slot, int)}
        for field in self._fields():
            if field["kind"] == KINDS.index("NUM") and field["slot"] not in used:
                field["slot"], field["absent"] = -1, None

    def _fields(self) -> Iterator[Spec]:
        """Yield the fields of all tables of the route."""
        for table in self.tables[self.root :]:
            yield from table["fields"]

    def _arguments(
        self, event: type[MarketData], marks: object
    ) -> tuple[Any, tuple[Any, ...], Callable[[Any], Any] | None]:
        route = self.route
        fixed: dict[str, object] = {
            "exchange": self.exchange, "ts_event_ns": 0, "ts_sent_ns": 0, "marks": marks,
            "integrity": route.integrity, "trust": Trust.SOUND,
        }  # fmt: skip
        arguments: list[Any] = []
        for name in event.__struct_fields__:
            if name in self.slots:
                arguments.append(self.slots[name])
            elif name in route.constants:
                arguments.append((route.constants[name],))
            elif name in SLOT_OF:
                arguments.append(SLOT_OF[name])
            else:
                arguments.append((fixed[name],))
        return event, tuple(arguments), attrgetter(route.order) if route.order else None

    def _slot(self, name: str) -> int:
        if name in self.slots or len(self.slots) >= SLOTS_MAX:
            raise _UnservedError
        self.slots[name] = len(self.slots)
        return self.slots[name]

    def _table(self, declaration: type[Struct], *, is_leaf: bool = False) -> int:
        number = len(self.tables)
        fields: list[Spec] = []
        self.tables.append({"fields": fields, "is_leaf": is_leaf})
        hints = get_type_hints(declaration, include_extras=True)
        is_outer = _has_items(declaration)
        for info in msgspec.structs.fields(declaration):
            field = self._field(hints[info.name], info.encode_name)
            has_default = info.default is not NODEFAULT
            if info.default_factory is not NODEFAULT:
                raise _UnservedError
            field["is_required"] = not has_default
            field["key"] = info.encode_name.encode()
            if len(field["key"]) > KEY_MAX:
                raise _UnservedError
            has_slot = field["slot"] >= 0
            if has_default and has_slot:
                if field["slot_other"] >= 0:
                    raise _UnservedError
                field["absent"] = (_absent(field.pop("wire_kind"), info.default),)
            field["is_nullable"] &= has_default and info.default is None
            field["is_outer"] = is_outer and (has_slot or field["kind"] == KINDS.index("FLAG"))
            if field["is_outer"] and field["kind"] in LEVEL_KINDS:
                raise _UnservedError  # levels belong to one event
            fields.append(field)
        if len(fields) > FIELDS_MAX:
            raise _UnservedError
        return number

    def _field(self, hint: object, key: str) -> Spec:
        kind, base, is_optional = split_hint(hint)
        field = _blank()
        field["wire_kind"] = kind
        field["is_nullable"] = is_optional
        _bound(field, hint)
        if kind is None:
            self._structure(field, base, hint, key)
        elif isinstance(kind, wire.PairLevels | wire.SidedLevels | wire.ObjectLevels):
            self._levels(field, kind, base)
        else:
            self._leaf(field, kind, base)
        return field

    def _structure(self, field: Spec, base: object, hint: object, key: str) -> None:
        """Serve what has no kind: nested messages, and values that are only checked."""
        plain = _plain(base)
        if is_wire(base):
            assert isinstance(base, type)
            field["kind"] = KINDS.index("OBJECT")
            field["child"] = self._table(base)
        elif get_origin(base) is list and is_wire(get_args(base)[0]):
            item = get_args(base)[0]
            field["kind"] = KINDS.index("ITEMS")
            field["child"] = self._table(item, is_leaf=not _has_items(item))
        elif plain is int and key == self.sequence_field:
            field["kind"] = KINDS.index("SEQUENCE")
        elif plain is int:
            field["kind"] = KINDS.index("CHECK_INT")
        elif plain is str and not _metas(hint):
            field["kind"] = KINDS.index("CHECK_TEXT")
        elif get_origin(plain) is Literal and all(isinstance(w, str) for w in get_args(plain)):
            field["kind"] = KINDS.index("CHECK_TEXT")
            field["words"] = tuple((w.encode(), 0, (w,)) for w in get_args(plain))
        else:
            raise _UnservedError

    def _leaf(self, field: Spec, kind: object, base: object) -> None:
        plain = _plain(base)
        match kind:
            case wire.Num() if plain is float:
                field["kind"], field["has_none"] = KINDS.index("NUM"), kind.zero_is_none
                field["slot"] = self._slot(kind.slot)
            case wire.Int() if plain is int:
                field["kind"], field["has_none"] = KINDS.index("INT"), kind.negative_is_none
                field["factor"] = kind.factor
                low, high = field["int_bounds"]
                most = INT64_MAX // abs(kind.factor)
                field["int_bounds"] = (max(low, -most), min(high, most))
                field["slot"] = self._slot(kind.slot)
            case wire.UnixTime() if plain is int:
                unit_ns = kind.unit_ns or self.unit_ns
                field["kind"], field["factor"] = KINDS.index("TIME"), unit_ns
                field["add"] = kind.add
                low, high = TIME_MIN_NS // unit_ns, TIME_MAX_NS // unit_ns
                field["int_bounds"] = (low + 1, high - 1)
                field["slot"] = self._slot(kind.slot)
            case wire.IsoTime() if plain is str:
                field["kind"], field["slot"] = KINDS.index("ISO"), self._slot(kind.slot)
            case wire.Yes() if plain is bool:
                field["kind"], field["slot"] = KINDS.index("BOOL"), self._slot(kind.slot)
            case wire.Choice():
                self._choice(field, kind, plain)
            case wire.Text():
                self._text(field, kind, plain)
            case wire.Symbol() if plain is str:
                field["kind"] = KINDS.index("SYMBOL")
                field["slot"], field["slot_other"] = self._slot("symbol"), self._slot("unified")
            case wire.SnapshotFlag() if get_origin(plain) is Literal:
                field["kind"] = KINDS.index("FLAG")
                field["words"] = tuple(
                    (word.encode(), int(word == kind.value), (word,)) for word in get_args(plain)
                )
            case _:
                raise _UnservedError

    def _choice(self, field: Spec, kind: wire.Choice, plain: Any) -> None:  # noqa: ANN401 - a type
        words = get_args(plain) if get_origin(plain) is Literal else tuple(kind.values)
        known = [word for word in words if word in kind.values]
        if plain is bool:
            field["kind"] = KINDS.index("BOOL_WORD")
            field["words"] = tuple((b"", int(w), (kind.values[w],)) for w in (True, False))
        elif get_origin(plain) is Literal and all(type(word) is int for word in known):
            field["kind"] = KINDS.index("INT_WORD")
            field["words"] = tuple((b"", int(w), (kind.values[w],)) for w in known)
        elif get_origin(plain) is Literal and all(isinstance(word, str) for word in known):
            field["kind"] = KINDS.index("WORD")
            field["words"] = tuple((w.encode(), 0, (kind.values[w],)) for w in known)
        else:
            raise _UnservedError
        field["slot"] = self._slot(kind.slot)

    def _text(self, field: Spec, kind: wire.Text, plain: Any) -> None:  # noqa: ANN401 - a type
        field["kind"] = KINDS.index("TEXT")
        if get_origin(plain) is Literal and all(isinstance(w, str) for w in get_args(plain)):
            field["words"] = tuple((w.encode(), 0, (w,)) for w in get_args(plain))
        elif plain is not str:
            raise _UnservedError
        field["slot"] = self._slot(kind.slot)

    def _levels(self, field: Spec, kind: object, base: object) -> None:
        row = get_args(base)[0]
        if isinstance(kind, wire.ObjectLevels | wire.PairLevels) and kind.slot:
            if kind.slot not in SIDES:
                raise _UnservedError
            field["side"] = SIDES.index(kind.slot)
        if isinstance(kind, wire.ObjectLevels):
            field["kind"] = KINDS.index("LEVELS")
            field["child"] = self._level_table(row)
            if kind.slot:
                field["slot"] = self._slot(kind.slot)
            else:
                field["slot"], field["slot_other"] = self._slot("bids"), self._slot("asks")
            return
        cells = get_args(row)
        if isinstance(kind, wire.PairLevels) and len(cells) == PAIR:
            field["kind"], field["slot"] = KINDS.index("PAIRS"), self._slot(kind.slot)
        elif isinstance(kind, wire.SidedLevels) and len(cells) == TRIPLE:
            field["kind"] = KINDS.index("SIDED")
            field["slot"], field["slot_other"] = self._slot("bids"), self._slot("asks")
            words = get_args(cells[0])
            field["words"] = tuple((w.encode(), int(w == kind.bid), (w,)) for w in words)
        else:
            raise _UnservedError
        field["bounds"], field["size_bounds"] = _bounds(cells[-2]), _bounds(cells[-1])

    def _level_table(self, row: type[Wire]) -> int:
        price, size, side = level_names(row)
        number = len(self.tables)
        fields: list[Spec] = []
        self.tables.append({"fields": fields, "is_leaf": False})
        hints = get_type_hints(row, include_extras=True)
        for info in msgspec.structs.fields(row):
            field = _blank()
            if info.name in {price, size}:
                field["kind"] = KINDS.index("LEVEL_PRICE" if info.name == price else "LEVEL_SIZE")
                field["bounds"] = _bounds(hints[info.name])
            elif side is not None and info.name == side[0]:
                field["kind"] = KINDS.index("LEVEL_SIDE")
                words = get_args(_plain(split_hint(hints[info.name])[1]))
                field["words"] = tuple((w.encode(), int(w == side[1]), (w,)) for w in words)
            else:
                raise _UnservedError
            field["key"], field["is_required"] = info.encode_name.encode(), True
            if info.default is not NODEFAULT:
                raise _UnservedError
            fields.append(field)
        return number


def _blank() -> Spec:
    return {
        "key": b"", "kind": 0, "slot": -1, "slot_other": -1, "is_required": True,
        "is_nullable": False, "has_none": False, "absent": None, "is_outer": False, "side": 0,
        "bounds": (-FLOAT_MAX, False, FLOAT_MAX), "size_bounds": (-FLOAT_MAX, False, FLOAT_MAX),
        "int_bounds": (-INT_MAX, INT_MAX), "factor": 1, "add": 0, "words": (), "child": 0,
        "among": None,
    }  # fmt: skip


def _absent(kind: object, default: object) -> object:
    """Return what the builder makes of a field's default."""
    match kind:
        case wire.Num():
            return (default or None) if kind.zero_is_none else default
        case wire.Int() if default is None:
            return None if kind.negative_is_none or kind.factor == 1 else 0
        case wire.Int() if isinstance(default, int):
            return None if kind.negative_is_none and default < 0 else default * kind.factor
        case wire.IsoTime() | wire.UnixTime() if default is None:
            return 0
        case wire.Yes() | wire.Text():
            return default
        case _:
            raise _UnservedError


def _has_items(declaration: type[Struct]) -> bool:
    """Say whether a message holds a list of messages, at any depth."""
    for hint in get_type_hints(declaration, include_extras=True).values():
        kind, base, _ = split_hint(hint)
        if kind is not None:
            continue
        if get_origin(base) is list and is_wire(get_args(base)[0]):
            return True
        if is_wire(base) and _has_items(base):
            return True
    return False


def _plain(base: Any) -> Any:  # noqa: ANN401 - a type
    """Return the type without None and without constraints."""
    members = [member for member in get_args(base) if member is not type(None)]
    if len(members) < len(get_args(base)):
        if len(members) != 1:
            raise _UnservedError
        return _plain(members[0])
    if hasattr(base, "__metadata__"):
        return _plain(get_args(base)[0])
    return base


def _metas(hint: Any) -> list[Meta]:  # noqa: ANN401 - a type
    """Return the constraints of an annotation, wherever they stand in it."""
    if get_origin(hint) is Literal:
        return []
    found = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Meta)]
    for member in get_args(hint):
        if not isinstance(member, Meta):
            found += _metas(member)
    return found


def _bounds(hint: object) -> tuple[float, bool, float]:
    """Return (low, whether low itself is excluded, high)."""
    field = _blank()
    _bound(field, hint)
    bounds: tuple[float, bool, float] = field["bounds"]
    return bounds


def _bound(field: Spec, hint: object) -> None:
    metas = _metas(hint)
    if get_origin(split_hint(hint)[1]) is list:
        return
    for meta in metas:
        known = {"gt": meta.gt, "ge": meta.ge, "lt": meta.lt, "le": meta.le}
        for name in meta.__rich_repr__():
            if name[0] not in known:
                raise _UnservedError
        if meta.lt is not None:
            raise _UnservedError
        low = meta.gt if meta.gt is not None else meta.ge
        if low is not None:
            field["bounds"] = (float(low), meta.gt is not None, field["bounds"][2])
            least = int(low) + (1 if meta.gt is not None else 0)
            field["int_bounds"] = (max(least, -INT_MAX), field["int_bounds"][1])
        if meta.le is not None:
            field["bounds"] = (*field["bounds"][:2], float(meta.le))
            field["int_bounds"] = (field["int_bounds"][0], int(min(meta.le, INT_MAX)))
