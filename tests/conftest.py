"""What every test shares: no network beyond loopback, recorded sessions, simulated venues."""

import asyncio
import errno
import os
import socket
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
CAPTURES = ROOT.parent / "shared" / "captures"

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=20_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def _is_loopback(host: object) -> bool:
    """Say whether a host names this machine only."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    return text in {"", "localhost", "::", "::1", "0.0.0.0"} or text.startswith("127.")  # noqa: S104


def _stay_on_loopback(event: str, args: tuple[object, ...]) -> None:
    """Answer as a machine without a network does, so that every machine gives the same result."""
    if event == "socket.getaddrinfo" and not _is_loopback(args[0]):
        raise socket.gaierror(socket.EAI_NONAME, f"tests resolve no names but loopback: {args[0]}")
    if event == "socket.connect":
        address = args[1]
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            text = f"tests connect to loopback only: {address}"
            raise OSError(errno.ENETUNREACH, text)


sys.addaudithook(_stay_on_loopback)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a fault mark whose id the catalogue (tests/faults.toml) does not have."""
    catalogue = tomllib.loads((ROOT / "tests" / "faults.toml").read_text("utf-8"))
    known = {fault for name, group in catalogue.items() if name != "absent" for fault in group}
    for item in items:
        for mark in item.iter_markers("fault"):
            if not mark.args or not known.issuperset(mark.args):
                message = f"{item.nodeid}: fault{mark.args} is not in tests/faults.toml"
                raise pytest.UsageError(message)
            item.user_properties.append(("faults", list(mark.args)))  # for tools/faults_report.py


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def captures() -> Path:
    """Return the folder of recorded venue sessions, read in place; skip where it is absent."""
    if not CAPTURES.is_dir():
        pytest.skip("no recorded sessions beside this checkout (../shared/captures)")
    return CAPTURES


@pytest.fixture
async def simulate() -> AsyncIterator[Callable[..., Awaitable[object]]]:
    """Return a coroutine function that starts simulated venues; they are closed after the test."""
    from crossfeed.simulator import Simulator

    running: list[Simulator] = []

    async def start(**options: object) -> Simulator:
        simulator = Simulator(**options)
        running.append(simulator)
        await simulator.start()
        return simulator

    yield start
    for simulator in running:
        await simulator.close()


@pytest.fixture(scope="session")
def reach() -> Callable[..., object]:
    """Return a function that makes the settings which lead a client to a simulated venue."""
    from crossfeed.runtime.settings import FeedSettings

    def settings(simulator: object, venue: str, **changes: object) -> FeedSettings:
        quick = {"reconnect_base_s": 0.02, "reconnect_cap_s": 0.1, "connect_deadline_s": 10.0}
        urls = {"ws_url": simulator.ws_url(venue), "rest_url": simulator.rest_url(venue)}
        return FeedSettings(**(urls | quick | changes))

    return settings


@pytest.fixture(scope="session")
def true_depth() -> Callable[..., tuple[list[object], list[object]]]:
    """Return a function that reads the best levels of a simulated book: exact (price, size)."""

    def depth(simulator: object, venue: str, unified: str, count: int) -> tuple[object, object]:
        market = simulator.world.market(venue, unified)
        grid = market.instrument.grid
        tick, lot = Decimal(1).scaleb(-grid.price_decimals), Decimal(1).scaleb(-grid.lot_decimals)
        bids, asks = market.book.depth(count)
        return tuple([(price * tick, lots * lot) for price, lots in side] for side in (bids, asks))

    return depth


@pytest.fixture(scope="session")
def until() -> Callable[..., Awaitable[None]]:
    """Return a coroutine function that waits for a condition and fails the test at its deadline."""

    async def wait(condition: Callable[[], object], deadline_s: float = 10.0) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():  # noqa: ASYNC110 - waits for other people's state
                    await asyncio.sleep(0.002)
        except TimeoutError:
            pytest.fail(f"did not come true within {deadline_s:g} s")

    return wait


@pytest.fixture
async def leaves_no_task() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind; a name lookup in a thread may come to its end."""
    yield
    for _ in range(500):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks left behind: {left}")
