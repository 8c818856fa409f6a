"""The load generator: one process that serves pre-built frames and is never the bottleneck.

    python -m crossfeed.cli.bench.server '{"feeds": [...], "seed": 1}'

Prints the ports, then obeys lines on its standard input: `go RATE COUNT` sends so many messages
(0: all) to whoever subscribed them, at RATE a second (0: as fast as they are taken); `quit` ends
it. Each connection is served by a thread that does nothing but `sendall`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from crossfeed.cli.bench.tapes import Feed, Tape, make_tape
from crossfeed.simulator.tls import server_context

__all__ = ["ServerOrder", "main"]

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHUNK: Final = 1 << 16
SHORT: Final = 126
MEDIUM: Final = 1 << 16
OP_TEXT: Final = 1
OP_CLOSE: Final = 8
OP_PING: Final = 9


AGGREGATE: Final = re.compile(rb'"e":"trade"(.*?)"t":(\d+)(.*?),"T":')


class ServerOrder(Struct, frozen=True, kw_only=True):
    """What to serve.

    Attributes:
        feeds: One port each.
        seed: Of the tapes.
        tls_folder: Certificates (made at first use); empty: plain.
    """

    feeds: tuple[Feed, ...]
    seed: int = 1
    tls_folder: str = ""


class _Line:
    """One WebSocket connection and what it subscribed."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.keys: dict[str, None] = {}
        self.is_bare = False
        self.lock = threading.Lock()
        self.is_flooded = False

    def send(self, payload: bytes, opcode: int = OP_TEXT) -> None:
        """Send one frame; not any more once the tape runs, whose chunks end anywhere."""
        with self.lock:
            if not self.is_flooded:
                self.link.sendall(frame_of(payload, opcode))


class _Venue:
    """One venue's port."""

    def __init__(self, feed: Feed, seed: int, tls: ssl.SSLContext | None) -> None:
        self.feed = feed
        self.tls = tls
        self.answers = ANSWERS[feed.protocol]
        self.tape: Tape = make_tape(feed, seed)
        self.lines: list[_Line] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])

    def serve(self) -> None:
        """Take connections until the process ends."""
        while True:
            link, _ = self.listener.accept()
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        try:
            if self.tls is not None:
                link = self.tls.wrap_socket(link, server_side=True)
            reader = link.makefile("rb")
            while self._answer(link, reader):
                pass
        except OSError:
            pass
        finally:  # the next client is another one
            self.lines = [line for line in self.lines if line.link is not link]
            link.close()

    def _answer(self, link: socket.socket, reader: Any) -> bool:  # noqa: ANN401 - a socket's file
        """Answer one HTTP request; return whether there may be another."""
        request = reader.readline().decode()
        headers: dict[str, str] = {}
        while (text := reader.readline().decode().strip()) != "":
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        if not request:
            return False
        path, _, query = request.split()[1].partition("?")
        if "websocket" not in headers.get("upgrade", "").lower():
            symbol = next((q[7:] for q in query.split("&") if q.startswith("symbol=")), "")
            body = self.tape.rest.get(f"{path}?{symbol}" if symbol else path)
            status = "200 OK" if body is not None else "404 Not Found"
            body = body or b"{}"
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            link.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            return True
        key = headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()  # noqa: S324
        link.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        line = _Line(link)
        line.is_bare = path.startswith("/ws")
        named = query.removeprefix("streams=") if "streams=" in query else path[4:]
        if self.feed.protocol == "binance":
            line.keys |= dict.fromkeys(filter(None, named.split("/")))
        self.lines.append(line)
        while (received := read_frame(reader)) is not None:
            opcode, payload = received
            if opcode == OP_CLOSE:
                line.send(payload, OP_CLOSE)
                return False
            if opcode == OP_PING:
                line.send(payload, OP_PING + 1)
            elif opcode == OP_TEXT:
                self._subscribe(line, msgspec.json.decode(payload))
        return False

    def _subscribe(self, line: _Line, asked: dict[str, Any]) -> None:
        answers, fresh = self.answers(line, asked)
        for answer in answers:
            line.send(msgspec.json.encode(answer))
        for key in fresh:
            for frame in self.tape.first.get(key, ()):
                line.send(frame)

    def load(self) -> list[tuple[_Line, bytes]]:
        """Give each message to the connection that subscribed it, the last one to ask."""
        owner = {
            key.replace("@aggTrade", "@trade"): (line, key)
            for line in self.lines
            for key in line.keys
        }
        found: list[tuple[_Line, bytes]] = []
        for key, payload in self.tape.frames:
            line, asked = owner.get(key, (None, ""))
            if line is None:
                continue
            if line.is_bare:
                payload = payload[payload.index(b'"data":') + 7 : -1]  # noqa: PLW2901 - its content
            if asked != key:
                payload = _aggregated(payload)  # noqa: PLW2901 - the same trade in other words
            found.append((line, frame_of(payload, OP_TEXT)))
        return found


def _aggregated(payload: bytes) -> bytes:
    """Tell a trade as Binance's `aggTrade` of that one trade."""
    words = rb'"e":"aggTrade"\1"a":\2\3,"f":\2,"l":\2,"T":'
    return AGGREGATE.sub(words, payload).replace(b"@trade", b"@aggTrade", 1)


Answers = tuple[list[dict[str, Any]], list[str]]


