"""The shell over real sockets: handshakes, frames, ends, slow readers, TLS."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from urllib.parse import urlsplit

import pytest

from crossfeed.errors import ConfigError
from crossfeed.simulator import FaultRule, Simulator
from crossfeed.simulator.session import SessionRules
from crossfeed.simulator.tls import CA_FILE, make_certificates, server_context
from crossfeed.simulator.venues.binance.session import BinanceSession

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
STREAM = "/stream?streams=btcusdt@trade/btcusdt@bookTicker"


@pytest.fixture
async def simulator():
    async with Simulator(venues=("binance",), rate_per_s=500.0) as one:
        yield one


async def until(condition, deadline_s: float = 5.0) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - the condition is the simulator's own state
            await asyncio.sleep(0.002)


async def raw_exchange(simulator, data: bytes) -> bytes:
    """Send bytes to the Binance port; return the answer up to the end."""
    parts = urlsplit(simulator.rest_url("binance"))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 5.0)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_messages_arrive(simulator, raw_client):
    client = await raw_client.connect(simulator.ws_url("binance") + STREAM)
    message = await client.receive_json()
    assert message["stream"].startswith("btcusdt@")
    await client.close()
    await until(lambda: not simulator.exchanges["binance"].sessions)
    assert simulator.ledger.connections["binance", "lost"] == 1


async def test_a_clean_close_is_answered(simulator, raw_client):
    client = await raw_client.connect(simulator.ws_url("binance") + STREAM)
    await client.send((1000).to_bytes(2, "big"), 8)
    _, end = await client.until_closed()
    assert end.code == 1000
    await client.close()


async def test_pings_are_answered(simulator, raw_client):
    client = await raw_client.connect(simulator.ws_url("binance") + "/ws")
    await client.send(b"hello", 9)
    assert await client._frame() == (10, b"hello")
    await client.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"400"),
        (UPGRADE.replace(b"13", b"8"), b"426"),
        (UPGRADE.replace(b"/ws", b"/nothing"), b"404"),
        (b"GET /api/v3/ping HTTP/1.1\r\nConnection: close\r\n\r\n", b"200"),
    ],
)
async def test_answers_to_odd_requests(simulator, data, status):
    answer = await raw_exchange(simulator, data)
    assert answer.split(b" ")[1] == status


async def test_several_requests_on_one_connection(simulator):
    one = b"GET /api/v3/ping HTTP/1.1\r\n\r\n"
    last = b"GET /api/v3/time HTTP/1.1\r\nConnection: close\r\n\r\n"
    answer = await raw_exchange(simulator, one + one + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_a_message_in_the_handshakes_packet_is_not_lost(simulator):
    frame = b"\x81\xa9\0\0\0\0" + b'{"method":"LIST_SUBSCRIPTIONS","id":1234}'
    request = UPGRADE + frame + b"\x88\x80\0\0\0\0"
    answer = await raw_exchange(simulator, request)
    assert b'{"result":[],"id":1234}' in answer


async def test_unmasked_frames_are_refused(simulator, raw_client, closed):
    client = await raw_client.connect(simulator.ws_url("binance") + "/ws")
    client._writer.write(b"\x81\x02hi")
    with pytest.raises(closed) as caught:
        await client.receive()
    assert caught.value.code == 1002
    assert simulator.ledger.violations["binance", "framing"] == 1
    await client.close()


@pytest.mark.parametrize("mode", ["eof", "reset", "mid_frame"])
async def test_everything_before_a_cut_arrives(simulator, raw_client, mode):
    client = await raw_client.connect(simulator.ws_url("binance") + "/stream?streams=btcusdt@trade")
    await client.receive()
    simulator.inject(FaultRule(kind="cut", mode=mode, at_s=(0.1,)))
    received, end = await client.until_closed()
    assert end.code == 1006
    ids = [json.loads(raw)["data"]["t"] for raw in received]
    (line,) = simulator.ledger.streams["binance", "trade", "BTCUSDT"].lines
    assert ids[-1] == line.last
    assert ids == list(range(ids[0], ids[-1] + 1))
    await client.close()


async def test_cut_all(simulator, raw_client):
    clients = [await raw_client.connect(simulator.ws_url("binance") + STREAM) for _ in range(3)]
    assert simulator.cut_all("binance") == 3
    for client in clients:
        await client.until_closed()
        await client.close()
    with pytest.raises(ConfigError):
        simulator.cut_all("nonsense")


async def test_a_venue_can_be_shut_and_reopened(simulator, raw_client):
    url = simulator.ws_url("binance") + STREAM
    client = await raw_client.connect(url)
    await simulator.shut("binance")
    await client.until_closed()
    await client.close()
    with pytest.raises(ConnectionRefusedError):
        await raw_client.connect(url)
    await simulator.reopen("binance")
    client = await raw_client.connect(url)
    await client.receive()
    await client.close()


async def test_the_truth_can_be_read(simulator, raw_client):
    client = await raw_client.connect(
        simulator.ws_url("binance") + "/stream?streams=btcusdt@bookTicker"
    )
    for _ in range(5):
        top = (await client.receive_json())["data"]
        state = simulator.book("binance", "BTCUSDT", update_id=top["u"])
        bid, bid_lots, ask, _ = state.top()
        assert (bid / 100, bid_lots / 1e5) == (float(top["b"]), float(top["B"]))
        assert ask / 100 == float(top["a"])
    await client.close()
    report = simulator.report()
    (market,) = [one for one in report["markets"] if one["symbol"] == "BTCUSDT"]
    assert market["trades"] == simulator.market("binance", "BTC/USD").trade_count
    with pytest.raises(ConfigError):
        simulator.market("binance", "NO/NO")


async def test_a_slow_reader_is_closed_and_others_go_on(simulator, raw_client, monkeypatch):
    rules = SessionRules(unread_bytes_max=64 * 1024, slow_close_code=1008, slow_reason="slow")
    monkeypatch.setattr(BinanceSession, "rules", rules)
    parts = urlsplit(simulator.ws_url("binance"))
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)  # noqa: FBT003
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (parts.hostname, parts.port))
    request = (
        "GET /stream?streams=btcusdt@trade HTTP/1.1\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(sock, request.encode())
    other = await raw_client.connect(simulator.ws_url("binance") + STREAM)
    await other.receive()
    exchange = simulator.exchanges["binance"]
    slow = exchange.sessions[1]
    for _ in range(100):
        slow.put(b"x" * 100_000)
        await other.receive()
        if slow.is_over:
            break
    assert slow.is_over
    assert simulator.ledger.connections["binance", "slow client"] == 1
    assert len(exchange.sessions) == 1
    await other.receive()
    await other.close()
    sock.close()


async def test_missed_time_is_skipped():
    class Jumpy:
        """A clock that a test can push."""

        def __init__(self) -> None:
            self.value = 1_782_000_000_000_000_000

        def now_ns(self) -> int:
            return self.value

        def monotonic_ns(self) -> int:
            return self.value

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    clock = Jumpy()
    simulator = Simulator(venues=("binance",), rate_per_s=100.0, clock=clock)
    simulator.advance()
    clock.value += 60_000_000_000
    simulator.advance()
    assert simulator.world.actions < 10
    assert simulator.world.scheduler.skipped_ns > 59_000_000_000


async def test_tls_is_verified(tmp_path, raw_client):
    try:
        context = server_context(tmp_path)
    except ConfigError as error:
        pytest.skip(f"no openssl: {error}")
    client_context = ssl.create_default_context(cafile=str(tmp_path / CA_FILE))
    async with Simulator(venues=("binance",), rate_per_s=500.0, tls=context) as simulator:
        url = simulator.ws_url("binance")
        assert url.startswith("wss://")
        assert simulator.rest_url("binance").startswith("https://")
        client = await raw_client.connect(url + STREAM, tls=client_context)
        assert json.loads(await client.receive())
        await client.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await raw_client.connect(url + STREAM, tls=ssl.create_default_context())


async def test_expired_certificates_can_be_made(tmp_path, raw_client):
    try:
        make_certificates(tmp_path, days=-1)
    except ConfigError as error:
        pytest.skip(f"openssl cannot: {error}")
    client_context = ssl.create_default_context(cafile=str(tmp_path / CA_FILE))
    async with Simulator(venues=("binance",), tls=server_context(tmp_path)) as simulator:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            await raw_client.connect(simulator.ws_url("binance") + STREAM, tls=client_context)


async def test_a_broken_market_is_told_and_raised(monkeypatch):
    simulator = Simulator(venues=("binance",))
    told = asyncio.Event()
    simulator.on_failure = told.set
    await simulator.start()

    def broken(now_ns):
        raise RuntimeError(now_ns)

    monkeypatch.setattr(simulator.world, "step", broken)
    await asyncio.wait_for(told.wait(), 5.0)
    await asyncio.wait_for(simulator.drain(), 5.0)
    with pytest.raises(RuntimeError):
        await simulator.close()
    await simulator.close()


def test_a_second_api_shares_the_rate_of_its_books():
    simulator = Simulator(("coinbase_advanced",), rate_per_s={"coinbase_advanced": 7.0})
    assert simulator.world.options.rate_per_s == {"coinbase": 7.0}


async def test_one_that_cannot_start_leaves_no_port_open():
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = other.getsockname()[1]
        simulator = Simulator(("binance", "kraken"), control_port=busy)
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{busy}"):
            await simulator.start()
        assert "not started" in repr(simulator)


async def test_closing_twice_and_starting_twice_are_harmless():
    simulator = Simulator(venues=("binance",))
    assert "not started" in repr(simulator)
    with pytest.raises(ConfigError):
        simulator.ws_url("binance")
    await simulator.start()
    await simulator.start()
    assert "binance" in repr(simulator)
    await simulator.close()
    await simulator.close()


@pytest.mark.parametrize(
    "options",
    [
        {"venues": ()},
        {"venues": ("nonsense",)},
        {"symbols": ()},
        {"symbols": ("btcusd",)},
        {"rate_per_s": -1.0},
        {"taker_share": 2.0},
        {"orders_wanted": 1},
        {"faults": "nonsense"},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError):
        Simulator(**options)
