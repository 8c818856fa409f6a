"""Recorded sessions rebuild to their known facts: every checksum, every top of book, every count.

`make trust` prints the table: one row for each file and symbol, expected and got. The parsers here
are as small as can be and share no code with the venues' codecs.
"""

import gzip
import json
import re
from collections import Counter
from decimal import Decimal

import pytest

from crossfeed.books.l3 import L3Sync
from crossfeed.books.rebuild import BookLimits
from crossfeed.books.sync import BookSync
from crossfeed.integrity.continuity import ConnectionCounter, IdGate
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import FetchSnapshot, Resubscribe
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Mark, Side, Trust
from crossfeed.testing.events import delta, heartbeat, order, snapshot, trade
from crossfeed.venues.binance.sequencing import FUTURES_BOOK, SPOT_BOOK
from crossfeed.venues.coinbase.sequencing import LEVEL2_RULE
from crossfeed.venues.kraken.sequencing import KrakenBookRule

pytestmark = [pytest.mark.trust, pytest.mark.timeout(120)]

PLAIN_LINE = re.compile(r"^(\d+\.\d+): (.*)$")
REST_LINE = re.compile(r"^(https?://\S+) -> (\d+\.\d+): (.*)$")
FILES = {
    "binance_spot/btcusdt_20240808.hft.gz": "spot",
    "binance_spot/btc_eth_20260707.ndjson.gz": "spot",
    "binance_spot/four_pairs_20211012.cf3.jsonl.gz": "spot",
    "binance_spot/us_four_pairs_20211012.cf3.jsonl.gz": "spot",
    "binance_spot/btc_eth_dot_20210404.cf2.txt.gz": "spot",
    "binance_spot/btcusdt_small_deltas.jsonl": "spot",
    "binance_usdm/btcusdt_20240808.hft.gz": "futures",
    "binance_usdm/four_pairs_20210722.cf3.jsonl.gz": "futures",
    "binance_coinm/ethusd_perp_20240808.hft.gz": "futures",
    "coinbase_exchange/btc_eth_20260707.ndjson.gz": "coinbase",
    "coinbase_exchange/six_products_20210417.cf2.txt.gz": "coinbase",
    "coinbase_exchange/full_20170625.jsonl": "full",
    "coinbase_advanced/btc_eth_20260809.cf3.jsonl.gz": "advanced",
    "kraken_v2/btc_eth_d10_20260707.ndjson.gz": "kraken",
    "kraken_v2/btc_d10_resubscribes_20260801.cbcap.gz": "kraken",
    "kraken_v2/btc_d25_20260802.cbcap.gz": "kraken",
    "kraken_v1/ten_pairs_20210417.cf3.jsonl.gz": "kraken_v1",
}


# ── reading the containers ──────────────────────────────────────────────────


def records(path):
    """Yield (kind, text) of a recording in the order of receipt: "ws", or a REST address."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    name = path.name
    if ".cbcap" in name:
        yield from cbcap(data)
        return
    lines = data.decode().splitlines()
    if ".hft" in name:
        yield from (("ws", line.partition(" ")[2]) for line in lines)
    elif ".cf3" in name:
        parsed = [json.loads(line) for line in lines]
        received = [item for item in parsed if item["t"] in {"http", "recv"}]
        for item in sorted(received, key=lambda item: item["ts"]):
            yield (item["url"] if item["t"] == "http" else "ws"), item["data"]
    elif ".cf2" in name:
        for line in lines:
            if found := PLAIN_LINE.match(line):
                yield "ws", found[2]
            elif found := REST_LINE.match(line):
                yield found[1], found[3]
    else:
        yield from (("ws", line) for line in lines if line.startswith(("{", "[")))


def cbcap(data):
    """Yield the messages of a cbcap container."""
    at = data.index(b"\n") + 1
    while at < len(data):
        end = data.index(b"\n", at)
        length = int(data[at:end].split()[1])
        yield "ws", data[end + 1 : end + 1 + length].decode()
        at = end + 2 + length


def levels(rows):
    """Turn [price, size, ...] texts into float pairs, as a codec does."""
    return [(float(row[0]), float(row[1])) for row in rows]


def exact_levels(rows):
    """Turn [price, size, ...] texts into the venue's own decimals."""
    return [(Decimal(row[0]), Decimal(row[1])) for row in rows]


