"""The REST client against hostile servers: bounded, in time, with our errors only."""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable

import pytest

from crossfeed.errors import (
    ConfigError,
    ConnectFailedError,
    CrossfeedError,
    DeadlineError,
    NotConnectedError,
    ProtocolViolationError,
    RateLimitedError,
    TransportError,
)
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.http import HttpClient, RestBudget

DEADLINE_S = 5.0

Serve = Callable[..., Awaitable[object]]
Script = Callable[..., Awaitable[None]]


def answering(body: bytes, *headers: bytes, status: int = 200) -> Script:
    """Return a script that answers every request on the connection."""

    async def script(peer) -> None:
        while True:
            await peer.read_request()
            lines = [f"HTTP/1.1 {status} Whatever".encode(), *headers]
            if not any(line.lower().startswith((b"content-length", b"transfer")) for line in lines):
                lines.append(b"Content-Length: %d" % len(body))
            peer.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            await peer.drain()

    return script


def client(server, **config: object) -> HttpClient:
    """Return a client for a test server."""
    return HttpClient(f"http://127.0.0.1:{server.port}/api", name="venue", **config)


async def fails(server, **config: object) -> CrossfeedError:
    """Return the error that a request must end in."""
    async with client(server, **config) as http, asyncio.timeout(DEADLINE_S):
        with pytest.raises(CrossfeedError) as caught:
            await http.get("/time")
        assert http.requests == 1
    return caught.value


async def test_a_request_and_its_answer(serve: Serve) -> None:
    """A request and its answer."""
    server = await serve(answering(b'{"ok":1}', b"X-Used: 5", b"X-USED: 6"))
    async with client(server) as http:
        answer = await http.get(
            "/v3/depth", query=(("symbol", "BTC USDT"), ("limit", "5")), headers={"X-Key": "k"}
        )
        again = await http.get("/v3/depth")
    assert (answer.status, answer.body) == (200, b'{"ok":1}')
    assert answer.headers["x-used"] == "6"
    assert again.body == b'{"ok":1}'
    assert server.connections == 1  # kept open between requests
    assert http.requests == 2
    head = server.peers[0].request
    assert head.startswith(b"GET /api/v3/depth HTTP/1.1\r\n")
    assert b"User-Agent: crossfeed" in head


async def test_the_query_is_escaped_and_in_order(serve: Serve) -> None:
    """The query is escaped and in order."""
    server = await serve(answering(b""))
    async with client(server) as http:
        await http.get("/x", query=(("b", "1&2"), ("a", "é"), ("b", "3")))
    assert b"GET /api/x?b=1%262&a=%C3%A9&b=3 HTTP/1.1" in server.peers[0].request


async def test_other_methods_have_a_body(serve: Serve) -> None:
    """Other methods have a body."""
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(peer) -> None:
        await peer.read_request()
        seen.set_result(await peer.reader.readexactly(4))
        peer.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    server = await serve(script)
    async with client(server) as http:
        answer = await http.request("POST", "/order", body=b"body")
    assert answer.status == 201
    assert await seen == b"body"


@pytest.mark.parametrize("status", [302, 400, 403, 404, 500, 503])
async def test_any_other_status_is_an_answer(serve: Serve, status: int) -> None:
    """Any other status is an answer."""
    server = await serve(answering(b"why", b"Location: http://127.0.0.1:1/", status=status))
    async with client(server) as http:
        answer = await http.get("/x")
    assert (answer.status, answer.body) == (status, b"why")
    assert server.connections == 1


# ── compressed, long, broken bodies ───────────────────────────────────────────


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (b"gzip", gzip.compress(b"body" * 1000, mtime=0)),
        (b"deflate", zlib.compress(b"body" * 1000)),
        (b"identity", b"body" * 1000),
    ],
)
async def test_bodies_are_decompressed(serve: Serve, encoding: bytes, packed: bytes) -> None:
    """Bodies are decompressed."""
    server = await serve(answering(packed, b"Content-Encoding: " + encoding))
    async with client(server) as http:
        assert (await http.get("/x")).body == b"body" * 1000


