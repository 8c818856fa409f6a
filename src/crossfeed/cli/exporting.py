"""`crossfeed export`: rows of a store as files for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from msgspec import Struct

from crossfeed.cli.progress import progress_bar
from crossfeed.cli.query import form_of
from crossfeed.errors import ConfigError
from crossfeed.store.export import FORMATS, export_hftbacktest, write_batches
from crossfeed.store.query import Store
from crossfeed.store.schema import KINDS

__all__ = ["ExportOptions", "run_export"]

HFTBACKTEST: Final = "hftbacktest"


class ExportOptions(Struct, frozen=True, kw_only=True):
    """What `crossfeed export` was told; empty values select everything."""

    kind: str
    store: Path
    out: Path
    symbol: str = ""
    venue: str = ""
    start: str = ""
    end: str = ""
    form: str = ""


def run_export(options: ExportOptions) -> int:
    """Write the rows; return 0.

    Raises:
        ConfigError: An unknown kind, format, symbol, venue or time.
        StoreError: The store cannot be read, or the file not written.
    """
    kind, out = options.kind, options.out
    if kind not in {*KINDS, HFTBACKTEST}:
        known = ", ".join((*KINDS, HFTBACKTEST))
        raise ConfigError(f"{kind!r} is no kind: {known}", field="KIND")
    if (out.suffix == ".npz") != (kind == HFTBACKTEST):
        raise ConfigError(f"{HFTBACKTEST} writes .npz files, and nothing else does", field="--out")
    start, end = options.start or None, options.end or None
    with Store(options.store) as store:
        if kind == HFTBACKTEST:
            if not options.symbol or not options.venue:
                raise ConfigError("hftbacktest wants one market", field="SYMBOL and --venue")
            rows = export_hftbacktest(
                store, out, options.symbol, venue=options.venue, start=start, end=end
            )
        else:
            form = form_of(out, options.form, FORMATS)
            symbol, venue = options.symbol or None, options.venue or None
            reader = store.stream_rows(kind, symbol, start, end, venue=venue)
            with progress_bar(f"exporting {kind}", "rows") as set_done:
                rows = write_batches(reader, form, out, lambda done: set_done(done, 0))
    print(f"{rows:,} rows written to {out}", file=sys.stderr)
    return 0