# ── one book, as the pipeline would wire it ─────────────────────────────────


class Book:
    """A book with its trust, its trades' gate and what they told."""

    def __init__(self, venue, symbol, rule, **options):
        self.venue, self.symbol = venue, symbol
        self.ledger = GapLedger()
        self.texts = ([], [])
        self.sync = BookSync(
            StreamTrust(Stream(venue, "book", symbol), self.ledger),
            rule,
            exact_reader=lambda _: self.texts,
            **options,
        )
        self.trades = IdGate(StreamTrust(Stream(venue, "trade", symbol), self.ledger))
        self.out = Output()
        self.counts = Counter()

    def feed(self, event):
        """Admit one event; count what came of it."""
        self.out.events.clear()
        gate = self.trades if event.data_type == "trade" else self.sync
        gate.admit(event, self.out)
        self.note()

    def note(self):
        """Count the quotes that say the book is crossed, and the states that are not SOUND."""
        self.counts["told_unsound"] += sum(
            event.data_type == "feed_status" and event.current is Trust.UNSOUND
            for event in self.out.events
        )

    def final(self):
        """Return the end of the book as expected.json writes it, numbers as decimals."""
        bids, asks = self.sync.book.depth_exact(1)
        bid_levels, ask_levels = self.sync.book.level_counts
        return [*(bids[0] if bids else ()), *(asks[0] if asks else ()), bid_levels, ask_levels]


def known_final(facts):
    """Return the known end of a book in the same form."""
    final = facts["final"]
    best = [Decimal(text) for side in ("best_bid", "best_ask") for text in final[side]]
    return [*best, final["bid_levels"], final["ask_levels"]]


# ── the venues' formats ─────────────────────────────────────────────────────


def binance(path, rule, facts, window_levels=0):
    """Rebuild Binance books; compare every top with bookTicker."""
    limits = BookLimits(window_levels=window_levels, buffer_max=10_000)
    books = {symbol: Book("binance", symbol, rule, limits=limits) for symbol in facts["symbols"]}
    tickers, tops = {symbol: [] for symbol in books}, {symbol: {} for symbol in books}
    first = next(iter(books))
    beside = path.with_name(path.name.replace("deltas.jsonl", "snapshot.json"))
    images = [("snapshot", beside.read_text())] if beside != path else []
    for kind, text in [*records(path), *images]:
        message = json.loads(text)
        data = message.get("data", message)
        symbol = data.get("s") or next((s for s in books if f"symbol={s}" in kind), first)
        if symbol not in books:
            continue
        book = books[symbol]
        if "lastUpdateId" in data:
            bids, asks = levels(data["bids"]), levels(data["asks"])
            image = snapshot(data["lastUpdateId"], bids, asks, event_ms=-1, symbol=symbol)
            epoch = book.sync.stats().epoch
            if not epoch:  # recorded before the first change
                book.sync.on_subscribed(0, 0, book.out)
                epoch = 1
            book.sync.on_snapshot(image, epoch, book.out)
        elif data.get("e") == "depthUpdate":
            fields = {"previous": data.get("pu", 0), "symbol": symbol, "event_ms": -1}
            book.feed(delta(data["U"], data["u"], levels(data["b"]), levels(data["a"]), **fields))
        elif "u" in data:
            tickers[symbol].append(
                (data["u"], levels([[data["b"], data["B"]], [data["a"], data["A"]]]))
            )
        elif data.get("e") in {"trade", "aggTrade"}:
            number = data["t"] if data["e"] == "trade" else data["a"]
            book.feed(trade(number, symbol=symbol))
        if book.sync.last_applied is not None and book.sync.last_applied.data_type == "depth":
            tops[symbol][book.sync.sequence] = book.sync.ladder.best()
    for symbol, book in books.items():
        known = facts["symbols"][symbol]
        newest = max((number for number, _ in tickers[symbol]), default=0)
        known_tops = {u: top for u, top in tops[symbol].items() if u < newest}
        book.counts["compared"], book.counts["equal"] = compared(tickers[symbol], known_tops)
        yield symbol, book, binance_rows(book, known)


