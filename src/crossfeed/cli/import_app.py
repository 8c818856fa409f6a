"""The commands `crossfeed import ...` and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

__all__ = ["import_app"]

import_app = App(
    name="import",
    help="Take in what other programs recorded: recordings into a journal, archives into a store.",
    help_format="plaintext",
)

Into = Annotated[Path, Parameter(name="--into", help="Folder of the store.")]
Unified = Annotated[
    str, Parameter(help="Unified symbol of all rows (BTC/USDT); else as far as it is known here.")
]
Venue = Annotated[str, Parameter(help="Name of the venue, where the files' own is another.")]
SkipBad = Annotated[
    bool,
    Parameter(negative="", help="Leave bad rows out; else a file that has one is not stored."),
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")]


@import_app.command
def capture(
    *files: Path,
    into: Annotated[Path, Parameter(name="--into", help="Folder of the new journal.")],
    venue: Annotated[
        str, Parameter(help="Whose messages they are; else who understands them.")
    ] = "",
    is_json: Json = False,
) -> int:
    """Turn recordings of other programs into a journal, to be replayed and compacted like our own.

    Takes hftbacktest's (.hft.gz) and cryptofeed's (.cf3.jsonl.gz, .cf2.txt.gz), and plain messages
    line by line (.ndjson, .jsonl, .gz or not).
    """
    from crossfeed.cli.importing import run_captures

    return run_captures(files, into, venue, is_json=is_json)


@import_app.command
def tardis(
    *files: Path,
    into: Into,
    unified: Unified = "",
    venue: Venue = "",
    skip_bad: SkipBad = False,
    is_json: Json = False,
) -> int:
    """Store CSV files of tardis.dev: trades, quotes, book_snapshot_N, incremental_book_L2.

    The same file is never stored twice. Bad rows are named with their lines; the code is 1 then.
    """
    from crossfeed.cli.importing import ArchiveImport, run_archives

    options = ArchiveImport(
        form="tardis", files=files, store=into, unified=unified, venue=venue, skips_bad=skip_bad
    )
    return run_archives(options, is_json=is_json)


@import_app.command
def binance_archive(
    *files: Path,
    into: Into,
    unified: Unified = "",
    venue: Venue = "",
    skip_bad: SkipBad = False,
    is_json: Json = False,
) -> int:
    """Store files of data.binance.vision: trades, aggTrades, klines, bookTicker (.zip or .csv).

    The same file is never stored twice. Bad rows are named with their lines; the code is 1 then.
    """
    from crossfeed.cli.importing import ArchiveImport, run_archives

    options = ArchiveImport(
        form="binance", files=files, store=into, unified=unified, venue=venue, skips_bad=skip_bad
    )
    return run_archives(options, is_json=is_json)
