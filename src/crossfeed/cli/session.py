"""One run of a view: an aggregator, a monitor, and a way of showing it until the end."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.live import Live
from rich.text import Text

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.cli.monitor import FeedMonitor
from crossfeed.cli.view import FeedView, plain_lines
from crossfeed.clients.aggregator import MarketDataAggregator
from crossfeed.clients.control import control_server
from crossfeed.errors import ConfigError, ConnectFailedError, DeadlineError
from crossfeed.model.unified import UnifiedMarketData
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.settings import FeedSettings

if TYPE_CHECKING:
    from crossfeed.servers.metrics import MetricsServer

__all__ = [
    "Shown",
    "ViewRun",
    "check_seconds",
    "interruptible",
    "no_data",
    "print_json",
    "print_text",
]

Handler = Callable[[int, FrameType | None], Any] | signal.Handlers

REDRAWS_PER_S: Final = 5
LINE_INTERVAL_S: Final = 1.0
SECONDS_MAX: Final = 1e9
#: After the signal to end: how long a write may block before what is still to be said is dropped.
READER_PATIENCE_S: Final = 1.0
STDOUT: Final = 1
ERROR_CHARS: Final = 160


def check_seconds(seconds: float) -> None:
    """Refuse what is no time to run; 0 means until Ctrl-C.

    Raises:
        ConfigError: It is no length of time.
    """
    if not 0 <= seconds < SECONDS_MAX:
        raise ConfigError(f"{seconds} is no time to run", field="seconds")


class Shown(Struct, frozen=True, kw_only=True):
    """How a run is shown and when it ends.

    Attributes:
        title: Over the table.
        seconds: End after this time; 0 runs until Ctrl-C.
        is_json: One JSON object per update instead of a view.
        is_summary: One final JSON object instead of a view.
        metrics_port: Serve Prometheus metrics on this loopback port; 0 does not.
    """

    title: str
    seconds: float = 0.0
    is_json: bool = False
    is_summary: bool = False
    metrics_port: int = 0

    def __post_init__(self) -> None:
        """Check the time.

        Raises:
            ConfigError: It is no length of time.
        """
        check_seconds(self.seconds)

    @property
    def is_live(self) -> bool:
        """Whether the live table is drawn: not where nothing can be drawn twice in one place."""
        is_wanted = sys.stdout.isatty() and not self.is_json and not self.is_summary
        return is_wanted and not Console().is_dumb_terminal


class ViewRun:
    """Runs an aggregator and shows it.

    Attributes:
        monitor: What has been seen; readable after the end.
        has_started: Whether there was anything to show before the end was asked for.
    """

    def __init__(
        self, config: AggregatorConfig, venues: Mapping[str, FeedSettings], shown: Shown
    ) -> None:
        """Check the configuration."""
        self._clock = SystemClock()
        self._shown = shown
        self.aggregator = MarketDataAggregator(config, venues=venues, clock=self._clock)
        self.monitor = FeedMonitor(self.aggregator, self._clock)
        self._control = control_server(self.aggregator)
        self.has_started = False
        self._over = asyncio.Event()
        self._metrics: MetricsServer | None = None
        self._failure: ConnectFailedError | None = None
        if shown.is_json and not shown.is_summary:
            self.aggregator.subscribe("*", "*", self._print_value)

    async def run(self) -> None:
        """Start, show until the time is over or Ctrl-C. Call `stop` afterwards."""
        with interruptible(self._over):
            starting = asyncio.ensure_future(self._start())
            over = asyncio.ensure_future(self._over.wait())
            await asyncio.wait({starting, over}, return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
            else:
                await starting
                self.has_started = True
                self.monitor.begin()
                await self._show()
            if self._failure is not None:
                raise self._failure

    async def _start(self) -> None:
        if self._shown.is_live:
            names = ", ".join(self.aggregator.clients)
            with Console(stderr=True).status(f"connecting to {names} ...") as status:
                # Half a minute may pass before a venue is given up: say meanwhile what is wrong.
                self.monitor.on_trouble = lambda text: status.update(
                    Text(f"connecting to {names} ... ({text[:ERROR_CHARS]})")
                )
                await self.aggregator.start()
                self.monitor.on_trouble = None
        else:
            await self.aggregator.start()
        await self._control.start()
        if self._shown.metrics_port:
            from crossfeed.clients.figures import venue_figures
            from crossfeed.servers.metrics import MetricsServer

            clients = list(self.aggregator.clients.values())
            self._metrics = MetricsServer(lambda: venue_figures(clients), self._shown.metrics_port)

    async def stop(self) -> None:
        """End the feed."""
        await self._control.close()
        await self.aggregator.stop()
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)

    def missing_venues(self) -> list[str]:
        """Return the venues from which nothing came."""
        stats = self.monitor.venue_stats()
        return [name for name, each in stats.items() if not each["events"]]

    async def _show(self) -> None:
        if self._shown.is_live:
            await self._show_table()
        elif self._shown.is_json or self._shown.is_summary:
            await self._wait(self._shown.seconds or None)
        else:
            await self._show_lines()

    async def _show_table(self) -> None:
        """Draw on a screen of its own, so that resizing leaves no torn lines; leave the last one.

        The terminal's history stays as it was.
        """

        def view(*, is_screen: bool) -> FeedView:
            return FeedView(self.monitor, self._shown.title, is_screen=is_screen)

        console = Console()
        try:
            first = view(is_screen=True)
            with Live(first, console=console, auto_refresh=False, screen=True) as live:
                while not await self._is_over(1.0 / REDRAWS_PER_S):
                    live.update(view(is_screen=True), refresh=True)
        finally:
            console.print(view(is_screen=False))

    async def _show_lines(self) -> None:
        is_over, is_first = False, True
        while not is_over:
            is_over = await self._is_over(LINE_INTERVAL_S)
            if is_first or not is_over:  # a run shorter than an interval says one thing as well
                for line in plain_lines(self.monitor):
                    print_text(line)
            is_first = False

    async def _is_over(self, wait_s: float) -> bool:
        """Wait a moment; say whether the run has come to its end."""
        limit_s = self._shown.seconds
        left_s = wait_s if not limit_s else min(wait_s, limit_s - self.monitor.seconds)
        if left_s > 0:
            await self._wait(left_s)
        # A loop's timers may fire a millisecond or two early.
        return self._over.is_set() or bool(limit_s and self.monitor.seconds >= limit_s - 0.005)

    async def _wait(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    def _print_value(self, value: UnifiedMarketData) -> None:
        row = {
            "symbol": value.symbol,
            "data_type": value.data_type,
            "timestamp": value.timestamp,
            "exchanges": value.exchanges,
            "data": value.data,
            "trust": value.trust.name,
            "integrity": value.integrity.name,
            "quote_mismatch": value.quote_mismatch,
            "excluded": {left.exchange: left.reason for left in value.excluded},
        }
        try:
            print_json(row)
        except ConnectFailedError as error:
            # What a handler raises stays with it: the run itself has to be told.
            self._failure = error
            self._over.set()


@contextlib.contextmanager
def interruptible(over: asyncio.Event) -> Generator[None]:
    """Let SIGINT and SIGTERM set `over`; a second one ends the process at once.

    So does the end of the terminal (SIGHUP), unless somebody else takes or ignores that signal.

    Handlers of Python and not of the loop: these run even while a write to standard output
    blocks, because nobody reads it, and holds up the loop.
    """
    loop = asyncio.get_running_loop()
    usual: dict[signal.Signals, Handler] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        usual[signal.SIGHUP] = signal.SIG_DFL

    def end(_number: int, _frame: FrameType | None) -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)
        loop.call_soon_threadsafe(over.set)
        _abandon_unread_output()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in usual:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _abandon_unread_output() -> None:
    """From now on look each second whether standard output takes anything; if not, drop it.

    Python takes up a blocked write again after every signal: without this, a run whose reader has
    stopped reading (a suspended pager, a lost terminal) could be ended only by SIGKILL.
    """
    if not hasattr(signal, "setitimer"):  # Windows
        return

    def look(_number: int, _frame: FrameType | None) -> None:
        if select.select([], [STDOUT], [], 0)[1]:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        _drop_output()

    def calm() -> None:
        """Write what is left while it is still looked at: the end of the process has no handler."""
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, READER_PATIENCE_S, READER_PATIENCE_S)
    atexit.register(calm)


def _drop_output() -> None:
    """Let everything still written to standard output go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)


def print_text(text: str) -> None:
    """Print one line at once.

    Raises:
        ConnectFailedError: Nobody reads standard output any more (`| head -1`).
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _drop_output()  # the interpreter writes what is left of the buffer at its end
        raise ConnectFailedError("the reader of standard output has gone") from None


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line; see `print_text`."""
    print_text(msgspec.json.encode(value).decode())


def no_data(
    venues: list[str], seconds: float, reasons: Mapping[str, object] | None = None
) -> DeadlineError:
    """Make the error for venues that brought nothing, with the reasons that are known."""
    known = reasons or {}
    names = ", ".join(f"{each} ({known[each]})" if each in known else each for each in venues)
    return DeadlineError(f"no data from {names}: see `crossfeed doctor`", limit_s=seconds)
