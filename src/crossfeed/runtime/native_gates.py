"""The machines of a stream with what every message touches in C, where that was built.

A class here is its machine, unchanged, over a compiled class that holds a few of its attributes:
the compiled way of a message (`crossfeed.native._states`) and the machine's own methods read and
write the same numbers. Without the compiled modules the machines themselves are used.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any, Final

from crossfeed.books.sync import BookSync
from crossfeed.integrity.continuity import IdGate
from crossfeed.integrity.open_gates import OpenGate
from crossfeed.integrity.plausibility import PriceBand
from crossfeed.integrity.standby import HotStandby
from crossfeed.model.events import AggTrade, MarketData, MiniTicker, Quote, Ticker, Trade
from crossfeed.model.sequencing import Follows
from crossfeed.runtime.core_choice import compiled_modules
from crossfeed.runtime.counters import Counters

__all__ = ["PRICE_FIELDS", "Machines", "machines"]

PRICE_FIELDS: Final[dict[type[MarketData], tuple[str, ...]]] = {
    Trade: ("price",),
    AggTrade: ("price",),
    Ticker: ("price",),
    MiniTicker: ("price",),
    Quote: ("bid_price", "ask_price"),
}
"""What `plausibility.PRICE_READERS` reads, by name; the mean where there are two."""
FOLLOWS: Final = (None, Follows.NUMBER, Follows.NAMED, Follows.ANY)
"""Numbered as in `_books.pyx`."""


class Machines:
    """The classes that new streams are made of.

    Attributes:
        counters: Makes the counters of a session.
        band: Makes price bands.
        numbered: Makes gates of numbered streams.
        latest: Makes gates of streams whose values replace each other.
        standby: Makes hot standbys.
        book: Makes the machines of books.
        table: Makes tables of gates.
    """

    counters: type[Counters] = Counters
    band: type[PriceBand] = PriceBand
    numbered: type[IdGate] = IdGate
    latest: type[OpenGate] = OpenGate
    standby: type[HotStandby] = HotStandby
    book: type[BookSync] = BookSync
    table: type[dict[Any, Any]] = dict


_PURE: Final = Machines()


def machines() -> Machines:
    """Return the machines over compiled state, or the pure ones."""
    native = compiled_modules()
    return _PURE if native is None else _compiled(native.states, native.books)


@functools.cache
def _compiled(states: ModuleType, books: ModuleType) -> Machines:
    """Put the compiled state under the machines."""
    made = Machines()
    made.counters = type("NativeCounters", (states.CounterState, Counters), {})
    made.band = type("NativeBand", (states.BandState, PriceBand), {})
    made.numbered = type("NativeIdGate", (states.IdState, IdGate), {"__init__": _init_numbered})
    made.latest = type("NativeOpenGate", (states.OpenState, OpenGate), {"__init__": _init_latest})
    made.standby = type("NativeStandby", (states.StandbyState, HotStandby), {})
    made.book = type("NativeBookSync", (books.BookState, BookSync), {"__init__": _init_book})
    made.table = states.WatchedDict
    return made


def _init_numbered(self: Any, *args: Any, number: str = "trade_id", **options: Any) -> None:  # noqa: ANN401 - a class made at run time
    """See `IdGate`."""
    self.number_name = number
    IdGate.__init__(self, *args, number=number, **options)


def _init_latest(self: Any, *args: Any, number: str = "", **options: Any) -> None:  # noqa: ANN401 - a class made at run time
    """See `OpenGate`."""
    self.number_name = number
    OpenGate.__init__(self, *args, number=number, **options)


def _init_book(self: Any, trust: Any, rule: Any, **options: Any) -> None:  # noqa: ANN401 - a class made at run time
    """See `BookSync`. What the rule does not declare is left to its methods."""
    self.follows = FOLLOWS.index(getattr(rule, "follows", None))
    self.checksum_levels = getattr(rule, "checksum_levels", 0)
    self.depth_limit = rule.depth_limit
    BookSync.__init__(self, trust, rule, **options)