def compared(tickers, tops):
    """Compare the top at each number with the last ticker up to it: (compared, equal)."""
    tickers = sorted(tickers, key=lambda item: item[0])
    count = equal = at = 0
    last = None
    for sequence, top in sorted(tops.items()):
        while at < len(tickers) and tickers[at][0] <= sequence:
            last = tickers[at][1]
            at += 1
        if last is not None and top is not None:
            count += 1
            equal += top == (*last[0], *last[1])
    return count, equal


def binance_rows(book, known):
    """Return (fact, expected, got) of one Binance book."""
    gaps = Counter(record.stream.channel for record in book.ledger.records())
    stats = book.sync.stats()
    rows = [
        ("updates", known["diffs"], stats.updates),
        ("gaps", known["sequence_gaps"], gaps["book"]),
        ("trade gaps", known.get("trade_id_jumps", 0), gaps["trade"]),
    ]
    if "final" not in known:
        return rows
    built = stats.applied + stats.waiting - known["diffs_dropped_old"] + stats.duplicates
    rows += [
        ("applied", known["diffs_applied"], built),
        ("final", known_final(known), book.final()),
        ("sound", "SOUND", book.sync.trust.current.name),
    ]
    if known.get("bookticker_compared"):
        # The known facts compare after every change; here the kept ones are applied in one step.
        at_once = max(0, stats.waiting - known["diffs_dropped_old"] - 1)
        rows.append(("tops equal", known["bookticker_equal"], book.counts["equal"] + at_once))
        rows.append(("tops compared", book.counts["compared"], book.counts["equal"]))
    return rows


def coinbase(path, facts):
    """Rebuild Coinbase Exchange books; trades by id, tails by heartbeat."""
    books = {
        symbol: Book("coinbase", symbol, LEVEL2_RULE, limits=BookLimits(window_levels=0))
        for symbol in facts["products"]
    }
    for _, text in records(path):
        data = json.loads(text)
        book = books.get(data.get("product_id"))
        if book is None:
            continue
        common = {"exchange": "coinbase", "symbol": book.symbol}
        kind = data["type"]
        if kind == "snapshot":
            book.feed(snapshot(0, levels(data["bids"]), levels(data["asks"]), **common))
        elif kind == "l2update":
            changes = {"buy": [], "sell": []}
            for side, price, size in data["changes"]:
                changes[side].append((float(price), float(size)))
            book.feed(delta(0, 0, changes["buy"], changes["sell"], **common))
        elif kind in {"match", "last_match"}:
            marks = Mark.HISTORY if kind == "last_match" else Mark.NONE
            book.feed(trade(data["trade_id"], marks=marks, **common))
        elif kind == "heartbeat":
            beat = heartbeat(data["last_trade_id"], symbol=book.symbol)
            book.trades.witness(beat.last_trade_id, 0)
            book.counts["tail"] += book.trades.next_number == beat.last_trade_id + 1
    for symbol, book in books.items():
        known = facts["products"][symbol]
        gaps = Counter(record.stream.channel for record in book.ledger.records())
        yield (
            symbol,
            book,
            [
                ("updates", known["by_type"]["l2update"], book.sync.stats().updates),
                ("trade gaps", known["match_trade_id_jumps"], gaps["trade"]),
                ("book gaps", 0, gaps["book"]),
                ("heartbeat tails", known["heartbeat_last_trade_id_equal"], book.counts["tail"]),
                (
                    "crossed",
                    known["crossed_after_update"],
                    sum(book.sync.stats().crossings.values()),
                ),
                ("final", known_final(known), book.final()),
                ("sound", "SOUND", book.sync.trust.current.name),
            ],
        )


