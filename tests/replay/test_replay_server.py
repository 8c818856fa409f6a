"""The replay server: unmodified clients connect to history."""

import asyncio
import socket

import msgspec
import pytest

from crossfeed.clients.venue_client import VenueClient
from crossfeed.errors import ConfigError, ConnectionLostError, JournalError
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import RecordKind
from crossfeed.model.trust import Trust
from crossfeed.runtime.replay_currencies import currencies_for
from crossfeed.runtime.replay_protocols import PROTOCOLS, channel_and_symbol, is_book
from crossfeed.runtime.replay_server import ReplayServer
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator.faults import FaultRule
from crossfeed.transport.http import HttpClient

SYMBOLS = ["BTC/USD", "ETH/USD"]
TOP = 20
NS = 1_000_000_000


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
        async with HttpClient(server.rest_url("kraken"), name="x") as http:
            assets = msgspec.json.decode((await http.get("/0/public/Assets")).body)
        async with HttpClient(server.rest_url("coinbase"), name="x") as http:
            currencies = msgspec.json.decode((await http.get("/currencies")).body)
        assert {one["altname"] for one in assets["result"].values()} >= {"XBT", "ETH", "USD"}
        assert {one["id"] for one in currencies} >= {"BTC", "ETH", "USD"}


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[]", b"{}", b'{"result":[1]}', b'[{"a":1}]', b"\xff"]
)
def test_currencies_are_made_of_what_is_there_or_not_at_all(body):
    assert currencies_for("/currencies", body) in (None, [])
    assert currencies_for("/0/public/Assets", body) is None
    assert currencies_for("/elsewhere", body) is None


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


# ── control, seeking, faults ──────────────────────────────────────────────────


class Reader:
    """Our own client of one venue's history."""

    def __init__(self, server, venue="kraken", **options):
        settings = FeedSettings(
            ws_url=server.ws_url(venue), rest_url=server.rest_url(venue), **options
        )
        self.client = VenueClient(
            venue, symbols=["BTC/USD"], kinds=["trade", "book"], settings=settings
        )
        self.seen, self.moved = {}, asyncio.Event()
        self.client.on("trade", self.take)

    def take(self, trade):
        self.seen[trade.trade_id] = trade.ts_event_ns
        self.moved.set()

    async def more(self, count=1):
        """Wait for so many more trades."""
        await self.until(len(self.seen) + count)

    async def until(self, wanted):
        """Wait for so many trades in all."""
        async with asyncio.timeout(15):
            while len(self.seen) < wanted:
                self.moved.clear()
                await self.moved.wait()


async def asked(server, path, method="POST", body=b""):
    async with HttpClient(server.control_url, name="control") as http:
        answer = await http.request(method, path, body=body)
    return answer.status, msgspec.json.decode(answer.body)


async def test_control_port_pauses_and_changes_the_speed(calm):
    async with ReplayServer(calm.folder, speed=0.25, control_port=0) as server:
        assert (await asked(server, "/pause"))[1]["is_paused"]
        reader = Reader(server)
        async with reader.client:
            await asyncio.sleep(0.7)  # past the moment at which history would begin
            assert reader.seen == {}
            assert not (await asked(server, "/resume"))[1]["is_paused"]
            await reader.more(2)
            before = len(reader.seen)  # all the rest may have come when the answer has
            assert (await asked(server, "/speed?value=0"))[1]["speed"] == 0
            await reader.until(before + 5)
            status, said = await asked(server, "/status", "GET")
        assert status == 200
        assert said["clients"]["kraken"][0] > 0
        assert (await asked(server, "/speed?value=fast"))[0] == 400
        assert (await asked(server, "/seek?to=yesterday"))[0] == 400
        assert (await asked(server, "/nothing"))[0] == 404
        with pytest.raises(ConfigError):
            server.set_speed(-1.0)


