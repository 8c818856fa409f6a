"""Other people's CSV archives → events, ready for `StoreWriter.write`.

```python
with StoreWriter("history") as writer:
    writer.write(source_of(path), read_tardis(path))
```
Files may be plain, `.gz` or `.zip` (one file in it). Prices keep every digit the event's float does
(15). Reading costs 4 to 6 us a row. `crossfeed import` does the same from the command line.

Forms: https://docs.tardis.dev/downloadable-csv-files and
https://github.com/binance/binance-public-data, both checked 2026-11-22.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from crossfeed.errors import ConfigError
from crossfeed.model.events import (
    AggTrade,
    BookDelta,
    BookSnapshot,
    Candle,
    MarketData,
    Quote,
    Trade,
)
from crossfeed.model.status import Gap, GapRecord, GapState, Stream
from crossfeed.model.trust import Integrity, Mark, Side
from crossfeed.store.archive_rows import (
    BadRow,
    OpenedRows,
    RowReport,
    Unify,
    head_of,
    integer_of,
    number_of,
    opened,
    price_of,
    source_of,
    unified_of,
)
from crossfeed.store.archive_tardis import read_rows

__all__ = ["BadRow", "RowReport", "mark_gaps", "read_binance", "read_tardis", "source_of"]

US_NS: Final = 1_000
MS_NS: Final = 1_000_000
# From 2025 Binance's spot files count microseconds, before that milliseconds.
MICROSECONDS_FROM: Final = 10**14
_NAME: Final = re.compile(r"([A-Z0-9_]+)-(trades|aggTrades|bookTicker|[0-9]+(?:s|m|h|d|w|mo))-")
_CHANNELS: Final[dict[type[MarketData], str]] = {
    Trade: "trade",
    AggTrade: "agg_trade",
    Quote: "book_ticker",
    Candle: "kline",
    BookDelta: "book",
    BookSnapshot: "book",
}
_TAKER: Final = {"true": Side.SELL, "false": Side.BUY}
Names = tuple[str, str, str]


def read_tardis(
    path: str | Path, *, unified: Unify = "", venue: str = "", report: RowReport | None = None
) -> Iterator[MarketData]:
    """Yield the events of a tardis.dev CSV: trades, quotes, book_snapshot_N, incremental_book_L2.

    Which one it is tells the header. Rows of one incremental message (same local timestamp) become
    one event. Ids that are no integers (Coinbase's are, BitMEX's are not) become 0.

    Args:
        path: The file.
        unified: Unified symbol of all rows, or what tells it for (venue, symbol); the file names
            only the venue's own.
        venue: Name of the venue, where ours is another than theirs.
        report: Takes the bad rows; without it the first one raises.

    Raises:
        ConfigError: The header is of no form known here.
        InvalidValueError: A row holds what is no number; the rows before it were yielded.
        StoreError: The file cannot be read.
    """
    with opened(path, report) as file:
        yield from read_rows(file, str(path), unified, venue)


def read_binance(
    path: str | Path,
    *,
    symbol: str = "",
    unified: Unify = "",
    venue: str = "binance",
    report: RowReport | None = None,
) -> Iterator[MarketData]:
    """Yield the events of a file of Binance's public archive.

    Trades, aggTrades, klines, and the futures' bookTicker. Kind, symbol and interval are read from
    the file's name ("BTCUSDT-trades-2026-11-22.zip", "BTCUSDT-1m-2026-11.csv"). Receive times are
    not in these files: the event time stands in, and the events are marked HISTORY.

    Raises:
        ConfigError: The name is of no form known here.
        InvalidValueError: A row holds what is no number; the rows before it were yielded. Not with
            a `report`, which takes the bad rows.
        StoreError: The file cannot be read.
    """
    found = _NAME.match(Path(path).name)
    if found is None:
        raise ConfigError(
            f"{path}: not named like BTCUSDT-trades-2026-11-22.zip "
            "(or aggTrades, bookTicker, an interval like 1m)"
        )
    kind, own = found[2], symbol or found[1]
    names = (venue, own, unified_of(unified, venue, own))
    with opened(path, report) as file:
        yield from _binance_rows(file, kind, names)


def mark_gaps(events: Iterable[MarketData], report: RowReport) -> Iterator[MarketData]:
    """Yield events, and a gap of cause "bad_rows" where rows were left out between them.

    Args:
        events: What a reader yields that was given `report`.
        report: The same.
    """
    bad, gaps, last = report.bad, 0, None
    for event in events:
        if report.bad > bad:
            gaps += 1
            yield _gap(gaps, event, report.bad - bad)
            bad = report.bad
        last = event
        yield event
    if last is not None and report.bad > bad:
        yield _gap(gaps + 1, last, report.bad - bad)


def _gap(number: int, beside: MarketData, rows: int) -> Gap:
    """Make the gap of a market: beside the event that came next, or last."""
    kind = next((kind for each, kind in _CHANNELS.items() if isinstance(beside, each)), "")
    record = GapRecord(
        gap_id=number,
        stream=Stream(beside.exchange, kind, beside.symbol),
        first=0,
        last=0,
        missing=rows,
        cause="bad_rows",
        ts_found_ns=beside.ts_event_ns or beside.ts_recv_ns,
        ts_closed_ns=beside.ts_event_ns or beside.ts_recv_ns,
        state=GapState.LOST,
    )
    names = (beside.exchange, beside.symbol, beside.unified)
    level = beside.integrity
    return Gap(*head_of(names, beside.ts_event_ns, beside.ts_recv_ns, beside.marks, level), record)


def _binance_rows(file: OpenedRows, kind: str, names: Names) -> Iterator[MarketData]:
    rows = csv.reader(file.text)
    makers = {"trades": _trade, "aggTrades": _agg_trade, "bookTicker": _quote}
    make = makers.get(kind) or partial(_candle, kind)

    def is_head(row: list[str]) -> bool:
        """Say whether it is the header that futures files have, and spot files have not."""
        return rows.line_num == 1 and bool(row) and row[0][:1].isalpha()

    data = (row for row in rows if not is_head(row))
    yield from file.events(data, lambda: rows.line_num, lambda row: make(row, names))


def _side(text: str) -> Side:
    """Return the taker's side of "is the buyer the maker?"."""
    side = _TAKER.get(text.lower())
    if side is None:
        msg = f"neither true nor false: {text[:40]!r}"
        raise ValueError(msg)
    return side