def advanced(path, facts):
    """Rebuild Coinbase Advanced books; the frame counter over all channels."""
    books = {
        symbol: Book("coinbase", symbol, LEVEL2_RULE, limits=BookLimits(window_levels=0))
        for symbol in facts["products"]
    }
    counter = ConnectionCounter([book.sync for book in books.values()], first=0)
    ids = {symbol: set() for symbol in books}
    for kind, text in records(path):
        data = json.loads(text)
        if kind != "ws":
            continue
        assert counter.observe(data["sequence_num"], 0, 0, Output())
        for event in data["events"]:
            if data["channel"] == "market_trades":
                for item in event["trades"]:
                    ids[item["product_id"]].add(item["trade_id"])
            if data["channel"] != "l2_data":
                continue
            book = books[event["product_id"]]
            changes = {"bid": [], "offer": []}
            for item in event["updates"]:
                level = (float(item["price_level"]), float(item["new_quantity"]))
                changes[item["side"]].append(level)
            book.counts["changes"] += len(event["updates"])
            common = {"exchange": "coinbase", "symbol": book.symbol}
            if event["type"] == "snapshot":
                book.feed(snapshot(0, changes["bid"], changes["offer"], **common))
            else:
                book.feed(delta(0, 0, changes["bid"], changes["offer"], **common))
    yield (
        "connection",
        None,
        [
            ("frames", facts["sequence_num"][1] + 1, counter.frames),
            ("gaps", facts["sequence_gaps"], counter.holes),
        ],
    )
    for symbol, book in books.items():
        known = facts["products"][symbol]
        yield (
            symbol,
            book,
            [
                ("level changes", known["level_changes"], book.counts["changes"]),
                (
                    "crossed",
                    known["crossed_after_event"],
                    sum(book.sync.stats().crossings.values()),
                ),
                ("trade ids", known["distinct_trade_ids"], len(ids[symbol])),
                ("final", known_final(known), book.final()),
                ("sound", "SOUND", book.sync.trust.current.name),
            ],
        )


def full(path, facts):
    """Follow the order-by-order feed: its numbers are unbroken."""
    books = {}
    for symbol in facts["products"]:
        trust = StreamTrust(Stream("coinbase", "full_book", symbol), GapLedger())
        books[symbol] = L3Sync(trust)
    for _, text in records(path):
        data = json.loads(text)
        if data["type"] == "heartbeat":
            continue
        size = data.get("remaining_size") or data.get("size")
        event = order(
            data["type"],
            data["sequence"],
            data["order_id"],
            side=Side(data["side"]),
            price=float(data["price"]),
            size=None if size is None else float(size),
            symbol=data["product_id"],
        )
        sync = books[data["product_id"]]
        out = Output()
        if not sync.stats().updates:
            sync.on_subscribed(0, 0, out)
            sync.on_snapshot([], event.sequence - 1, 1, 0, 0, out)
        sync.admit(event, out)
    for symbol, sync in books.items():
        known = facts["products"][symbol]
        yield (
            symbol,
            None,
            [
                ("last sequence", known["last_sequence"], sync.sequence),
                ("gaps", known["sequence_gaps"], sync.trust.ledger.totals().found),
                ("sound", "SOUND", sync.trust.current.name),
            ],
        )


class CountingRule(KrakenBookRule, frozen=True):
    """Kraken's rule that counts its comparisons (shared by all books of one file)."""

    counts: dict

    def verify(self, book, checksum):
        """Compare and count."""
        got = super().verify(book, checksum)
        if checksum is not None:
            self.counts["equal" if got == checksum else "differ"] += 1
        return got


def kraken(path, facts):
    """Rebuild Kraken version 2 books; every checksum."""
    books, counts = {}, {}
    for symbol, known in facts["symbols"].items():
        counts[symbol] = Counter()
        price_scale, size_scale = known["precision"]
        rule = CountingRule(known["depth"], counts[symbol])
        scales = {"price_scale": price_scale, "size_scale": size_scale}
        books[symbol] = Book("kraken", symbol, rule, **scales)
    for _, text in records(path):
        message = json.loads(text, parse_float=str, parse_int=str)
        if message.get("channel") != "book":
            continue
        for data in message["data"]:
            book = books[data["symbol"]]
            bids, asks = (
                [(item["price"], item["qty"]) for item in data[side]] for side in ("bids", "asks")
            )
            book.texts = (exact_levels(bids), exact_levels(asks))
            common = {
                "checksum": int(data["checksum"]),
                "exchange": "kraken",
                "symbol": book.symbol,
            }
            if message["type"] == "snapshot":
                book.feed(snapshot(0, levels(bids), levels(asks), **common))
            else:
                book.feed(delta(0, 0, levels(bids), levels(asks), **common))
    yield from kraken_rows(books, counts, facts["symbols"])


