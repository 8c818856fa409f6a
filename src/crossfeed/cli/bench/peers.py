"""Other people's clients: what each can do, and how it is run.

Their programs lie in a checkout's `benchmarks/peers`; they run in a virtual environment of their
own (its interpreter is named), with their endpoints pointed at loopback.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from crossfeed.errors import ConfigError

__all__ = ["PEERS", "Peer", "installed", "remarks"]

DEADLINE_S: Final = 60.0
PROBE: Final = """
import json, platform
from importlib import metadata
found = {"python": platform.python_version()}
for name in NAMES:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class Peer(Struct, frozen=True, kw_only=True):
    """One of them.

    Attributes:
        name: As it stands in the tables.
        package: As it is installed.
        program: File in `benchmarks/peers`, with its options.
        kinds: Sorts of message it can take ("trade", "quote", "depth").
        is_raw: Whether it hands over the venue's words instead of events of its own.
        work: What it does for each message.
    """

    name: str
    package: str
    program: str
    kinds: frozenset[str]
    is_raw: bool = False
    work: str


ALL: Final = frozenset({"trade", "quote", "depth"})
NO_BOOK: Final = frozenset({"trade", "quote"})
PEERS: Final = (
    Peer(name="cryptofeed", package="cryptofeed", program="cryptofeed_client.py", kinds=ALL,
         work="own Trade and Ticker in Decimal; own OrderBook, `bids.index(0)`"),
    Peer(name="ccxt pro", package="ccxt", program="ccxt_pro.py", kinds=ALL,
         work="unified dicts; counted in its handlers (its `watch_*` merge messages); `bids[0]`"),
    Peer(name="nautilus_trader", package="nautilus-trader", program="nautilus.py", kinds=ALL,
         work="ticks and deltas of a live node to an actor; book of its cache"),
    Peer(name="unicorn (UnicornFy)", package="unicorn-binance-websocket-api",
         program="unicorn.py --unicornfy", kinds=NO_BOOK,
         work="on picows, dicts in UnicornFy's words; has no book"),
    Peer(name="unicorn (raw)", package="unicorn-binance-websocket-api", program="unicorn.py",
         kinds=NO_BOOK, is_raw=True, work="on picows, the venue's JSON as a dict; has no book"),
    Peer(name="python-binance", package="python-binance", program="python_binance.py", kinds=ALL,
         is_raw=True, work="the venue's JSON as a dict; its DepthCache, `get_bids()[0]` (sorts)"),
)  # fmt: skip


def remarks(peer: Peer) -> str:
    """Return how a peer is described in one line."""
    return ("no event of its own: " if peer.is_raw else "") + peer.work


def installed(python: str, folder: Path) -> dict[str, str]:
    """Ask the peers' interpreter what it has.

    Args:
        python: Interpreter of their virtual environment.
        folder: `benchmarks/peers` of a checkout.

    Returns:
        "python" and the name of each package found -> version.

    Raises:
        ConfigError: There is no such interpreter or folder.
    """
    if not (folder / "harness.py").exists():
        raise ConfigError(f"no peers' programs in {folder} (needs a checkout)", field="peers")
    names = sorted({peer.package for peer in PEERS})
    command = [python, "-c", PROBE.replace("NAMES", repr(names))]
    try:
        answer = subprocess.run(  # noqa: S603 - the interpreter that the user named
            command, check=True, capture_output=True, timeout=DEADLINE_S
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{python} does not run: {error}", field="peers") from error
    found: dict[str, str] = msgspec.json.decode(answer, type=dict[str, str])
    if len(found) == 1:
        sys.stderr.write(f"none of {', '.join(names)} is installed for {python}\n")
    return found
