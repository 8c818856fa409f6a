"""The databases beside a recording: made from the file, fed by the clients, shown in the line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from crossfeed.clients.venue_client import VenueClient
from crossfeed.errors import ConfigError
from crossfeed.runtime.delivery import DeliveryMode
from crossfeed.runtime.record_config import SinkSection
from crossfeed.sinks.base import TABLES, Sink
from crossfeed.sinks.runner import SinkRunner, SinkStats

__all__ = ["RecordSinks", "kinds_of"]

DSN_VARIABLE = "CROSSFEED_POSTGRES_DSN"


class RecordSinks:
    """All sinks of one recording. Started, fed and closed by its run.

    Raises:
        ConfigError: A kind without a table, no address, or a package that is not installed.
    """

    def __init__(self, sections: Sequence[SinkSection]) -> None:
        """Make the sinks; nothing is opened."""
        self._runners = [
            (SinkRunner(_sink(each), capacity=each.capacity, policy=each.policy), kinds_of(each))
            for each in sections
        ]

    def start(self) -> None:
        """Start their threads; a database that cannot be reached is tried again for ever."""
        for runner, _ in self._runners:
            runner.start()

    def attach(self, clients: Iterable[VenueClient]) -> None:
        """Let them get what the clients give out. Cost 0.2 us an event and sink."""
        for client in clients:
            for runner, kinds in self._runners:
                for kind in kinds:
                    client.add_handler(kind, runner.put, mode=DeliveryMode.INLINE)

    async def close(self, deadline_s: float) -> None:
        """Write what waits within `deadline_s`, count the rest as dropped."""
        closing = (asyncio.to_thread(runner.close, deadline_s) for runner, _ in self._runners)
        await asyncio.gather(*closing)

    def summary(self) -> list[dict[str, Any]]:
        """Return how each stands."""
        return [structs.asdict(runner.stats()) for runner, _ in self._runners]

    def words(self) -> list[str]:
        """Return how each stands, for the status line."""
        return [_words(runner.stats()) for runner, _ in self._runners]


def _words(stats: SinkStats) -> str:
    parts = [f"{stats.name}: {stats.stored:,} stored"]
    if stats.dropped:
        parts.append(f"{stats.dropped:,} dropped")
    if stats.state in {"retrying", "failed"}:
        parts.append(f"{stats.state}: {stats.error[:120]}")
    return ", ".join(parts)


def kinds_of(section: SinkSection) -> tuple[str, ...]:
    """Return what a sink gets; all there is a table for, if nothing is named.

    Raises:
        ConfigError: A kind without a table.
    """
    unknown = [kind for kind in section.kinds if kind not in TABLES]
    if unknown:
        msg = f"no table for {', '.join(unknown)} (there are: {', '.join(TABLES)})"
        raise ConfigError(msg, field="record.sinks.kinds")
    return tuple(dict.fromkeys(section.kinds)) or tuple(TABLES)


def _sink(section: SinkSection) -> Sink:
    name = section.name or section.type
    if section.type == "sqlite":
        from crossfeed.sinks.sqlite import SqliteSink

        return SqliteSink(section.path, name=name)
    from crossfeed.sinks.postgres import PostgresSink

    dsn = section.dsn or os.environ.get(DSN_VARIABLE, "")
    if not dsn:
        msg = f"postgres needs dsn, or the environment variable {DSN_VARIABLE}"
        raise ConfigError(msg, field="record.sinks.dsn")
    return PostgresSink(dsn, schema=section.schema, name=name)
