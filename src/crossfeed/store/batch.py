"""Events of one kind and market, attribute by attribute as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

from crossfeed.store.packages import package

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from crossfeed.model.events import MarketData

__all__ = ["AttributeReader", "Batch"]

_TEXT_CHARS_MAX: Final = 65_536


class AttributeReader(Protocol):
    """Reads attributes of many events at once (`crossfeed.native._columns`), or declines."""

    def deal(self, events: list[MarketData], place: int, lists: dict[Any, Any], /) -> int:
        """Append events to the lists of their likes; return the place of the first without."""
        ...

    def fill(self, events: list[MarketData], name: str, out: Any, /) -> bool:  # noqa: ANN401 - numpy
        """Fill an array with an attribute; False: not all of it is filled."""
        ...

    def shared(self, events: list[MarketData], name: str, /) -> object | None:
        """Return the one object that an attribute of all events is, None if they are several."""
        ...

    def level_counts(self, events: list[MarketData], out: Any, /) -> int:  # noqa: ANN401 - numpy
        """Fill (events, 2) with the lengths of bids and asks; return their sum, -1: declined."""
        ...

    def fill_levels(self, events: list[MarketData], out: Any, /) -> bool:  # noqa: ANN401 - numpy
        """Fill (levels, 2) with prices and sizes; False: not all of it is filled."""
        ...


class Batch:
    """Some events, in the order of arrival; at least one.

    Attributes:
        events: The events.
    """

    def __init__(self, events: list[MarketData], reader: AttributeReader | None) -> None:
        """Read with `reader` where it can, with Python otherwise."""
        self.events: list[Any] = events
        self._reader = reader

    def __len__(self) -> int:
        """Return how many events."""
        return len(self.events)

    def of(self, events: Sequence[MarketData]) -> Batch:
        """Return other events, read the same way."""
        return Batch(list(events), self._reader)

    def read(self, name: str, dtype: Any) -> Any:  # noqa: ANN401 - numpy
        """Return what the reader makes of an attribute, None where there is none or it declines."""
        if self._reader is None:
            return None
        out = package("numpy").empty(len(self.events), dtype)
        return out if self._reader.fill(self.events, name, out) else None

    def numbers(self, name: str, dtype: Any) -> Any:  # noqa: ANN401 - numpy
        """Return an attribute that is a number in each event."""
        found = self.read(name, dtype)
        if found is not None:
            return found
        values = map(attrgetter(name), self.events)
        return package("numpy").fromiter(values, dtype, len(self.events))

    def codes(self, name: str, dtype: Any) -> Any:  # noqa: ANN401 - numpy
        """Return a number that nearly always is the same; finding that out costs 2 ns a row."""
        np = package("numpy")
        found = self.read(name, dtype)
        if found is not None:
            return found
        values = list(map(attrgetter(name), self.events))
        if values.count(values[0]) == len(values):
            return np.full(len(values), int(values[0]), dtype)
        return np.fromiter(values, dtype, len(values))

    def optional(self, name: str, dtype: Any) -> Any:  # noqa: ANN401 - numpy
        """Return a masked array: absent where an event has no such attribute, or None."""
        np = package("numpy")
        found = self.read(name, dtype)
        if found is not None:
            return np.ma.array(found, mask=np.zeros(len(found), np.bool_))
        values = [getattr(event, name, None) for event in self.events]
        mask = np.fromiter((value is None for value in values), np.bool_, len(values))
        filled = np.fromiter((0 if each is None else each for each in values), dtype, len(values))
        return np.ma.array(filled, mask=mask)

    def texts(self, name: str) -> str | list[str]:
        """Return texts: the one text where all are the same, as nearly always."""
        if self._reader is not None:
            text = self._reader.shared(self.events, name)
            if text is not None:
                return str(text)[:_TEXT_CHARS_MAX]
        texts = list(map(attrgetter(name), self.events))
        if texts.count(texts[0]) == len(texts):
            return str(texts[0])[:_TEXT_CHARS_MAX]
        return [str(text)[:_TEXT_CHARS_MAX] for text in texts]

    def levels(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return how many bids and asks each book event has, and all levels one below the other."""
        np = package("numpy")
        counts = np.empty((len(self.events), 2), np.int64)
        if self._reader is not None:
            total = self._reader.level_counts(self.events, counts)
            if total >= 0:
                flat = np.empty((total, 2), np.float64)
                if self._reader.fill_levels(self.events, flat):
                    return counts, flat
        sides = list(chain.from_iterable((event.bids, event.asks) for event in self.events))
        counts = np.fromiter(map(len, sides), np.int64, len(sides)).reshape(-1, 2)
        numbers = chain.from_iterable(chain.from_iterable(sides))
        return counts, np.fromiter(numbers, np.float64, 2 * int(counts.sum())).reshape(-1, 2)
