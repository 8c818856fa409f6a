"""How one venue's client runs: the settings shared by all venues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, ValidationError, convert, structs

from crossfeed.errors import ConfigError
from crossfeed.transport.config import check_number, check_url
from crossfeed.transport.masking import MASK, mask_url

__all__ = ["FeedSettings"]

LINES_MAX: Final = 2
POSITIVE: Final = (
    "metadata_deadline_s",
    "connect_deadline_s",
    "poll_interval_s",
    "handler_failures_max",
    "reconnect_base_s",
    "reconnect_cap_s",
    "breaker_cooldown_s",
)
NOT_NEGATIVE: Final = (
    "rotate_margin_s",
    "audit_interval_s",
    "streams_per_connection",
    "reconnect_attempts_max",
)


class FeedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one venue's feed. From Python or from the `[venues.<name>]` table of the file.

    Attributes:
        endpoint: Name of one of the venue's endpoints ("production", "us", "market-data" ...).
        ws_url: WebSocket base URL that replaces the endpoint's; empty: the endpoint's own.
        rest_url: REST base URL that replaces the endpoint's; empty: the endpoint's own.
        rest_bases: Further REST base URLs by the name that the venue's requests give them (Coinbase
            Advanced repairs trades through "exchange"); what is not named is `rest_url`.
        alternate_ws_urls: Further addresses of the same service: the second line begins at the
            first of them, and a connection that keeps failing or falls silent goes on to the next.
        api_key: Credentials, where the venue takes them for market data; masked wherever shown.
        api_secret: The same.
        api_passphrase: The same.
        parameters: Venue-specific options ("time_unit" = "MICROSECOND").
        keep_raw: Whether events keep their frame (`raw_message`, `exact`).
        metadata: "auto" asks the venue for its instruments (with a deadline; the built-in table
            stands in), "builtin" never asks.
        metadata_deadline_s: How long "auto" waits.
        connect_deadline_s: How long `connect()` waits for a connection and its acknowledgements,
            once its turn in the venue's budget of connects can have come.
        strict: Whether one refused subscription makes `connect()` raise.
        backfill: "late" repairs gaps by REST and delivers the missing events when they come, "hold"
            keeps live events back meanwhile (bounded), "off" only records the gap.
        lines: Connections that carry each stream (1 or 2).
        rest_fallback: Whether REST polls stand in while the venue's breaker is open.
        poll_interval_s: Distance of those polls.
        rotate_margin_s: A connection is replaced this long before the venue would cut it.
        audit_interval_s: Each book is compared with a REST image this often; 0 never.
        price_band: A price this many times above or below the last good one is marked SUSPECT and
            kept out of aggregates; the band follows a move that lasts. 0 marks nothing.
        proxy: Proxy URL; credentials in it are masked wherever shown.
        ca_file: PEM file of a private certificate authority.
        streams_per_connection: Streams on one connection; 0: the venue's own limit.
        handler_failures_max: Failures in a row that quarantine a handler.
        reconnect_base_s: Shortest wait before a reconnect.
        reconnect_cap_s: Longest wait before a reconnect.
        reconnect_attempts_max: Failed attempts before the breaker opens.
        breaker_cooldown_s: How long it stays open before a probe.
    """

    endpoint: str = ""
    ws_url: str = ""
    rest_url: str = ""
    rest_bases: Mapping[str, str] = {}
    alternate_ws_urls: tuple[str, ...] = ()
    api_key: str = ""
    api_secret: str = ""
    api_passphrase: str = ""
    parameters: Mapping[str, str] = {}
    keep_raw: bool = True
    metadata: str = "auto"
    metadata_deadline_s: float = 5.0
    connect_deadline_s: float = 30.0
    strict: bool = False
    backfill: str = "late"
    lines: int = 1
    rest_fallback: bool = True
    poll_interval_s: float = 2.0
    rotate_margin_s: float = 3600.0
    audit_interval_s: float = 600.0
    price_band: float = 1.5
    proxy: str = ""
    ca_file: str = ""
    streams_per_connection: int = 0
    handler_failures_max: int = 100
    reconnect_base_s: float = 0.5
    reconnect_cap_s: float = 5.0
    reconnect_attempts_max: int = 10
    breaker_cooldown_s: float = 30.0

    def __post_init__(self) -> None:
        """Check what cannot work.

        Raises:
            ConfigError: With the path of the field.
        """
        self._check_types()
        if self.metadata not in {"auto", "builtin"}:
            raise ConfigError(
                f'must be "auto" or "builtin", not {self.metadata!r}', field="metadata"
            )
        if self.backfill not in {"late", "hold", "off"}:
            msg = f'must be "late", "hold" or "off", not {self.backfill!r}'
            raise ConfigError(msg, field="backfill")
        if not 1 <= self.lines <= LINES_MAX:
            raise ConfigError(f"must be 1 or 2, not {self.lines}", field="lines")
        if self.price_band and not self.price_band > 1:
            raise ConfigError("must be 0 (off) or above 1", field="price_band")
        if bool(self.api_key) != bool(self.api_secret):
            raise ConfigError("api_key and api_secret belong together", field="api_key")
        for name in POSITIVE:
            check_number(getattr(self, name), field=name, is_zero_allowed=False)
        for name in NOT_NEGATIVE:
            check_number(getattr(self, name), field=name, is_zero_allowed=True)
        if self.reconnect_cap_s < self.reconnect_base_s:
            msg = f"{self.reconnect_cap_s:g} is below reconnect_base_s {self.reconnect_base_s:g}"
            raise ConfigError(msg, field="reconnect_cap_s")
        self._check_urls()

    def _check_types(self) -> None:
        """Check what type checkers would say, for whoever uses none; values may be secrets."""
        for info in structs.fields(FeedSettings):
            value = getattr(self, info.name)
            try:
                convert(value, info.type)
            except ValidationError as error:
                said, _, _ = str(error).partition(" - at ")
                text = said.replace("Expected `", "must be `").replace("got `", "is `")
                raise ConfigError(text, field=info.name) from None

    def _check_urls(self) -> None:
        """Check the addresses, as far as that goes without the network."""
        for url in filter(None, (self.ws_url, *self.alternate_ws_urls)):
            name = "ws_url" if url == self.ws_url else "alternate_ws_urls"
            check_url(url, field=name, schemes=("wss", "ws"))
        if self.rest_url:
            check_url(self.rest_url, field="rest_url", schemes=("https", "http"))
        if self.proxy:
            check_url(self.proxy, field="proxy", schemes=("http", "https", "socks4", "socks5"))

    def __repr__(self) -> str:
        """Return the settings that differ from the defaults, secrets masked."""
        defaults = FeedSettings()
        shown: list[str] = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value == getattr(defaults, name):
                continue
            shown.append(f"{name}={self._masked(name)!r}")
        return f"FeedSettings({', '.join(shown)})"

    def masked(self) -> dict[str, object]:
        """Return all settings as a dict, secrets masked."""
        return {name: self._masked(name) for name in self.__struct_fields__}

    def _masked(self, name: str) -> object:
        value = getattr(self, name)
        if name.startswith("api_"):
            return MASK if value else ""
        return mask_url(value) if name in {"ws_url", "rest_url", "proxy"} and value else value
