"""Many small files of a day → one for each table and market, behind the backs of all readers.

A recorder that seals a segment every five minutes leaves 288 files a day in each folder. Merging
writes their rows into one file under a new commit, which names the sources that it replaces: that
one rename is the whole change. Until it is there the old commits count, from then on the new one
does; the old files stay for readers that are at work (`StoreWriter.grace_s`), then a later start of
the writer deletes them. A crash at any point leaves one of the two states.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from crossfeed.errors import StoreError
from crossfeed.model.instrument import Instrument
from crossfeed.store.layout import Commit, StoredFile, check_inside
from crossfeed.store.packages import package
from crossfeed.store.schema import arrow_schema
from crossfeed.store.writer import SourceWriter, StoreWriter

__all__ = ["MergePlan", "merge", "plan_merges"]

SMALL_ROWS: Final = 1_000_000
"""Files with fewer rows are merged."""
MERGED_ROWS_MAX: Final = 4_000_000
"""No file gets longer: about 0.3 GB of memory while it is written."""
PENDING_MIN: Final = 12
"""So many commits of the newest day are merged before it is over."""


class MergePlan(NamedTuple):
    """Commits that become one.

    Attributes:
        date: Their last day.
        commits: They, in the order of their times.
        files_before: Their files.
        files_after: How many of them there will be.
    """

    date: str
    commits: tuple[Commit, ...]
    files_before: int
    files_after: int


def plan_merges(commits: Sequence[Commit]) -> list[MergePlan]:
    """Return what is worth merging: days that are over, and the newest when much came in."""
    dated = sorted((_last_date(each), _first_ns(each), each.source, each) for each in commits)
    newest = dated[-1][0] if dated else ""
    plans: list[MergePlan] = []
    for date, group in groupby(dated, key=lambda item: item[0]):
        members = tuple(item[-1] for item in group)
        if not date or len(members) < (PENDING_MIN if date == newest else 2):
            continue
        files = [file for commit in members for file in commit.files]
        after = sum(1 if is_merged else len(part) for is_merged, part in _parts(files))
        if after < len(files):
            plans.append(MergePlan(date, members, len(files), after))
    return plans


def merge(store: StoreWriter, plan: MergePlan) -> Commit:
    """Carry out one plan; on any error the store is as it was.

    Raises:
        StoreError: A file cannot be read or written.
    """
    names = [name for each in plan.commits for name in (each.source, *each.replaces)]
    digest = hashlib.blake2b("\n".join(sorted(names)).encode(), digest_size=12).hexdigest()
    instruments: dict[tuple[str, str], Instrument] = {}
    left_out: dict[str, int] = {}
    for commit in plan.commits:
        instruments |= {(each.venue, each.symbol): each for each in commit.instruments}
        for name, count in commit.left_out.items():
            left_out[name] = left_out.get(name, 0) + count
    with store.begin(f"merge-{plan.date}-{digest}") as writing:
        files: list[StoredFile] = []
        for is_merged, part in _parts([file for each in plan.commits for file in each.files]):
            files += [_join(store, writing, part)] if is_merged else part
        commit = Commit(
            source=f"merge-{plan.date}-{digest}",
            rows=sum(file.rows for file in files),
            files=tuple(files),
            left_out=left_out,
            refused=sum(each.refused for each in plan.commits),
            instruments=tuple(instruments.values()),
            replaces=tuple(dict.fromkeys(names)),
        )
        if commit.rows != sum(each.rows for each in plan.commits):
            raise StoreError(f"{store.root}: merging {plan.date} would lose rows; left as it was")
        writing.publish(commit)
    return commit


def _last_date(commit: Commit) -> str:
    return max((file.date for file in commit.files), default="")


def _first_ns(commit: Commit) -> int:
    return min((file.ts_min_ns for file in commit.files), default=0)


def _key(file: StoredFile) -> tuple[Any, ...]:
    """Files of one folder and the same scales: reading them stays a division by a constant."""
    scales = (file.price_scale is None, file.price_scale, file.size_scale is None, file.size_scale)
    return (file.kind, file.venue, file.symbol, file.date, *map(str, scales))


def _parts(files: Sequence[StoredFile]) -> Iterator[tuple[bool, list[StoredFile]]]:
    """Yield the files that become one (True), and those that stay (False)."""
    for _, same in groupby(sorted(files, key=lambda each: (_key(each), each.ts_min_ns)), key=_key):
        part: list[StoredFile] = []
        rows = 0
        for file in same:
            if file.rows >= SMALL_ROWS:
                yield False, [file]
                continue
            if rows + file.rows > MERGED_ROWS_MAX:
                yield len(part) > 1, part
                part, rows = [], 0
            part.append(file)
            rows += file.rows
        if part:
            yield len(part) > 1, part


def _join(store: StoreWriter, writing: SourceWriter, part: Sequence[StoredFile]) -> StoredFile:
    """Write the rows of some files as one, in the order of their times."""
    pa, pq = package("pyarrow"), package("pyarrow.parquet")
    schema, events = arrow_schema(part[0].kind), 0
    tables: list[Any] = []
    for file in part:
        try:
            table = pq.read_table(check_inside(store.root, file.path), partitioning=None)
            table = table.cast(schema)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{store.root}/{file.path}: cannot be read: {error}") from error
        if table.num_rows != file.rows:
            raise StoreError(f"{store.root}/{file.path}: {table.num_rows} rows, not {file.rows}")
        if file.kind == "books":
            # Events are counted from zero in each source; in one file they must not be mixed up.
            place = table.schema.get_field_index("event")
            moved = package("pyarrow.compute").add(table["event"], events)
            events = package("pyarrow.compute").max(moved).as_py() + 1
            table = table.set_column(place, schema.field("event"), moved)
        tables.append(table)
    whole = pa.concat_tables(tables).unify_dictionaries()
    like = replace(
        part[0],
        unified=tuple(sorted({name for file in part for name in file.unified})),
        rows=whole.num_rows,
        ts_min_ns=min(file.ts_min_ns for file in part),
        ts_max_ns=max(file.ts_max_ns for file in part),
    )
    return writing.stage(like, whole)
