"""What shall go wrong, where and when: rules, schedules from TOML, named profiles."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec

from crossfeed.errors import ConfigError

__all__ = ["PROFILES", "FaultRule", "Schedule", "load_schedule", "parse_schedule"]

MessageKind = Literal["drop", "double", "swap", "delay", "corrupt", "bad_checksum"]
Kind = Literal[
    # single messages
    "drop",
    "double",
    "swap",
    "delay",
    "corrupt",
    "bad_checksum",
    # connections
    "cut",
    "stall",
    "frame",
    "shutdown",
    # a venue
    "restart",
    "maintenance",
    "quiet",
    "halt",
    # replies
    "ack",
    # HTTP
    "rest",
    "handshake",
]

#: Channel names that stand for several, so that one rule serves all venues.
CHANNEL_GROUPS = {
    "trades": ("trade", "aggTrade", "matches", "market_trades"),
    "books": ("depth", "depth@100ms", "book-*", "l2_data", "level2"),
    "chained": (
        "trade",
        "aggTrade",
        "matches",
        "market_trades",
        "depth",
        "depth@100ms",
        "book-*",
        "full",
        "level3",
        "l2_data",
    ),
}
_MESSAGE_KINDS = frozenset({"drop", "double", "swap", "delay", "corrupt", "bad_checksum"})
_HTTP_KINDS = frozenset({"rest", "handshake", "ack"})
_MODES: dict[str, tuple[str, ...]] = {
    "cut": ("clean", "eof", "reset", "mid_frame"),
    "stall": ("hold", "lose", "deaf", "no_pong"),
    "corrupt": (
        "json",
        "utf8",
        "nan",
        "zero",
        "x10",
        "missing",
        "unknown",
        "foreign",
        "future",
        "past",
    ),
    "ack": ("lost", "late"),
    "frame": (
        "rsv",
        "masked",
        "stray_continuation",
        "utf8",
        "long_ping",
        "split_ping",
        "bad_close",
        "binary",
        "endless",
        "huge",
        "fragments",
    ),
    "rest": ("status", "stale", "truncated", "html", "slow"),
    "handshake": (
        "status",
        "bad_accept",
        "extension",
        "html",
        "stalled",
        "redirect",
        "long_headers",
    ),
}


class FaultRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong.

    Message kinds: drop, double, swap (with the next), delay, corrupt, bad_checksum. Connection
    kinds: cut, stall, frame (a broken one), shutdown (announced). Venue kinds: restart (of the
    numbering), maintenance, quiet, halt (of `symbols`). ack: replies to requests. HTTP kinds:
    rest, handshake.

    Where: `venues`, `channels` and `symbols` (empty = all; wildcards; channel groups "trades",
    "books", "chained"). When: between `after_s` and `until_s` since the schedule began, at most
    `limit` times. How often: single messages by `probability`, `every` n-th, or the ordinals `at`
    (from 1, counted per subscription); connections and venues by `every_s` or `at_s`; HTTP
    requests by `probability` (1 if nothing is said).
    """

    kind: Kind
    venues: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    after_s: float = 0.0
    until_s: float | None = None
    limit: int | None = None
    probability: float | None = None
    every: int = 0
    at: tuple[int, ...] = ()
    #: Neighbouring messages one drop takes.
    run: int = 1
    every_s: float = 0.0
    at_s: tuple[float, ...] = ()
    #: Which connections a connection fault hits.
    connections: Literal["one", "all"] = "one"
    #: Length of a stall, delay, maintenance or quiet spell, or of a slow answer, seconds.
    duration_s: float = 1.0
    #: Variant of the kind; the first of the kind's modes if empty.
    mode: str = ""
    #: Close code of a clean cut.
    code: int = 1001
    reason: str = ""
    #: restart: the number to begin with.
    value: int = 0
    #: HTTP: status, Retry-After and the part of the path it concerns.
    status: int = 503
    retry_after_s: int | None = None
    path: str = ""
    #: handshake redirect: where to.
    location: str = "http://127.0.0.1:9/"

    @property
    def is_message(self) -> bool:
        """Tell whether the rule concerns single messages."""
        return self.kind in _MESSAGE_KINDS

    @property
    def is_http(self) -> bool:
        """Tell whether the rule concerns requests of the client, HTTP or not."""
        return self.kind in _HTTP_KINDS

    @property
    def variant(self) -> str:
        """Return the mode, the kind's first one if none is given."""
        return self.mode or _MODES.get(self.kind, ("",))[0]

    def is_for_venue(self, venue: str) -> bool:
        """Tell whether the rule concerns a venue."""
        return not self.venues or any(fnmatchcase(venue, one) for one in self.venues)

    def is_for(self, venue: str, channel: str, symbols: Sequence[str]) -> bool:
        """Tell whether the rule concerns a stream; `symbols` are its names, unified or not."""
        patterns = [pattern for one in self.channels for pattern in CHANNEL_GROUPS.get(one, (one,))]
        return (
            self.is_for_venue(venue)
            and (not patterns or any(fnmatchcase(channel, one) for one in patterns))
            and (
                not self.symbols
                or any(fnmatchcase(name, one) for one in self.symbols for name in symbols)
            )
        )


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A list of rules, as a TOML file gives it: `[[fault]]` tables and an optional `name`."""

    fault: tuple[FaultRule, ...] = ()
    name: str = ""


#: The demo's profile: visible within seconds, and every loss detectable by a correct client.
_DEFAULT = Schedule(
    name="default",
    fault=(
        FaultRule(kind="drop", channels=("chained",), probability=0.01, after_s=1.0),
        FaultRule(kind="double", channels=("trades",), probability=0.01, after_s=1.0),
        FaultRule(kind="stall", every_s=3.1, duration_s=0.7, after_s=1.0),
        FaultRule(kind="cut", mode="reset", at_s=(2.6,), every_s=8.0),
        FaultRule(kind="cut", mode="mid_frame", at_s=(5.3,), every_s=13.0),
    ),
)
_HARSH = Schedule(
    name="harsh",
    fault=(
        FaultRule(kind="drop", channels=("chained",), probability=0.03, run=2),
        FaultRule(kind="double", channels=("trades", "depth*"), probability=0.03),
        FaultRule(kind="swap", channels=("trades",), probability=0.01),
        FaultRule(kind="delay", channels=("trades",), probability=0.005, duration_s=0.4),
        FaultRule(kind="corrupt", channels=("chained",), probability=0.005),
        FaultRule(kind="bad_checksum", channels=("book-*",), probability=0.005),
        FaultRule(kind="stall", every_s=4.0, duration_s=1.5),
        FaultRule(kind="cut", mode="reset", every_s=6.0),
        FaultRule(kind="cut", mode="clean", every_s=11.0),
        FaultRule(kind="rest", status=503, probability=0.1),
    ),
)
PROFILES: dict[str, Schedule] = {
    "none": Schedule(name="none"),
    "default": _DEFAULT,
    "harsh": _HARSH,
}


def load_schedule(source: str | Path | Schedule | None) -> Schedule | None:
    """Return a schedule from a profile's name, the path of a TOML file, or itself.

    Raises:
        ConfigError: no such profile or file, or its content cannot work.
    """
    if source is None or isinstance(source, Schedule):
        return source
    profile = PROFILES.get(str(source))
    if profile is not None:
        return profile
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(PROFILES)
        raise ConfigError(
            f"{str(source)!r} is no profile ({known}) and no readable file: {error}",
            field="simulator.faults",
        ) from error
    return parse_schedule(text, where=path.name)


def parse_schedule(text: str, *, where: str = "schedule") -> Schedule:
    """Parse and check a TOML schedule.

    Raises:
        ConfigError: not TOML, an unknown field, or a rule that cannot work.
    """
    try:
        schedule = msgspec.convert(tomllib.loads(text), Schedule)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(str(error), field=where) from error
    for place, rule in enumerate(schedule.fault):
        _check(rule, f"{where}.fault[{place}]")
    return schedule


def _check(rule: FaultRule, where: str) -> None:
    """Refuse a rule that can never act or means nothing."""
    modes = _MODES.get(rule.kind, ("",))
    if rule.mode and rule.mode not in modes:
        raise ConfigError(
            f"mode {rule.mode!r} of {rule.kind!r} is none of {', '.join(modes)}",
            field=f"{where}.mode",
        )
    if rule.probability is not None and not 0.0 <= rule.probability <= 1.0:
        raise ConfigError(f"{rule.probability} is not in 0..1", field=f"{where}.probability")
    if rule.is_message and rule.probability is None and not rule.every and not rule.at:
        raise ConfigError("needs probability, every or at", field=where)
    if not rule.is_message and not rule.is_http and not rule.every_s and not rule.at_s:
        raise ConfigError("needs every_s or at_s", field=where)
    if rule.run < 1 or rule.duration_s < 0 or rule.every < 0 or rule.every_s < 0:
        raise ConfigError("run, duration_s, every and every_s must not be negative", field=where)
