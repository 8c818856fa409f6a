"""`crossfeed replay`: play a recording, as text, as JSON, or as the venues themselves."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from typing import Any, Final

import msgspec
from msgspec import Struct, structs
from rich.live import Live

from crossfeed.cli.keys import has_keys, pressed_keys, read_lines
from crossfeed.cli.replay_view import ReplayMonitor, line_of, moment, render
from crossfeed.cli.session import interruptible, print_json, print_text
from crossfeed.clients.replay import Replay
from crossfeed.errors import ConfigError, CrossfeedError, JournalError
from crossfeed.model.events import MarketData
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.replay_control import moment_of

__all__ = ["ReplayOptions", "run_replay"]

REDRAWS_PER_S: Final = 5
LINE_INTERVAL_S: Final = 1.0
SPEED_MAX: Final = 1024.0
"""Where slower begins when it plays as fast as it can."""
STEPS_MAX: Final = 10_000
PLAIN_CHARS_MAX: Final = 200


class ReplayOptions(Struct, frozen=True, kw_only=True):
    """What `crossfeed replay` was told."""

    folders: tuple[str, ...]
    speed: str = "max"
    start: str = ""
    end: str = ""
    feeds: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    is_served: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    control_port: int = -1
    faults: str = "none"
    is_followed: bool = False
    is_json: bool = False
    is_summary: bool = False

    @property
    def is_stepped(self) -> bool:
        """Whether each line of standard input plays one event."""
        return self.speed.strip().lower() == "step"


def speed_of(text: str) -> float:
    """Return "10", "10x", "max" (0) as a speed; "step" is paced by the reader.

    Raises:
        ConfigError: None of these.
    """
    word = text.strip().lower()
    if word in {"max", "step", ""}:
        return 0.0
    try:
        speed = float(word.removesuffix("x"))
    except ValueError:
        speed = -1.0
    if not 0 <= speed < float("inf"):
        raise ConfigError(f"{text!r} is no speed: 1, 10, 0.5, max or step", field="speed")
    return speed


async def run_replay(options: ReplayOptions) -> int:
    """Play to the end, or until Ctrl-C; return 0 if there was anything to play.

    Raises:
        ConfigError: A time, speed or folder that cannot work.
        JournalError: A folder cannot be read, or holds nothing.
    """
    if not options.folders:
        raise ConfigError("name at least one journal folder, like: crossfeed replay recording")
    speed = speed_of(options.speed)
    if options.is_served:
        from crossfeed.cli.replay_serve import run_served

        return await run_served(options, speed)
    replay = Replay(
        *options.folders,
        speed=speed,
        start=moment_of(options.start, "from"),
        end=moment_of(options.end, "to"),
        feeds=options.feeds,
        follow=options.is_followed,
    )
    run = ReplayRun(replay, options)
    elapsed_s = await run.play()
    if options.is_summary:
        print_json(_summary(replay, run.monitor.counts, elapsed_s))
    elif not options.is_json:
        _print_summary(replay, run.monitor.counts, elapsed_s)
    return 0


class ReplayRun:
    """One replay and the way it is shown. Used once.

    Attributes:
        monitor: What was seen; readable after the end.

    Raises:
        JournalError: A folder cannot be read, or holds nothing.
        ConfigError: Nothing was recorded at that time, or no event is of such a kind.
    """

    def __init__(self, replay: Replay, options: ReplayOptions) -> None:
        """Subscribe what is shown."""
        self.replay = replay
        self._options = options
        self._clock = SystemClock()
        self._over = asyncio.Event()
        self._failures: list[BaseException] = []
        self._printed = 0
        self.monitor = ReplayMonitor(replay, self._clock)
        if not self.monitor.end_ns:
            raise JournalError(f"{', '.join(options.folders)}: nothing recorded there")
        if self.monitor.begin_ns > self.monitor.end_ns:
            first_ns, last_ns = Replay(*options.folders).span()
            msg = f"nothing was recorded then: there is {moment(first_ns)} to {moment(last_ns)} UTC"
            raise ConfigError(msg, field="from")
        if options.kinds and not (options.is_json or options.is_stepped):
            raise ConfigError("add --json, or --speed step: events are printed then", field="kinds")
        if options.is_json or options.is_stepped:
            for kind in options.kinds or ("*",):
                replay.on(kind, self._print)
        replay.on_error(self._fail)

    def _fail(self, error: BaseException) -> None:
        """Remember what went wrong, and end: what a handler raises stays with it otherwise."""
        self._failures.append(error)
        self._over.set()

    async def play(self) -> float:
        """Play to the end or the first signal; return how long it took, s.

        Raises:
            JournalError: A folder cannot be read.
            ConfigError: No such feed was recorded.
            ConnectFailedError: Nobody reads the output any more.
        """
        begun_ns = self._clock.monotonic_ns()
        with interruptible(self._over):
            if self._options.is_stepped:
                await self._step()
            else:
                await self._run()
        if self._failures:
            raise self._failures[0]
        unknown = [name for name in self._options.feeds if name not in self.replay.names]
        if unknown and not self.monitor.counts:
            known = ", ".join(self.replay.names)
            msg = f"no feed {', '.join(unknown)} in the recording (there are: {known})"
            raise ConfigError(msg, field="feeds")
        return (self._clock.monotonic_ns() - begun_ns) / 1e9

    async def _run(self) -> None:
        playing = asyncio.ensure_future(self.replay.run())
        ending = asyncio.ensure_future(self._over.wait())
        showing = asyncio.ensure_future(self._show())
        showing.add_done_callback(self._shown)
        await asyncio.wait({playing, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, showing):
            task.cancel()
        await asyncio.gather(ending, showing, return_exceptions=True)
        await self.replay.close()
        await playing

    def _shown(self, showing: asyncio.Task[None]) -> None:
        """End if it can be shown no more; without a view there was nothing to show."""
        error = None if showing.cancelled() else showing.exception()
        if error is not None:
            self._fail(error)

    async def _show(self) -> None:
        """Show how far it is until cancelled."""
        if self._options.is_json or self._options.is_summary:
            return
        if not sys.stdout.isatty():
            while True:
                await self._clock.sleep(LINE_INTERVAL_S)
                print_text(line_of(self.monitor))
        can_press = has_keys()
        title = "crossfeed replay " + " ".join(self._options.folders)
        with contextlib.ExitStack() as stack:
            live = stack.enter_context(Live(auto_refresh=False, vertical_overflow="crop"))
            if can_press:
                stack.enter_context(pressed_keys(self._pressed))
            try:
                while True:
                    live.update(render(self.monitor, title, has_keys=can_press), refresh=True)
                    await self._clock.sleep(1.0 / REDRAWS_PER_S)
            finally:
                live.update(render(self.monitor, title, has_keys=False), refresh=True)

    def _pressed(self, key: str) -> None:
        pace = self.replay.pace
        if key == " ":
            pace.is_paused = not pace.is_paused
        elif key in "+-":
            pace.speed = (pace.speed or SPEED_MAX) * (2.0 if key == "+" else 0.5)
        elif key == "n":
            pace.is_paused = True
            try:
                self.replay.next_event()
            except CrossfeedError as error:
                self._fail(error)
        elif key == "q":
            self._over.set()

    async def _step(self) -> None:
        """Play one event for each line of standard input, to its end."""
        asked: asyncio.Queue[bool] = asyncio.Queue(STEPS_MAX)

        def take(is_line: bool) -> None:  # noqa: FBT001 - as `read_lines` calls it
            with contextlib.suppress(asyncio.QueueFull):
                asked.put_nowait(is_line)

        ending = asyncio.ensure_future(self._over.wait())
        try:
            with read_lines(take):
                while not self._over.is_set():
                    asking = asyncio.ensure_future(asked.get())
                    await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
                    if not asking.done():
                        asking.cancel()
                        break
                    if not asking.result() or not self._show_next():
                        break
        finally:
            ending.cancel()
            await self.replay.close()

    def _show_next(self) -> bool:
        """Play until something is printed; False at the end."""
        before = self._printed
        while self._printed == before:
            if not self.replay.next_event():
                return False
        return True

    def _print(self, event: MarketData) -> None:
        self._printed += 1
        (_print_event if self._options.is_json else _print_plain)(event)


def _print_plain(event: MarketData) -> None:
    """Print an event for people."""
    data = "  ".join(f"{key} {value}" for key, value in event.data.items() if value is not None)
    name = f"{event.exchange} {event.symbol} {event.data_type}"
    print_text(f"{moment(event.ts_recv_ns)}  {name}  {data[:PLAIN_CHARS_MAX]}")


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


def _summary(replay: Replay, counts: Counter[tuple[str, str]], elapsed_s: float) -> dict[str, Any]:
    """Return what was played as one object."""
    return structs.asdict(replay.stats()) | {
        "seconds": round(elapsed_s, 3),
        "by_kind": {" ".join(key): number for key, number in counts.items()},
        "warm_ups": [structs.asdict(each) for each in replay.warm_ups],
        "warmed_records": replay.warmed_records,
        "damages": [structs.asdict(damage) for damage in replay.damages],
        "losses": [structs.asdict(loss) for loss in replay.losses],
        "gaps": {name: structs.asdict(feed.gaps.totals()) for name, feed in replay.feeds.items()},
    }


def _print_summary(replay: Replay, counts: Counter[tuple[str, str]], elapsed_s: float) -> None:
    """Print what was played."""
    stats = replay.stats()
    rate = stats.events / elapsed_s if elapsed_s else 0.0
    print_text(
        f"{stats.records:,} records, {stats.events:,} events in {elapsed_s:.1f} s ({rate:,.0f}/s)"
    )
    if replay.warmed_records:
        warm, records = replay.warm_ups[0], replay.warmed_records
        what = "everything" if warm.is_whole_run else "books, sequences and trust"
        print_text(
            f"  {records:,} records since {moment(warm.begun_ns)} were played silently, so that "
            f"{what} stood at {moment(warm.start_ns)}"
        )
    for key, number in sorted(counts.items()):
        print_text(f"  {' '.join(key)}: {number:,}")
    for name, feed in replay.feeds.items():
        totals = feed.gaps.totals()
        print_text(f"  {name}: gaps {totals.found}, open {totals.open}, lost {totals.lost}")
    for loss in replay.losses:
        print_text(f"  not recorded: {loss.records:,} records, {loss.cause}: {loss.detail}")
    for damage in replay.damages:
        where = f"{damage.path} at {damage.offset}, {damage.length} bytes"
        print_text(f"  unreadable: {where}: {damage.reason}")
