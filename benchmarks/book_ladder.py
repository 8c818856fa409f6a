"""What does a book cost an update? Float keys against integer units, and the whole synchronisation.

    python benchmarks/book_ladder.py [recording]

`recording` is a recorded Binance depth session (lines of receive time and message, gzip); without
one a session of 23-level messages is made from a seed. Prints microseconds per message, the best of
many rounds (other work on the machine only makes a round slower).
"""

import gzip
import json
import random
import sys
import time
from bisect import bisect_left, insort
from pathlib import Path

from crossfeed.books.ladder import Ladder
from crossfeed.books.sync import BookSync
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.events import BookDelta, BookSnapshot, Level
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.testing.events import delta, snapshot
from crossfeed.venues.binance.sequencing import SPOT_BOOK

ROUNDS = 15
MESSAGES = 2_000
LEVELS = 23
PRICE_POWER, SIZE_POWER = 10.0**2, 10.0**8


def recorded(path: Path) -> tuple[BookSnapshot, list[BookDelta]]:
    """Read a recorded session."""
    image, deltas = None, []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        message = json.loads(line.partition(" ")[2])
        data = message.get("data", message)
        if "lastUpdateId" in data:
            image = snapshot(data["lastUpdateId"], pairs(data["bids"]), pairs(data["asks"]))
        elif data.get("e") == "depthUpdate":
            deltas.append(delta(data["U"], data["u"], pairs(data["b"]), pairs(data["a"])))
    assert image is not None, "the recording holds no REST image"
    return image, [each for each in deltas if each.last > image.sequence]


def pairs(rows: list[list[str]]) -> list[Level]:
    """Turn texts into floats, as a codec does."""
    return [(float(price), float(size)) for price, size in rows]


def made() -> tuple[BookSnapshot, list[BookDelta]]:
    """Make a session: changes fall off exponentially with the distance from the top."""
    rng = random.Random(5)
    bids = [(60_000 - i / 100, 1.0) for i in range(1, 1_001)]
    asks = [(60_000 + i / 100, 1.0) for i in range(1, 1_001)]
    deltas = []
    for number in range(1, MESSAGES + 1):
        sides: list[list[Level]] = [[], []]
        for _ in range(LEVELS):
            side = rng.randrange(2)
            ticks = 1 + int(rng.expovariate(1 / 150))
            price = round(60_000 + (ticks if side else -ticks) / 100, 2)
            sides[side].append((price, rng.choice([0.0, round(rng.random() * 5, 8)])))
        deltas.append(delta(number, number, *sides))
    return snapshot(0, bids, asks), deltas


class IntegerLadder:
    """The same ladder with every level turned into integer units first."""

    def __init__(self) -> None:
        """Start empty."""
        self.prices: list[list[int]] = [[], []]
        self.sizes: list[dict[int, int]] = [{}, {}]

    def apply(self, bids: list[Level], asks: list[Level]) -> None:
        """Set levels."""
        for side, levels in enumerate((bids, asks)):
            prices, sizes, sign = self.prices[side], self.sizes[side], (1, -1)[side]
            for price, size in levels:
                units = int(price * PRICE_POWER + 0.5)
                assert units / PRICE_POWER == price
                if size:
                    size_units = int(size * SIZE_POWER + 0.5)
                    assert size_units / SIZE_POWER == size
                    if units not in sizes:
                        insort(prices, sign * units)
                    sizes[units] = size_units
                elif units in sizes:
                    del sizes[units]
                    del prices[bisect_left(prices, sign * units)]


def floats(image: BookSnapshot, deltas: list[BookDelta]) -> int:
    """Time the ladder; return ns."""
    ladder = Ladder(2, 8)
    ladder.load(image.bids, image.asks)
    start_ns = time.perf_counter_ns()
    for each in deltas:
        ladder.apply(each.bids, each.asks)
        ladder.best()
    return time.perf_counter_ns() - start_ns


def integers(image: BookSnapshot, deltas: list[BookDelta]) -> int:
    """Time the integer ladder; return ns."""
    ladder = IntegerLadder()
    ladder.apply(image.bids, image.asks)
    start_ns = time.perf_counter_ns()
    for each in deltas:
        ladder.apply(each.bids, each.asks)
    return time.perf_counter_ns() - start_ns


def whole(image: BookSnapshot, deltas: list[BookDelta]) -> int:
    """Time the synchronised book: rule, ladder, top, quote; return ns."""
    trust = StreamTrust(Stream("binance", "book", "BTCUSDT"), GapLedger())
    sync, out = BookSync(trust, SPOT_BOOK, price_scale=2), Output()
    sync.on_subscribed(0, 0, out)
    sync.on_snapshot(image, 1, out)
    start_ns = time.perf_counter_ns()
    for each in deltas:
        sync.admit(each, Output())
    elapsed_ns = time.perf_counter_ns() - start_ns
    assert sync.stats().applied == len(deltas), sync.stats()
    return elapsed_ns


def main() -> None:
    """Print one row for each way."""
    image, deltas = recorded(Path(sys.argv[1])) if len(sys.argv) > 1 else made()
    levels = sum(len(each.bids) + len(each.asks) for each in deltas) / len(deltas)
    print(f"{len(deltas)} messages of {levels:.1f} levels on average")
    for name, way in (("float keys", floats), ("integer keys", integers), ("BookSync", whole)):
        best_ns = min(way(image, deltas) for _ in range(ROUNDS))
        print(f"{name:14}{best_ns / len(deltas) / 1e3:8.2f} us a message")


if __name__ == "__main__":
    main()
