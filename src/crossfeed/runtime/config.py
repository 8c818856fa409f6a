"""The configuration file: one TOML file, strict.

Defaults < file < environment < explicit argument.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import Struct, structs

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.errors import ConfigError
from crossfeed.runtime.record_config import RecordSection, SinkSection
from crossfeed.runtime.settings import FeedSettings
from crossfeed.venues.registry import find_venue

__all__ = ["AggregatorSection", "FileConfig", "Origin", "load_config", "resolved_settings"]

FILE_BYTES_MAX: Final = 1 << 20
PORT_MAX: Final = 65_535
INDEX: Final = re.compile(r"\[[0-9]+\]")
Made = TypeVar("Made")
Section = TypeVar("Section", bound=Struct)
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
        record: How to record.
        metrics_port: Loopback port for Prometheus metrics; 0: none.
    """

    aggregator: AggregatorSection = AggregatorSection()
    record: RecordSection = RecordSection()
    venues: dict[str, FeedSettings] = {}
    metrics_port: int = 0


SECTIONS: Final[Mapping[str, type[Struct]]] = {
    "aggregator": AggregatorSection,
    "record": RecordSection,
    "record.sinks.*": SinkSection,
}


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
    record = _convert(_subtable(table.pop("record", {}), "record"), RecordSection, "record")
    venues = {
        name: _venue_settings(name, values, known)
        for name, values in _subtable(table.pop("venues", {}), "venues").items()
    }
    config = structs.replace(_convert(table, FileConfig, ""), venues=venues, record=record)
    for index, name in enumerate(record.venues):
        _at(f"record.venues[{index}]", find_venue, name)
    if not 0 <= config.metrics_port <= PORT_MAX:
        raise ConfigError(f"{config.metrics_port} is no port (0..{PORT_MAX})", field="metrics_port")
    _check_aggregator(config)
    return config


def _subtable(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"must be a table, is {value!r}", field=path)
    return dict(cast("dict[str, Any]", value))


def _venue_settings(name: str, values: object, environment: Mapping[str, str]) -> FeedSettings:
    """Make the settings of one venue, secrets from the environment over those of the file."""
    path = f"venues.{name}"
    table = _subtable(values, path)
    endpoints = [endpoint.name for endpoint in _at(path, find_venue, name).profile.endpoints]
    found = {key: environment.get(f"CROSSFEED_{name.upper()}_{key.upper()}", "") for key in SECRETS}
    table |= {key: value for key, value in found.items() if value}
    settings = _convert(table, FeedSettings, path)
    if settings.endpoint and settings.endpoint not in endpoints:
        msg = f"no endpoint {settings.endpoint!r} (there are: {', '.join(endpoints)})"
        raise ConfigError(msg, field=f"{path}.endpoint")
    return settings


def _check_aggregator(config: FileConfig) -> None:
    """Check the section as if it were used, with the defaults of `crossfeed watch`."""
    section = config.aggregator
    for index, name in enumerate(section.exchanges):
        _at(f"aggregator.exchanges[{index}]", find_venue, name)
    _at(
        "aggregator",
        AggregatorConfig,
        exchanges=section.exchanges or ["binance", "coinbase", "kraken"],
        symbols=section.symbols or ["BTC/USD"],
        aggregation_strategy=section.aggregation_strategy,
        update_interval=section.update_interval,
        buffer_size=section.buffer_size,
        quote_basis=section.quote_basis,
    )


def _at(path: str, make: Callable[..., Made], *arguments: object, **parts: object) -> Made:
    """Call `make`; what it refuses is told with the path in the file."""
    try:
        return make(*arguments, **parts)
    except ConfigError as error:
        raise _relocated(error, path) from error


def _relocated(error: ConfigError, path: str) -> ConfigError:
    """Return the same error, of the same class, with the path in the file before its field."""
    text = str(error).removeprefix(f"{error.field}: ")
    return type(error)(text, field=".".join(part for part in (path, error.field) if part))


def _convert(table: dict[str, Any], kind: type[Section], path: str) -> Section:
    """Turn one table into its struct.

    Raises:
        ConfigError: A field is unknown, of the wrong type, or cannot work.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigError):
            raise _relocated(error.__cause__, path) from error
        raise _explained(error, path, kind) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"larger than {FILE_BYTES_MAX} bytes", field=str(path))
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", field=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"no valid TOML: {error}", field=str(path)) from error


def _explained(error: msgspec.ValidationError, path: str, kind: type[Struct]) -> ConfigError:
    """Name the field by its path, and the nearest valid one if it is unknown."""
    text, _, where = str(error).partition(" - at `$")
    inner = where.rstrip("`").lstrip(".").replace("[...]", ".*")
    place = ".".join(part for part in (path, inner) if part)
    _, quote, rest = text.partition("unknown field `")
    if not quote:
        return ConfigError(text, field=place)
    unknown = rest.rstrip("`")
    section = SECTIONS.get(INDEX.sub(".*", place), kind)
    fields = section.__struct_fields__
    near = difflib.get_close_matches(unknown, fields, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(fields)}"
    field = ".".join(part for part in (place, unknown) if part)
    return ConfigError(f"no such setting; {hint}", field=field)


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
    for field, value in config.record.masked().items():
        origin = "file" if field in table.get("record", {}) else "default"
        yield Origin(f"record.{field}", value, origin)
    yield Origin(
        "metrics_port", config.metrics_port, "file" if "metrics_port" in table else "default"
    )
    for name, settings in config.venues.items():
        given = table.get("venues", {}).get(name, {})
        for field, value in settings.masked().items():
            variable = f"CROSSFEED_{name.upper()}_{field.upper()}"
            origin = "file" if field in given else "default"
            if field in SECRETS and known.get(variable):
                origin = variable
            yield Origin(f"venues.{name}.{field}", value, origin)


def _section(name: str, values: Struct, given: Mapping[str, Any]) -> Iterator[Origin]:
    for field in values.__struct_fields__:
        origin = "file" if field in given else "default"
        yield Origin(f"{name}.{field}", getattr(values, field), origin)