def _trade(row: list[str], names: Names) -> MarketData:
    """Read one row; the columns are those of the REST API of the same name."""
    ns = _ns(row[4])
    head = head_of(names, ns, ns, Mark.HISTORY, Integrity.SEQUENCED)
    return Trade(*head, price_of(row[1]), price_of(row[2]), _side(row[5]), integer_of(row[0]))


def _agg_trade(row: list[str], names: Names) -> MarketData:
    ns = _ns(row[5])
    head = head_of(names, ns, ns, Mark.HISTORY, Integrity.SEQUENCED)
    first, last = integer_of(row[3]), integer_of(row[4])
    price, size, side = price_of(row[1]), price_of(row[2]), _side(row[6])
    return AggTrade(*head, price, size, side, integer_of(row[0]), first, last)


def _quote(row: list[str], names: Names) -> MarketData:
    """Read update id, bid price and quantity, ask price and quantity, transaction and event time.

    https://github.com/binance/binance-public-data has no description; the files' header does.
    """
    ns = _ns(row[6])
    head = head_of(names, ns, ns, Mark.HISTORY, Integrity.SELF_CONTAINED)
    bid, bid_size, ask, ask_size = (number_of(text) for text in row[1:5])
    return Quote(*head, bid, bid_size, ask, ask_size, integer_of(row[0]))


def _candle(kind: str, row: list[str], names: Names) -> MarketData:
    opened_ns, closed = _ns(row[0]), _ns(row[6])
    # The last millisecond (or microsecond) of the bar is given: the next one begins after it.
    closed += US_NS if int(row[6]) >= MICROSECONDS_FROM else MS_NS
    head = head_of(names, closed, closed, Mark.HISTORY, Integrity.SELF_CONTAINED)
    first, high, low, last = (price_of(text) for text in row[1:5])
    volume = number_of(row[5])
    interval, count, is_closed = "1M" if kind == "1mo" else kind, integer_of(row[8]), True
    return Candle(
        *head, interval, opened_ns, closed, first, high, low, last, volume, count, is_closed
    )


def _ns(text: str) -> int:
    value = integer_of(text)
    return value * (US_NS if value >= MICROSECONDS_FROM else MS_NS)
