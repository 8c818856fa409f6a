"""The TCP fault proxy: what it does to bytes, and what our connection makes of it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from crossfeed.errors import ConfigError
from crossfeed.simulator.faultproxy import FaultProxy, ProxyFaults
from crossfeed.simulator.simulator import Simulator
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.manager import WebSocketManager
from crossfeed.transport.state import ConnectionState

TEXT = bytes(range(256)) * 64


@contextlib.asynccontextmanager
async def served(faults: ProxyFaults):
    """Run a server that sends TEXT to whoever connects, behind a proxy; yield the proxy."""
    done = asyncio.Event()

    async def serve(_reader, writer):
        writer.write(TEXT)
        with contextlib.suppress(OSError):
            await writer.drain()
            await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with FaultProxy(("127.0.0.1", port), faults) as proxy:
        yield proxy
        done.set()
    server.close()
    await server.wait_closed()


async def read(proxy: FaultProxy, count: int, deadline_s: float = 5.0) -> bytes:
    """Read up to `count` bytes through the proxy; what came when it ended or the time was over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    got = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(deadline_s):
            while len(got) < count and (data := await reader.read(65_536)):
                got += data
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return got


async def test_without_faults_every_byte_passes():
    """A proxy that is told nothing changes nothing."""
    async with served(ProxyFaults()) as proxy:
        assert await read(proxy, len(TEXT)) == TEXT
        assert proxy.counts.bytes_down == len(TEXT)


@pytest.mark.parametrize("name", ["cut_after_bytes", "close_after_bytes", "silent_after_bytes"])
async def test_limits_let_exactly_so_many_bytes_pass(name):
    """Cut, truncated and silent connections end at the byte they were told to."""
    async with served(ProxyFaults(**{name: 1_000})) as proxy:
        got = await read(proxy, len(TEXT), deadline_s=0.3)
        assert TEXT.startswith(got)
        # A reset may overtake what was written just before it; the others may not lose a byte.
        assert len(got) <= 1_000
        assert name == "cut_after_bytes" or len(got) == 1_000
        assert proxy.counts.swallowed == len(TEXT) - 1_000 or name != "silent_after_bytes"


async def test_a_drip_changes_no_byte():
    """Single bytes at a rate: the same text, later."""
    async with served(ProxyFaults(piece_bytes=1, rate_bytes_s=20_000)) as proxy:
        assert (await read(proxy, 500))[:500] == TEXT[:500]


async def test_flips_are_counted_and_repeatable():
    """The counted flips are the difference, and a seed flips the same bits."""
    seen = []
    for _ in range(2):
        async with served(ProxyFaults(flip_share=0.01)) as proxy:
            got = await read(proxy, len(TEXT))
            assert sum(a != b for a, b in zip(got, TEXT, strict=True)) == proxy.counts.flipped > 0
            seen.append(got)
    assert seen[0] == seen[1]


async def test_refusing_and_cutting_on_demand():
    """Refused connections bring nothing; `cut_all` ends open ones."""
    async with served(ProxyFaults(refuse=True)) as proxy:
        assert await read(proxy, 1) == b""
        proxy.faults = ProxyFaults()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read(1)
        assert proxy.cut_all() == 2
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                continue
        writer.close()


@pytest.mark.parametrize(
    "values",
    [
        {"delay_s": -1.0},
        {"rate_bytes_s": float("nan")},
        {"flip_share": 1.5},
        {"cut_after_bytes": -1},
    ],
)
def test_nonsense_is_refused(values):
    """The error names the field."""
    with pytest.raises(ConfigError) as caught:
        ProxyFaults(**values)
    assert caught.value.field in values


@pytest.mark.fault("T03")
@pytest.mark.fault("T09")
async def test_half_open_peer_is_found_by_its_pings_and_a_spike_is_not():
    """Nothing passes and nobody says so: found after ping interval and timeout; a spike is not."""
    async with Simulator(venues=("kraken",), symbols=("BTC/USD",), seed=1) as simulated:
        await half_open(simulated.ws_url("kraken"))


async def half_open(url: str) -> None:
    """Connect to `url` through a proxy, delay it, then let it go silent."""
    host, port = url.split("/")[2].split(":")
    async with FaultProxy((host, int(port)), ProxyFaults(delay_s=0.05)) as proxy:
        config = WebSocketConfig(
            url=f"ws://127.0.0.1:{proxy.port}/v2", ping_interval_s=0.2, ping_timeout_s=0.3
        )
        changed = asyncio.Event()
        states = []
        manager = WebSocketManager(config)

        @manager.on_state_change
        def note(_old, new):
            states.append(new)
            if new is ConnectionState.RECONNECTING:
                changed.set()

        async with manager:
            proxy.faults = ProxyFaults(delay_s=0.15)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.6):
                    await changed.wait()
            assert states[-1] is ConnectionState.CONNECTED
            started = asyncio.get_running_loop().time()
            proxy.faults = ProxyFaults(direction="both", silent_after_bytes=1)
            async with asyncio.timeout(5):
                await changed.wait()
            assert asyncio.get_running_loop().time() - started <= 0.2 + 0.3 + 0.5


async def test_its_end_is_quiet_while_connections_are_open(caplog):
    """Ctrl-C in front of living clients: no traceback."""
    async with served(ProxyFaults()) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await reader.readexactly(len(TEXT))
        await proxy.__aexit__()
        assert await reader.read() == b""
        writer.close()
    await asyncio.sleep(0)
    assert caplog.records == []
