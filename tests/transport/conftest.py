"""Hostile servers on loopback, both event loops, and a check that nothing is left behind."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import random
import socket
import ssl
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from hashlib import sha1
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crossfeed.errors import NotConnectedError
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.gate import VenueGate
from crossfeed.transport.manager import ConnectionState, WebSocketManager

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
DEADLINE_S = 5.0
LEFT_BEHIND_S = 2.0

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


ON_VIRTUAL_TIME = {"test_deadline.py", "test_gate.py", "test_limits.py", "test_rest_budget.py"}


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every async test of this folder on both loops, but those without sockets on one."""
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if item.path.name in ON_VIRTUAL_TIME:
        del loops["uvloop"]
    return loops


class Peer:
    """The server's side of one connection: byte for byte what a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request = b""

    async def read_request(self) -> bytes:
        """Read the upgrade request."""
        self.request = await self.reader.readuntil(b"\r\n\r\n")
        return self.request

    def accept_key(self) -> bytes:
        """Return the right answer to the request's key."""
        for line in self.request.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name.lower() == b"sec-websocket-key":
                return b64encode(sha1(value.strip() + GUID).digest())  # noqa: S324 - RFC 6455
        raise AssertionError("the request has no key")

    async def upgrade(self, *extra: bytes, accept: bytes | None = None) -> None:
        """Accept the upgrade, with further header lines."""
        await self.read_request()
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + (self.accept_key() if accept is None else accept),
            *extra,
        ]
        self.send(b"\r\n".join(lines) + b"\r\n\r\n")

    async def refuse(self, status: int, *extra: bytes, body: bytes = b"") -> None:
        """Answer the request with another status."""
        await self.read_request()
        lines = [
            f"HTTP/1.1 {status} Whatever".encode(),
            f"Content-Length: {len(body)}".encode(),
            *extra,
        ]
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        await self.drain()
        self.writer.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        if self.writer.transport.is_closing():
            raise ConnectionResetError  # asyncio would drop it, uvloop would complain
        self.writer.write(data)

    async def drain(self) -> None:
        """Wait until the bytes are with the system."""
        await self.writer.drain()

    def frame(self, opcode: int, payload: bytes = b"", **bits: Any) -> None:
        """Send one frame."""
        self.send(make_frame(opcode, payload, **bits))

    def text(self, payload: bytes) -> None:
        """Send one text message."""
        self.frame(TEXT, payload)

    async def read_frame(self) -> tuple[int, bytes]:
        """Read one frame of the client; it must be masked."""
        first, second = await self.reader.readexactly(2)
        assert second & 0x80, "the client's frames must be masked"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(length)
        return first & 0x0F, bytes(b ^ mask[i % 4] for i, b in enumerate(data))

    async def read_until(self, opcode: int) -> bytes:
        """Read frames until one of `opcode` comes; return its payload."""
        while True:
            got, payload = await self.read_frame()
            if got == opcode:
                return payload

    async def read_close(self) -> int:
        """Read frames until the client's close frame; return its code (0 if it has none)."""
        payload = await self.read_until(CLOSE)
        return int.from_bytes(payload[:2], "big")

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65536):
                pass


def make_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = False,
    length: int | None = None,
) -> bytes:
    """Build one frame, right or wrong; `length` is the length it claims."""
    size = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    flag = masked << 7
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + struct.pack("!H", size)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", size)
    if masked:
        head += b"\0\0\0\0"
    return head + payload


Script = Callable[[Peer], Awaitable[None]]


