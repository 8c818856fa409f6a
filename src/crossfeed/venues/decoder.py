"""Turns declarations into decoders: frames → events. No venue is named here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

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
from crossfeed.model.output import Output
from crossfeed.model.raw import read_exactly, read_message
from crossfeed.venues import wire
from crossfeed.venues.builder import (
    Builder,
    SymbolNames,
    compile_builder,
    is_wire,
    level_names,
    plan_of,
    split_hint,
)
from crossfeed.venues.wire import Route, Routes

__all__ = ["After", "Decoder", "ExactReader", "SymbolNames", "refusal"]

FOREIGN: Final = (msgspec.MsgspecError, RecursionError, ValueError, KeyError, OverflowError)
"""What decoding raises of its own; see `refusal`."""
# An error may quote what came; the frame itself decides how long that is.
_DETAIL_CHARS_MAX: Final = 200
# Twice as many as any venue allows streams on a connection; some 100 bytes each.
_HEADS_MAX: Final = 2048
_HEAD_BYTES_MAX: Final = 128
# Where a refused frame is looked through for symbols: texts of this form, so far into it.
_WORD: Final = re.compile(rb'"([^"\\]{1,64})"')
_LOOK_MAX: Final = 1 << 16
_Tree = dict[str, Any]
After = Callable[[Any, list[MarketData] | None, Output], None]
"""Takes a decoded message and its events, where a route says more than "give out the events"."""
_Entry = tuple[Callable[[bytes], Any], Route, Builder | None, After | None]


class Decoder:
    """Decodes the frames of one connection.

    Args:
        exchange: Name that the events carry.
        routes: The venue's declarations.
        symbols: Symbols asked for; shared with the codec, which changes it as subscriptions change.
        time_unit_ns: Unit of `UnixTime` fields that leave it open.
        keep_raw: Whether events keep their frame.
        after: Says what `receive` hands the messages of a route to; None: it gives out the events.
        ignored: A frame that is no message, but not wrong either; empty for none.
    """

    def __init__(
        self,
        exchange: str,
        routes: Routes,
        symbols: SymbolNames,
        *,
        time_unit_ns: int = 1_000_000,
        keep_raw: bool = True,
        after: Callable[[Route], After | None] = lambda _: None,
        ignored: bytes = b"",
    ) -> None:
        """Compile one builder for each route that yields events. Cost about 1 ms a route."""
        self._exchange = exchange
        self._routes = routes
        self._symbols = symbols
        self._keep_raw = keep_raw
        self._ignored = ignored
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
            entry = (decode, route, build, after(route))
            self._decoders[tag] = self._by_guess[tuple(tag.encode().split(b"/"))] = entry

    def receive(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int, out: Output) -> None:
        """Decode one frame; append its events, or hand it to who comes `after`.

        Raises:
            DecodeError: As `decode`.
        """
        entry = None
        try:
            if self._head_end:
                entry = self._heads.get(frame.partition(self._head_end)[0])
            entry = entry or self._find(frame)
            decode, _, build, after = entry
            message = decode(frame)
            raw = frame if self._keep_raw else None
            events = None if build is None else build(message, raw, ts_recv_ns, ts_mono_ns)
        except FOREIGN as exc:
            if self._ignored and frame == self._ignored:
                return
            raise self._refused(exc, entry, frame) from exc
        if after is not None:
            after(message, events, out)
        elif events is not None:
            out.events += events

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
        entry = None
        try:
            if self._head_end:
                entry = self._heads.get(frame.partition(self._head_end)[0])
            entry = entry or self._find(frame)
            decode, route, build, _ = entry
            message = decode(frame)
            raw = frame if self._keep_raw else None
            events = None if build is None else build(message, raw, ts_recv_ns, ts_mono_ns)
        except FOREIGN as exc:
            raise self._refused(exc, entry, frame) from exc
        return route, message, events

    def _refused(self, exc: Exception, entry: _Entry | None, frame: bytes) -> DecodeError:
        """Make the error of a frame; say what was lost by it, as far as that can be seen."""
        error = refusal(self._exchange, exc, frame)
        event = None if entry is None else entry[1].event
        if event is not None and not isinstance(error, UnknownMessageError):
            words = (word.decode("utf-8", "replace") for word in _WORD.findall(frame, 0, _LOOK_MAX))
            named = (self._symbols[word][0] for word in words if word in self._symbols)
            error.data_type, error.symbols = event.data_type, frozenset(named)
        return error

    def _find(self, frame: bytes) -> _Entry:
        """Find what a frame is decoded by, from the usual order of its keys or from its tag."""
        found = self._guess(frame)
        entry = self._by_guess.get(found.groups()) if found is not None else None
        if entry is None or found is None:
            entry = self._decoders.get(self._probe.decode(frame).tag())
            if entry is None:
                raise UnknownMessageError(self._exchange, "unknown_type", "no such message", frame)
        elif self._head_end and len(self._heads) < _HEADS_MAX:
            self._remember_head(frame, found.end(), entry)
        return entry

    def _remember_head(self, frame: bytes, guess_end: int, entry: _Entry) -> None:
        """Remember how messages of this sort begin, if the guess looked at nothing beyond."""
        head = frame.partition(self._head_end)[0]
        if guess_end <= len(head) <= _HEAD_BYTES_MAX:
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
        decode, _, build, _ = self._decoders[tag]
        if build is None:
            msg = f"route {tag!r} yields no events"
            raise TypeError(msg)
        try:
            return build(decode(body), body if self._keep_raw else None, ts_recv_ns, ts_mono_ns)
        except FOREIGN as exc:
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
        message: object = read_message(event.raw or b"{}")
        if self._routes.payload_key and isinstance(message, dict):
            message = cast("_Tree", message).get(self._routes.payload_key, message)
        if isinstance(message, list):
            entries = cast("list[object]", message)
            message = entries[event.raw_index] if event.raw_index < len(entries) else entries
        return cast("_Tree", message) if isinstance(message, dict) else {"data": message}

    def exact(self, event: MarketData) -> Mapping[str, Any]:
        """Return the declared numbers of the event as Decimals; levels as lists of Decimal pairs.

        Cost: a full decode of the frame with the standard json module; meant for the rare exact
            need.
        """
        raw = event.raw or b"{}"
        route = self._route_of(raw)
        if route is None:
            return {}
        tree = read_exactly(raw)
        items: list[dict[str, Any]] = []
        _exact_items(route.wire, tree, {}, items)
        return items[event.raw_index] if event.raw_index < len(items) else {}


def _exact_items(
    declaration: type[Struct], tree: object, outer: dict[str, Any], items: list[dict[str, Any]]
) -> None:
    """Collect one mapping per event, in the order in which the builder makes them."""
    values = dict(outer)
    loop: tuple[type[Struct], list[object]] | None = None
    known = cast("_Tree", tree) if isinstance(tree, dict) else {}
    wire_names = dict(
        zip(declaration.__struct_fields__, declaration.__struct_encode_fields__, strict=True)
    )
    hints = get_type_hints(declaration, include_extras=True)
    for field, key in wire_names.items():
        kind, base, _ = split_hint(hints[field])
        value = known.get(key)
        if value is None:
            continue
        if kind is not None:
            _exact_leaf(kind, base, value, values)
        elif is_wire(base):
            nested: list[dict[str, Any]] = []
            _exact_items(base, value, values, nested)
            if _has_loop(base):
                items.extend(nested)
                return
            values |= nested[0]
        elif get_origin(base) is list and is_wire(get_args(base)[0]):
            loop = (get_args(base)[0], value)
    if loop is None:
        items.append(values)
        return
    for entry in loop[1]:
        _exact_items(loop[0], entry, values, items)


def _has_loop(declaration: type[Struct]) -> bool:
    return bool(plan_of(declaration, "w", 0).loops)


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
        price, size, side = level_names(row)
        pairs = [(r, (Decimal(str(r[keys[price]])), Decimal(str(r[keys[size]])))) for r in value]
        if side is None:
            values[kind.slot] = [pair for _, pair in pairs]
        else:
            name, bid = keys[side[0]], side[1]
            values["bids"] = [pair for r, pair in pairs if r[name] == bid]
            values["asks"] = [pair for r, pair in pairs if r[name] != bid]