def kraken_v1(path, facts):
    """Rebuild Kraken version 1 books: texts with the pair's full precision, other frames."""
    books, counts = {}, {}
    for symbol in facts["pairs"]:
        counts[symbol] = Counter()
        books[symbol] = Book("kraken", symbol, CountingRule(1_000, counts[symbol]))
    for kind, text in records(path):
        message = json.loads(text)
        if kind != "ws" or not isinstance(message, list) or message[-2] != "book-1000":
            continue
        book = books[message[-1]]
        sides = {key: value for part in message[1:-2] for key, value in part.items()}
        common = {"exchange": "kraken", "symbol": book.symbol}
        if "as" in sides:
            book.sync.ladder.adopt_scales(exact_levels([*sides["bs"], *sides["as"]]))
            book.feed(snapshot(0, levels(sides["bs"]), levels(sides["as"]), **common))
            continue
        bids, asks = sides.get("b", []), sides.get("a", [])
        book.texts = (exact_levels(bids), exact_levels(asks))
        common["checksum"] = int(sides["c"])
        book.feed(delta(0, 0, levels(bids), levels(asks), **common))
    yield from kraken_rows(books, counts, facts["pairs"])


def kraken_rows(books, counts, known_books):
    """Yield (symbol, book, facts) of Kraken books."""
    for symbol, book in books.items():
        known = known_books[symbol]
        yield (
            symbol,
            book,
            [
                ("checksums equal", known["checksums_equal"], counts[symbol]["equal"]),
                ("checksums differ", known["checksums_differ"], counts[symbol]["differ"]),
                ("gaps", 0, book.ledger.totals().found),
                ("crossed", known["crossed"], sum(book.sync.stats().crossings.values())),
                ("final", known_final(known), book.final()),
                ("sound", "SOUND", book.sync.trust.current.name),
            ],
        )


def rebuilt(path, form, facts):
    """Rebuild one file; yield (symbol, book, rows)."""
    if form in {"spot", "futures"}:
        return binance(path, SPOT_BOOK if form == "spot" else FUTURES_BOOK, facts)
    readers = {
        "coinbase": coinbase,
        "advanced": advanced,
        "full": full,
        "kraken": kraken,
        "kraken_v1": kraken_v1,
    }
    return readers[form](path, facts)


def show(value):
    """Return a fact in one short word or two."""
    if isinstance(value, list):
        return " ".join(
            str(item.normalize() if isinstance(item, Decimal) else item) for item in value
        )
    return str(value)


@pytest.mark.parametrize("name", FILES)
def test_a_recorded_session_rebuilds_to_its_known_facts(name, captures):
    """Expected and got, line by line; nothing but an image is ever asked for."""
    facts = json.loads((captures / "expected.json").read_text())[name]
    failures = []
    for symbol, book, rows in rebuilt(captures / name, FILES[name], facts):
        for fact, expected, got in rows:
            mark = "ok" if expected == got else "DIFFERS"
            print(f"{name:52} {symbol:12} {fact:17} {show(expected):>52} {show(got):>52} {mark}")
            if expected != got:
                failures.append((symbol, fact, expected, got))
        if book is not None:
            book.sync.ladder.check()
            assert not [c for c in book.out.commands if isinstance(c, Resubscribe)]
            assert sum(isinstance(c, FetchSnapshot) for c in book.out.commands) <= 1
    assert failures == []


@pytest.mark.parametrize(
    "name", [name for name, form in FILES.items() if form in {"spot", "futures"}]
)
def test_the_provable_window_keeps_every_top_right(name, captures):
    """Levels beyond the image's edge are not kept; no top of book is missed by that."""
    facts = json.loads((captures / "expected.json").read_text())[name]
    rule = SPOT_BOOK if FILES[name] == "spot" else FUTURES_BOOK
    for _, book, _ in binance(captures / name, rule, facts, window_levels=1_000):
        known = facts["symbols"][book.symbol]
        assert book.counts["equal"] == book.counts["compared"]
        if "final" in known:
            assert book.final()[:4] == known_final(known)[:4]
            assert book.sync.stats().crossings == dict.fromkeys(book.sync.stats().crossings, 0)
