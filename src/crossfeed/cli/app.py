"""The commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import crossfeed
from crossfeed.cli.import_app import import_app
from crossfeed.runtime.loop import run

__all__ = ["app"]

app = App(
    name="crossfeed",
    help="One trusted real-time market-data feed across exchanges.",
    version=crossfeed.__version__,
    help_format="plaintext",
    # False, 0 and "" say nothing that the help does not.
    default_parameter=Parameter(show_default=lambda value: value or None),
)
config_app = App(name="config", help="Show or check a configuration file.", help_format="plaintext")
app.command(config_app)
app.command(import_app)

DEFAULT_VENUES = "binance,coinbase,kraken"
DEFAULT_SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")

Symbol = Annotated[str, Parameter(help="Unified symbols, like BTC/USD.")]
Venues = Annotated[str, Parameter(help="Venues, separated by commas.")]
STRATEGIES = "first, last, average, median, weighted or best_bid_ask."
Strategy = Annotated[str, Parameter(help=STRATEGIES)]
Seconds = Annotated[float, Parameter(help="End by itself after this time; 0 runs until Ctrl-C.")]
Rate = Annotated[float, Parameter(help="Market actions a second per venue.")]
Seed = Annotated[int, Parameter(help="The same seed gives the same markets.")]
Faults = Annotated[str, Parameter(help="A fault profile (none, default, harsh) or a file.")]
Json = Annotated[
    bool, Parameter(name="--json", negative="", help="Print one JSON object per update.")
]
Summary = Annotated[bool, Parameter(negative="", help="Print a single final JSON object.")]
Port = Annotated[int, Parameter(help="Serve Prometheus metrics on this loopback port.")]


@app.command
def demo(  # noqa: PLR0913 - one parameter is one option
    *symbols: Symbol,
    seconds: Annotated[
        float | None,
        Parameter(help="End by itself after this time; 0 runs until Ctrl-C, as in a terminal."),
    ] = None,
    venues: Venues = DEFAULT_VENUES,
    strategy: Strategy = "best_bid_ask",
    rate: Rate = 200.0,
    seed: Seed = 1,
    faults: Faults = "none",
    is_json: Json = False,
    summary: Summary = False,
    metrics_port: Port = 0,
) -> int:
    """Watch simulated venues: real protocols over real sockets, no exchange needed.

    Without a terminal it prints a line a second and ends after 20 s with a summary.
    """
    from crossfeed.cli.demo import DemoOptions, run_demo

    options = DemoOptions(
        symbols=symbols or DEFAULT_SYMBOLS,
        venues=_split(venues),
        strategy=strategy,
        rate_per_s=rate,
        seed=seed,
        faults=faults,
        seconds=seconds,
        is_json=is_json,
        is_summary=summary,
        metrics_port=metrics_port,
    )
    return run(run_demo(options))


@app.command
def watch(
    *symbols: Symbol,
    venues: Annotated[
        str, Parameter(help="Venues, separated by commas. [the file's, or binance,coinbase,kraken]")
    ] = "",
    strategy: Annotated[str, Parameter(help=f"{STRATEGIES} [the file's, or best_bid_ask]")] = "",
    seconds: Seconds = 0.0,
    config: Annotated[Path | None, Parameter(help="Configuration file (TOML).")] = None,
    sim: Annotated[
        bool, Parameter(negative="", help="Watch simulated venues instead of the real ones.")
    ] = False,
    is_json: Json = False,
    summary: Summary = False,
    metrics_port: Port = 0,
) -> int:
    """Watch the real venues: one live view over all of them."""
    from crossfeed.cli.watch import WatchOptions, run_watch

    options = WatchOptions(
        symbols=symbols,
        venues=_split(venues),
        strategy=strategy,
        seconds=seconds,
        config=str(config or ""),
        is_simulated=sim,
        is_json=is_json,
        is_summary=summary,
        metrics_port=metrics_port,
    )
    return run(run_watch(options))


@app.command
def record(  # noqa: PLR0913 - one parameter is one option
    *symbols: str,
    out: Annotated[Path | None, Parameter(help="Folder of the journal.")] = None,
    venues: Venues = "",
    kinds: Annotated[str, Parameter(help="Kinds of data; else trade,book,book_ticker.")] = "",
    config: Annotated[Path | None, Parameter(help="Configuration file (TOML).")] = None,
    sim: Annotated[
        bool, Parameter(negative="", help="Record simulated venues instead of the real ones.")
    ] = False,
    seconds: Seconds = 0.0,
    flush_ms: Annotated[
        float | None, Parameter(help="Most that a killed process loses; else 100.")
    ] = None,
    synced: Annotated[
        bool, Parameter(negative="", help="Flush within 4 ms and sync after each flush.")
    ] = False,
    segment_mb: Annotated[
        float | None, Parameter(help="A file is closed at this size, else 256 ...")
    ] = None,
    segment_minutes: Annotated[float | None, Parameter(help="... or at this age, else 60.")] = None,
    keep_gb: Annotated[
        float | None, Parameter(help="Delete the oldest files beyond; 0, the default: never.")
    ] = None,
    keep_days: Annotated[
        float | None, Parameter(help="Delete files older than; 0, the default: never.")
    ] = None,
    queue_mb: Annotated[
        float | None, Parameter(help="What may wait for a slow disk; else 64.")
    ] = None,
    summary: Summary = False,
) -> int:
    """Record everything that venues send, for months if need be. Ctrl-C or SIGTERM ends it.

    SIGHUP reads the configuration file again: symbols come and go; a bad file changes nothing.
    """
    from crossfeed.cli.record import RecordOptions, run_record

    journal: dict[str, float | bool | None] = {
        "flush_ms": flush_ms,
        "synced": synced or None,
        "segment_mb": segment_mb,
        "segment_minutes": segment_minutes,
        "keep_gb": keep_gb,
        "keep_days": keep_days,
        "queue_mb": queue_mb,
    }
    options = RecordOptions(
        symbols=symbols,
        venues=_split(venues),
        kinds=_split(kinds),
        folder=str(out or ""),
        journal=journal,
        config=str(config or ""),
        seconds=seconds,
        is_simulated=sim,
        is_summary=summary,
    )
    return run(run_record(options))


@app.command
def replay(  # noqa: PLR0913 - one parameter is one option
    *folders: Path,
    speed: Annotated[
        str, Parameter(help="1 as recorded, 10 ten times as fast, max, or step: Enter by Enter.")
    ] = "",
    start: Annotated[
        str, Parameter(name="--from", help="Begin here: 2026-11-22T10:00:00Z, or ns since 1970.")
    ] = "",
    end: Annotated[str, Parameter(name="--to", help="End here.")] = "",
    feeds: Annotated[str, Parameter(help="Only these feeds, separated by commas.")] = "",
    kinds: Annotated[
        str, Parameter(help="With --json or --speed step: only these kinds of events.")
    ] = "",
    follow: Annotated[
        bool, Parameter(negative="", help="Wait for more at the end: it is being recorded.")
    ] = False,
    serve: Annotated[
        bool, Parameter(negative="", help="Serve the venues' own protocols from the journal.")
    ] = False,
    host: Annotated[str, Parameter(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="First port to serve on; 0 takes free ones.")] = 0,
    control_port: Annotated[
        int,
        Parameter(help="With --serve: pause, speed, seek by HTTP; 0 takes a free one, -1 none."),
    ] = -1,
    faults: Annotated[
        str, Parameter(help="With --serve: a fault profile (none, default, harsh) or a file.")
    ] = "none",
    is_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print one JSON object per event.")
    ] = False,
    summary: Summary = False,
) -> int:
    """Play a recording through the same cores and books as live."""
    from crossfeed.cli.replay import ReplayOptions, run_replay

    options = ReplayOptions(
        folders=tuple(str(folder) for folder in folders),
        speed=speed or ("1" if serve else "max"),
        start=start,
        end=end,
        feeds=_split(feeds),
        kinds=_split(kinds),
        is_followed=follow,
        is_served=serve,
        host=host,
        port=port,
        control_port=control_port,
        faults=faults,
        is_json=is_json,
        is_summary=summary,
    )
    return run(run_replay(options))


@app.command
def sim(  # noqa: PLR0913 - one parameter is one option
    *symbols: Symbol,
    venues: Venues = DEFAULT_VENUES,
    rate: Rate = 200.0,
    seed: Seed = 1,
    faults: Faults = "none",
    symbol_count: Annotated[int, Parameter(help="Add made-up symbols up to this many.")] = 0,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="First port; 0 takes free ones.")] = 0,
    control_port: Annotated[int, Parameter(help="Control port; 0 takes a free one, -1 none.")] = 0,
    tls: Annotated[str, Parameter(help="Folder for a test CA; serves TLS.")] = "",
    ledger: Annotated[str, Parameter(help="Write the ledger to this file at the end.")] = "",
    seconds: Seconds = 0.0,
    is_json: Json = False,
) -> int:
    """Serve simulated venues for any client: WebSocket, REST, and a ledger of the truth."""
    from crossfeed.simulator import SimulatorOptions, run_simulator

    options = SimulatorOptions(
        venues=_split(venues),
        symbols=symbols or DEFAULT_SYMBOLS,
        symbol_count=symbol_count,
        rate_per_s=rate,
        seed=seed,
        faults=faults,
        host=host,
        port=port,
        control_port=None if control_port < 0 else control_port,
        tls_folder=tls,
        ledger_file=ledger,
        seconds=seconds,
        is_json=is_json,
    )
    return run_simulator(options)


@app.command
def faultproxy(  # noqa: PLR0913 - one parameter is one option
    to: Annotated[str, Parameter(help="The real server, host:port.")],
    *,
    port: Annotated[int, Parameter(help="Local port; 0 takes a free one.")] = 0,
    direction: Annotated[str, Parameter(help="down (to the client), up or both.")] = "down",
    delay_ms: Annotated[float, Parameter(help="Everything comes this much later.")] = 0.0,
    jitter_ms: Annotated[float, Parameter(help="Up to so much more, at random.")] = 0.0,
    rate: Annotated[float, Parameter(help="Bytes a second at most.")] = 0.0,
    piece: Annotated[int, Parameter(help="Write in pieces of at most so many bytes.")] = 0,
    flip: Annotated[float, Parameter(help="Share of bytes with a flipped bit (0..1).")] = 0.0,
    cut_after: Annotated[int, Parameter(help="Reset after so many bytes.")] = 0,
    close_after: Annotated[int, Parameter(help="End in mid message after so many bytes.")] = 0,
    silent_after: Annotated[int, Parameter(help="Go silent after so many bytes, stay open.")] = 0,
    seed: Annotated[int, Parameter(help="The same seed does the same damage.")] = 1,
    seconds: Seconds = 0.0,
) -> int:
    """Damage a TCP connection on purpose: a proxy in front of anything."""
    from msgspec import ValidationError, convert

    from crossfeed.cli.faultproxy import run_proxy
    from crossfeed.errors import ConfigError
    from crossfeed.simulator.faultproxy import ProxyFaults

    values = {
        "direction": direction,
        "delay_s": delay_ms / 1000,
        "jitter_s": jitter_ms / 1000,
        "rate_bytes_s": rate,
        "piece_bytes": piece,
        "flip_share": flip,
        "cut_after_bytes": cut_after,
        "close_after_bytes": close_after,
        "silent_after_bytes": silent_after,
    }
    try:
        faults = convert(values, ProxyFaults)
    except ValidationError as error:
        raise ConfigError(str(error), field="faultproxy") from error
    return run(run_proxy(to, faults, port=port, seed=seed, seconds=seconds))


StoreFolder = Annotated[Path, Parameter(name="--store", help="Folder of the store.")]


@app.command
def compact(
    journal: Annotated[Path, Parameter(help="Folder of the journal.")],
    *,
    store: StoreFolder,
    merge: Annotated[bool, Parameter(help="Join small files of a day, once it is over.")] = True,
    follow: Annotated[
        bool, Parameter(negative="", help="Go on with each segment that is sealed, until Ctrl-C.")
    ] = False,
    is_json: Json = False,
) -> int:
    """Turn the sealed segments of a journal into Parquet files, each segment once.

    May be interrupted or killed at any time and run again; readers need not stop.
    """
    from crossfeed.cli.compact import run_compact

    return run_compact(journal, store, is_merging=merge, follows=follow, is_json=is_json)


@app.command
def query(
    sql: Annotated[str, Parameter(help="One SELECT, in quotes; none: what the store holds.")] = "",
    *,
    store: StoreFolder,
    format_: Annotated[
        str, Parameter(name="--format", help="table, csv, json, parquet or arrow.")
    ] = "",
    out: Annotated[Path | None, Parameter(help="Write to this file (x.csv, x.parquet).")] = None,
) -> int:
    """Ask a store in SQL: trades, quotes, books, gaps, ohlcv('1 minute'), spread('1 second')."""
    from crossfeed.cli.query import run_query

    return run_query(sql, store, format_, out)


@app.command
def export(
    kind: Annotated[
        str,
        Parameter(
            help="trades, agg_trades, quotes, tickers, candles, books, gaps, status or hftbacktest."
        ),
    ],
    symbol: Annotated[str, Parameter(help="BTC/USDT (all venues), or a venue's BTCUSDT.")] = "",
    *,
    store: StoreFolder,
    out: Annotated[Path, Parameter(help="x.csv, x.json, x.parquet, x.arrow; x.npz (hftbacktest).")],
    venue: Annotated[str, Parameter(help="Only this venue.")] = "",
    start: Annotated[
        str, Parameter(name="--from", help="Begin here: 2026-11-22, 2026-11-22T10:00:00Z.")
    ] = "",
    end: Annotated[str, Parameter(name="--to", help="End before this.")] = "",
    format_: Annotated[str, Parameter(name="--format", help="csv, json, parquet or arrow.")] = "",
) -> int:
    """Write stored rows to a file, in the order of time. The file appears when it is complete.

    hftbacktest gets trades and book changes of one market as its own npz.
    """
    from crossfeed.cli.exporting import ExportOptions, run_export

    options = ExportOptions(
        kind=kind, store=store, out=out, symbol=symbol, venue=venue, start=start, end=end,
        form=format_,
    )  # fmt: skip
    return run_export(options)


Pid = Annotated[int, Parameter(help="Process id of the feed, where several run.")]


@app.command
def gaps(*, venue: str = "", pid: Pid = 0, is_json: Json = False) -> int:
    """Print the gap ledger of a feed that runs on this machine."""
    from crossfeed.cli.control import run_gaps

    return run(run_gaps(pid, venue, is_json=is_json))


@app.command
def resync(venue: str, symbol: str, *, pid: Pid = 0) -> int:
    """Let a feed that runs on this machine rebuild one book."""
    from crossfeed.cli.control import run_resync

    return run(run_resync(venue, symbol, pid))


@app.command
def bench(
    *scenarios: str,
    rounds: Annotated[int, Parameter(help="Interleaved rounds; 0: 3, or 5 with --full.")] = 0,
    share: Annotated[
        float, Parameter(help="Share of each scenario's messages; 0: by itself.")
    ] = 0.0,
    full: Annotated[
        bool,
        Parameter(negative="", help="All scenarios: venues, TLS, latency, growth (25 min)."),
    ] = False,
    minutes: Annotated[float, Parameter(help="Begin no run after that; 0: no limit.")] = 0.0,
    peers: Annotated[
        str, Parameter(help="Interpreter that has other people's clients; needs a checkout.")
    ] = "",
    raw: Annotated[str, Parameter(help="Write each run's figures to this file.")] = "",
    source: Annotated[
        str, Parameter(name="--from", help="Show such a file instead of measuring.")
    ] = "",
    output: Annotated[
        str, Parameter(help="Write the tables to this Markdown file, a plot beside it.")
    ] = "",
) -> int:
    """Measure the whole path over loopback beside floors: CPU a message, latency, memory."""
    from crossfeed.cli.bench import BenchOptions, run_bench

    return run_bench(
        BenchOptions(
            names=scenarios,
            rounds=rounds,
            share=share,
            is_full=full,
            minutes=minutes,
            peers=peers,
            raw=raw,
            source=source,
            output=output,
        )
    )


@app.command
def doctor(
    *,
    offline: Annotated[
        bool, Parameter(negative="", help="Leave out what needs the network.")
    ] = False,
    is_json: Json = False,
) -> int:
    """Say what this installation can do, what is degraded, and why."""
    from crossfeed.cli.doctor import run_doctor

    return run(run_doctor(is_offline=offline, is_json=is_json))


@config_app.command
def show(
    file: Annotated[
        Path | None, Parameter(name="--file", help="Configuration file (TOML).")
    ] = None,
) -> int:
    """Print every setting with its origin, secrets masked."""
    from crossfeed.cli.config import show_config

    return show_config(file)


@config_app.command
def check(
    file: Annotated[Path, Parameter(name="--file", help="Configuration file (TOML).")],
) -> int:
    """Check a configuration file; name each mistake with its path."""
    from crossfeed.cli.config import check_config

    return check_config(file)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
