"""Progress bars of long work: on standard error, and only where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["SetDone", "progress_bar"]

SetDone = Callable[[float, int], None]
"""(done, total): the total may become known late; 0 while it is not."""


@contextmanager
def progress_bar(
    label: str, unit: str, total: int = 0, *, is_passing: bool = False
) -> Generator[SetDone]:
    """Show a bar while the block runs; yield what moves it.

    Args:
        label: What is being done.
        unit: "segments", "rows"; "bytes" are shown in MB.
        total: How many of them; 0 while unknown.
        is_passing: Whether the bar is gone when the block has run.
    """
    amounts: list[ProgressColumn] = (
        [DownloadColumn()] if unit == "bytes" else [MofNCompleteColumn(), TextColumn(unit)]
    )
    said = TextColumn("{task.description}", markup=False)  # a file's name is no markup
    columns = (said, BarColumn(), *amounts, TimeRemainingColumn())
    console = Console(stderr=True)
    is_off = not sys.stderr.isatty()
    with Progress(*columns, console=console, disable=is_off, transient=is_passing) as progress:
        task = progress.add_task(label, total=total or None)

        def set_done(done: float, of_total: int) -> None:
            progress.update(task, completed=done, total=of_total or None)

        yield set_done