async def test_chunked_bodies_are_joined(serve: Serve) -> None:
    """Chunked bodies are joined."""
    server = await serve(
        answering(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")
    )
    async with client(server) as http:
        assert (await http.get("/x")).body == b"abcde"


@pytest.mark.fault("D15")
async def test_a_compressed_bomb_is_cut_at_the_limit(serve: Serve) -> None:
    """A compressed bomb is cut at the limit."""
    bomb = gzip.compress(b"\0" * 100_000_000)
    assert len(bomb) < 200_000
    server = await serve(answering(bomb, b"Content-Encoding: gzip"))
    error = await fails(server, body_bytes_max=1_000_000)
    assert isinstance(error, ProtocolViolationError)
    assert "more than 1000000 bytes" in str(error)


@pytest.mark.fault("D14")
@pytest.mark.parametrize("header", [b"Content-Length: 2000", b"Transfer-Encoding: chunked"])
async def test_a_long_body_is_cut_at_the_limit(serve: Serve, header: bytes) -> None:
    """A long body is cut at the limit."""
    body = b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n" if b"chunked" in header else b"x" * 2000
    server = await serve(answering(body, header))
    error = await fails(server, body_bytes_max=1999)
    assert isinstance(error, ProtocolViolationError)
    async with client(server, body_bytes_max=2000) as http:
        assert len((await http.get("/x")).body) == 2000


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(b"body" * 1000, mtime=0)[:-20], (b"Content-Encoding: gzip",)),
        (b"no gzip at all", (b"Content-Encoding: gzip",)),
        (b"body", (b"Content-Encoding: br",)),
        (b"zz\r\nnot a length", (b"Transfer-Encoding: chunked",)),
    ],
)
async def test_broken_bodies_are_errors_of_ours(serve: Serve, body: bytes, headers) -> None:
    """Broken bodies are errors of ours."""
    server = await serve(answering(body, *headers))
    assert isinstance(await fails(server), TransportError)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"\x00\xff" * 100,
    ],
)
async def test_broken_answers_are_errors_of_ours(serve: Serve, answer: bytes) -> None:
    """Broken answers are errors of ours."""

    async def script(peer) -> None:
        await peer.read_request()
        peer.send(answer)
        await peer.drain()

    server = await serve(script)
    error = await fails(server)
    assert isinstance(error, ConnectFailedError)
    assert str(error).isprintable()


# ── time ──────────────────────────────────────────────────────────────────────


@pytest.mark.fault("S10")
@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"]
)
async def test_a_stalled_answer_ends_in_time(serve: Serve, sent: bytes) -> None:
    """A stalled answer ends in time."""

    async def script(peer) -> None:
        await peer.read_request()
        peer.send(sent)
        await peer.gone()

    server = await serve(script)
    async with client(server) as http, asyncio.timeout(DEADLINE_S):
        with pytest.raises(DeadlineError):
            await http.get("/x", deadline_s=0.05)
        assert http.failures == 1
        await server.idle()


@pytest.mark.fault("T13")
async def test_a_server_that_is_not_there(serve: Serve) -> None:
    """A server that is not there."""
    server = await serve(answering(b""))
    http = client(server)
    server.refuse_connections()
    with pytest.raises(ConnectFailedError):
        await http.get("/x")
    await http.close()
    await http.close()
    with pytest.raises(NotConnectedError):
        await http.get("/x")


# ── limits ────────────────────────────────────────────────────────────────────


@pytest.mark.fault("H05", "H06")
@pytest.mark.parametrize(("status", "otherwise"), [(429, 60), (418, 300)])
@pytest.mark.parametrize("header", [b"Retry-After: 7", b"X: y"])
async def test_a_limited_answer_holds_the_whole_venue(
    serve: Serve, status: int, otherwise: float, header: bytes
) -> None:
    """A limited answer holds the whole venue."""
    server = await serve(answering(b'{"code":-1003}', header, status=status))
    budget = RestBudget(100, 60.0)
    expected = 7 if b"7" in header else otherwise
    async with client(server, budget=budget) as http, client(server, budget=budget) as other:
        with pytest.raises(RateLimitedError, match="1003") as caught:
            await http.get("/x")
        assert caught.value.retry_after_s == expected
        assert caught.value.code == str(status)
        with pytest.raises(RateLimitedError, match="told us to wait") as caught:
            await other.get("/x", deadline_s=1)
        assert expected - 5 <= caught.value.retry_after_s <= expected
        assert other.requests == 0
        assert http.limited == 1
    assert server.connections == 1


async def test_a_request_that_finds_no_room_in_time_is_refused_with_the_wait(serve: Serve) -> None:
    """A request that finds no room in time is refused with the wait."""
    server = await serve(answering(b""))
    budget = RestBudget(10, 60.0)
    async with client(server, budget=budget) as http:
        await http.get("/x", weight=10)
        with pytest.raises(RateLimitedError, match="no room") as caught:
            await http.get("/x", weight=1, deadline_s=0.05)
        assert 50 <= caught.value.retry_after_s <= 60
        assert http.requests == 1


