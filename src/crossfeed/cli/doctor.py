"""`crossfeed doctor`: what this installation can do, what is degraded, and why."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import platform
import resource
import ssl
import sys
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

import crossfeed
from crossfeed.errors import CrossfeedError
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.core_choice import active_core
from crossfeed.runtime.loop import event_loop_name
from crossfeed.transport.http import HttpClient
from crossfeed.venues.registry import find_venue, venue_names

__all__ = ["Finding", "run_doctor"]

PACKAGES: Final = (
    "picows",
    "msgspec",
    "uvloop",
    "aiohttp",
    "prometheus-client",
    "rich",
    "cyclopts",
)
OFFSET_WARN_S: Final = 1.0
FILES_MIN: Final = 1024
PROBE_DEADLINE_S: Final = 5.0


class Finding(Struct, frozen=True):
    """One line of the report. `level` is "ok", "note" (works, but less well) or "problem"."""

    level: str
    what: str
    text: str


def _versions() -> list[Finding]:
    found = [
        Finding("ok", "crossfeed", crossfeed.__version__),
        Finding("ok", "python", f"{platform.python_implementation()} {platform.python_version()}"),
        Finding("ok", "system", f"{platform.system()} {platform.machine()}"),
    ]
    for name in PACKAGES:
        try:
            found.append(Finding("ok", name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            level = "note" if name == "uvloop" else "problem"
            found.append(Finding(level, name, "not installed"))
    return found


def _core() -> Finding:
    choice = active_core()
    level = "ok" if choice.name == "compiled" else "note"
    return Finding(level, "core", f"{choice.name}: {choice.reason}")


def _loop() -> Finding:
    name = event_loop_name()
    if name == "uvloop":
        return Finding("ok", "event loop", name)
    return Finding("note", "event loop", "asyncio: install uvloop for lower latency")


def _limits() -> list[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    level = "ok" if soft >= FILES_MIN else "note"
    return [
        Finding(level, "open files", f"{soft} (hard limit {hard})"),
        Finding("ok", "tls", f"{ssl.OPENSSL_VERSION}, certificates are verified"),
    ]


def _venues() -> list[Finding]:
    found: list[Finding] = []
    for name in venue_names():
        venue = find_venue(name)
        limits = venue.profile.limits
        kinds = ", ".join(dict.fromkeys(channel.kind for channel in venue.profile.channels))
        text = (
            f"{kinds} · {limits.sends_max} sends per {limits.send_window_s:g} s, "
            f"{limits.connects_max} connects per {limits.connect_window_s:g} s, frames up to "
            f"{limits.frame_bytes_max >> 20} MiB"
        )
        found.append(Finding("ok", f"venue {name}", text))
    return found


async def _reach(name: str) -> list[Finding]:
    """Ask a venue for its time: is it reachable, and does our clock agree."""
    venue = find_venue(name)
    endpoint = venue.profile.endpoints[0]
    clock = SystemClock()
    request = venue.instruments_request()
    http = HttpClient(endpoint.rest_base(request), name=name)
    try:
        before_ns = clock.now_ns()
        answer = await http.get(
            request.path, query=request.query, weight=request.weight, deadline_s=PROBE_DEADLINE_S
        )
        after_ns = clock.now_ns()
    except CrossfeedError as error:
        return [Finding("problem", f"reach {name}", " ".join(str(error).split())[:200])]
    finally:
        await http.close()
    took_ms = (after_ns - before_ns) / 1e6
    found = [Finding("ok", f"reach {name}", f"HTTP {answer.status} in {took_ms:.0f} ms")]
    date = answer.headers.get("date", "")
    offset_s = _offset_s(date, (before_ns + after_ns) / 2e9)
    if offset_s is not None:
        level = "ok" if abs(offset_s) <= OFFSET_WARN_S else "note"
        found.append(Finding(level, f"clock against {name}", f"{offset_s:+.1f} s (to 1 s)"))
    return found


def _offset_s(date: str, now_s: float) -> float | None:
    """Return how far our clock is ahead of an HTTP Date header, which has a resolution of 1 s."""
    from email.utils import parsedate_to_datetime

    try:
        server_s = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
    return now_s - (server_s + 0.5)


async def run_doctor(*, is_offline: bool, is_json: bool) -> int:
    """Print the report; return 1 if there is a problem, else 0."""
    checks: list[Callable[[], list[Finding]]] = [
        _versions,
        lambda: [_core(), _loop()],
        _limits,
        _venues,
    ]
    found = [finding for check in checks for finding in check()]
    if not is_offline:
        answers = await asyncio.gather(*(_reach(name) for name in venue_names()))
        found += [finding for answer in answers for finding in answer]
    if is_json:
        print(msgspec.json.encode(found).decode())
    else:
        _print(found)
    return 1 if any(finding.level == "problem" for finding in found) else 0


def _print(found: list[Finding]) -> None:
    signs = {"ok": "✓", "note": "!", "problem": "✗"}
    width = max(len(finding.what) for finding in found)
    for finding in found:
        print(f"{signs[finding.level]} {finding.what:{width}}  {finding.text}")
    degraded = [finding for finding in found if finding.level != "ok"]
    sys.stdout.write(
        "\nall is well\n"
        if not degraded
        else f"\n{len(degraded)} to look at (! works, ✗ does not)\n"
    )