@pytest.fixture
def busy_port():
    """A port of this machine that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


async def test_a_server_that_cannot_start_leaves_no_port_open(calm, busy_port):
    server = ReplayServer(calm.folder, control_port=busy_port)
    with pytest.raises(
        ConfigError, match=rf"cannot listen on 127.0.0.1:{busy_port}: Address already"
    ):
        await server.__aenter__()
    for port in server.feeds.values():
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_answers_that_do_not_fit_are_counted(calm, monkeypatch):
    monkeypatch.setattr("crossfeed.runtime.replay_answers.ANSWERS_BYTES_MAX", 10)
    async with ReplayServer(calm.folder) as server:
        assert server.status()["answers_left_out"]["binance"] > 0


async def test_history_that_cannot_be_read_on_ends_the_connection(calm, monkeypatch):
    """Nobody waits for ever for what will not come."""

    def unreadable(server):
        del server
        raise JournalError("Input/output error")

    monkeypatch.setattr(ReplayServer, "_blocks", unreadable)
    lost, told = [], asyncio.Event()

    def take(error):
        lost.append(error)
        told.set()

    async with ReplayServer(calm.folder, speed=0.0) as server:
        reader = Reader(server)
        reader.client.on_error(take)
        async with reader.client, asyncio.timeout(10):
            await told.wait()
    assert isinstance(lost[0], ConnectionLostError)
    assert "1011" in str(lost[0])


async def test_seek_lets_everybody_begin_again_elsewhere(calm):
    """Books stand at once, trades of before are not sent."""
    begin_ns, end_ns = Journal(calm.folder).span()
    middle_ns = (begin_ns + end_ns) // 2
    async with ReplayServer(calm.folder, speed=0.0, control_port=0) as server:
        reader = Reader(server, reconnect_base_s=0.01)
        async with reader.client:
            await reader.more()
            status, said = await asked(server, f"/seek?to={middle_ns}")
            assert (status, said["start_ns"]) == (200, middle_ns)
            status, said = await asked(server, f"/seek?to={end_ns + 1}")
            assert (status, server.start_ns) == (400, middle_ns)
            assert "nothing was recorded then: there is 20" in said["error"]
        late = Reader(server)
        async with late.client:
            await late.more()
            book = late.client.book("BTC/USD")
            async with asyncio.timeout(10):
                while book.trust is not Trust.SOUND:  # noqa: ASYNC110 - the feed makes it true
                    await asyncio.sleep(0.01)
            assert book.best() is not None
        assert min(late.seen.values()) > middle_ns - NS
        assert len(late.seen) < len(trades_of(calm, "kraken"))


async def test_faults_happen_to_history_as_to_the_simulator(calm):
    rules = (
        FaultRule(kind="double", channels=("trade",), every=2),
        FaultRule(kind="rest", path="AssetPairs", mode="status", status=503, limit=1),
    )
    async with ReplayServer(calm.folder, speed=0.0, control_port=0) as server:
        server.inject(rules)
        reader = Reader(server, backfill="off")
        async with reader.client:
            await reader.more(20)
            stats = reader.client.get_stats()
        assert stats["duplicates"] > 5
        faults = server.status()["faults"]["kraken"]
        assert faults["double"] > 5
        assert faults["rest"] == 1
        status, _ = await asked(server, "/faults", body=b'[[fault]]\nkind = "halt"\nevery_s = 1.0')
        assert status == 400
        cut = b'[[fault]]\nkind = "cut"\nat_s = [0.0]'
        assert (await asked(server, "/faults", body=cut))[0] == 200


@pytest.mark.parametrize("name", ["default", "harsh"])
def test_profiles_of_the_simulator_are_taken(calm, name):
    assert ReplayServer(calm.folder, faults=name)._faults.fault
    with pytest.raises(ConfigError):
        ReplayServer(calm.folder, faults="no such profile")


@pytest.mark.parametrize(
    ("key", "channel", "symbol", "is_it"),
    [
        ("btcusdt@depth@100ms", "depth@100ms", "BTCUSDT", True),
        ("btcusdt@trade", "trade", "BTCUSDT", False),
        ("level2_batch/BTC-USD", "level2_batch", "BTC-USD", True),
        ("full/BTC-USD", "full", "BTC-USD", True),
        ("book/BTC/USD", "book", "BTC/USD", True),
        ("heartbeats/", "heartbeats", "", False),
    ],
)
def test_streams_are_told_apart(key, channel, symbol, is_it):
    assert channel_and_symbol(key) == (channel, symbol)
    assert is_book(key) is is_it
