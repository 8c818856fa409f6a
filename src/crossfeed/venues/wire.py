"""The declaration language: how a venue says, once, what its messages mean.

A message is a msgspec Struct in the venue's own words. Its annotations carry the kind of each field
and the event attribute (slot) it fills; msgspec ignores them when decoding, `decoder.py` compiles
them into builders, and a compiled core reads the same tables.

```python
class Match(Wire):
    product_id: Annotated[str, Symbol()]
    trade_id: Annotated[int, Int("trade_id")]
    price: Annotated[Price, Num("price")]
    side: Annotated[Literal["buy", "sell"], Choice("side", {"buy": Side.SELL, "sell": Side.BUY})]
    time: Annotated[str, IsoTime("ts_event_ns")]
```

`Price`, `Size` and `Real` make msgspec itself refuse NaN, infinities, zero and negative prices: the
bounds are checked while decoding, and NaN fails every comparison.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from crossfeed.model.events import MarketData
from crossfeed.model.trust import Integrity, Mark

__all__ = [
    "Choice",
    "Count",
    "Int",
    "IsoTime",
    "LevelPrice",
    "LevelSide",
    "LevelSize",
    "Num",
    "ObjectLevels",
    "OptionalReal",
    "PairLevels",
    "Plain",
    "Price",
    "Probe",
    "Quantity",
    "Real",
    "Route",
    "Routes",
    "SidedLevels",
    "Size",
    "SnapshotFlag",
    "Symbol",
    "Text",
    "UnixTime",
    "Wire",
    "Yes",
]

_FLOAT_MAX: Final = 1e300

Price = Annotated[float, Meta(gt=0.0, le=_FLOAT_MAX)]
"""A price: finite and above zero."""
Size = Annotated[float, Meta(ge=0.0, le=_FLOAT_MAX)]
"""A size or volume: finite, zero allowed (it removes a book level)."""
Quantity = Annotated[float, Meta(gt=0.0, le=_FLOAT_MAX)]
"""A traded size: finite and above zero."""
Real = Annotated[float, Meta(ge=-_FLOAT_MAX, le=_FLOAT_MAX)]
"""Any finite number (a price change)."""
OptionalReal = Annotated[float, Meta(ge=-_FLOAT_MAX, le=_FLOAT_MAX)] | None
Count = Annotated[int, Meta(ge=0)]
"""A sequence number or id: not negative, of any length."""


class Wire(Struct, gc=False):
    """Base of all message declarations. Unknown fields are ignored (D07)."""


class Num(Struct, frozen=True):
    """A number, as text or JSON number, into the float attribute `slot`.

    `zero_is_none`: the venue writes 0 where it has no value (Binance: bid of an empty book side).
    """

    slot: str
    zero_is_none: bool = False


class Int(Struct, frozen=True):
    """An integer into `slot`, times `factor`.

    `negative_is_none`: the venue writes -1 where it has no value (Binance: last trade of a quiet
        day).
    """

    slot: str
    factor: int = 1
    negative_is_none: bool = False


class UnixTime(Struct, frozen=True):
    """An integer time into the ns attribute `slot`.

    Outside 2009..2261 it is of another unit: refused.

    `unit_ns` is the length of one unit; 0 means the codec's own `time_unit_ns` (Binance: ms or us
    by connection option). `add` units are added first (an inclusive end made exclusive).
    """

    slot: str
    unit_ns: int = 0
    add: int = 0


class IsoTime(Struct, frozen=True):
    """An RFC 3339 UTC text into the ns attribute `slot`.

    Times outside 2009..2261 become 0 (unknown).
    """

    slot: str


class Yes(Struct, frozen=True):
    """A boolean into `slot`."""

    slot: str


class Choice(Struct, frozen=True):
    """One of a closed set of values into `slot`, translated by `values`."""

    slot: str
    values: Mapping[Any, object]


class Text(Struct, frozen=True):
    """A text into `slot`."""

    slot: str


class Symbol(Struct, frozen=True):
    """The venue's symbol; looked up among the symbols asked for."""


class SnapshotFlag(Struct, frozen=True):
    """A word that selects the route's `snapshot` variant when equal to `value`."""

    value: str = "snapshot"


class PairLevels(Struct, frozen=True):
    """`[[price, size, ...], ...]` of one side into `slot` ("bids" or "asks").

    Rows of exact arity.
    """

    slot: str


class SidedLevels(Struct, frozen=True):
    """`[[side, price, size], ...]` into `bids` and `asks`.

    `bid` is the venue's word for the bid side.
    """

    bid: str


class ObjectLevels(Struct, frozen=True):
    """`[{...}, ...]` into `slot`, or into `bids` and `asks` if the row has a `LevelSide`."""

    slot: str = ""


class LevelPrice(Struct, frozen=True):
    """Price of an object level."""


class LevelSize(Struct, frozen=True):
    """Size of an object level."""


class LevelSide(Struct, frozen=True):
    """Side of an object level; `bid` is the venue's word for the bid side."""

    bid: str


class Plain(Struct, frozen=True):
    """Which messages a codec's `refine` lets out as they are: it need not be called for these.

    Attributes:
        symbols: Name of the codec's live set of symbols.
        slots: Event attributes filled from the message, none of which may be missing or 0.
    """

    symbols: str
    slots: tuple[str, ...]


class Route(Struct, frozen=True, kw_only=True):
    """What one sort of message becomes.

    Attributes:
        wire: The declaration it is decoded into.
        event: Event class it yields, None for service messages.
        handler: Name of the codec method that takes a service message (`handler(wire, out)`).
        refine: Name of the codec method through which events go out (`refine(wire, events, out)`),
            for channels whose events depend on what came before. It appends what shall be seen; if
            it raises a DecodeError it must have changed nothing.
        plain: Messages that `refine` does not change; None: all may be changed.
        order: Event attribute by which the events of a message go out, the least first; empty: as
            they stand in it.
        integrity: Integrity of the stream.
        constants: Event attributes with fixed values.
        marks: Marks of its events.
        snapshot: Event class of messages whose `SnapshotFlag` matches; None: the same class.
        snapshot_marks: Marks of those.
    """

    wire: type[Wire]
    event: type[MarketData] | None = None
    handler: str = ""
    refine: str = ""
    plain: Plain | None = None
    order: str = ""
    integrity: Integrity = Integrity.NONE
    constants: Mapping[str, object] = {}
    marks: Mark = Mark.NONE
    snapshot: type[MarketData] | None = None
    snapshot_marks: Mark = Mark.SNAPSHOT


class Probe(Wire):
    """Base of probes."""

    def tag(self) -> str:
        """Return the route's tag."""
        return ""


class Routes(Struct, frozen=True, kw_only=True):
    """All messages of one venue.

    Attributes:
        guess: Pattern matched at the start of a frame; its groups joined by "/" name the route.
            Only a short cut for the usual key order: where it does not match, the probe decides.
        probe: Small declaration with every tag key optional, and a method `tag() -> str`.
        table: Tag -> route. A tag that is not in it is an unknown message (counted).
        payload_key: Key of the venue's own message inside an envelope; empty if there is none.
        head_end: What ends the part that names the route, where messages of one stream all begin
            alike (Kraken: "["). Such beginnings are then remembered instead of matched again.
    """

    guess: re.Pattern[bytes]
    probe: type[Probe]
    table: Mapping[str, Route]
    payload_key: str = ""
    head_end: bytes = b""
