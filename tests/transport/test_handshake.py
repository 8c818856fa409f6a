"""Connecting to servers that refuse, stall, lie or send elsewhere."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossfeed.errors import (
    ConfigError,
    ConnectFailedError,
    DeadlineError,
    HandshakeRejectedError,
    TransportError,
)
from crossfeed.runtime.clock import SystemClock
from crossfeed.transport.address import Address, Resolver
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.handshake import make_tls_context, parse_retry_after
from crossfeed.transport.limits import SendBudget
from crossfeed.transport.reconnect import Refusal, classify
from crossfeed.transport.wallclock import WallOffset
from crossfeed.transport.websocket import WebSocketConnection

TEXT, CLOSE = 0x1, 0x8
DEADLINE_S = 5.0

Serve = Callable[..., Awaitable[object]]


async def dial(
    url: str,
    *,
    resolver: Resolver | None = None,
    tls: ssl.SSLContext | None = None,
    **config: object,
) -> WebSocketConnection:
    """Connect and return the open connection."""
    clock = SystemClock()
    connection = WebSocketConnection(
        WebSocketConfig(url=url, name="test", **config),
        url,
        on_frame=lambda *_: None,
        budget=SendBudget(limit=0, window_s=1.0),
        wall=WallOffset(clock),
    )
    async with asyncio.timeout(DEADLINE_S):
        await connection.open(resolver=resolver or Resolver(clock), tls=tls)
    return connection


async def fails(url: str, **config: object) -> TransportError:
    """Return the error that connecting must end in."""
    with pytest.raises(TransportError) as caught:
        await dial(url, **config)
    return caught.value


async def accept(peer) -> None:
    """Accept and stay until the client goes."""
    await peer.upgrade()
    await peer.gone()


# ── what is asked ─────────────────────────────────────────────────────────────


async def test_the_request_is_right(serve: Serve) -> None:
    """The request is right."""
    server = await serve(accept)
    connection = await dial(server.url + "?streams=a/b", headers={"X-Key": "k"}, user_agent="me/1")
    connection.abort()
    await connection.close()
    lines = server.peers[0].request.split(b"\r\n")
    assert lines[0] == b"GET /ws?streams=a/b HTTP/1.1"
    fields = dict(line.split(b": ", 1) for line in lines[1:] if line)
    assert fields[b"Host"] == b"127.0.0.1:%d" % server.port
    assert fields[b"Upgrade"] == b"websocket"
    assert fields[b"Sec-WebSocket-Version"] == b"13"
    assert fields[b"User-Agent"] == b"me/1"
    assert fields[b"X-Key"] == b"k"
    assert b"Sec-WebSocket-Extensions" not in fields


async def test_headers_go_to_the_address_that_was_chosen(serve: Serve) -> None:
    """The url provider may choose another host than the configuration's: it is trusted as well."""
    server = await serve(accept)
    config = WebSocketConfig(url="ws://elsewhere.example/", headers={"X-Key": "k"})
    clock = SystemClock()
    connection = WebSocketConnection(
        config,
        server.url,
        on_frame=lambda *_: None,
        budget=SendBudget(limit=0, window_s=1.0),
        wall=WallOffset(clock),
    )
    await connection.open(resolver=Resolver(clock), tls=None)
    connection.abort()
    await connection.close()
    assert b"X-Key: k" in server.peers[0].request


async def test_sockets_are_tuned_against_dead_peers(serve: Serve) -> None:
    """Sockets are tuned against dead peers."""
    import socket

    server = await serve(accept)
    connection = await dial(server.url, tcp_user_timeout_s=7)
    sock = connection._transport.underlying_transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
    connection.abort()
    await connection.close()


# ── refusals ──────────────────────────────────────────────────────────────────


@pytest.mark.fault("H07")
@pytest.mark.parametrize("status", [401, 403, 451])
async def test_permanent_refusals_are_known_as_such(serve: Serve, status: int) -> None:
    """Permanent refusals are known as such."""
    server = await serve(serve.refusing(status))
    error = await fails(server.url)
    assert isinstance(error, HandshakeRejectedError)
    assert error.status == status
    assert error.is_permanent
    assert classify(error) is Refusal.PERMANENT


