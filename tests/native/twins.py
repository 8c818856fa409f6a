"""Two sessions of one venue side by side, pure and compiled, that are told the same things."""

import math
import random
from typing import Any

import pytest
from msgspec.structs import replace

from crossfeed.books.stats import BookStats
from crossfeed.integrity.gaps import GapLedger
from crossfeed.model.commands import FetchSnapshot, RestRequest, Want
from crossfeed.model.output import Output
from crossfeed.runtime.native_core import NativeCore, make_core
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.streams import StreamSet
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.registry import find_venue
from crossfeed.venues.symbols import SymbolTable

LINES = ("one", "two")
LOST = 1
DAMAGED = range(10, 14)
START_NS = 1_790_000_000_000_000_000
MS = 1_000_000
COUNTED = ("frames", "messages", "events", "invalid", "unasked", "duplicates", "invalid_by_reason")


def spelled(value: Any) -> Any:
    """Return a value so that equality means: same types, same values, same sign of zero."""
    if isinstance(value, float):
        return (float, value, math.copysign(1.0, value))
    if isinstance(value, list | tuple):
        return (type(value), [spelled(item) for item in value])
    if hasattr(value, "__struct_fields__"):
        return (type(value), [spelled(getattr(value, name)) for name in value.__struct_fields__])
    if hasattr(value, "level_counts"):  # a live book handed on in the place of an event
        image = value.image()
        return ("book", [spelled(getattr(image, name)) for name in image.__struct_fields__])
    return (type(value), value)


class Side:
    """One session: its streams and the cores of its lines."""

    def __init__(self, venue: str, wants: list[tuple[str, str]], *, is_pure: bool) -> None:
        self.venue = find_venue(venue)
        self.is_pure = is_pure
        self.table = SymbolTable(venue, self.venue.builtin())
        with self.choice():
            self.streams = StreamSet(self.venue, GapLedger(), FeedSettings())
            self.wants = [self.open(*each) for each in wants]
            self.cores: dict[str, Any] = {}
            for name in LINES:
                codec = self.venue.make_codec(self.table, CodecOptions())
                self.cores[name] = make_core(codec, self.streams, name)
        assert isinstance(self.cores["one"], NativeCore) is not is_pure

    def choice(self) -> Any:
        """Choose the core while something is made."""
        patch = pytest.MonkeyPatch()
        if self.is_pure:
            patch.setenv("CROSSFEED_PURE", "1")
        else:
            patch.delenv("CROSSFEED_PURE", raising=False)
        return _Undone(patch)

    def open(self, kind: str, symbol: str) -> Want:
        """Open one stream."""
        want = self.venue.want(kind, symbol, CodecOptions())
        self.streams.open(want, kind, self.table.resolve(symbol, quotes=()))
        return want


class _Undone:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.patch.undo()


