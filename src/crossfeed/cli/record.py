"""`crossfeed record`: write everything that venues send into a journal, for months if need be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sys
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, structs
from rich.console import Console
from rich.status import Status
from rich.text import Text

from crossfeed.cli.record_sinks import RecordSinks
from crossfeed.cli.reload import reloadable
from crossfeed.cli.session import (
    check_seconds,
    interruptible,
    no_data,
    print_json,
    print_text,
)
from crossfeed.cli.simulated import SimulatedVenues
from crossfeed.clients.venue_client import VenueClient
from crossfeed.errors import (
    ConfigError,
    ConnectFailedError,
    CrossfeedError,
    JournalError,
    UnknownSymbolError,
)
from crossfeed.journal.records import Loss
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.config import FileConfig, load_config
from crossfeed.runtime.record_config import RecordSection
from crossfeed.runtime.recording import Recorder
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.tasks import TaskOwner

__all__ = ["RecordOptions", "RecordRun", "recorded_venues", "run_record"]

log = logging.getLogger("crossfeed.record")

DEFAULT_VENUES: Final = ("binance", "coinbase", "kraken")
DEFAULT_KINDS: Final = ("trade", "book", "book_ticker")
SIMULATED_RATE_PER_S: Final = 200.0
LOOK_S: Final = 0.25
ERROR_CHARS: Final = 120
LIVE_INTERVAL_S: Final = 0.5
LINE_INTERVAL_S: Final = 60.0
RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 60.0
SHUTDOWN_DEADLINE_S: Final = 5.0


class RecordOptions(Struct, frozen=True, kw_only=True):
    """What `crossfeed record` was told; empty values are taken from the file, then the defaults."""

    symbols: tuple[str, ...] = ()
    venues: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    folder: str = ""
    journal: Mapping[str, float | bool | None] = {}
    config: str = ""
    seconds: float = 0.0
    is_simulated: bool = False
    is_summary: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """What is recorded where: command line over file over defaults."""

    folder: str
    symbols: tuple[str, ...]
    venues: tuple[str, ...]
    kinds: tuple[str, ...]
    section: RecordSection

    @classmethod
    def made(cls, options: RecordOptions, file: FileConfig) -> Plan:
        """Put the sources together.

        Raises:
            ConfigError: Something is missing, or cannot work.
        """
        known = file.record
        given = {name: value for name, value in options.journal.items() if value is not None}
        symbols = options.symbols or tuple(known.symbols) or tuple(file.aggregator.symbols)
        if not symbols:
            raise ConfigError("name at least one symbol, like: crossfeed record BTC/USD")
        folder = options.folder or known.directory
        if not folder:
            msg = "name the folder of the journal: --out recording, or [record] directory"
            raise ConfigError(msg, field="out")
        return cls(
            folder=folder,
            symbols=symbols,
            venues=options.venues or recorded_venues(file),
            kinds=options.kinds or tuple(known.kinds) or DEFAULT_KINDS,
            section=structs.replace(known, **given),
        )

    def without_symbols(self) -> Plan:
        """Return what does not change while it runs."""
        section = structs.replace(self.section, symbols=[])
        return structs.replace(self, symbols=(), section=section)


def recorded_venues(file: FileConfig) -> tuple[str, ...]:
    """Return whom a file lets be recorded."""
    named = file.record.venues or file.aggregator.exchanges or file.venues
    return tuple(named or DEFAULT_VENUES)


class RecordRun:
    """Clients of several venues that record into one journal. Made, run and stopped once.

    Args:
        recorder: Where to; started and closed by the caller.
        symbols: Symbols; a venue that does not list one is done without it.
        kinds: Kinds of data.
        venues: Venues with their settings.
        sinks: Databases that get the events too; closed by the caller.

    Raises:
        ConfigError: A venue, kind or symbol that cannot work.
    """

    def __init__(
        self,
        recorder: Recorder,
        symbols: tuple[str, ...],
        kinds: tuple[str, ...],
        venues: Mapping[str, FeedSettings],
        sinks: RecordSinks | None = None,
    ) -> None:
        """Check the configuration; nothing is connected yet."""
        self.recorder = recorder
        self.sinks = sinks or RecordSinks(())
        self.clients = {
            name: VenueClient(name, settings=settings, recorder=recorder)
            for name, settings in venues.items()
        }
        self.unreachable: dict[str, CrossfeedError] = {}
        self._symbols = symbols
        self._kinds = kinds
        self._clock = SystemClock()
        self._tasks = TaskOwner("crossfeed:record", self._failed)
        self._failure: BaseException | None = None
        recorder.on_resume(self._resumed)

    def _failed(self, error: BaseException) -> None:
        self._failure = error

    async def start(self) -> None:
        """Connect to all venues; those that cannot be reached are tried again for ever.

        Raises:
            ConfigError: A symbol that no venue lists, or a kind one does not have.
        """
        self.sinks.start()
        self.sinks.attach(self.clients.values())
        await asyncio.gather(*(client.learn_instruments() for client in self.clients.values()))
        listed: set[str] = set()
        for client in self.clients.values():
            own = [symbol for symbol in self._symbols if _lists(client, symbol)]
            listed.update(own)
            await client.subscribe(own, self._kinds)
        missing = [symbol for symbol in self._symbols if symbol not in listed]
        if missing:
            raise UnknownSymbolError(f"no venue lists {', '.join(missing)}")
        await asyncio.gather(*(self._connect(name) for name in self.clients))
        for name in self.unreachable:
            self._tasks.spawn(self._keep_trying(name), name)

    async def _connect(self, name: str) -> bool:
        try:
            await self.clients[name].connect()
        except ConfigError:
            raise
        except CrossfeedError as error:
            self.unreachable[name] = error
            log.warning("%s is not recorded for now: %s", name, error)
            return False
        self.unreachable.pop(name, None)
        return True

    async def _keep_trying(self, name: str) -> None:
        wait_s = RETRY_S_MIN
        while True:
            await self._clock.sleep(wait_s)
            if await self._connect(name):
                return
            wait_s = min(RETRY_S_MAX, wait_s * 2)

    async def change(self, symbols: tuple[str, ...]) -> str:
        """Record these symbols from now on; return what changed, in words.

        Raises:
            UnknownSymbolError: No venue lists one of them; nothing was changed.
            CrossfeedError: A venue refused; what the others took stays.
        """
        added = [symbol for symbol in symbols if symbol not in self._symbols]
        removed = [symbol for symbol in self._symbols if symbol not in symbols]
        missing = [s for s in added if not any(_lists(c, s) for c in self.clients.values())]
        if missing:
            raise UnknownSymbolError(f"no venue lists {', '.join(missing)}")
        for client in self.clients.values():
            await client.subscribe([s for s in added if _lists(client, s)], self._kinds)
            await client.unsubscribe([s for s in removed if _lists(client, s)], self._kinds)
        self._symbols = symbols
        words = [*(f"+{symbol}" for symbol in added), *(f"-{symbol}" for symbol in removed)]
        return " ".join(words) or "no symbol changed"

    def _resumed(self, loss: Loss) -> None:
        """After a hole in the recording the books need new images to be of use in it."""
        log.warning("recording goes on after %d lost records", loss.records)
        for client in self.clients.values():
            for symbol in {trust.stream.symbol for trust in client.trusts()}:
                with contextlib.suppress(UnknownSymbolError):
                    client.resync(symbol)

    def check(self) -> None:
        """Look whether everything that must run does.

        Raises:
            JournalError: The writer has ended before its time.
            CrossfeedError: What a background task failed with.
        """
        if not self.recorder.writer.is_alive:
            raise JournalError(f"the recorder ended: {self.recorder.writer.failure!r}")
        if isinstance(self._failure, CrossfeedError):
            raise self._failure
        if self._failure is not None:
            raise ConnectFailedError(f"a background task failed: {self._failure!r}")

    async def stop(self) -> None:
        """End the clients. Stopping twice is harmless."""
        await self._tasks.close()
        await asyncio.gather(*(client.close() for client in self.clients.values()))

    def summary(self) -> dict[str, Any]:
        """Return what there is to tell."""
        stats = structs.asdict(self.recorder.stats())
        feeds = {name: client.get_stats() for name, client in self.clients.items()}
        return stats | {
            "folder": self.recorder.writer.folder,
            "frames": {name: each["frames"] for name, each in feeds.items()},
            "gaps": sum(each["gaps"] for each in feeds.values()),
            "gaps_open": sum(each["gaps_open"] for each in feeds.values()),
            "states": {name: each["state"] for name, each in feeds.items()},
            "unreachable": {name: str(error) for name, error in self.unreachable.items()},
            "sinks": self.sinks.summary(),
            "free_bytes": _free_bytes(self.recorder.writer.folder),
        }


def _free_bytes(folder: str) -> int:
    """Return what the disk has left; -1 where that cannot be told."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return -1


