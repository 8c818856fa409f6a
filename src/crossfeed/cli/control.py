"""`crossfeed gaps` and `crossfeed resync`: ask a feed that runs on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossfeed.cli.session import print_json
from crossfeed.clients.control import control_folder
from crossfeed.errors import ConfigError
from crossfeed.servers.control import ask, running_sockets

__all__ = ["run_gaps", "run_resync"]


def _socket(pid: int) -> Path:
    """Return the socket of the feed that is meant.

    Raises:
        ConfigError: None runs, or several do and none was named.
    """
    found = running_sockets(control_folder())
    if pid:
        if pid not in found:
            raise ConfigError(f"process {pid} is no running feed of yours")
        return found[pid]
    if not found:
        raise ConfigError("no feed runs here: start `crossfeed watch` or `crossfeed demo` first")
    if len(found) > 1:
        pids = ", ".join(str(each) for each in found)
        raise ConfigError(f"several feeds run here: choose one with --pid ({pids})")
    return next(iter(found.values()))


async def run_gaps(pid: int, venue: str, *, is_json: bool) -> int:
    """Print the gap ledger of a running feed; return 0.

    Raises:
        ConfigError: No feed runs, or it has no such venue.
    """
    answer: dict[str, Any] = await ask(_socket(pid), {"do": "gaps", "venue": venue})
    if is_json:
        print_json(answer)
        return 0
    for name, ledger in answer.items():
        totals = ledger["totals"]
        print(
            f"{name}: {totals['found']} holes found, {totals['open']} open, "
            f"{totals['backfilled']} fetched again, {totals['snapshot']} rebuilt, "
            f"{totals['lost']} lost ({totals['events_missing']} events missing, "
            f"{totals['events_repaired']} repaired)"
        )
        for record in ledger["records"]:
            stream = record["stream"]
            found = datetime.fromtimestamp(record["ts_found_ns"] / 1e9, UTC)
            span = f"{record['first']}..{record['last']}" if record["first"] else "not numbered"
            print(
                f"  {found:%H:%M:%S}  {stream['channel']:12} {stream['symbol']:10} "
                f"{span:32} {record['cause']:12} {record['state']}"
            )
    return 0


async def run_resync(venue: str, symbol: str, pid: int) -> int:
    """Let a running feed rebuild one book; return 0.

    Raises:
        ConfigError: No feed runs.
        VenueError: It keeps no such book.
    """
    answer: dict[str, Any] = await ask(
        _socket(pid), {"do": "resync", "venue": venue, "symbol": symbol}
    )
    print(f"{venue}: rebuilding the book of {answer['resync']}")
    return 0