class Twins:
    """Both sessions, told the same, compared after each step."""

    def __init__(self, venue: str, wants: list[tuple[str, str]]) -> None:
        self.sides = [Side(venue, wants, is_pure=True), Side(venue, wants, is_pure=False)]
        self.asked = wants
        self.ts = 0
        self.last: dict[str, int] = {}
        self.open_images: list[FetchSnapshot] = []
        self.told = 0
        self.up: set[str] = set()

    @property
    def ordinary(self) -> int:
        """Return how many frames took the compiled way to its end."""
        return sum(core._step.ordinary for core in self.sides[1].cores.values())

    # ── steps ───────────────────────────────────────────────────────────────

    def tick(self, ms: float = 1.0) -> tuple[int, int]:
        """Let time pass; return (wall, monotonic)."""
        self.ts += int(ms * MS)
        return START_NS + self.ts, self.ts

    def both(self, step: Any) -> list[Any]:
        """Take one step on both sides; compare what comes out."""
        outs = []
        for side in self.sides:
            with side.choice():
                out = Output()
                result = step(side, out)
                outs.append(out if result is None else result)
        pure, native = outs
        assert [spelled(e) for e in native.events] == [spelled(e) for e in pure.events]
        assert repr(native.commands) == repr(pure.commands)
        self.told += len(pure.events)
        self.open_images += [c for c in pure.commands if isinstance(c, FetchSnapshot)]
        return pure.events

    def line_up(self, name: str) -> None:
        """Open a connection."""
        now = self.tick()

        def step(side: Side, out: Output) -> None:
            core = side.cores[name]
            core.on_open()
            core.codec.subscribe(side.wants, 0)
            side.streams.line_up(name, side.wants, *now, out)

        self.up.add(name)
        self.both(step)

    def line_down(self, name: str) -> None:
        """Lose a connection."""
        now = self.tick()
        self.up.discard(name)
        self.both(lambda side, out: side.streams.line_down(name, side.wants, "lost", *now, out))

    def frame(self, name: str, frame: bytes) -> None:
        """Take one frame."""
        now = self.tick()
        self.both(lambda side, _: side.cores[name].feed(frame, *now))

    def timer(self) -> None:
        """Let a second pass."""
        now = self.tick(1000)
        self.both(lambda side, out: side.streams.on_timer(*now, out))

    def resync(self, symbol: str) -> None:
        """Build a book anew."""
        now = self.tick()
        self.both(lambda side, out: side.streams.resync(symbol, *now, out))

    def gap(self, name: str) -> None:
        """Lose frames of a numbered connection."""
        now = self.tick()
        self.both(lambda side, out: side.streams.connection_gap(name, *now, out))

    def listen(self, *, deltas: bool, books: bool) -> None:
        """Change what subscribers want of the books."""
        self.both(lambda side, _: side.streams.set_wanted(deltas=deltas, books=books))

    def close(self, number: int) -> None:
        """Unsubscribe one stream and subscribe it again."""
        kind, symbol = self.asked[number]

        def step(side: Side, _: Output) -> None:
            side.streams.close(side.wants[number], kind)

        def again(side: Side, out: Output) -> None:
            want = side.wants[number] = side.open(kind, symbol)
            for name in sorted(self.up):
                side.streams.line_up(name, [want], *now, out)

        self.both(step)
        now = self.tick()
        self.both(again)

    def answer(self, body: bytes) -> None:
        """Answer the oldest question for an image."""
        wanted = self.open_images.pop(0)
        now = self.tick()

        def step(side: Side, out: Output) -> None:
            core = side.cores["one"]
            request = core.codec.snapshot_request(wanted.symbol, wanted.epoch, 0)
            assert isinstance(request, RestRequest)
            core.feed_rest(request, 200, body, *now, out)

        self.both(step)

    # ── all that can be read ────────────────────────────────────────────────

    def compare(self) -> None:
        """Compare what both sides say of themselves."""
        pure, native = (self.state(side) for side in self.sides)
        for name, value in pure.items():
            assert native[name] == value, (name, native[name], value)

    def state(self, side: Side) -> dict[str, Any]:
        """Return it."""
        streams = side.streams
        found: dict[str, Any] = {"stats": streams.stats(), "passed": list(streams.passed_by_kind())}
        found["counters"] = [getattr(streams.counters, name) for name in COUNTED]
        found["trusts"] = [
            (t.stream, t.current, t.cause, t.stats(self.ts)) for t in streams.trusts()
        ]
        for flow in streams.book_flows():
            book, symbol = flow.book, flow.want.symbol
            found[f"book {symbol}"] = spelled(book)
            found[f"view {symbol}"] = (book.sequence, book.ts_event_ns, book.age_ms(self.ts))
            for number, sync in enumerate(flow.syncs()):
                at = f"{symbol} {number}"
                found[f"stats {at}"] = alike(sync.stats())
                found[f"last {at}"] = (spelled(sync.last_event), spelled(sync.last_applied))
                found[f"next {at}"] = (sync.next_number, sync.next_due_ns, repr(sync))
        for number, carrier in enumerate(streams._carriers()):
            for gate in carrier.gates():
                name = f"gate {number} {type(gate).__mro__[-2].__name__}"
                found[name] = (alike(gate.stats()), spelled(gate.last_event), gate.next_due_ns)
        return found


def alike(stats: Any) -> Any:
    """Leave out what the pure ladder counts more coarsely: it keeps emptied levels for a while."""
    if isinstance(stats, BookStats):
        return replace(stats, unknown_removals=0, out_of_window=0)
    return stats


def play(
    twins: Twins,
    frames: list[bytes],
    images: Any,
    mutated: Any,
    seed: int,
    *,
    greeting: list[bytes],
    mean: int = 40,
    every: int = 50,
) -> None:
    """Tell both sides a session with faults.

    `images` makes the body of a book's image, `mutated` damages a frame, `greeting` is what a line
    is told when it comes up; `mean` is how rare each fault is (the first third has none), `every`
    after how many frames all is compared.
    """
    source = random.Random(seed)
    twins.line_up("one")
    for number, frame in enumerate(frames):
        lines = sorted(twins.up)
        choice = source.randrange(mean * 4) if number * 3 > len(frames) else -1
        if choice == LOST:
            continue
        if lines:
            befall(twins, choice, lines, frame, greeting, source)
        if choice in DAMAGED and lines:
            twins.frame(lines[0], mutated(frame, source.choice(frames), source))
        for name in sorted(twins.up, reverse=bool(source.randrange(2))):
            twins.frame(name, frame)
        if twins.open_images and source.random() < 0.3:
            body = images(twins.open_images[0].symbol, number)
            if body is None:
                twins.open_images.pop(0)
            else:
                twins.answer(body)
        if not number % every:
            twins.compare()
    twins.compare()


def befall(
    twins: Twins,
    choice: int,
    lines: list[str],
    frame: bytes,
    greeting: list[bytes],
    source: random.Random,
) -> None:
    """Let one fault happen, as `choice` says."""
    match choice:
        case 0:
            twins.frame(lines[0], frame)
        case 2:
            twins.frame(lines[0], frame[: source.randrange(len(frame))])
        case 3 if len(lines) == 1:
            twins.line_down(lines[0])
            twins.line_up(lines[0])
            for each in greeting:
                twins.frame(lines[0], each)
        case 4:
            (twins.line_down if "two" in twins.up else twins.line_up)("two")
            for each in greeting if "two" in twins.up else ():
                twins.frame("two", each)
        case 5:
            twins.timer()
        case 6:
            twins.listen(deltas=source.random() < 0.3, books=source.random() < 0.5)
        case 7:
            twins.resync(source.choice(twins.asked)[1])
        case 8:
            twins.gap(lines[0])
        case 9 if source.random() < 0.3:
            twins.close(source.randrange(len(twins.asked)))
        case _:
            pass