@pytest.mark.fault("H05", "H06")
@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [(429, b"Retry-After: 17", 17.0), (418, b"retry-after:  3600 ", 3600.0), (429, b"X: y", None)],
)
async def test_retry_after_is_read(
    serve: Serve, status: int, header: bytes, seconds: float | None
) -> None:
    """Retry after is read."""
    server = await serve(serve.refusing(status, header))
    error = await fails(server.url)
    assert isinstance(error, HandshakeRejectedError)
    assert (error.status, error.retry_after_s) == (status, seconds)


@pytest.mark.fault("H08")
@pytest.mark.parametrize("status", [500, 502, 503, 520, 599])
async def test_server_errors_pass(serve: Serve, status: int) -> None:
    """Server errors pass."""
    server = await serve(serve.refusing(status))
    error = await fails(server.url)
    assert isinstance(error, HandshakeRejectedError)
    assert error.status == status
    assert classify(error) is Refusal.PASSING


@pytest.mark.fault("H12")
async def test_a_web_page_is_shown_short_and_escaped(serve: Serve) -> None:
    """A web page is shown short and escaped."""
    page = b"<html>\n\x1b[31m" + b"forged " * 1000
    server = await serve(serve.refusing(200, b"Content-Type: text/html", body=page))
    error = await fails(server.url)
    assert isinstance(error, HandshakeRejectedError)
    assert error.status == 200
    assert "<html>\\x0a\\x1b[31mforged" in str(error)
    assert len(str(error)) < 300
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", 502),
        (b"HTTP/1.1 999 Odd\r\n\r\n", 999),
        (b"HTTP/2 200 OK\r\n\r\n", 0),
        (b"SSH-2.0-OpenSSH_9.7\r\n\r\n", 0),
        (b"\xff\xfe\r\n\r\n", 0),
        (b"HTTP/1.1 abc No\r\n\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n", 200),
    ],
)
async def test_answers_that_are_no_http_of_ours(serve: Serve, answer: bytes, status: int) -> None:
    """Answers that are no HTTP of ours."""

    async def script(peer) -> None:
        await peer.read_request()
        peer.send(answer)
        await peer.gone()

    server = await serve(script)
    error = await fails(server.url)
    assert isinstance(error, HandshakeRejectedError)
    assert error.status == status


@pytest.mark.fault("H10")
@pytest.mark.parametrize(
    ("accept_key", "extra"),
    [
        (b"AAAAAAAAAAAAAAAAAAAAAAAAAAA=", ()),
        (b"", ()),
        (None, (b"Sec-WebSocket-Extensions: permessage-deflate",)),
        (None, (b"Sec-WebSocket-Protocol: chat",)),
        (None, (b"Content-Length: 5",)),
        (None, (b"Transfer-Encoding: chunked",)),
    ],
)
async def test_lies_in_the_upgrade_fail_the_handshake(
    serve: Serve, accept_key: bytes | None, extra: tuple[bytes, ...]
) -> None:
    """Lies in the upgrade fail the handshake."""

    async def script(peer) -> None:
        await peer.upgrade(*extra, accept=accept_key)
        await peer.gone()

    server = await serve(script)
    error = await fails(server.url)
    assert isinstance(error, HandshakeRejectedError)
    assert error.status == 101
    assert str(error).startswith("ws://127.0.0.1")


@pytest.mark.fault("H10")
async def test_an_upgrade_to_something_else_fails(serve: Serve) -> None:
    """An upgrade to something else fails."""

    async def script(peer) -> None:
        await peer.read_request()
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
        )
        await peer.gone()

    server = await serve(script)
    assert isinstance(await fails(server.url), HandshakeRejectedError)


