"""The replay server: unmodified clients connect to history."""

import asyncio

import pytest

from crossfeed.clients.venue_client import VenueClient
from crossfeed.errors import ConfigError
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import RecordKind
from crossfeed.runtime.replay_protocols import PROTOCOLS
from crossfeed.runtime.replay_server import ReplayServer
from crossfeed.runtime.settings import FeedSettings
from crossfeed.transport.http import HttpClient

SYMBOLS = ["BTC/USD", "ETH/USD"]
TOP = 20


def trades_of(live, venue):
    """Return the ids of the trades that were given out live."""
    texts = [text for kind, text in live.events if kind == "Trade" and f"'{venue}'" in text]
    return {text.partition("'trade_id': ")[2].partition(",")[0].rstrip("}") for text in texts}


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
async def test_our_own_client_reads_history(calm, venue):
    """Same trades, and the book ends as it ended live."""
    wanted, seen, done = trades_of(calm, venue), set(), asyncio.Event()
    books = {s: tuple(side[:TOP] for side in calm.books[venue, s]) for s in SYMBOLS}

    def take(event):
        if event.data_type == "trade":
            seen.add(str(event.trade_id))
        # A frame more may have been recorded after the books were looked at.
        for symbol in [s for s, image in books.items() if image_of(client, s) == image]:
            del books[symbol]
        if wanted <= seen and not books:
            done.set()

    async with ReplayServer(calm.folder, speed=20.0) as server:
        parameters = {"time_unit": "MICROSECOND"} if venue == "binance" else {}
        settings = FeedSettings(
            ws_url=server.ws_url(venue), rest_url=server.rest_url(venue), parameters=parameters
        )
        client = VenueClient(venue, symbols=SYMBOLS, kinds=["trade", "book"], settings=settings)
        client.on("*", take)
        client.on("book", take)
        async with client, asyncio.timeout(10):
            await done.wait()
            assert client.get_stats()["invalid"] == 0


def image_of(client, symbol):
    image = client.book(symbol).image()
    return image.bids[:TOP], image.asks[:TOP]


async def test_rest_answers_are_the_recorded_ones(calm):
    async with ReplayServer(calm.folder) as server:
        async with HttpClient(server.rest_url("binance"), name="x") as http:
            info = await http.get("/api/v3/exchangeInfo")
            depth = await http.get("/api/v3/depth", query=(("symbol", "BTCUSDT"), ("limit", "5")))
            ping = await http.get("/api/v3/ping")
        assert b"BTCUSDT" in info.body
        assert b"lastUpdateId" in depth.body
        assert ping.status == 200


async def test_journal_without_a_known_feed_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no feed"):
        async with ReplayServer(tmp_path):
            pass
    with pytest.raises(ConfigError):
        ReplayServer(tmp_path, speed=-1.0)


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
def test_every_recorded_data_frame_has_an_owner(calm, venue):
    """What is not data (answers to the recorder's own requests) belongs to nobody."""
    speaks = PROTOCOLS[venue]("", "")
    frames = [
        record.payload
        for record in Journal(calm.folder).records(kinds=[RecordKind.FRAME_IN])
        if record.feed == venue
    ]
    orphans = [frame for frame in frames if not speaks.keys(frame)]
    assert len(frames) > 50
    assert all(b'"result"' in f or b"subscri" in f for f in orphans)


@pytest.mark.parametrize("venue", PROTOCOLS)
@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"method":5}', b"[" * 9_999, b"\xff"])
def test_garbage_requests_are_answered_with_an_error(venue, text):
    speaks = PROTOCOLS[venue]("/x", "")
    before = set(speaks.wanted)
    assert b"rror" in b"".join(speaks.on_text(text))
    assert speaks.keys(text) in [(), []]
    assert speaks.wanted == before


def test_binance_bare_streams_are_unwrapped():
    speaks = PROTOCOLS["binance"]("/ws/btcusdt@trade", "")
    assert speaks.wanted == {"btcusdt@trade"}
    assert speaks.seal(b'{"stream":"btcusdt@trade","data":{"e":"trade"}}') == b'{"e":"trade"}'
    combined = PROTOCOLS["binance"]("/stream", "streams=a@trade/b@trade")
    assert combined.wanted == {"a@trade", "b@trade"}
    assert b"b@trade" in combined.on_text(b'{"method":"LIST_SUBSCRIPTIONS","id":1}')[0]
    combined.on_text(b'{"method":"UNSUBSCRIBE","params":["a@trade"],"id":2}')
    assert combined.wanted == {"b@trade"}


def test_advanced_frames_are_numbered_anew():
    speaks = PROTOCOLS["coinbase_advanced"]("", "")
    (reply,) = speaks.on_text(b'{"type":"subscribe","product_ids":["BTC-USD"],"channel":"level2"}')
    assert b'"sequence_num":0' in reply
    frame = b'{"channel":"l2_data","sequence_num": 77,"events":[{"product_id":"BTC-USD"}]}'
    assert speaks.keys(frame) == ("level2/BTC-USD",)
    assert b'"sequence_num":1,' in speaks.seal(frame)
