"""`crossfeed replay`: play a recording, as text, as JSON, or as the venues themselves."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct, structs
from rich.console import Console

from crossfeed.cli.session import interruptible, print_json
from crossfeed.clients.replay import Replay
from crossfeed.errors import ConfigError, JournalError
from crossfeed.model.event_base import utc_datetime
from crossfeed.model.events import MarketData
from crossfeed.runtime.clock import SystemClock

__all__ = ["ReplayOptions", "run_replay"]

SHOW_INTERVAL_S: Final = 0.5


class ReplayOptions(Struct, frozen=True, kw_only=True):
    """What `crossfeed replay` was told."""

    folders: tuple[str, ...]
    speed: float = 0.0
    start: str = ""
    end: str = ""
    feeds: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    is_served: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    is_json: bool = False
    is_summary: bool = False


def moment_of(text: str, field: str) -> int:
    """Return "2026-11-22T10:00:00Z" or ns since 1970 as ns; 0 for an empty text.

    Raises:
        ConfigError: Neither.
    """
    if not text:
        return 0
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no time like 2026-11-22T10:00:00Z", field=field) from error
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - utc_datetime(0)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


async def run_replay(options: ReplayOptions) -> int:
    """Play to the end, or until Ctrl-C; return 0 if there was anything to play.

    Raises:
        ConfigError: A time, speed or folder that cannot work.
        JournalError: A folder cannot be read, or holds nothing.
    """
    if not options.folders:
        raise ConfigError("name at least one journal folder, like: crossfeed replay recording")
    if options.is_served:
        from crossfeed.cli.replay_serve import run_served

        return await run_served(options)
    replay = Replay(
        *options.folders,
        speed=options.speed,
        start=moment_of(options.start, "from"),
        end=moment_of(options.end, "to"),
        feeds=options.feeds,
    )
    counts: Counter[str] = Counter()

    def count(event: MarketData) -> None:
        """Count an event by its feed and type."""
        counts[f"{event.exchange} {event.data_type}"] += 1

    for kind in options.kinds or ("*",):
        replay.on(kind, count)
        if options.is_json:
            replay.on(kind, _print_event)
    clock, over = SystemClock(), asyncio.Event()
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        """Remember what went wrong, and end."""
        # What a handler raises stays with it: the run itself has to be told.
        failures.append(error)
        over.set()

    replay.on_error(fail)
    begun_ns = clock.monotonic_ns()
    with interruptible(over):
        await _play(replay, over, is_live=sys.stdout.isatty() and not options.is_json)
    elapsed_s = (clock.monotonic_ns() - begun_ns) / 1e9
    if failures:
        raise failures[0]
    stats = replay.stats()
    if not stats.records:
        raise JournalError(f"{', '.join(options.folders)}: nothing recorded there")
    if options.is_summary:
        print_json(_summary(replay, counts, elapsed_s))
    elif not options.is_json:
        _print_summary(replay, counts, elapsed_s)
    return 0


async def _play(replay: Replay, over: asyncio.Event, *, is_live: bool) -> None:
    """Play until the end or the first signal, showing how far it is."""

    async def show() -> None:
        with Console().status("playing ...") as status:
            while True:
                await asyncio.sleep(SHOW_INTERVAL_S)
                stats = replay.stats()
                when = utc_datetime(stats.now_ns).isoformat(sep=" ", timespec="milliseconds")
                status.update(f"{when}  {stats.events:,} events")

    playing = asyncio.ensure_future(replay.run())
    ending = asyncio.ensure_future(over.wait())
    showing = asyncio.ensure_future(show()) if is_live else None
    await asyncio.wait({playing, ending}, return_when=asyncio.FIRST_COMPLETED)
    for task in (ending, showing):
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await replay.close()
    await playing


def _print_event(event: MarketData) -> None:
    line = {
        "exchange": event.exchange,
        "symbol": event.symbol,
        "unified": event.unified,
        "data_type": event.data_type,
        "ts_event_ns": event.ts_event_ns,
        "ts_recv_ns": event.ts_recv_ns,
        "trust": event.trust.name,
        "data": msgspec.to_builtins(event.data),
    }
    print_json(line)


def _summary(replay: Replay, counts: Counter[str], elapsed_s: float) -> dict[str, Any]:
    """Return what was played as one object."""
    return structs.asdict(replay.stats()) | {
        "seconds": round(elapsed_s, 3),
        "by_kind": dict(counts),
        "damages": [structs.asdict(damage) for damage in replay.damages],
        "losses": [structs.asdict(loss) for loss in replay.losses],
        "gaps": {name: structs.asdict(feed.gaps.totals()) for name, feed in replay.feeds.items()},
    }


def _print_summary(replay: Replay, counts: Counter[str], elapsed_s: float) -> None:
    """Print what was played."""
    stats = replay.stats()
    rate = stats.events / elapsed_s if elapsed_s else 0.0
    print(
        f"{stats.records:,} records, {stats.events:,} events in {elapsed_s:.1f} s ({rate:,.0f}/s)"
    )
    for name, number in sorted(counts.items()):
        print(f"  {name}: {number:,}")
    for name, feed in replay.feeds.items():
        totals = feed.gaps.totals()
        print(f"  {name}: gaps {totals.found}, open {totals.open}, lost {totals.lost}")
    for loss in replay.losses:
        print(f"  not recorded: {loss.records:,} records, {loss.cause}: {loss.detail}")
    for damage in replay.damages:
        where = f"{damage.path} at {damage.offset}, {damage.length} bytes"
        print(f"  unreadable: {where}: {damage.reason}")
    sys.stdout.flush()