class HostileServer:
    """Runs the n-th script for the n-th connection, the last one for all further ones."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.connections = 0
        self.errors: list[BaseException] = []
        self.peers: list[Peer] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *, port: int = 0, **options: Any) -> "HostileServer":
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, **options)
        return self

    @property
    def port(self) -> int:
        """Port it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """WebSocket address of the server."""
        return f"ws://127.0.0.1:{self.port}/ws"

    def refuse_connections(self) -> None:
        """Stop listening; what is connected stays."""
        assert self._server is not None
        self._server.close()

    async def idle(self) -> None:
        """Wait until every connection so far has ended."""
        async with asyncio.timeout(DEADLINE_S):
            while self._tasks:
                await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            await script(peer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client went away: that is its right, and what many tests are about.
        except asyncio.CancelledError:
            pass  # The end of the test.
        except BaseException as exc:  # noqa: BLE001 - shown by stop()
            self.errors.append(exc)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        """Close everything; fail the test if a script failed."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for peer in self.peers:
            # CPython up to 3.11.4 cannot abort a TLS transport that was closed twice: it is over.
            with contextlib.suppress(AttributeError):
                peer.writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DEADLINE_S)
        await self._server.wait_closed()
        if self.errors:
            raise self.errors[0]


class Serve:
    """Starts hostile servers, and has the scripts that several tests need."""

    def __init__(self) -> None:
        self.servers: list[HostileServer] = []

    async def __call__(self, *scripts: Script, **options: Any) -> HostileServer:
        """Start a server."""
        server = await HostileServer(*scripts).start(**options)
        self.servers.append(server)
        return server

    @staticmethod
    async def quiet(peer: Peer) -> None:
        """Accept, then answer the close."""
        await peer.upgrade()
        payload = await peer.read_until(CLOSE)
        peer.frame(CLOSE, payload)
        await peer.gone()

    @staticmethod
    def sending(*messages: bytes, then: bytes = b"\x03\xe8") -> Script:
        """Return a script that is told to go, sends messages and closes with the payload `then`."""

        async def script(peer: Peer) -> None:
            await peer.upgrade()
            await peer.read_until(TEXT)
            for message in messages:
                peer.text(message)
            peer.frame(CLOSE, then)
            await peer.gone()

        return script

    @staticmethod
    def refusing(status: int, *headers: bytes, body: bytes = b"") -> Script:
        """Return a script that refuses the upgrade."""

        async def script(peer: Peer) -> None:
            await peer.refuse(status, *headers, body=body)

        return script


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Yield what starts hostile servers; all are stopped after the test."""
    serving = Serve()
    yield serving
    for server in serving.servers:
        await server.stop()


# Python 3.13 is strict (RFC 5280): an authority says what it may do, a certificate who made it.
CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def issued_by(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    """Name the key a certificate is signed with."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Make a certificate authority of our own and certificates of all kinds."""
    folder = tmp_path_factory.mktemp("pki")
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "crossfeed test authority")])

    def write(name: str, key: ec.EllipticCurvePrivateKey, cert: x509.Certificate) -> Path:
        path = folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + cert.public_bytes(serialization.Encoding.PEM)
        )
        return path

    def make(name: str, host: str, *, until: dt.datetime = now + day, own: bool = False) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        if host == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        cert = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if own else ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * day)
            .not_valid_after(until)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(issued_by(key if own else ca_key), critical=False)
            .sign(key if own else ca_key, hashes.SHA256())
        )
        return write(name, key, cert)

    ca_cert = (
        x509.CertificateBuilder()
        .subject_name(ca_name)
        .issuer_name(ca_name)
        .public_key(ca_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False
        )
        .add_extension(CA_USAGE, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    ca = folder / "ca.pem"
    ca.write_bytes(ca_cert.public_bytes(serialization.Encoding.PEM))

    def context(pem: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(pem)
        made.maximum_version = newest
        return made

    return SimpleNamespace(
        ca=ca,
        context=context,
        good=make("good", "localhost"),
        expired=make("expired", "localhost", until=now - day),
        wrong_host=make("wrong_host", "elsewhere.example"),
        self_signed=make("self_signed", "localhost", own=True),
    )


def quick(url: str, **config: object) -> dict[str, object]:
    """Return a configuration whose waits are short."""
    return {
        "url": url,
        "name": "test",
        "backoff_base_s": 0.01,
        "backoff_cap_s": 0.02,
        "backoff_overload_s": 0.03,
        "backoff_permanent_s": 0.02,
        "breaker_cooldown_s": 0.02,
        "breaker_cooldown_max_s": 0.04,
        "close_timeout_s": 0.05,
        "connect_timeout_s": 2.0,
        **config,
    }


class Watched:
    """A manager and what it told."""

    def __init__(
        self, url: str, *, gate: VenueGate | None = None, go: bool = True, **config: object
    ) -> None:
        self.manager = WebSocketManager(
            WebSocketConfig(**quick(url, **config)), random=random.Random(1), gate=gate
        )
        self.messages: list[object] = []
        self.errors: list[BaseException] = []
        self.states: list[tuple[ConnectionState, ConnectionState]] = []
        self.changed = asyncio.Event()
        self.manager.on_message(self._note(self.messages))
        self.manager.on_error(self._note(self.errors))
        self.manager.on_state_change(lambda old, new: self._note(self.states)((old, new)))
        if go:
            self.manager.on_state_change(self._say_go)

    async def _say_go(self, _old: ConnectionState, new: ConnectionState) -> None:
        """Tell the server that we are connected and may be sent things, or closed."""
        if new is ConnectionState.CONNECTED:
            with contextlib.suppress(NotConnectedError):
                await self.manager.send_text(b"go")

    def _note(self, kept: list) -> Callable[[object], None]:
        def note(item: object) -> None:
            kept.append(item)
            self.changed.set()

        return note

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, looked at after each thing told."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def path(self) -> list[ConnectionState]:
        """The states gone through."""
        return [new for _, new in self.states]


@pytest.fixture
async def watch() -> AsyncIterator[Callable[..., Watched]]:
    """Return `watch(url, ...)`: a watched manager, closed after the test."""
    made: list[Watched] = []

    def start(url: str, **config: object) -> Watched:
        made.append(Watched(url, **config))
        return made[-1]

    yield start
    for watched in made:
        await watched.manager.close()


@pytest.fixture(autouse=True)
async def leaves_no_task() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind; one that is about to end may do so."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=LEFT_BEHIND_S)
    if not left:
        return
    raise AssertionError(f"tasks left behind: {left}")