@pytest.mark.fault("H11")
@pytest.mark.parametrize("line", [b"X-Pad: " + b"y" * 1000 + b"\r\n", b"z" * 4096, b"A: b\r\n"])
async def test_endless_headers_are_cut(serve: Serve, line: bytes) -> None:
    """Endless headers are cut."""
    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def script(peer) -> None:
        await peer.read_request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")
        sent = 0
        try:
            for _ in range(1_000_000):
                peer.send(line * 10)
                sent += len(line) * 10
                await peer.drain()
                await asyncio.sleep(0)
        except OSError:
            pass
        finally:
            stopped.set_result(sent)

    server = await serve(script)
    error = await fails(server.url)
    assert isinstance(error, HandshakeRejectedError)
    async with asyncio.timeout(DEADLINE_S):
        await stopped


async def test_many_headers_are_refused(serve: Serve) -> None:
    """Many headers are refused."""

    async def script(peer) -> None:
        await peer.upgrade(*(b"X-%d: y" % number for number in range(200)))
        await peer.gone()

    server = await serve(script)
    assert "128 headers" in str(await fails(server.url))


async def test_a_server_that_hangs_up_in_the_handshake(serve: Serve) -> None:
    """A server that hangs up in the handshake."""

    async def silent(peer) -> None:
        await peer.read_request()

    async def half(peer) -> None:
        await peer.read_request()
        peer.send(b"HTTP/1.1 101 Swit")
        await peer.drain()

    async def reset(peer) -> None:
        await peer.read_request()
        peer.reset()

    for script in (silent, half, reset):
        server = await serve(script)
        error = await fails(server.url)
        assert isinstance(error, ConnectFailedError), script
        assert "hung up during the handshake" in str(error)


# ── stalls ────────────────────────────────────────────────────────────────────


@pytest.mark.fault("H04")
async def test_a_stalled_upgrade_ends_in_time(serve: Serve) -> None:
    """A stalled upgrade ends in time."""
    server = await serve(lambda peer: peer.gone())
    error = await fails(server.url, connect_timeout_s=0.1)
    assert isinstance(error, DeadlineError)
    assert isinstance(error, TimeoutError)
    await server.idle()  # the socket was closed


@pytest.mark.fault("H04", "T07")
async def test_a_dripping_upgrade_ends_in_time(serve: Serve) -> None:
    """A dripping upgrade ends in time."""

    async def drip(peer) -> None:
        await peer.read_request()
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n" * 100:
            peer.send(bytes([byte]))
            await peer.drain()
            await asyncio.sleep(0.01)

    server = await serve(drip)
    assert isinstance(await fails(server.url, connect_timeout_s=0.1), DeadlineError)


@pytest.mark.fault("H04")
async def test_a_stalled_tls_handshake_ends_in_time(serve: Serve) -> None:
    """A stalled TLS handshake ends in time."""
    server = await serve(lambda peer: peer.gone())
    url = server.url.replace("ws:", "wss:")
    tls = ssl.create_default_context()
    assert isinstance(await fails(url, connect_timeout_s=0.1, tls=tls), DeadlineError)
    await server.idle()


# ── redirects ─────────────────────────────────────────────────────────────────


@pytest.mark.fault("H09")
async def test_a_redirect_to_the_same_host_is_followed(serve: Serve) -> None:
    """A redirect to the same host is followed."""

    async def script(peer) -> None:
        request = await peer.read_request()
        if b"GET /ws " in request:
            peer.send(b"HTTP/1.1 307 Moved\r\nLocation: /v2\r\n\r\n")
            return
        peer.request = request
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + peer.accept_key() + b"\r\n\r\n"
        )
        await peer.gone()

    server = await serve(script)
    connection = await dial(server.url, headers={"X-Token": "secret"})
    assert b"GET /v2 " in server.peers[1].request
    assert b"X-Token: secret" in server.peers[1].request
    connection.abort()
    await connection.close()