def _lists(client: VenueClient, symbol: str) -> bool:
    try:
        client.instrument(symbol)
    except UnknownSymbolError:
        return False
    return True


async def run_record(options: RecordOptions) -> int:
    """Record until the time is over, Ctrl-C or SIGTERM; return 0 only if every venue sent data.

    Raises:
        ConfigError: A venue, symbol, kind, option or file that cannot work.
        JournalError: The folder cannot be written, or the recorder ended before its time.
    """
    check_seconds(options.seconds)
    file = load_config(options.config) if options.config else FileConfig()
    plan = Plan.made(options, file)
    async with contextlib.AsyncExitStack() as stack:
        settings = {name: file.venues.get(name, FeedSettings()) for name in plan.venues}
        if options.is_simulated:
            simulated = await stack.enter_async_context(
                SimulatedVenues(plan.venues, plan.symbols, rate_per_s=SIMULATED_RATE_PER_S, seed=1)
            )
            settings = {name: simulated.settings(name) for name in plan.venues}
        recorder = Recorder(plan.folder, plan.section.journal())
        sinks = RecordSinks(plan.section.sinks)
        run = RecordRun(recorder, plan.symbols, plan.kinds, settings, sinks)

        async def apply(fresh: FileConfig) -> str:
            """Take what can change while it runs; name what cannot."""
            wanted = Plan.made(options, fresh)
            said = await run.change(wanted.symbols)
            if fresh.venues == file.venues and wanted.without_symbols() == plan.without_symbols():
                return said
            return f"{said}; venues, their settings and those of the recorder wait for a restart"

        recorder.start()
        for found in recorder.writer.recovered:
            text = f"mended {found.path}: {found.records:,} records, {found.cut_bytes} bytes cut"
            print(text, file=sys.stderr, flush=True)
        summary: dict[str, Any] = {}
        try:
            async with reloadable(options.config, apply):
                await _watch(run, options)
            summary = run.summary()
        finally:
            try:
                await _end(run)
            finally:  # what became of it is told even if the disk does not take the end
                if summary:
                    summary |= structs.asdict(recorder.stats()) | {"is_recording": False}
                    summary["sinks"] = sinks.summary()
                    _tell_end(summary, options)
    silent = [name for name, frames in summary["frames"].items() if not frames]
    if silent:
        raise no_data(silent, options.seconds, run.unreachable)
    return 0


