"""Write the reference pages that come from the code: support matrix, commands, metrics.

    python tools/pages.py

A house test refuses a page that is not as the code is.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from crossfeed.cli.app import app
from crossfeed.runtime.histogram import Histogram
from crossfeed.servers.metrics import FeedCollector, TrustFigure, VenueFigures
from crossfeed.venues.base import Channel, Venue
from crossfeed.venues.registry import find_venue, venue_names

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
MARK = "<!-- Written by tools/pages.py; `make docs` refreshes it. -->"
SUPPORT = f"""\
# Support matrix

{MARK}

Each cell names the venue's own channel. How to read the integrity levels is told in
[Trust and sequencing](../explanation/trust.md#how-well-can-it-be-proven-the-integrity-level).
A dash means that the venue has no such channel, or that crossfeed does not speak it.
"""
COMMANDS = f"""\
# Commands

{MARK}

Every command ends with code 0 when all went well: for `demo` and `watch`, when data came from
every venue. 1 is something that went wrong on the way, 2 something that was typed wrong: one
line on standard error says what, where and what to do. 130 is a Ctrl-C before there was
anything to show; later it ends a run in good order, as SIGTERM does, and a second one at once.

"""
METRICS = f"""\
# Metrics

{MARK}

`crossfeed watch --metrics-port 9090` serves them at `/metrics`, on the loopback interface. They are
plain counters until somebody asks: being scraped costs the feed nothing.

"""
# The words of `data_type`, in the order of the path; whatever else a venue declares follows.
KINDS = (
    *("trade", "agg_trade", "ticker", "mini_ticker", "book_ticker", "kline"),
    *("book", "depth", "full", "heartbeat", "status"),
)


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(venue: Venue, kind: str) -> str:
    """Say what a venue gives of a kind of data."""
    channels = [channel for channel in venue.profile.channels if channel.kind == kind]
    if channels:
        return "<br>".join(f"`{channel.name}`{' 🔑' * channel.needs_key}" for channel in channels)
    derived = kind == "book_ticker" and venue.profile.quotes_from != kind
    return f"from the {venue.profile.quotes_from}" if derived else "–"


def details(venue: Venue) -> str:
    """Return the section of one venue."""
    profile = venue.profile
    rows = [describe(channel) for channel in profile.channels]
    header = ["channel", "gives", "integrity", "stale after", "gaps repaired by", "parameters"]
    endpoints = "".join(f"- {place.name}: `{place.ws_url}`\n" for place in profile.endpoints)
    same = f"Its events carry the name `{profile.exchange}`.\n\n"
    alias = same if profile.exchange != profile.name else ""
    return f"\n## {profile.name}\n\n{alias}{table(header, rows)}\nEndpoints:\n\n{endpoints}"


def describe(channel: Channel) -> list[str]:
    """Return one row of a venue's section."""
    return [
        f"`{channel.name}`{' 🔑' * channel.needs_key}",
        f"`{channel.kind}`",
        channel.integrity.name,
        f"{channel.age_limit_s:g} s" if channel.age_limit_s else "–",
        "backfill" if channel.can_backfill else "–",
        ", ".join(f"`{parameter}`" for parameter in channel.parameters) or "–",
    ]


def support() -> str:
    """Return the support matrix."""
    venues = [find_venue(name) for name in venue_names()]
    declared = {channel.kind for venue in venues for channel in venue.profile.channels}
    kinds = [kind for kind in KINDS if kind in declared] + sorted(declared - set(KINDS))
    rows = [[f"`{kind}`", *(cell(venue, kind) for venue in venues)] for kind in kinds]
    matrix = table(["data", *(venue.name for venue in venues)], rows)
    keys = "\n🔑 needs an API key.\n" * ("🔑" in matrix)
    return f"{SUPPORT}\n{matrix}{keys}{''.join(map(details, venues))}"


def commands() -> str:
    """Return what `--help` says of every command, as one page."""
    # cyclopts names a program by how it was started (python -m pytest): this one has a name.
    started, sys.argv = sys.argv, ["crossfeed"]
    try:
        text = app.generate_docs(output_format="markdown", recursive=True, include_hidden=False)
    finally:
        sys.argv = started
    lines = text.partition("## Table of Contents")[2].partition("**Commands**:")[2].splitlines()
    listed = "\n".join(line.rstrip() for line in lines).replace("```console", "```text")
    return f"{COMMANDS}{listed.strip()}\n"


def metrics() -> str:
    """Return the names, types and labels of the metrics, read from a scrape."""
    sample = VenueFigures(
        exchange="venue",
        received=1,
        processed={"trade": 1},
        invalid={"reason": 1},
        connections_active=1,
        reconnections=1,
        gaps={"open": 1},
        duplicates=1,
        dropped=1,
        processing=Histogram(),
        trusts=[TrustFigure("trade", "BTC-USD", 0)],
        steps={"stale": 1},
    )
    rows = [
        [
            f"`{metric.name}{'_total' * (metric.type == 'counter')}`",
            metric.type,
            ", ".join(f"`{label}`" for label in metric.samples[0].labels if label != "le") or "–",
            metric.documentation,
        ]
        for metric in FeedCollector(lambda: [sample]).collect()
    ]
    return METRICS + table(["name", "type", "labels", "meaning"], rows)


PAGES: dict[str, Callable[[], str]] = {
    "support.md": support,
    "commands.md": commands,
    "metrics.md": metrics,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), "utf-8")