async def test_waiting_for_the_budget_runs_on_the_clock(serve: Serve) -> None:
    """Waiting for the budget runs on the clock."""
    server = await serve(answering(b"late"))
    clock = ManualClock()
    async with client(server, budget=RestBudget(10, 60.0), clock=clock) as http:
        await http.get("/x", weight=10)
        waiting = asyncio.ensure_future(http.get("/x", weight=1, deadline_s=100))
        await clock.advance(59)
        assert http.requests == 1
        await clock.advance(1)
        async with asyncio.timeout(DEADLINE_S):
            assert (await waiting).body == b"late"


# ── configuration, proxies, TLS ───────────────────────────────────────────────


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("base_url", {"base_url": "ftp://h"}),
        ("proxy", {"proxy": "socks5://h:1"}),
        ("body_bytes_max", {"body_bytes_max": 0}),
    ],
)
def test_what_cannot_work_is_refused(field: str, wrong: dict[str, object]) -> None:
    """What cannot work is refused."""
    with pytest.raises(ConfigError) as caught:
        HttpClient(**{"base_url": "http://h", **wrong})
    assert caught.value.field == field


async def test_headers_cannot_smuggle_lines(serve: Serve) -> None:
    """Headers cannot smuggle lines."""
    server = await serve(answering(b""))
    async with client(server) as http:
        with pytest.raises(ConfigError):
            await http.get("/x", headers={"X": "a\r\nEvil: b"})
    assert server.connections == 0


@pytest.mark.fault("T18")
async def test_a_proxy_is_used_and_its_password_kept(serve: Serve) -> None:
    """A proxy is used and its password kept."""
    proxy = await serve(answering(b"by proxy"))
    url = f"http://me:hunter2@127.0.0.1:{proxy.port}"
    async with HttpClient("http://venue.example/api", proxy=url) as http:
        assert (await http.get("/x")).body == b"by proxy"
    head = proxy.peers[0].request
    assert head.startswith(b"GET http://venue.example/api/x HTTP/1.1")
    assert b"Proxy-Authorization: Basic bWU6aHVudGVyMg==" in head
    proxy.refuse_connections()
    async with HttpClient("http://venue.example/api", proxy=url) as http:
        with pytest.raises(ConnectFailedError) as caught:
            await http.get("/x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.fault("H02")
async def test_tls_is_verified(serve: Serve) -> None:
    """Tls is verified."""

    async def script(peer) -> None:
        await peer.gone()

    server = await serve(script)
    async with HttpClient(f"https://127.0.0.1:{server.port}") as http:
        with pytest.raises((ConnectFailedError, DeadlineError)):
            await http.get("/x", deadline_s=0.1)


@pytest.mark.fault("H01", "H02")
async def test_certificates_are_checked(serve: Serve, pki) -> None:
    """Certificates are checked against the authorities that are trusted."""
    server = await serve(answering(b"over TLS"), ssl=pki.context(pki.good))
    base = f"https://localhost:{server.port}"
    async with HttpClient(base, tls_ca_file=str(pki.ca)) as http:
        assert (await http.get("/x")).body == b"over TLS"
    async with HttpClient(base) as http:
        with pytest.raises(ConnectFailedError, match="certificate not accepted") as caught:
            await http.get("/x")
    assert caught.value.is_permanent
    expired = await serve(answering(b""), ssl=pki.context(pki.expired))
    base = f"https://localhost:{expired.port}"
    async with HttpClient(base, tls_ca_file=str(pki.ca)) as http:
        with pytest.raises(ConnectFailedError, match="certificate not accepted"):
            await http.get("/x")


async def test_a_server_without_tls_is_an_error_of_ours(serve: Serve) -> None:
    """A server without TLS is an error of ours."""

    async def script(peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.drain()

    server = await serve(script)
    async with HttpClient(f"https://127.0.0.1:{server.port}") as http:
        with pytest.raises(ConnectFailedError):
            await http.get("/x")


async def test_an_unusable_authority_file_is_named() -> None:
    """An unusable authority file is named."""
    async with HttpClient("https://127.0.0.1:1", tls_ca_file="/no/such/file") as http:
        with pytest.raises(ConfigError, match="tls_ca_file"):
            await http.get("/x")