def _tell_end(summary: dict[str, Any], options: RecordOptions) -> None:
    if options.is_summary:
        print_json(summary)
    else:
        print_text(line_of(summary))


async def _end(run: RecordRun) -> None:
    """End the clients, then, whatever became of them, seal the journal and close the databases."""
    try:
        async with asyncio.timeout(SHUTDOWN_DEADLINE_S):
            await run.stop()
    except TimeoutError:
        log.warning("the clients did not end within %g s", SHUTDOWN_DEADLINE_S)
    finally:
        await asyncio.gather(
            run.recorder.close(SHUTDOWN_DEADLINE_S), run.sinks.close(SHUTDOWN_DEADLINE_S)
        )


async def _watch(run: RecordRun, options: RecordOptions) -> None:
    """Start, and show how it goes until the end."""
    over, clock = asyncio.Event(), SystemClock()
    is_live = sys.stdout.isatty() and not options.is_summary
    with interruptible(over), contextlib.ExitStack() as stack:
        starting = asyncio.ensure_future(run.start())
        ending = asyncio.ensure_future(over.wait())
        await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        await starting
        status = stack.enter_context(Console().status("recording ...")) if is_live else None
        begun_ns = shown_ns = clock.monotonic_ns()
        before = run.summary()
        while not over.is_set():
            now_ns = clock.monotonic_ns()
            if options.seconds and now_ns - begun_ns >= options.seconds * 1e9:
                break
            run.check()
            elapsed_s = (now_ns - shown_ns) / 1e9
            is_due = elapsed_s >= (LIVE_INTERVAL_S if is_live else LINE_INTERVAL_S)
            is_turn = run.recorder.stats().is_recording != before["is_recording"]
            if is_due or is_turn:
                shown_ns, before = now_ns, _show(run, before, elapsed_s, status, options)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await over.wait()
        ending.cancel()


def _show(
    run: RecordRun,
    before: dict[str, Any],
    elapsed_s: float,
    status: Status | None,
    options: RecordOptions,
) -> dict[str, Any]:
    """Show the state once; return it."""
    now = run.summary()
    rates = ((now[name] - before[name]) / elapsed_s for name in ("records", "bytes_out"))
    text = "  ".join([line_of(now, *rates), *run.sinks.words()])
    if status is not None:
        status.update(Text(text))  # an address or a path in it is no markup
    elif not options.is_summary:
        print_text(text)
    return now


def line_of(summary: Mapping[str, Any], rate_per_s: float = 0.0, bytes_per_s: float = 0.0) -> str:
    """Return a recording's state as one line."""
    ratio = summary["bytes_in"] / summary["bytes_out"] if summary["bytes_out"] else 0.0
    free_bytes, unreachable = summary.get("free_bytes", -1), summary.get("unreachable", {})
    parts = [
        f"{summary['records']:,} records",
        f"{rate_per_s:,.0f}/s" if rate_per_s else "",
        f"{summary['bytes_out'] / 1e6:,.1f} MB (1/{ratio:.1f})",
        f"{bytes_per_s / 1e3:,.0f} kB/s" if bytes_per_s else "",
        f"{summary['segments']} file{'' if summary['segments'] == 1 else 's'}",
        f"{summary['retired']} deleted" if summary["retired"] else "",
        f"{free_bytes / 1e9:,.1f} GB free" if free_bytes >= 0 else "",
        f"queue {summary['queue_bytes'] / 1e6:.1f} MB",
        f"gaps {summary['gaps']} ({summary['gaps_open']} open)",
        f"lost {summary['lost_records']:,}" if summary["lost_records"] else "",
        f"NOT RECORDING: {summary['failure']}" if summary["failure"] else "",
        *(
            f"{name}: {state}"
            + (f" ({unreachable[name][:ERROR_CHARS]})" if name in unreachable else "")
            for name, state in summary["states"].items()
            if state != "connected"
        ),
    ]
    return "  ".join(part for part in parts if part)
