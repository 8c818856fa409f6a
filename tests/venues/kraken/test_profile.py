"""The words of Kraken's wants."""

import pytest

from crossfeed.errors import UnsupportedChannelError
from crossfeed.model.commands import Want
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.kraken import VENUE
from crossfeed.venues.kraken.profile import INTERVALS, parameter_of

NO_OPTIONS = CodecOptions()


@pytest.mark.parametrize(
    ("kind", "channel", "has_symbol"),
    [
        ("trade", "trade", True),
        ("ticker", "ticker", True),
        ("book_ticker", "ticker:bbo", True),
        ("ticker:bbo", "ticker:bbo", True),
        ("book", "book:10", True),
        ("book:100", "book:100", True),
        ("ohlc:60", "ohlc:60", True),
        ("status", "instrument", False),
        ("instrument", "instrument", False),
        ("heartbeat", "heartbeat", False),
        *((f"kline_{word}", f"ohlc:{minutes}", True) for minutes, word in INTERVALS.items()),
    ],
)
def test_want(kind: str, channel: str, has_symbol: bool) -> None:  # noqa: FBT001
    """Kinds and the venue's own words become wants."""
    symbol = "BTC/USD" if has_symbol else ""
    assert VENUE.want(kind, "BTC/USD", NO_OPTIONS) == Want(channel, symbol)


def test_depth_by_option() -> None:
    """The depth of a book is an option of the venue."""
    options = CodecOptions(parameters={"book_depth": "1000"})
    assert VENUE.want("book", "BTC/USD", options) == Want("book:1000", "BTC/USD")


@pytest.mark.parametrize(
    "kind", ["depth", "agg_trade", "full", "kline_2m", "ohlc:2", "ohlc", "ohlc:x", "ticker:trades"]
)
def test_unknown_kind(kind: str) -> None:
    """What Kraken has not is refused with what it has."""
    with pytest.raises(UnsupportedChannelError, match="book_ticker"):
        VENUE.want(kind, "BTC/USD", NO_OPTIONS)


@pytest.mark.parametrize("depth", ["11", "0", "-10", "ten", ""])
def test_unknown_depth(depth: str) -> None:
    """A depth Kraken does not serve is refused with those it does."""
    options = CodecOptions(parameters={"book_depth": depth})
    with pytest.raises(UnsupportedChannelError, match="10, 25, 100, 500, 1000"):
        VENUE.want("book", "BTC/USD", options)


def test_parameter_of() -> None:
    """The number behind the colon, 0 without one."""
    assert [parameter_of(word) for word in ("book:25", "trade", "ticker:bbo")] == [25, 0, 0]
