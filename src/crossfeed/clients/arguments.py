"""What callers got wrong, said before it becomes somebody else's AttributeError."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Final, cast

from crossfeed.aggregation.config import DATA_TYPES
from crossfeed.errors import ConfigError, UnsupportedChannelError
from crossfeed.model.events import MarketData

__all__ = ["check_data_types", "check_instance", "check_texts", "check_unified_types"]

ALL: Final = "*"
LIVE_BOOK: Final = "book"


def check_texts(values: object, field: str) -> list[str]:
    """Return a list of texts as one.

    Raises:
        ConfigError: It is one text, no list, or holds something else.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"give a list of texts, not {values!r}", field=field)
    listed = list(cast("Iterable[object]", values))
    for value in listed:
        if not isinstance(value, str):
            raise ConfigError(f"{value!r} is no text", field=field)
    return cast("list[str]", listed)


def check_instance(value: object, wanted: type, field: str) -> None:
    """Refuse what is of another class.

    Raises:
        ConfigError: With the class that is wanted.
    """
    if not isinstance(value, wanted):
        raise ConfigError(f"give {wanted.__name__}(...), not {type(value).__name__}", field=field)


def check_data_types(data_types: Iterable[str]) -> None:
    """Refuse a data type that no event has: its handler would wait for ever.

    Raises:
        UnsupportedChannelError: With the nearest one, or all of them.
    """
    known = [ALL, LIVE_BOOK, *_data_types(MarketData)]
    for data_type in data_types:
        if data_type in known:
            continue
        word = str(data_type).partition("_")[0]  # kline_1m is a kind; its events are kline
        near = [word] if word in known else difflib.get_close_matches(str(data_type), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
        raise UnsupportedChannelError(f"no event has it; {hint}", field=f"data_type {data_type!r}")


def check_unified_types(data_types: Iterable[str]) -> None:
    """Refuse a data type that is not aggregated.

    Raises:
        UnsupportedChannelError: With those there are.
    """
    for data_type in data_types:
        if data_type not in {*DATA_TYPES, ALL}:
            known = ", ".join(DATA_TYPES)
            raise UnsupportedChannelError(f"{data_type!r} is not aggregated (there are: {known})")


def _data_types(base: type[MarketData]) -> Iterator[str]:
    """Yield the data types of all kinds of events there are."""
    for kind in base.__subclasses__():
        if type(kind.data_type) is str and kind.data_type:  # that of hand-made events is their own
            yield kind.data_type
        yield from _data_types(kind)
