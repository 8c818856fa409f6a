"""A client of the simulator's own tests: raw sockets, own framing, and honest bookkeeping.

It shares no code with the product's client nor with the simulator's framing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import zlib
from collections import defaultdict
from urllib.parse import urlsplit

import pytest

DEADLINE_S = 10.0


class Closed(Exception):  # noqa: N818 - an answer to look at
    """The connection ended; `code` is 1006 without a close frame."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code} {reason}")


class WholeReader(asyncio.StreamReader):
    """A reader that gives out what had arrived before a reset, as a kernel does.

    asyncio's own forgets it: its next read raises, whatever is in its buffer.
    """

    def set_exception(self, exc):
        if isinstance(exc, ConnectionError):
            self.feed_eof()
        else:
            super().set_exception(exc)


async def open_connection(parts, tls):
    """Connect like `asyncio.open_connection`, with a `WholeReader`."""
    loop = asyncio.get_running_loop()
    reader = WholeReader(limit=1 << 26, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(
        lambda: protocol, parts.hostname, parts.port, ssl=tls
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class RawClient:
    """A WebSocket client in a few lines: text in, text out, pings answered."""

    def __init__(self, reader, writer) -> None:
        self._reader, self._writer = reader, writer
        self.answers_pings = True
        self.pings = []
        self._reading = None

    @classmethod
    async def connect(cls, url: str, *, tls=None):
        """Connect; a refusal raises Closed with the HTTP status."""
        parts = urlsplit(url)
        reader, writer = await open_connection(parts, tls)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        status = int(head.split(b" ")[1])
        if status != 101:
            writer.close()
            raise Closed(status, head.decode())
        return cls(reader, writer)

    async def send(self, message, opcode: int = 1) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.send_frame(data, opcode)
        # A connection that has ended is noticed by reading: what came before it is read first.
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def send_frame(self, data: bytes, opcode: int) -> None:
        mask = os.urandom(4)
        size = len(data)
        if size < 126:
            head = bytes([0x80 | opcode, 0x80 | size])
        elif size < 1 << 16:
            head = bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | opcode, 0x80 | 127]) + size.to_bytes(8, "big")
        body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self._writer.write(head + mask + body)

    async def receive(self, timeout_s: float = DEADLINE_S) -> bytes:
        """Return the next text message."""
        while True:
            opcode, data = await self._next_frame(timeout_s)
            if opcode in {1, 2}:
                return data
            if opcode == 9:
                self.pings.append(data)
                if self.answers_pings:
                    self.send_frame(data, 10)
            if opcode == 8:
                code = int.from_bytes(data[:2], "big") if data else 1005
                self.send_frame(data, 8)
                self._writer.close()
                raise Closed(code, data[2:].decode())

    async def _next_frame(self, timeout_s: float):
        """Wait for a frame; a timeout leaves the reading where it is, so that no byte is lost."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._frame())
        done, _ = await asyncio.wait({self._reading}, timeout=timeout_s)
        if not done:
            raise TimeoutError
        reading, self._reading = self._reading, None
        return reading.result()

    async def _frame(self):
        try:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = int.from_bytes(await self._reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self._reader.readexactly(8), "big")
            return first & 0x0F, await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Closed(1006) from None

    async def receive_json(self, timeout_s: float = DEADLINE_S):
        return json.loads(await self.receive(timeout_s))

    async def until_closed(self):
        """Return the messages up to the end, and how it ended."""
        found = []
        while True:
            try:
                found.append(await self.receive())
            except Closed as end:
                return found, end

    async def close(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Closed):
                await reading
        if not self._writer.is_closing():
            self._writer.close()
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(self._writer.wait_closed(), DEADLINE_S)


class Tally:
    """What a correct client counts, per stream, across connections."""

    def __init__(self) -> None:
        self.last = {}
        self.gaps = defaultdict(list)
        self.duplicates = defaultdict(int)
        self.events = defaultdict(int)
        self.volume = defaultdict(float)
        self.desyncs = defaultdict(int)
        self.bad = 0
        self._books = {}

    def id_event(self, stream, first: int, last: int, events: int = 1, volume: float = 0.0) -> None:
        known = self.last.get(stream)
        if known is not None:
            if last <= known:
                self.duplicates[stream] += events
                return
            if first > known + 1:
                self.gaps[stream].append((known + 1, first - 1))
        self.last[stream] = last
        self.events[stream] += events
        self.volume[stream] += volume

    def recent(self, stream, last: int, volume: float = 0.0) -> None:
        """Take a last_match: it may be news, it is never a repeat."""
        known = self.last.get(stream)
        if known is None:
            self.last[stream] = last
        elif last > known:
            self.id_event(stream, last, last, 1, volume)

    def take(self, venue: str, raw: bytes) -> list:
        """Count one message; return symbols whose book needs a new snapshot (Kraken)."""
        try:
            message = json.loads(raw)
        except ValueError:
            self.bad += 1
            return []
        return getattr(self, f"_take_{venue}")(message, raw) or []

    def _take_binance(self, message, _raw) -> None:
        data = message.get("data", message)
        if isinstance(data, list):
            return
        kind = data.get("e")
        if kind == "trade":
            self.id_event(("trade", data["s"]), data["t"], data["t"], 1, float(data["q"]))
        elif kind == "aggTrade":
            self.id_event(("aggTrade", data["s"]), data["a"], data["a"], 1, float(data["q"]))
        elif kind == "depthUpdate":
            self.id_event(("depth@100ms", data["s"]), data["U"], data["u"])

    def _take_coinbase(self, message, _raw) -> None:
        stream = ("matches", message.get("product_id"))
        if message["type"] == "match":
            self.id_event(
                stream, message["trade_id"], message["trade_id"], 1, float(message["size"])
            )
        elif message["type"] == "last_match":
            self.recent(stream, message["trade_id"], float(message["size"]))

    def _take_kraken(self, message, raw) -> list:
        if message.get("channel") == "trade":
            rows = message["data"]
            ids = [row["trade_id"] for row in rows]
            self.id_event(
                ("trade", rows[0]["symbol"]),
                ids[0],
                ids[-1],
                len(ids),
                sum(row["qty"] for row in rows),
            )
        elif message.get("channel") == "book":
            return self._take_kraken_book(message, raw)
        return []

    def _take_kraken_book(self, message, raw) -> list:
        data = json.loads(raw, parse_float=str, parse_int=str)["data"][0]
        symbol = data["symbol"]
        if message["type"] == "snapshot":
            self._books[symbol] = ({}, {})
        elif self._books.get(symbol) is None:
            return []
        sides = self._books[symbol]
        for side, name in zip(sides, ("bids", "asks"), strict=True):
            for level in data[name]:
                price = float(level["price"])
                if float(level["qty"]) == 0:
                    side.pop(price, None)
                else:
                    side[price] = (level["price"], level["qty"])
        best = [sorted(sides[0], reverse=True)[:10], sorted(sides[1])[:10]]
        for side, prices in zip(sides, best, strict=True):
            for price in set(side) - set(prices):
                del side[price]
        text = "".join(
            part.replace(".", "").lstrip("0")
            for side, prices in ((sides[1], best[1]), (sides[0], best[0]))
            for price in prices
            for part in side[price]
        )
        if zlib.crc32(text.encode()) != int(data["checksum"]):
            self.desyncs["book-10", symbol] += 1
            self._books[symbol] = None
            return [symbol]
        return []


@pytest.fixture
def raw_client():
    """The client class."""
    return RawClient


@pytest.fixture
def closed():
    """The exception of an ended connection."""
    return Closed


@pytest.fixture
def tally():
    """The bookkeeping class."""
    return Tally


async def rest(url: str, method: str = "GET", body: bytes = b"", headers: dict | None = None):
    """Request a URL over a raw socket; return (status, headers, body)."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 26)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n{more}\r\n".encode()
        + body
    )
    raw = await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()
    await writer.wait_closed()
    head, _, content = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    found = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split(" ")[1]), found, content


@pytest.fixture
def http():
    """The REST function."""
    return rest


def shape_of(value, path=""):
    """Return the shape of a message: paths of its keys with the form of each leaf.

    Forms tell numbers as text by their spelling: "d.8" is digits with eight decimals, "d" a
    trimmed decimal or integer text, "int", "num" JSON numbers.
    """
    if isinstance(value, dict):
        found = set()
        for key, one in value.items():
            found |= shape_of(one, f"{path}.{key}")
        return found | {(f"{path}{{}}", tuple(value))}
    if isinstance(value, list):
        found = {(f"{path}[]", "")}
        for one in value[:3]:
            found |= shape_of(one, f"{path}[]")
        return found
    return {(path, type(value).__name__)}


@pytest.fixture
def shape():
    """The shape function."""
    return shape_of