@pytest.mark.fault("H09")
async def test_endless_redirects_end(serve: Serve) -> None:
    """Endless redirects end."""
    server = await serve(serve.refusing(302, b"Location: /again"))
    error = await fails(server.url, redirects_max=3)
    assert "more than 3 redirects" in str(error)
    assert server.connections == 4


@pytest.mark.fault("H09")
@pytest.mark.parametrize(
    "location",
    [
        b"ws://169.254.169.254/latest/meta-data",
        b"ws://localhost:1/",
        b"http://127.0.0.1:1/",
        b"file:///etc/passwd",
        b"//evil.example/ws",
        b"ws://127.0.0.1:99999/",
        b"ws://user:pw@[::1",
        b"/a b",
    ],
)
async def test_redirects_elsewhere_are_not_followed(serve: Serve, location: bytes) -> None:
    """Redirects elsewhere are not followed."""
    server = await serve(serve.refusing(301, b"Location: " + location))
    error = await fails(server.url)
    assert isinstance(error, HandshakeRejectedError)
    assert error.status == 301
    assert "not followed" in str(error)
    assert "pw" not in str(error)
    assert server.connections == 1


@pytest.mark.fault("H09")
async def test_secrets_are_not_sent_on_to_an_allowed_other_host(serve: Serve) -> None:
    """Secrets are not sent on to an allowed other host."""
    target = await serve(accept)
    location = f"Location: ws://localhost:{target.port}/ws".encode()
    server = await serve(serve.refusing(308, location))
    connection = await dial(
        server.url, redirect_hosts=("localhost",), headers={"Authorization": "secret"}
    )
    assert b"secret" in server.peers[0].request
    assert b"secret" not in target.peers[0].request
    connection.abort()
    await connection.close()


@pytest.mark.fault("H09")
async def test_tls_is_not_given_up_by_a_redirect(serve: Serve, pki: SimpleNamespace) -> None:
    """Tls is not given up by a redirect."""
    plain = await serve(accept)
    location = f"Location: ws://localhost:{plain.port}/".encode()
    server = await serve(serve.refusing(302, location), ssl=pki.context(pki.good))
    url = f"wss://localhost:{server.port}/"
    error = await fails(url, tls=make_tls_context(str(pki.ca)))
    assert "another scheme" in str(error)
    assert plain.connections == 0


# ── TLS ───────────────────────────────────────────────────────────────────────


async def test_a_verified_server_is_taken(serve: Serve, pki: SimpleNamespace) -> None:
    """A verified server is taken."""
    got = asyncio.Event()

    async def script(peer) -> None:
        await peer.upgrade()
        peer.text(b"over TLS")
        await peer.read_close()
        got.set()

    server = await serve(script, ssl=pki.context(pki.good))
    tls = make_tls_context(str(pki.ca))
    connection = await dial(f"wss://localhost:{server.port}/", tls=tls)
    async with asyncio.timeout(DEADLINE_S):
        await connection.close()
        await got.wait()
    assert connection.message_count == 1


@pytest.mark.fault("H01", "H02")
@pytest.mark.parametrize("kind", ["expired", "wrong_host", "self_signed"])
async def test_bad_certificates_are_refused_for_good(
    serve: Serve, pki: SimpleNamespace, kind: str
) -> None:
    """Bad certificates are refused for good."""
    server = await serve(accept, ssl=pki.context(getattr(pki, kind)))
    tls = make_tls_context(str(pki.ca))
    error = await fails(f"wss://localhost:{server.port}/", tls=tls)
    assert isinstance(error, ConnectFailedError)
    assert "certificate not accepted" in str(error)
    assert error.is_permanent
    assert classify(error) is Refusal.PERMANENT


@pytest.mark.fault("H02")
async def test_an_unknown_authority_is_refused(serve: Serve, pki: SimpleNamespace) -> None:
    """An unknown authority is refused."""
    server = await serve(accept, ssl=pki.context(pki.good))
    error = await fails(f"wss://localhost:{server.port}/", tls=make_tls_context())
    assert error.is_permanent


