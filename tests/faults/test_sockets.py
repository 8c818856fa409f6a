"""Faults that need real sockets, a real loop, a real process."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

from crossfeed import ConnectionState, Trust, VenueClient
from crossfeed.errors import LoopBlockedError
from crossfeed.simulator import FaultRule
from crossfeed.simulator.faultproxy import FaultProxy, ProxyFaults
from crossfeed.testing.virtual import VENUES

CROSSFEED = (sys.executable, "-c", "from crossfeed.cli import main; main()")
SYMBOLS = ("BTC/USD", "ETH/USD")


def gapless(ids: list[int]) -> bool:
    return sorted(ids) == list(range(min(ids), max(ids) + 1)) and len(set(ids)) == len(ids)


def count_trades(client) -> dict[str, list[int]]:
    seen: dict[str, list[int]] = {}
    client.on("trade", lambda trade: seen.setdefault(trade.symbol, []).append(trade.trade_id))
    return seen


async def through_proxy(simulator, reach, faults: ProxyFaults, **changes):
    """Return a proxy before the simulated Binance, and a client that goes through it."""
    port = urlsplit(simulator.ws_url("binance")).port
    proxy = FaultProxy(("127.0.0.1", port), faults)
    await proxy.__aenter__()
    settings = reach(simulator, "binance", ws_url=f"ws://127.0.0.1:{proxy.port}", **changes)
    client = VenueClient("binance", symbols=SYMBOLS, kinds=["trade", "book"], settings=settings)
    return proxy, client


@pytest.mark.fault("T10", "T09")
async def test_a_line_that_loses_packets_brings_lag_and_nothing_else(simulate, reach, until):
    """What packet loss is to TCP: pieces that come late, in order."""
    simulator = await simulate(venues=("binance",), symbols=SYMBOLS, rate_per_s=300)
    proxy, client = await through_proxy(
        simulator, reach, ProxyFaults(delay_s=0.01, jitter_s=0.25, piece_bytes=400)
    )
    seen = count_trades(client)
    try:
        async with client:
            await until(lambda: all(len(seen.get(s, ())) > 60 for s in ("BTCUSDT", "ETHUSDT")))
            stats = client.get_stats()
        assert all(gapless(ids) for ids in seen.values())
        assert stats["gaps"] == stats["reconnect_attempts"] == stats["invalid"] == 0
    finally:
        await proxy.__aexit__()


@pytest.mark.fault("T10")
@pytest.mark.parametrize("percent", [1, 5, 20])
def test_packet_loss_in_a_network_namespace(percent):
    """The kernel's own form of the test above; needs tc and the privilege to use it."""
    if shutil.which("tc") is None or os.geteuid() != 0:
        pytest.skip("needs tc (netem) and root; the proxy form of T10 runs everywhere")
    made = subprocess.run(
        ["unshare", "-n", "sh", "-c", f"tc qdisc add dev lo root netem loss {percent}%"],
        capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no privilege for network namespaces; the proxy form of T10 runs everywhere")
    script = f'ip link set lo up && tc qdisc add dev lo root netem loss {percent}% && exec "$@"'
    demo = ("demo", "--seconds", "6", "--summary", "--venues", "binance", "--rate", "50")
    run = subprocess.run(
        ["unshare", "-n", "sh", "-c", script, "sh", *CROSSFEED, *demo],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout.splitlines()[-1])
    assert summary["gaps"] == summary["invalid"] == 0


@pytest.mark.fault("T20")
async def test_without_a_free_port_it_waits_and_does_not_spin(simulate, reach, until, monkeypatch):
    simulator = await simulate(venues=("binance",), symbols=SYMBOLS, rate_per_s=100)
    client = VenueClient(
        "binance",
        symbols=SYMBOLS,
        kinds=["trade"],
        settings=reach(simulator, "binance", reconnect_base_s=0.1, reconnect_cap_s=0.5),
    )
    attempts: list[float] = []
    loop = asyncio.get_running_loop()
    real = type(loop).sock_connect

    async def connect(self, sock, address):
        attempts.append(time.monotonic())
        if is_exhausted:
            raise OSError(99, "Cannot assign requested address")
        return await real(self, sock, address)

    is_exhausted = False
    async with client:
        is_exhausted = True
        monkeypatch.setattr(type(loop), "sock_connect", connect)
        simulator.cut_all("binance")
        await asyncio.sleep(1.5)
        tried = len(attempts)
        is_exhausted = False
        await until(lambda: client.get_stats()["state"] == ConnectionState.CONNECTED.value)
    assert 2 <= tried <= 15


@pytest.mark.fault("C11")
@pytest.mark.parametrize("seed", [1, 2])
def test_lines_clogged_one_by_one_and_freed_in_another_order_all_recover(world, seed, tally):
    run = world("binance", "kraken", seed=seed, rate_per_s=20)
    run.run(5)
    for number, length in enumerate((9.0, 3.0, 14.0, 6.0)):
        run.room.simulator.inject(
            FaultRule(kind="stall", mode="hold", at_s=(number * 2.0,), duration_s=length)
        )
    run.run(40)
    run.drain()
    assert run.verdict().violations == []
    for feed in run.feeds.values():
        assert all(trust.current is Trust.SOUND for trust in feed.streams.trusts())
    tally(injected=4, detected=4, recovered=4)


@pytest.mark.fault("P03")
async def test_a_handler_that_blocks_the_loop_is_named_within_a_second(simulate, reach, until):
    simulator = await simulate(venues=("binance",), symbols=SYMBOLS, rate_per_s=100)
    client = VenueClient(
        "binance", symbols=SYMBOLS, kinds=["trade"], settings=reach(simulator, "binance")
    )
    errors: list[tuple[float, BaseException]] = []
    client.on_error(lambda error: errors.append((time.monotonic(), error)))
    ended: list[float] = []

    def the_guilty_handler(_trade) -> None:
        if not ended:
            time.sleep(0.9)
            ended.append(time.monotonic())

    client.on("trade", the_guilty_handler)
    async with client:
        await until(lambda: any(isinstance(error, LoopBlockedError) for _, error in errors))
        when, error = next(pair for pair in errors if isinstance(pair[1], LoopBlockedError))
        assert "the_guilty_handler" in str(error) + error.stack
        assert when - ended[0] < 1.0
        assert client.get_stats()["state"] == ConnectionState.CONNECTED.value


@pytest.mark.fault("P06")
def test_sigterm_ends_a_run_cleanly():
    command = [*CROSSFEED, "demo", "--seconds", "0", "--venues", "binance"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.stderr.read()
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=15)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


async def found_dead_after(simulator, reach, until, venue: str) -> tuple[float, float]:
    """Let a proxy fall silent with both sides open (no FIN, no RST); return limit and time, s."""
    port = urlsplit(simulator.ws_url(venue)).port
    async with FaultProxy(("127.0.0.1", port)) as proxy:
        path = urlsplit(simulator.ws_url(venue)).path
        settings = reach(simulator, venue, ws_url=f"ws://127.0.0.1:{proxy.port}{path}")
        client = VenueClient(venue, symbols=SYMBOLS, kinds=["trade"], settings=settings)

        def state() -> str:
            return client.get_stats()["state"]

        async with client:
            await until(lambda: client.get_stats()["messages"] > 10)
            config = client._session.connections[0].manager.config
            limit_s = config.ping_interval_s + config.ping_timeout_s
            began = time.monotonic()
            proxy.faults = ProxyFaults(direction="both", silent_after_bytes=1)
            await until(lambda: state() != ConnectionState.CONNECTED.value, 45.0)
            took_s = time.monotonic() - began
            proxy.faults = ProxyFaults()
            await until(lambda: state() == ConnectionState.CONNECTED.value, 15.0)
    return limit_s, took_s


@pytest.mark.fault("T03")
async def test_a_half_open_peer_is_found_by_its_missing_pongs(
    simulate, reach, until, is_full, figure, tally
):
    venues = VENUES if is_full else ("kraken",)
    simulator = await simulate(venues=venues, symbols=SYMBOLS, rate_per_s=50)
    found = await asyncio.gather(
        *(found_dead_after(simulator, reach, until, venue) for venue in venues)
    )
    tally(injected=len(venues), detected=len(found), recovered=len(found))
    for venue, (limit_s, took_s) in zip(venues, found, strict=True):
        detail = f"{venue}: {took_s:.2f} s, interval + timeout {limit_s:g} s"
        late_s = max(0.0, took_s - limit_s)
        figure(
            "dead peer found later than ping interval + timeout", late_s, 0.5, "s", detail=detail
        )


def test_loopback_only():
    """The tests here open no connection to anywhere else."""
    with pytest.raises(OSError, match="loopback only"), socket.socket() as sock:
        sock.connect(("192.0.2.1", 1))
