"""Drive mutated inputs through every decoder: only documented errors, only valid values, no hang.

    python tools/fuzz.py [--inputs 1000000] [--target NAME ...] [--seed 1] [--jobs 2] [--seconds 0]

Targets: each venue's `receive` and `receive_rest`, its frames through gates and books (`core`), the
WebSocket frame rules, the configuration file. The seeds are what the simulated venues send. A
failing input is written to tests/fuzz/inputs, where the tests find and repeat it. Prints inputs,
rejections, those above 1 ms and the slowest; exits with 1 on a failure or a p99.9 above 1 ms.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import math
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct

from crossfeed.errors import ConfigError, DecodeError, ProtocolViolationError, VenueError
from crossfeed.integrity.gaps import GapLedger
from crossfeed.model.commands import Backfill, FetchSnapshot, RestRequest, Want
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.runtime.config import load_config
from crossfeed.runtime.native_core import make_core
from crossfeed.runtime.pipeline import PureCore
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.streams import StreamSet
from crossfeed.testing.virtual import VENUES, VirtualWorld
from crossfeed.transport.framing import FrameRules
from crossfeed.venues.base import Codec, CodecOptions
from crossfeed.venues.registry import find_venue
from crossfeed.venues.symbols import SymbolTable

INPUTS = Path(__file__).resolve().parent.parent / "tests" / "fuzz" / "inputs"
SLOW_NS = 1_000_000
CONFIG_SLOW_NS = (
    20_000_000  # read once at start, by a parser in Python: no promise to the millisecond
)
HANG_S = 20.0
BODY_BYTES_MAX = 12_000
RENEW_EVERY = 20_000
RENEW_CORE_EVERY = 300
WALL_NS = 1_782_000_000_000_000_000
LOOK_EVERY = 16
OK = 200
TARGETS = (
    *(f"{venue}.receive" for venue in VENUES),
    *(f"{venue}.receive_rest" for venue in VENUES),
    *(f"{venue}.core" for venue in VENUES),
    "websocket.frames",
    "config.file",
)
KINDS = ("trade", "book", "book_ticker", "ticker", "heartbeat")
TOKENS = (
    b"NaN", b"nan", b"Infinity", b"-inf", b"1e999", b"1e999999", b"-1", b"0", b"-0.0", b"0.0",
    b"1e-400", b'""', b"null", b"true", b"false", b"[]", b"{}", b'"x"', b'" 1"', b'"1_0"',
    b'"0x10"', b'"\xef\xbc\x91"', b"9007199254740993", b"18446744073709551617", b"9" * 50,
    b'"' + b"9" * 45 + b'"', b"1.7976931348623157e308", b"5e-324", b'"\\ud800"', b'"\\u0000"',
    b"\xff", b"\xef\xbb\xbf", b"\x00", b",", b":", b"{", b"}", b"[", b"]", b'"', b"\\", b" ",
    b'"<script>alert(1)</script>"', b'"../../x"', b"1" + b"0" * 400,
)  # fmt: skip
MONSTERS = (
    b"[" * 200_000,
    b'{"a":' * 50_000,
    b'{"e":"trade","p":"' + b"9" * 1_000_000 + b'"}',
    b'"' + b"a" * 1_000_000,
    b"{" + b",".join(b'"k%d":0' % number for number in range(100_000)) + b"}",
    b'{"b":[' + b",".join(b'["1","1"]' for _ in range(50_000)) + b"]}",
)
NUMBER = re.compile(rb'"?-?\d[\d.eE+-]*"?')

Context = tuple[RestRequest, int]
"""For REST bodies: the request they answer, and the status."""
Sample = tuple[bytes, Context | None]
Drive = Callable[[bytes, Context | None], "list[Any] | None"]
"""Drives one input; returns what was accepted, None if it was refused by a documented error."""


class Failure(Struct, frozen=True):
    """An input that did what it must not."""

    target: str
    what: str
    path: str


class Outcome(Struct):
    """What one target did."""

    target: str
    inputs: int = 0
    rejected: int = 0
    slow: int = 0
    slowest_ns: int = 0
    seconds: float = 0.0
    failures: list[Failure] = []


class HangError(Exception):
    """One input took longer than any input may."""


# ── seeds ───────────────────────────────────────────────────────────────────


@functools.cache
def record(venue: str) -> tuple[list[bytes], list[tuple[RestRequest, int, bytes]], list[Want]]:
    """Let a simulated venue talk; return its frames, its REST answers, and what was subscribed."""
    frames: list[bytes] = []
    answers: list[tuple[RestRequest, int, bytes]] = []
    venues = tuple(dict.fromkeys((venue, "coinbase"))) if venue.startswith("coin") else (venue,)
    world = VirtualWorld(venues, seed=1, rate_per_s=20, faults="default", orders_wanted=30)
    channels = {channel.kind for channel in find_venue(venue).profile.channels}
    channels -= {
        channel.kind for channel in find_venue(venue).profile.channels if channel.needs_key
    }
    candles = "kline_5m" if venue == "coinbase_advanced" else "kline_1m"
    kinds = [kind for kind in (*KINDS, candles) if {kind, kind.partition("_")[0]} & channels]
    requests = [(kind, name) for kind in kinds for name in ("BTC/USD", "ETH/USD")]
    feed = world.feed(venue, [*requests, ("book_ticker", "BTC/USD")])
    core = feed.lines[0].core
    take, take_rest = core.feed, core.feed_rest

    def tap(frame: bytes, wall_ns: int, mono_ns: int) -> Output:
        frames.append(bytes(frame))
        return take(frame, wall_ns, mono_ns)

    def tap_rest(  # type: ignore[no-untyped-def]
        request: RestRequest,
        status: int,
        body: bytes,
        *rest,  # noqa: ANN002
        **named,  # noqa: ANN003
    ) -> RestRequest | None:
        answers.append((request, status, body))
        return take_rest(request, status, body, *rest, **named)

    core.feed, core.feed_rest = tap, tap_rest  # type: ignore[method-assign,assignment]
    world.run(40)
    asked = [core.codec.poll_request(want) for want in feed.lines[0].wants]
    asked += [core.codec.snapshot_request(symbol, 1, 0) for symbol in feed.symbols()]
    for symbol in feed.symbols():
        newest = max(world.truth(venue, symbol).epochs[-1])
        stream = Stream(feed.venue.profile.exchange, "trade", symbol)
        asked.append(core.codec.backfill_request(Backfill(stream, newest - 8, newest, 1)))
    for request in (find_venue(venue).instruments_request(), *asked):
        if request is not None:
            answer = feed.serve(request)
            answers.append((request, answer.status, answer.body))
    shapes: dict[tuple[bytes, int], bytes] = {}
    for frame in frames:  # one of each shape and length class, so that rare ones count
        key = re.sub(rb"[^a-z_]+", b"", frame)[:60], len(frame) // 200
        shapes.setdefault(key, frame)
    samples = INPUTS.parent.parent.parent / "src" / "crossfeed" / "venues" / venue / "samples"
    for path in sorted(samples.glob("stream.jsonl")):
        shapes.update({(line, 0): line for line in path.read_bytes().splitlines() if line})
    small = [frame for frame in shapes.values() if len(frame) < 4_000]
    return small, answers[-80:], list(feed.lines[0].wants)


# ── mutation ────────────────────────────────────────────────────────────────


class Mutator:
    """Makes endless variants of seeds; the same seed makes the same ones."""

    def __init__(self, seeds: list[Sample], seed: int) -> None:
        """Vary `seeds`."""
        self.random = Random(seed)
        self._seeds = seeds
        self._moves = (
            self._flip, self._cut, self._repeat, self._insert, self._number, self._number,
            self._number, self._number, self._number, self._truncate, self._splice,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Sample]:
        """Yield variants for ever."""
        random, moves = self.random, self._moves
        while True:
            chosen = random.random()
            data, context = random.choice(self._seeds)
            if chosen < 0.00002:
                yield random.choice(MONSTERS), context
                continue
            for _ in range(1 if chosen < 0.6 else random.randint(1, 4)):
                data = random.choice(moves)(data)
            yield data, context

    def _at(self, data: bytes) -> int:
        return int(self.random.random() * (len(data) + 1))

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self._at(data[:-1])
        return data[:at] + bytes([data[at] ^ (1 << self.random.randrange(8))]) + data[at + 1 :]

    def _cut(self, data: bytes) -> bytes:
        at = self._at(data)
        return data[:at] + data[at + self.random.randint(1, 40) :]

    def _repeat(self, data: bytes) -> bytes:
        at = self._at(data)
        piece = data[at : at + self.random.randint(1, 60)]
        return data[:at] + piece * self.random.randint(2, 4) + data[at:]

    def _insert(self, data: bytes) -> bytes:
        at = self._at(data)
        return data[:at] + self.random.choice(TOKENS) + data[at:]

    def _number(self, data: bytes) -> bytes:
        start = self._at(data)
        found = NUMBER.search(data, start) or NUMBER.search(data)
        if found is None:
            return self._insert(data)
        return data[: found.start()] + self.random.choice(TOKENS) + data[found.end() :]

    def _truncate(self, data: bytes) -> bytes:
        return data[: self._at(data)]

    def _splice(self, data: bytes) -> bytes:
        other = self.random.choice(self._seeds)[0]
        return data[: self._at(data)] + other[self._at(other) :]


# ── targets ─────────────────────────────────────────────────────────────────


def _is_bad(value: float | None, *, may_be_zero: bool) -> bool:
    return value is not None and not (
        math.isfinite(value) and (value >= 0 if may_be_zero else value > 0)
    )


def check_events(events: Iterable[Any], *, is_close_look: bool) -> None:
    """Only valid values leave a parser (I6); and what is read of the frame later does not fail."""
    for event in events:
        kind = event.data_type
        for name in ("price", "bid_price", "ask_price", "high", "low", "best_bid", "best_ask"):
            if _is_bad(getattr(event, name, None), may_be_zero=kind == "ticker"):
                raise AssertionError(f"{kind}.{name} is {getattr(event, name)!r}")
        for name in ("quantity", "bid_quantity", "ask_quantity", "volume", "size"):
            if _is_bad(getattr(event, name, None), may_be_zero=kind not in ("trade", "agg_trade")):
                raise AssertionError(f"{kind}.{name} is {getattr(event, name)!r}")
        for side in ("bids", "asks"):
            for price, size in getattr(event, side, ()):
                if _is_bad(price, may_be_zero=False) or _is_bad(size, may_be_zero=True):
                    raise AssertionError(f"{kind}.{side} has {(price, size)!r}")
        if is_close_look:
            _ = event.data, event.raw_message, event.exact, event.timestamp


def drive_codec(venue: str, wants: list[Want], *, is_rest: bool) -> Drive:
    """Return what feeds a codec, made anew now and then."""
    instance = find_venue(venue)
    count = 0
    codec: Codec | None = None
    out = Output()

    def drive(data: bytes, context: Context | None) -> list[Any] | None:
        nonlocal codec, count
        if codec is None or count % RENEW_EVERY == 0:
            codec = instance.make_codec(SymbolTable(venue, instance.builtin()), CodecOptions())
            codec.subscribe(wants, 1)
        count += 1
        out.events.clear()
        out.commands.clear()
        try:
            if not is_rest:
                codec.receive(data, WALL_NS, 1_000, out)
            elif context is None:
                raise AssertionError("a body answers a request")
            elif context[0].purpose == "instruments":
                instance.parse_instruments(context[1], data)
            else:
                codec.receive_rest(context[0], context[1], data, 1, 1, out)
        except (DecodeError, VenueError) as error:
            if not is_rest and isinstance(error, VenueError):
                raise AssertionError("receive raises DecodeError only") from error
            if out.events:
                raise AssertionError("events left behind by a refused input") from error
            return None
        return out.events

    return drive


def drive_core(venue: str, symbols: list[str], images: dict[str, bytes]) -> Drive:
    """Return what feeds gates and books, made anew now and then: nothing at all may be raised."""
    instance = find_venue(venue)
    channels = {channel.kind for channel in instance.profile.channels if not channel.needs_key}
    kinds = [kind for kind in KINDS if kind in channels]
    count = 0

    def make() -> tuple[PureCore, StreamSet]:
        table, options = SymbolTable(venue, instance.builtin()), CodecOptions()
        streams = StreamSet(instance, GapLedger(), FeedSettings())
        made = make_core(instance.make_codec(table, options), streams, "line")
        asked = [(instance.want(kind, name, options), kind) for name in symbols for kind in kinds]
        for want, kind in asked:
            streams.open(want, kind, table.get(want.symbol))
        wants = list(dict.fromkeys(want for want, _ in asked))
        streams.line_up("line", wants, WALL_NS, 0, Output())
        made.codec.subscribe(wants, WALL_NS)
        return made, streams

    core, streams = make()

    def drive(data: bytes, context: Context | None) -> list[Any] | None:
        nonlocal core, count, streams
        del context
        count += 1
        if count % RENEW_CORE_EVERY == 0:
            core, streams = make()
        mono_ns = count * 20_000_000
        refused = streams.counters.invalid
        out = core.feed(data, WALL_NS + mono_ns, mono_ns)
        streams.on_timer(WALL_NS + mono_ns, mono_ns, out)
        for wanted in [c for c in out.commands if isinstance(c, FetchSnapshot)]:
            request = core.codec.snapshot_request(wanted.symbol, wanted.epoch, wanted.attempt)
            if request is not None and wanted.symbol in images:
                body = images[wanted.symbol]
                core.feed_rest(request, OK, body, WALL_NS + mono_ns, mono_ns, out)
        return None if streams.counters.invalid > refused else out.events

    return drive


def drive_frames(data: bytes, context: Context | None) -> list[Any] | None:
    """Read bytes as a run of frames."""
    del context
    rules = FrameRules(bytes_max=4_096, fragments_max=64)
    place = 0
    try:
        while place < len(data):
            head, place = data[place], place + 1
            length = data[place] if place < len(data) else 0
            payload, place = data[place + 1 : place + 1 + length], place + 1 + length
            rules.receive(
                head & 0x0F,
                payload,
                is_final=bool(head & 0x80),
                rsv=head >> 4 & 7 if length & 1 else 0,
            )
    except ProtocolViolationError:
        return None
    return []


def drive_config(folder: Path) -> Drive:
    """Return what reads bytes as a configuration file."""
    path = folder / "crossfeed.toml"

    def drive(data: bytes, context: Context | None) -> list[Any] | None:
        del context
        path.write_bytes(data)
        try:
            load_config(path, {})
        except ConfigError:
            return None
        return []

    return drive


CONFIG_SEEDS = (
    b'[aggregator]\nexchanges = ["binance"]\nsymbols = ["BTC/USD"]\nupdate_interval = 0.1\n',
    b'[venues.kraken]\nlines = 2\nbackfill = "hold"\nkeep_raw = false\n',
    b'metrics_port = 9100\n[venues.binance]\nws_url = "ws://127.0.0.1:1"\nstrict = true\n',
    b"[aggregator]\nbuffer_size = 10\nquote_basis = { USDT = 1.0 }\n",
    b"venues = 5\naggregator = 3\n",
    b"[venues]\nkraken = 1\n",
    b'[aggregator.symbols."BTC/USD"]\nbinance = "BTCUSDT"\n',
    b'[venues.coinbase]\napi_key = "a"\napi_secret = "b"\nparameters = { x = "y" }\n',
)


def target_of(name: str, folder: Path) -> tuple[list[Sample], Drive]:
    """Return the seeds and the driver of one target."""
    if name == "websocket.frames":
        seeds: list[Sample] = [
            (bytes([0x81, 5]) + b"hello", None),
            (bytes([0x01, 3]) + b"hel" + bytes([0x80, 2]) + b"lo", None),
            (bytes([0x89, 2]) + b"hi" + bytes([0x8A, 0]) + bytes([0x88, 2]) + b"\x03\xe8", None),
            (bytes([0x88, 9]) + b"\x03\xf3too much", None),
            (bytes([0x82, 4]) + b"\xff\xfe\x00\x01", None),
        ]
        return seeds, drive_frames
    if name == "config.file":
        return [(seed, None) for seed in CONFIG_SEEDS], drive_config(folder)
    venue, _, kind = name.partition(".")
    frames, answers, wants = record(venue)
    if kind == "core":
        images = {a[0].symbol: a[2] for a in answers if a[0].purpose == "snapshot" and a[1] == OK}
        symbols = sorted({want.symbol for want in wants if want.symbol})
        return [(frame, None) for frame in frames], drive_core(venue, symbols, images)
    if kind == "receive":
        return [(frame, None) for frame in frames], drive_codec(venue, wants, is_rest=False)
    rest: list[Sample] = [
        (body, (request, status)) for request, status, body in answers if len(body) < BODY_BYTES_MAX
    ]
    return rest, drive_codec(venue, wants, is_rest=True)


def context_of(name: str, folder: Path) -> tuple[Drive, list[Any]]:
    """Return a driver and the contexts a stored input may have been driven with."""
    seeds, drive = target_of(name, folder)
    contexts: dict[str, Any] = {repr(context): context for _, context in seeds}
    return drive, list(contexts.values())


# ── runs ────────────────────────────────────────────────────────────────────


def _alarm(number: int, frame: object) -> None:
    del number, frame
    raise HangError(f"still busy after {HANG_S:g} s")


def run_target(name: str, inputs: int, seed: int, seconds: float = 0.0) -> Outcome:
    """Drive one target; keep at most ten failures, one of each kind."""
    outcome = Outcome(name)
    seen: Counter[str] = Counter()
    began = time.perf_counter()
    slow_ns = CONFIG_SLOW_NS if name == "config.file" else SLOW_NS
    with tempfile.TemporaryDirectory() as folder:
        seeds, drive = target_of(name, Path(folder))
        variants = iter(Mutator(seeds, seed))
        signal.signal(signal.SIGALRM, _alarm)
        clock = time.thread_time_ns  # what others do to the machine is no property of ours
        for number in range(inputs):
            if not number & 255:
                signal.setitimer(signal.ITIMER_REAL, HANG_S)
                if seconds and time.perf_counter() - began > seconds:
                    break
            data, context = next(variants)
            start = took = clock()
            try:
                found = drive(data, context)
                took = clock()
                outcome.rejected += found is None
                check_events(found or (), is_close_look=number % LOOK_EVERY == 0)
            except Exception as error:  # noqa: BLE001 - whatever is not documented is what we look for
                kind = f"{type(error).__name__}: {str(error)[:60]}"
                seen[kind] += 1
                if seen[kind] == 1 and len(seen) <= 10:
                    outcome.failures.append(_keep(name, kind, data))
            took -= start
            outcome.inputs += 1
            if took > slow_ns:
                outcome.slow += 1
            outcome.slowest_ns = max(outcome.slowest_ns, took)
        signal.setitimer(signal.ITIMER_REAL, 0)
    outcome.seconds = time.perf_counter() - began
    return outcome


def _keep(name: str, what: str, data: bytes) -> Failure:
    INPUTS.mkdir(parents=True, exist_ok=True)
    path = INPUTS / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    path.write_bytes(data)
    return Failure(name, what, path.name)


def _count(name: str, inputs: int) -> int:
    """Return the inputs of a target: a tenth for a file that is read once at start."""
    return inputs // 10 if name == "config.file" else inputs


def main() -> int:
    """Run all targets in processes of their own; print a table; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000, help="inputs per target")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.0, help="at most this long per target")
    asked = parser.parse_args()
    failed = False
    print(f"{'target':32}{'inputs':>10}{'rejected':>10}{'> 1 ms':>9}{'slowest':>11}{'s':>7}")
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        runs = [
            pool.submit(run_target, name, _count(name, asked.inputs), asked.seed, asked.seconds)
            for name in asked.target or TARGETS
        ]
        for run in runs:
            one = run.result()
            is_slow = one.slow > one.inputs / 1_000
            failed |= bool(one.failures) or is_slow
            print(
                f"{one.target:32}{one.inputs:>10,}{one.rejected:>10,}{one.slow:>9,}"
                f"{one.slowest_ns / 1e6:>8.1f} ms{one.seconds:>7.0f}"
                + ("  p99.9 ABOVE 1 ms" if is_slow else ""),
                flush=True,
            )
            for failure in one.failures:
                print(f"    {failure.what}\n        tests/fuzz/inputs/{failure.path}")
    print("FAILED" if failed else "only documented errors, only valid values, p99.9 <= 1 ms")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