@pytest.mark.fault("H03")
async def test_old_tls_is_refused(serve: Serve, pki: SimpleNamespace) -> None:
    """Old TLS is refused."""
    context = pki.context(pki.good)
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    server = await serve(accept, ssl=context)
    error = await fails(f"wss://localhost:{server.port}/", tls=make_tls_context(str(pki.ca)))
    assert isinstance(error, ConnectFailedError)


async def test_a_server_without_tls_where_tls_was_asked_for(serve: Serve) -> None:
    """A server without TLS where TLS was asked for."""

    async def script(peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.drain()

    server = await serve(script)
    url = server.url.replace("ws:", "wss:")
    error = await fails(url, tls=make_tls_context())
    assert isinstance(error, ConnectFailedError)


@pytest.mark.fault("T01")
async def test_a_cut_under_tls_is_a_lost_connection(serve: Serve, pki: SimpleNamespace) -> None:
    """A cut under TLS is a lost connection."""

    async def script(peer) -> None:
        await peer.upgrade()
        peer.frame(TEXT, b"half", length=100)
        await peer.drain()
        peer.reset()

    server = await serve(script, ssl=pki.context(pki.good))
    tls = make_tls_context(str(pki.ca))
    connection = await dial(f"wss://localhost:{server.port}/", tls=tls)
    async with asyncio.timeout(DEADLINE_S):
        error = await connection.wait_closed()
        await connection.close()
    assert error.close_code == 1006
    assert connection.message_count == 0


def test_an_unusable_authority_file_is_a_configuration_error(tmp_path: Path) -> None:
    """An unusable authority file is a configuration error."""
    for path in (tmp_path / "absent.pem", tmp_path):
        with pytest.raises(ConfigError) as caught:
            make_tls_context(str(path))
        assert caught.value.field == "tls_ca_file"
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    with pytest.raises(ConfigError):
        make_tls_context(str(empty))


# ── addresses ─────────────────────────────────────────────────────────────────


@pytest.mark.fault("T13")
async def test_a_refused_connection_says_so(serve: Serve) -> None:
    """A refused connection says so."""
    server = await serve(accept)
    url = server.url
    server.refuse_connections()
    error = await fails(url)
    assert isinstance(error, ConnectFailedError)
    assert "Connect call failed" in str(error) or "refused" in str(error).lower()


@pytest.mark.fault("T15")
async def test_an_unknown_name_says_so() -> None:
    """An unknown name says so."""
    error = await fails("ws://no-such-host.invalid/")
    assert isinstance(error, ConnectFailedError)
    assert "cannot look up no-such-host.invalid" in str(error)
    assert str(error).startswith("ws://no-such-host.invalid/")


@pytest.mark.fault("T17")
async def test_the_first_of_several_addresses_may_be_dead(serve: Serve) -> None:
    """The first of several addresses may be dead."""
    server = await serve(accept)

    async def lookup(_host: str, port: int) -> list[Address]:
        dead = [Address(2, ("127.0.0.1", 1)), Address(2, ("127.0.0.2", 1))]
        return [*dead, Address(2, ("127.0.0.1", port))]

    resolver = Resolver(SystemClock(), lookup)
    connection = await dial(f"ws://venue.example:{server.port}/", resolver=resolver)
    assert connection.is_open
    connection.abort()
    await connection.close()


# ── proxies ───────────────────────────────────────────────────────────────────


async def connect_proxy(peer) -> None:
    """Be a CONNECT proxy that plays the target itself."""
    head = await peer.reader.readuntil(b"\r\n\r\n")
    peer.connect_head = head
    peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await accept(peer)


@pytest.mark.fault("T18")
async def test_an_http_proxy_is_used_and_told_the_name(serve: Serve) -> None:
    """An HTTP proxy is used and told the name."""
    proxy = await serve(connect_proxy)
    connection = await dial(
        "ws://venue.example:8080/ws", proxy=f"http://me:hunter2@127.0.0.1:{proxy.port}"
    )
    head = proxy.peers[0].connect_head
    assert head.startswith(b"CONNECT venue.example:8080 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6aHVudGVyMg==" in head
    assert b"GET /ws HTTP/1.1" in proxy.peers[0].request
    connection.abort()
    await connection.close()


@pytest.mark.fault("T18")
@pytest.mark.parametrize(
    ("answer", "is_permanent"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", True),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", False),
        (b"garbage\r\n\r\n", False),
        (b"", False),
    ],
)
async def test_a_proxy_that_fails_says_so_without_its_password(
    serve: Serve, answer: bytes, *, is_permanent: bool
) -> None:
    """A proxy that fails says so without its password."""

    async def script(peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.send(answer)
        await peer.drain()

    proxy = await serve(script)
    error = await fails(
        "ws://venue.example:8080/", proxy=f"http://me:hunter2@127.0.0.1:{proxy.port}"
    )
    assert isinstance(error, ConnectFailedError)
    assert error.is_permanent is is_permanent
    assert "hunter2" not in str(error)
    assert "***@127.0.0.1" in str(error)


@pytest.mark.fault("T18")
async def test_a_proxy_that_stalls_ends_in_time(serve: Serve) -> None:
    """A proxy that stalls ends in time."""
    proxy = await serve(lambda peer: peer.gone())
    error = await fails(
        "ws://venue.example:8080/", proxy=f"http://127.0.0.1:{proxy.port}", connect_timeout_s=0.1
    )
    assert isinstance(error, DeadlineError)
    await proxy.idle()


@pytest.mark.fault("T18")
async def test_a_proxy_that_is_not_there_says_so(serve: Serve) -> None:
    """A proxy that is not there says so."""
    proxy = await serve(accept)
    port = proxy.port
    proxy.refuse_connections()
    error = await fails("ws://venue.example:8080/", proxy=f"http://me:hunter2@127.0.0.1:{port}")
    assert isinstance(error, ConnectFailedError)
    assert "hunter2" not in str(error)


async def socks_proxy(peer) -> None:
    """Be a SOCKS5 proxy with a password that plays the target itself."""
    read = peer.reader.readexactly
    _, methods = await read(2)
    await read(methods)
    peer.send(b"\x05\x02")
    _, length = await read(2)
    user = await read(length)
    (length,) = await read(1)
    peer.login = user, await read(length)
    peer.send(b"\x01\x00")
    await read(4)
    (length,) = await read(1)
    peer.target = await read(length + 2)
    peer.send(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    await accept(peer)


@pytest.mark.fault("T18")
async def test_a_socks_proxy_is_used(serve: Serve) -> None:
    """A SOCKS proxy is used."""
    proxy = await serve(socks_proxy)
    connection = await dial(
        "ws://venue.example:8080/ws", proxy=f"socks5://me:hunter2@127.0.0.1:{proxy.port}"
    )
    assert proxy.peers[0].login == (b"me", b"hunter2")
    assert proxy.peers[0].target == b"venue.example\x1f\x90"
    connection.abort()
    await connection.close()


@pytest.mark.fault("T18")
async def test_a_socks_proxy_that_refuses_says_so(serve: Serve) -> None:
    """A SOCKS proxy that refuses says so."""

    async def script(peer) -> None:
        await peer.reader.readexactly(3)
        peer.send(b"\x05\xff")
        await peer.drain()

    proxy = await serve(script)
    error = await fails("ws://venue.example:8080/", proxy=f"socks5://127.0.0.1:{proxy.port}")
    assert isinstance(error, ConnectFailedError)
    assert f"proxy socks5://127.0.0.1:{proxy.port}" in str(error)


# ── Retry-After ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10.0),
        ("Wed, 21 Oct 2015 07:27:40 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("9999999999", None),
        ("१२", None),
        ("12.5", None),
    ],
)
def test_retry_after_values(text: str, seconds: float | None) -> None:
    """Retry after values."""
    now_ns = 1_445_412_470 * 10**9  # ten seconds before 07:28:00
    assert parse_retry_after(text, now_ns) == seconds
