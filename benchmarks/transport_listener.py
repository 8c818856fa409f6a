"""What does the strict listener cost a message, against bare picows?

A server process on loopback sends small ticks as fast as they are taken; the client counts them.
CPU time of the client process, user and system, divided by the messages; the variants take turns,
the least of the rounds counts.

    python benchmarks/transport_listener.py [messages] [rounds]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import sys
import time
from base64 import b64encode
from hashlib import sha1

import picows
import uvloop

from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.manager import WebSocketManager

TICK = (
    b'{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":1234567890,"p":"63517.85000000",'
    b'"q":"0.00127000","T":1672515782136,"m":true,"M":true}'
)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def serve(port_pipe: object, count: int) -> None:
    """Send `count` ticks and a close frame to each connection."""
    server = socket.create_server(("127.0.0.1", 0))
    port_pipe.send(server.getsockname()[1])  # type: ignore[attr-defined]
    frame = b"\x81\x7e" + len(TICK).to_bytes(2, "big") + TICK
    batch = frame * 100
    while True:
        sock, _ = server.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            request += sock.recv(65536)
        key = request.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
        start = request.lower().index(key)
        digest = sha1(request[start : start + len(key)] + GUID).digest()  # noqa: S324 - RFC 6455
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + b64encode(digest) + b"\r\n\r\n"
        )
        for _ in range(count // 100):
            sock.sendall(batch)
        sock.sendall(b"\x88\x02\x03\xe8")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
        sock.close()


class Bare(picows.WSListener):
    """Counts frames and nothing else."""

    count = 0

    def on_ws_frame(self, _transport: picows.WSTransport, _frame: picows.WSFrame) -> None:
        """Count."""
        self.count += 1


class Naive(Bare):
    """What any user of picows does at least: copy the payload, look at the clock, hand on."""

    def __init__(self) -> None:
        self.take = lambda _payload, _ts: None

    def on_ws_frame(self, _transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Copy, stamp, hand on."""
        self.count += 1
        self.take(frame.get_payload_as_bytes(), time.time_ns())


async def run_picows(url: str, kind: type[Bare]) -> int:
    """Receive all with a picows listener."""
    transport, listener = await picows.ws_connect(kind, url)
    await transport.wait_disconnected()
    return listener.count


async def run_crossfeed(url: str) -> int:
    """Receive all with a managed connection and a frame hook."""
    count = 0

    def hook(_payload: bytes, _ts_recv_ns: int, _ts_mono_ns: int) -> None:
        nonlocal count
        count += 1

    manager = WebSocketManager(WebSocketConfig(url=url))
    manager.on_frame(hook)
    done = asyncio.Event()
    manager.on_error(lambda _error: done.set())
    async with manager:
        await done.wait()
    return count


def main() -> None:
    """Print CPU us a message of each variant."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, count), daemon=True)
    server.start()
    url = f"ws://127.0.0.1:{ours.recv()}/"
    variants = {
        "picows, frames only counted": lambda: run_picows(url, Bare),
        "picows, payload copied and stamped": lambda: run_picows(url, Naive),
        "crossfeed, strict": lambda: run_crossfeed(url),
    }
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            started = time.process_time()
            received = uvloop.run(variant())
            spent[name].append((time.process_time() - started) / received * 1e6)
            assert received >= count, (name, received)
    server.terminate()
    for name, values in spent.items():
        print(f"{name:36} {min(values):6.3f} us least, {statistics.median(values):6.3f} median")


if __name__ == "__main__":
    main()
