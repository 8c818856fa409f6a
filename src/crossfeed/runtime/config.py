"""The configuration file: one TOML file, strict.

Defaults < file < environment < explicit argument.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.errors import ConfigError
from crossfeed.runtime.settings import FeedSettings
from crossfeed.venues.registry import find_venue

__all__ = ["AggregatorSection", "FileConfig", "Origin", "load_config", "resolved_settings"]

FILE_BYTES_MAX: Final = 1 << 20
SECRETS: Final = ("api_key", "api_secret", "api_passphrase")


class AggregatorSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[aggregator]` table; see `AggregatorConfig` for the fields."""

    exchanges: list[str] = []
    symbols: dict[str, dict[str, str]] | list[str] = []
    aggregation_strategy: str = "best_bid_ask"
    update_interval: float = 0.0
    buffer_size: int = 100
    quote_basis: dict[str, float | str] | None = None


class FileConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        aggregator: What to aggregate.
        venues: Settings of single venues, by name.
        metrics_port: Loopback port for Prometheus metrics; 0: none.
    """

    aggregator: AggregatorSection = AggregatorSection()
    venues: dict[str, FeedSettings] = {}
    metrics_port: int = 0


class Origin(Struct, frozen=True):
    """One resolved setting.

    Attributes:
        path: Path of the field ("venues.kraken.lines").
        value: Its value, secrets masked.
        origin: "default", "file" or the environment variable's name.
    """

    path: str
    value: object
    origin: str


def load_config(path: str | Path, environment: Mapping[str, str] | None = None) -> FileConfig:
    """Read, check and complete a configuration file.

    Secrets may come from the environment: `CROSSFEED_<VENUE>_API_KEY`, `..._API_SECRET`,
    `..._API_PASSPHRASE`; they win over the file.

    Raises:
        ConfigError: The file cannot be read, is no TOML, or a field cannot work; the text names the
            path of the field, its value and the nearest valid name.
    """
    known = os.environ if environment is None else environment
    table = _read(Path(path))
    for name in dict(table.get("venues") or {}):
        found = {key: known.get(f"CROSSFEED_{name.upper()}_{key.upper()}", "") for key in SECRETS}
        table["venues"][name] |= {key: value for key, value in found.items() if value}
    try:
        config = msgspec.convert(table, FileConfig)
    except msgspec.ValidationError as error:
        raise _explained(error) from error
    except ConfigError:
        raise
    for name in config.venues:
        find_venue(name)
    section = config.aggregator
    if section.exchanges or section.symbols:
        AggregatorConfig(
            exchanges=section.exchanges or list(config.venues) or ["binance"],
            symbols=section.symbols or ["BTC/USD"],
            aggregation_strategy=section.aggregation_strategy,
            update_interval=section.update_interval,
            buffer_size=section.buffer_size,
            quote_basis=section.quote_basis,
        )
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"larger than {FILE_BYTES_MAX} bytes", field=str(path))
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", field=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"no valid TOML: {error}", field=str(path)) from error


def _explained(error: msgspec.ValidationError) -> ConfigError:
    """Name the field by its path, and the nearest valid one if it is unknown."""
    text, _, where = str(error).partition(" - at `$")
    path = where.rstrip("`").lstrip(".").replace("[...]", ".*")
    _, quote, rest = text.partition("unknown field `")
    if quote:
        unknown = rest.rstrip("`")
        fields = {*FeedSettings.__struct_fields__, *AggregatorSection.__struct_fields__}
        near = difflib.get_close_matches(unknown, fields | {"aggregator", "venues"}, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        field = ".".join(part for part in (path, unknown) if part)
        return ConfigError(f"no such setting{hint}", field=field)
    return ConfigError(text, field=path)


def resolved_settings(
    path: str | Path | None, environment: Mapping[str, str] | None = None
) -> Iterator[Origin]:
    """Yield every setting with its origin, secrets masked.

    Raises:
        ConfigError: See `load_config`.
    """
    known = os.environ if environment is None else environment
    config = FileConfig() if path is None else load_config(path, known)
    table = {} if path is None else _read(Path(path))
    yield from _section("aggregator", config.aggregator, table.get("aggregator", {}))
    yield Origin(
        "metrics_port", config.metrics_port, "file" if "metrics_port" in table else "default"
    )
    for name, settings in config.venues.items():
        given = dict(table.get("venues", {}).get(name, {}))
        for origin in _section(f"venues.{name}", settings, given):
            variable = f"CROSSFEED_{name.upper()}_{origin.path.rpartition('.')[2].upper()}"
            is_secret = origin.path.endswith(SECRETS)
            if is_secret and known.get(variable):
                yield Origin(origin.path, "***", variable)
            elif is_secret and origin.value:
                yield Origin(origin.path, "***", origin.origin)
            else:
                yield origin


def _section(name: str, values: Struct, given: Mapping[str, Any]) -> Iterator[Origin]:
    for field in values.__struct_fields__:
        origin = "file" if field in given else "default"
        yield Origin(f"{name}.{field}", getattr(values, field), origin)