def _binance(line: _Line, asked: dict[str, Any]) -> Answers:
    keys: list[str] = list(asked.get("params") or ())
    line.keys |= dict.fromkeys(keys)
    return [{"result": None, "id": asked.get("id")}], keys


def _coinbase(line: _Line, asked: dict[str, Any]) -> Answers:
    products = asked.get("product_ids") or ()
    fresh: list[str] = []
    for entry in asked.get("channels", ()):
        name = entry if isinstance(entry, str) else entry["name"]
        own = products if isinstance(entry, str) else entry.get("product_ids") or products
        fresh += [f"{name}/{product}" for product in own]
    line.keys |= dict.fromkeys(fresh)
    listed: dict[str, list[str]] = {}
    for key in line.keys:
        name, _, product = key.partition("/")
        listed.setdefault(name, []).append(product)
    channels = [{"name": name, "product_ids": ids} for name, ids in listed.items()]
    return [{"type": "subscriptions", "channels": channels}], fresh


def _kraken(line: _Line, asked: dict[str, Any]) -> Answers:
    if asked["method"] == "ping":
        return [{"method": "pong", "req_id": asked.get("req_id", 0)}], []
    params = asked["params"]
    fresh = [f"{params['channel']}/{symbol}" for symbol in params["symbol"]]
    line.keys |= dict.fromkeys(fresh)
    stamp = "2026-01-01T00:00:00.000000Z"
    shared = {name: params[name] for name in ("channel", "depth") if name in params}
    return [
        {
            "method": asked["method"], "result": shared | {"symbol": symbol}, "success": True,
            "time_in": stamp, "time_out": stamp, "req_id": asked.get("req_id", 0),
        }
        for symbol in params["symbol"]
    ], fresh  # fmt: skip


ANSWERS: Final[dict[str, Callable[[_Line, dict[str, Any]], Answers]]] = {
    "binance": _binance,
    "coinbase": _coinbase,
    "kraken": _kraken,
}


def frame_of(payload: bytes, opcode: int) -> bytes:
    """Wrap a payload in a server's frame."""
    size = len(payload)
    if size < SHORT:
        return bytes((0x80 | opcode, size)) + payload
    if size < MEDIUM:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def read_frame(reader: Any) -> tuple[int, bytes] | None:  # noqa: ANN401 - a socket's file
    """Read one masked frame; None at the end."""
    head = reader.read(2)
    if len(head) < 2:  # noqa: PLR2004 - the length of a head
        return None
    size = head[1] & 0x7F
    if size >= SHORT:
        size = int.from_bytes(reader.read(2 if size == SHORT else 8), "big")
    mask = reader.read(4) if head[1] & 0x80 else bytes(4)
    body = reader.read(size)
    return head[0] & 0x0F, bytes(byte ^ mask[at & 3] for at, byte in enumerate(body))


def _flood(line: _Line, blob: memoryview) -> None:
    with line.lock:
        line.is_flooded = True
    try:
        for start in range(0, len(blob), CHUNK):
            line.link.sendall(blob[start : start + CHUNK])
    except OSError:
        return


def _paced(load: list[tuple[_Line, bytes]], rate: float) -> list[int]:
    """Send one frame at a time, each at its own due time; return when each went out, ns."""
    step_ns = int(1e9 / rate)
    sent_ns: list[int] = []
    due_ns = time.monotonic_ns()
    for line, _ in load:
        with line.lock:
            line.is_flooded = True
    try:
        for line, frame in load:
            due_ns += step_ns
            while (left_ns := due_ns - time.monotonic_ns()) > 0:
                if left_ns > 100_000:  # noqa: PLR2004 - what a sleep overshoots
                    time.sleep((left_ns - 60_000) / 1e9)
            sent_ns.append(time.monotonic_ns())
            line.link.sendall(frame)
    except OSError:
        pass
    return sent_ns


def _flooded(load: list[tuple[_Line, bytes]]) -> tuple[int, list[threading.Thread]]:
    """Send everything as fast as it is taken; return when that began, ns, and the jobs."""
    frames: dict[int, tuple[_Line, list[bytes]]] = {}
    for line, frame in load:
        frames.setdefault(id(line), (line, []))[1].append(frame)
    blobs = [(line, memoryview(b"".join(each))) for line, each in frames.values()]
    jobs = [threading.Thread(target=_flood, args=each) for each in blobs]
    started_ns = time.monotonic_ns()
    for job in jobs:
        job.start()
    return started_ns, jobs


def main() -> int:
    """Serve one order from the command line."""
    order = msgspec.json.decode(sys.argv[1], type=ServerOrder)
    tls = server_context(Path(order.tls_folder)) if order.tls_folder else None
    venues = [_Venue(feed, order.seed, tls) for feed in order.feeds]
    for venue in venues:
        threading.Thread(target=venue.serve, daemon=True).start()
    _say({"ports": [venue.port for venue in venues]})
    for text in sys.stdin:
        word, *numbers = text.split()
        if word != "go":
            break
        rate, count = (*map(float, numbers), 0.0, 0.0)[:2]
        load = [each for venue in venues for each in venue.load()]
        del load[int(count) or len(load) :]
        sent_ns: list[int] = []
        if rate:
            started_ns = time.monotonic_ns()
            sent_ns = _paced(load, rate)
        else:
            started_ns, jobs = _flooded(load)
            for job in jobs:
                job.join()
        _say({"started_ns": started_ns, "messages": len(load), "sent_ns": sent_ns})
    return 0


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
