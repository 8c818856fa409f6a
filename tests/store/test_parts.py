"""Rows laid down in parts make the same file as all at once."""

from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crossfeed.store import StoreWriter, exact
from crossfeed.store import writer as writer_module
from crossfeed.store.query import Store
from crossfeed.testing.events import delta, quote, snapshot, trade

DAY_MS = 86_400_000


def events(count: int = 60) -> list[object]:
    """Make some of every usual kind, over two days, of one to three decimals."""
    found: list[object] = []
    for n in range(count):
        price, event_ms = round(100 + n / 10 ** (1 + n % 3), 5), n * DAY_MS // 40
        found += [
            trade(n, n, price=price, event_ms=event_ms),
            quote(price, price + 1, n, exchange="kraken"),
            delta(n, n, [(price, 1.5), (price - 1, 0.0)], [(price + 1, n + 1.0)] * (n % 3), n),
        ]
    return [snapshot(0, [(1.0, 2.0)], [(1.5, 4.0)], checksum=7), *found, delta(99, 99, [], [], 99)]


def files(root: Path) -> dict[str, object]:
    """Return the tables of a store by their paths."""
    return {
        str(path.relative_to(root)): pq.read_table(path, partitioning=None)
        for path in root.rglob("*.parquet")
    }


@pytest.mark.parametrize("size", [1, 7, 30])
def test_parts_make_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """However the events fall into parts: the same files, rows and commit."""
    commits = []
    for name in ("whole", "parts"):
        with StoreWriter(tmp_path / name) as writer, writer.begin("s") as writing:
            for event in events():
                writing.add([event])
            commits.append(writing.commit())
        monkeypatch.setattr(writer_module, "PART_EVENTS", size)
        monkeypatch.setattr(writer_module, "PART_EVENTS_MIN", max(1, size // 4))
    whole, parts = (files(tmp_path / name) for name in ("whole", "parts"))
    assert sorted(parts) == sorted(whole)
    for name, table in whole.items():
        assert parts[name].equals(table), name
    one, two = ([(f.path, f.rows, f.price_scale, f.size_scale, f.unified) for f in commit.files]
                for commit in commits)  # fmt: skip
    assert one == two


@pytest.mark.parametrize("far", ["", "2.5E-30", "5E-324 1E+300", "1E+30"])
def test_what_fits_no_common_scale_keeps_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, far: str
) -> None:
    """Parts of large numbers, parts of many decimals: not a digit is lost, no warning."""
    monkeypatch.setattr(writer_module, "PART_EVENTS", 1)
    monkeypatch.setattr(writer_module, "PART_EVENTS_MIN", 1)
    texts = ["900000000000000", "0.00000001", "123456.5", *far.split(), "7"]
    with StoreWriter(folder) as writer, writer.begin("s") as writing:
        for n, text in enumerate(texts):
            writing.add([trade(n, n, price=float(text))])
        (file,) = writing.commit().files
    assert file.price_scale is None
    with Store(folder) as store:
        assert exact(store.trades(), "price") == [Decimal(text) for text in texts]


def test_left_without_commit_leaves_nothing(folder: Path) -> None:
    """Neither in memory nor on disk."""
    with StoreWriter(folder) as writer:
        with writer.begin("s") as writing:
            writing.add(events())
            writing.flush()
            writing.add(events())
        assert not list(folder.rglob("*.parquet"))
        with writer.begin("s") as writing:
            writing.add([trade(1)])
            assert writing.commit().rows == 1
