"""A session on the compiled core is the session on the pure one, whatever happens to it."""

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import pytest

from crossfeed.cli.bench.tapes import Feed, make_tape

SEEDS = max(int(os.environ.get("CROSSFEED_MUTANTS", "0")) // 6000, 1)
"""Sessions of each venue; a long run makes more."""
FRAMES = min(1000 * SEEDS, 20_000)
SHARES = {"trade": 1.0, "quote": 1.0, "depth": 2.0}
FEEDS = [
    Feed(venue="binance", symbols=("BTCUSDT", "ETHUSDT"), shares=SHARES, messages=1200, levels=60),
    Feed(venue="coinbase", symbols=("BTC-USD", "ETH-USD"), shares=SHARES, messages=600, levels=60),
    Feed(venue="kraken", symbols=("BTC/USD", "ETH/USD"), shares=SHARES, messages=1000),
]
KINDS = {
    "binance": ("trade", "book_ticker", "book", "depth"),
    "coinbase": ("trade", "ticker", "book"),
    "coinbase_advanced": ("trade", "ticker", "book"),
    "kraken": ("trade", "book_ticker", "book", "ticker"),
}
# The last: Kraken's tickers are quotes and nothing else.
SESSIONS = [pytest.param(feed, KINDS[feed.venue], id=feed.venue) for feed in FEEDS]
SESSIONS += [pytest.param(FEEDS[-1], ("trade", "book_ticker", "book"), id="kraken-quotes")]
LAST = re.compile(rb'"u":(\d+)')


def twins_module() -> Any:
    """Load what stands beside this file; test folders are no packages."""
    spec = importlib.util.spec_from_file_location("twins", Path(__file__).with_name("twins.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def binance_images(frames: list[bytes]) -> Any:
    """Make images at the number that the updates of a symbol have reached."""

    def image(symbol: str, number: int) -> bytes | None:
        name = f'"s":"{symbol}"'.encode()
        for frame in reversed(frames[: number + 1]):
            if name in frame and b"depthUpdate" in frame:
                found = LAST.search(frame)
                assert found is not None
                levels = ",".join(f'["{0.5 + n / 100:.2f}","{n}"]' for n in range(1, 60))
                bids = levels.replace('["1.', '["0.9')
                asks = levels.replace('["0.', '["100000.').replace('["1.', '["100001.')
                return (
                    f'{{"lastUpdateId":{int(found[1])},"bids":[{bids}],"asks":[{asks}]}}'.encode()
                )
        return None

    return image


def no_images(_symbol: str, _number: int) -> None:
    """Return None: images come in the stream."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(("feed", "kinds"), SESSIONS)
@pytest.mark.usefixtures("native")
def test_a_session_with_faults(feed: Feed, kinds: tuple[str, ...], seed: int, helpers: Any):
    twins = twins_module()
    tape = make_tape(feed, seed)
    frames = [frame for first in tape.first.values() for frame in first]
    frames += [frame for _, frame in tape.frames]
    wants = [(kind, symbol) for kind in kinds for symbol in feed.symbols]
    pair = twins.Twins(feed.venue, wants)
    images = binance_images(frames) if feed.venue == "binance" else no_images
    greeting = [frame for first in tape.first.values() for frame in first]
    twins.play(pair, frames, images, helpers.mutated, seed, greeting=greeting)
    assert pair.told > 300
    assert pair.ordinary > 200


@pytest.fixture
def helpers(request: pytest.FixtureRequest) -> Any:
    """Return the functions of this folder's conftest."""
    return next(
        plugin
        for name, plugin in request.config.pluginmanager.list_name_plugin()
        if str(name).endswith("tests/native/conftest.py")
    )


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("venue", sorted(KINDS))
@pytest.mark.usefixtures("native")
def test_recorded_sessions(venue: str, helpers: Any, captures: Path):
    twins = twins_module()
    frames = [f for f in helpers.recorded_frames(captures, venue) if len(f) < 300_000][:FRAMES]
    named = {name.decode() for frame in frames for name in helpers.SYMBOL.findall(frame)}
    table = twins.SymbolTable(venue, twins.find_venue(venue).builtin())
    symbols = sorted(symbol for symbol in named if table.get(symbol) is not None)[:6]
    pair = twins.Twins(venue, [(kind, s) for kind in KINDS[venue] for s in symbols])
    images = binance_images(frames) if venue == "binance" else no_images
    greeting = [frame for frame in frames if b'"snapshot"' in frame][:4]
    twins.play(pair, frames, images, helpers.mutated, 1, greeting=greeting, mean=60, every=200)
    assert pair.told > 200
    assert pair.ordinary > 60
