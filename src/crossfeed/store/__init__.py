"""Stage 6c: events → Parquet files, and files → tables.

```python
from crossfeed import store

history = store.open("history")
table = history.trades("BTC/USD", start="2026-11-01", end="2026-11-02")
```
Needs `pip install "crossfeed[store]"`; importing this package does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crossfeed.store.tables import exact
from crossfeed.store.writer import Commit, StoreWriter

if TYPE_CHECKING:
    from crossfeed.store.query import Store

__all__ = ["Commit", "StoreWriter", "exact", "open"]


def open(path: str | Path) -> Store:  # noqa: A001 - read as `store.open`, like `gzip.open`
    """Open a store for reading. Close it, or use it as a context manager.

    Raises:
        StoreError: There is none, or it cannot be read.
        ConfigError: pyarrow or duckdb is not installed.
    """
    from crossfeed.store.query import Store

    return Store(path)
