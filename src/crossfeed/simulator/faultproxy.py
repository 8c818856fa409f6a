"""A TCP proxy that damages what passes: for anything that talks over TCP, TLS included.

Knows no protocol: it delays, throttles, drips, flips, cuts, truncates and goes silent by bytes and
seconds. What it does can be changed while connections are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from random import Random
from typing import Final, Literal, Self

from msgspec import Struct

from crossfeed.errors import ConfigError
from crossfeed.simulator.server import cannot_listen, check_port

__all__ = ["FaultProxy", "ProxyCounts", "ProxyFaults"]

CHUNK_BYTES: Final = 64 << 10
CONNECT_DEADLINE_S: Final = 10.0
CONNECTIONS_MAX: Final = 1_000
SLICE_S: Final = 0.02


class ProxyFaults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to the bytes. Zero values do nothing; limits count per connection and direction.

    Attributes:
        direction: "down" (to the client), "up" (to the server) or "both".
        delay_s: Everything comes this much later; order is kept.
        jitter_s: Up to so much more, at random.
        rate_bytes_s: No more bytes a second than this.
        piece_bytes: Write in pieces of at most this size (1: a drip of single bytes).
        flip_share: Share of bytes in which one bit is flipped.
        cut_after_bytes: Reset (RST) both sides after so many bytes.
        close_after_bytes: End both sides cleanly (FIN) after so many bytes, in mid message.
        silent_after_bytes: Pass nothing any more after so many bytes and keep both sides open (a
            half-open peer: no FIN, no RST).
        refuse: Accept and reset at once.
    """

    direction: Literal["down", "up", "both"] = "down"
    delay_s: float = 0.0
    jitter_s: float = 0.0
    rate_bytes_s: float = 0.0
    piece_bytes: int = 0
    flip_share: float = 0.0
    cut_after_bytes: int = 0
    close_after_bytes: int = 0
    silent_after_bytes: int = 0
    refuse: bool = False

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: One is negative or none, or a share is above 1.
        """
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not value >= 0:
                raise ConfigError(f"{value} is no amount: 0 or more", field=name)
        if self.flip_share > 1:
            raise ConfigError(f"{self.flip_share} is no share (0..1)", field="flip_share")


class ProxyCounts(Struct):
    """What a proxy has done so far.

    Attributes:
        connections: Accepted.
        open: Open now.
        bytes_up: Passed to the server.
        bytes_down: Passed to the client.
        swallowed: Bytes not passed on.
        flipped: Bits flipped.
        cuts: Connections reset by us.
        closes: Connections ended cleanly by us.
    """

    connections: int = 0
    open: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    swallowed: int = 0
    flipped: int = 0
    cuts: int = 0
    closes: int = 0


class FaultProxy:
    """Listens on a local port and passes everything on to one target. An async context manager.

    Args:
        target: Host and port of the real server.
        faults: What to do; changed at any time by assigning `faults`.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        seed: The same seed flips the same bits and draws the same jitter.

    Attributes:
        faults: What is done now; open connections follow at once.
        counts: What has been done.
    """

    def __init__(
        self,
        target: tuple[str, int],
        faults: ProxyFaults | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 1,
    ) -> None:
        """Prepare; nothing listens yet."""
        self.faults = faults or ProxyFaults()
        self.counts = ProxyCounts()
        self._target = target
        self._host, self._port = host, port
        self._random = Random(seed)
        self._server: asyncio.Server | None = None
        self._is_closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None, "the proxy runs"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigError: The address cannot be used.
        """
        check_port(self._port, "port")
        self._is_closing = False
        try:
            self._server = await asyncio.start_server(self._accept, self._host, self._port)
        except OSError as error:
            text = cannot_listen(self._host, self._port, error)
            raise ConfigError(text, field="faultproxy") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and end all connections."""
        self._is_closing = True
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def cut_all(self) -> int:
        """Reset all open connections now; return how many sides there were."""
        for writer in list(self._writers):
            _reset(writer)
            self.counts.cuts += 1
        return len(self._writers)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs this as a task"
        self._tasks.add(task)
        self.counts.connections += 1
        self.counts.open += 1
        self._writers.add(writer)
        try:
            if self.faults.refuse or self.counts.open > CONNECTIONS_MAX:
                _reset(writer)
                self.counts.cuts += 1
                return
            await self._pass(reader, writer)
        except asyncio.CancelledError:
            # From `__aexit__`, at the end of the task: told further, asyncio logs it as an error.
            if not self._is_closing:
                raise
        except (OSError, TimeoutError):
            _reset(writer)
        finally:
            self.counts.open -= 1
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass both directions until one side ends or a fault ends both."""
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers.add(far_writer)
        try:
            async with asyncio.TaskGroup() as group:
                up = group.create_task(self._pump(reader, far_writer, "up"))
                down = group.create_task(self._pump(far_reader, writer, "down"))
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                up.cancel()
                down.cancel()
        finally:
            self._writers.discard(far_writer)
            far_writer.close()
            with contextlib.suppress(OSError):
                await far_writer.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        passed = 0
        while data := await reader.read(CHUNK_BYTES):
            faults = self.faults
            if faults.direction not in {way, "both"}:
                faults = ProxyFaults()
            if faults.delay_s or faults.jitter_s:
                await asyncio.sleep(faults.delay_s + self._random.uniform(0.0, faults.jitter_s))
            data = self._flipped(data, faults.flip_share)
            for piece in _pieces(data, faults):
                kept = self._limited(piece, passed, faults)
                writer.write(kept)
                await writer.drain()
                passed += len(kept)
                self._count(way, len(kept), len(piece) - len(kept))
                if faults.rate_bytes_s:
                    await asyncio.sleep(len(kept) / faults.rate_bytes_s)
                if 0 < faults.cut_after_bytes <= passed:
                    self.counts.cuts += 1
                    _reset(writer)
                    return
                if 0 < faults.close_after_bytes <= passed:
                    self.counts.closes += 1
                    return

    def _limited(self, piece: bytes, passed: int, faults: ProxyFaults) -> bytes:
        """Return what of a piece may still pass."""
        kept = piece
        for limit in (faults.cut_after_bytes, faults.close_after_bytes, faults.silent_after_bytes):
            if limit:
                kept = kept[: max(0, limit - passed)]
        return kept

    def _flipped(self, data: bytes, share: float) -> bytes:
        if not share:
            return data
        damaged = bytearray(data)
        for place in range(len(damaged)):
            if self._random.random() < share:
                damaged[place] ^= 1 << self._random.randrange(8)
                self.counts.flipped += 1
        return bytes(damaged)

    def _count(self, way: str, passed: int, swallowed: int) -> None:
        if way == "up":
            self.counts.bytes_up += passed
        else:
            self.counts.bytes_down += passed
        self.counts.swallowed += swallowed


def _pieces(data: bytes, faults: ProxyFaults) -> Iterator[bytes]:
    """Cut data into the pieces it is written in; throttled data into slices of 20 ms."""
    size = faults.piece_bytes or len(data)
    if faults.rate_bytes_s:
        size = max(1, min(size, int(faults.rate_bytes_s * SLICE_S) or 1))
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST: what is unsent is thrown away."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport = writer.transport
    transport.abort()
