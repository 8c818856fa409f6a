"""Sessions that others recorded, imported into a journal: replay reaches their known facts."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from crossfeed.clients.replay import Replay
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.writer import JournalWriter
from crossfeed.model.commands import RestRequest, Want
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.recording import FeedTap
from crossfeed.runtime.settings import FeedSettings
from crossfeed.venues.binance import VENUE as BINANCE
from crossfeed.venues.coinbase import VENUE as COINBASE
from crossfeed.venues.symbols import SymbolTable

NS = 1_000_000_000


class Import:
    """Writes a captured session as our recorder would have written it."""

    def __init__(self, folder: Path, venue) -> None:
        self.writer = JournalWriter(folder, JournalOptions(), clock=SystemClock())
        self.writer.start()
        self.venue = venue
        self.table = SymbolTable(venue.name, venue.builtin())
        self.line = f"{venue.name}-1"
        self.tap = FeedTap(self.writer.intake, venue.name, SystemClock())
        self.tap.configured(venue.name, FeedSettings(backfill="off", price_band=0.0))
        self.take = self.tap.frames(self.line, lambda *_: None)

    def open(self, wants: list[tuple[str, str, str]], now_ns: int) -> None:
        """Open streams (kind, channel, symbol) on one line."""
        tap, line, all_wants = self.tap, self.line, []
        for kind, channel, symbol in wants:
            want = Want(channel, symbol)
            all_wants.append(want)
            instrument = self.table.find(symbol)
            tap.keep("", "stream_open", key=f"{kind}{symbol}", want=want, kind=kind,
                     instrument=instrument)  # fmt: skip
        tap.keep(line, "core_open", now_ns, now_ns)
        tap.keep(line, "line_up", now_ns, now_ns, wants=all_wants)
        tap.keep(line, "subscribe", now_ns, wants=all_wants)
        for want in all_wants:
            tap.step("", "subscribed", now_ns, now_ns, want=want)

    def close(self) -> None:
        assert self.writer.close()


def facts(captures: Path, name: str) -> dict:
    return json.loads((captures / "expected.json").read_text("utf-8"))[name]


@pytest.mark.trust
def test_binance_session(captures: Path, tmp_path: Path) -> None:
    """Six minutes of BTCUSDT: all trades, no gap, and the book ends where it is known to end."""
    name = "binance_spot/btcusdt_20240808.hft.gz"
    expected = facts(captures, name)
    lines = gzip.decompress((captures / name).read_bytes()).splitlines()
    imported = Import(tmp_path / "journal", BINANCE)
    imported.open(
        [("trade", "trade", "BTCUSDT"), ("book", "depth@100ms", "BTCUSDT"),
         ("book_ticker", "bookTicker", "BTCUSDT")],
        int(lines[0].split()[0]),
    )  # fmt: skip
    for line in lines:
        stamp, _, message = line.partition(b" ")
        at_ns = int(stamp)
        if b'"stream"' in message[:12]:
            imported.take(message, at_ns, at_ns)
        else:
            request = RestRequest(
                purpose="snapshot", path="/api/v3/depth", symbol="BTCUSDT", channel="book", epoch=1
            )
            imported.tap.answered(
                imported.line, request, 200, message, at_ns, at_ns, gap_id=0, rest_line=""
            )
    imported.close()
    replay, counts, gaps = Replay(tmp_path / "journal"), Counter(), []
    replay.on("*", lambda event: counts.update([event.data_type]))
    replay.on_gap(gaps.append)
    replay.play()
    assert counts["trade"] == expected["counts"]["trade"]
    assert counts["book_ticker"] == expected["counts"]["bookTicker"]
    assert gaps == []
    final = expected["symbols"]["BTCUSDT"]["final"]
    image = replay.book("binance", "BTCUSDT").image()
    assert list(image.bids[0]) == _numbers(final["best_bid"])
    assert list(image.asks[0]) == _numbers(final["best_ask"])
    assert image.sequence == expected["symbols"]["BTCUSDT"]["last_u"]


@pytest.mark.trust
def test_coinbase_session(captures: Path, tmp_path: Path) -> None:
    """A minute of two products with the whole books."""
    name = "coinbase_exchange/btc_eth_20260707.ndjson.gz"
    expected = facts(captures, name)
    lines = gzip.decompress((captures / name).read_bytes()).splitlines()
    imported = Import(tmp_path / "journal", COINBASE)
    imported.open(
        [(kind, channel, symbol)
         for symbol in ("BTC-USD", "ETH-USD")
         for kind, channel in (("trade", "matches"), ("book", "level2_batch"),
                               ("heartbeat", "heartbeat"))],
        NS,
    )  # fmt: skip
    for number, line in enumerate(lines, 1):
        imported.take(line, NS + number, NS + number)
    imported.close()
    replay, trades, gaps = Replay(tmp_path / "journal"), [], []
    replay.on("trade", trades.append)
    replay.on_gap(gaps.append)
    replay.play()
    assert len(trades) == expected["counts"]["match"] + expected["counts"]["last_match"]
    assert gaps == []
    for symbol, known in expected["products"].items():
        image = replay.book("coinbase", symbol).image()
        assert list(image.bids[0]) == _numbers(known["final"]["best_bid"])
        assert list(image.asks[0]) == _numbers(known["final"]["best_ask"])
        assert len(image.bids) == known["final"]["bid_levels"]
        assert len(image.asks) == known["final"]["ask_levels"]


def _numbers(level: list[str]) -> list[float]:
    return [float(text) for text in level]
