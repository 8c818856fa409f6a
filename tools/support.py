"""Write docs/reference/support.md: which venue gives which data, and how well it can be proven.

    python tools/support.py

Everything on the page comes from the venues' own declarations; a house test refuses a stale page.
"""

from pathlib import Path

from crossfeed.venues.base import Channel, Venue
from crossfeed.venues.registry import find_venue, venue_names

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference" / "support.md"
INTRO = """\
# Support matrix

<!-- Written by tools/support.py from the venues' declarations; `make docs` refreshes it. -->

Each cell names the venue's own channel. How to read the integrity levels is told in
[Trust and sequencing](../explanation/trust.md#how-well-can-it-be-proven-the-integrity-level).
A dash means that the venue has no such channel, or that crossfeed does not speak it.
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


def page() -> str:
    """Return the text of the page."""
    venues = [find_venue(name) for name in venue_names()]
    declared = {channel.kind for venue in venues for channel in venue.profile.channels}
    kinds = [kind for kind in KINDS if kind in declared] + sorted(declared - set(KINDS))
    rows = [[f"`{kind}`", *(cell(venue, kind) for venue in venues)] for kind in kinds]
    matrix = table(["data", *(venue.name for venue in venues)], rows)
    keys = "\n🔑 needs an API key.\n" * ("🔑" in matrix)
    return f"{INTRO}\n{matrix}{keys}{''.join(map(details, venues))}"


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
