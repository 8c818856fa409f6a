"""Configuration of connections: frozen, checked when made, every limit with a default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct, field

from crossfeed.errors import ConfigError
from crossfeed.transport.heartbeat import HeartbeatLimits
from crossfeed.transport.limits import SendBudget
from crossfeed.transport.masking import MASK, mask_url
from crossfeed.transport.reconnect import Backoff, Refusal

__all__ = ["WebSocketConfig"]

MIB: Final = 1024 * 1024

ChannelOf = Callable[[Any], str | None]

_POSITIVE: Final = (
    "connect_timeout_s",
    "open_timeout_s",
    "close_timeout_s",
    "send_timeout_s",
    "frame_timeout_s",
    "backoff_base_s",
    "backoff_cap_s",
    "backoff_overload_s",
    "backoff_permanent_s",
    "backoff_reset_after_s",
    "breaker_cooldown_s",
    "breaker_cooldown_max_s",
    "frame_bytes_max",
    "fragments_max",
    "send_queue_max",
    "send_window_s",
    "handler_queue_max",
    "handler_failures_max",
    "write_buffer_bytes_max",
)
_NOT_NEGATIVE: Final = (
    "heartbeat_interval",
    "max_reconnect_attempts",
    "ping_interval_s",
    "ping_timeout_s",
    "app_ping_interval_s",
    "send_limit",
    "send_control_reserve",
    "send_spacing_s",
    "redirects_max",
    "tcp_user_timeout_s",
)


class WebSocketConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One WebSocket connection. Times in seconds.

    Attributes:
        url: `wss://` or `ws://` address.
        alternate_urls: Further addresses of the same service, tried in turn after a failed attempt.
        name: Name in logs, errors and statistics; the host by default.
        heartbeat_interval: Longest silence (no frame of any kind) before the connection counts as
            dead; 0 never.
        ping_interval_s: Distance of our ping frames; 0 sends none.
        ping_timeout_s: Longest wait for the pong, or for any data in its place.
        app_ping: Text the venue wants as its own ping; empty for none.
        app_ping_interval_s: Distance of these.
        max_reconnect_attempts: Failed attempts in a row before giving up; 0 never gives up.
        on_exhausted: What then: "fail" ends in FAILED; "open" opens the breaker (OPEN), which
            probes after a cool-down and recovers by itself.
        backoff_base_s: Shortest wait after a repeated failure.
        backoff_cap_s: Longest wait after passing failures.
        backoff_overload_s: Longest wait after close code 1013 (try again later) or 1009.
        backoff_permanent_s: Least distance of probes after a permanent refusal (401, 403, 451,
            1008).
        backoff_reset_after_s: So long must good data flow before the count of failures starts anew.
        breaker_cooldown_s: First cool-down of the open breaker; doubles with each failed probe.
        breaker_cooldown_max_s: Longest cool-down.
        status_meanings: A venue's own meaning of HTTP statuses of the handshake.
        close_code_meanings: A venue's own meaning of close codes.
        channel_of: Names the channel of a decoded message, None if it has none; for
            `WebSocketPool.subscribe`.
        decode: What message handlers get: "json" (decoded), "text" (str) or "bytes".
        accept_binary: Take binary messages like text ones; otherwise they are dropped, counted and
            reported.
        connect_timeout_s: Name resolution, TCP, TLS, proxy and upgrade together.
        open_timeout_s: The open hook (subscribing) before CONNECTED.
        close_timeout_s: Wait for the peer's close frame.
        frame_timeout_s: From the first to the last fragment of a message.
        send_timeout_s: Longest wait of one message for its turn.
        frame_bytes_max: Longest message, fragments joined; beyond it the connection closes with
            1009.
        fragments_max: Most frames of one message.
        send_limit: Frames we may send in any `send_window_s`, pongs included; 0 for no limit.
        send_window_s: Length of that window.
        send_control_reserve: Places of the window that messages leave to pings and pongs.
        send_spacing_s: Least distance of two messages.
        send_queue_max: Messages waiting for their turn; more are refused.
        write_buffer_bytes_max: Bytes the peer may leave unread before we refuse to send more.
        handler_queue_max: Messages waiting for an async handler; the oldest is dropped and counted
            beyond it.
        handler_failures_max: Failures in a row after which a handler is called no more.
        redirects_max: Redirects followed during the handshake.
        redirect_hosts: Hosts a redirect may lead to, besides the URL's own.
        headers: Further headers of the handshake; not sent to another host after a redirect.
        user_agent: User-Agent header.
        proxy: `http://`, `https://`, `socks4://` or `socks5://` address, with user and password if
            needed.
        tls_ca_file: File of CA certificates (PEM) to trust in place of the system's.
        tcp_user_timeout_s: Unacknowledged data older than this kills the connection (where the
            system can); 0 leaves it to the system.
    """

    url: str
    alternate_urls: tuple[str, ...] = ()
    name: str = ""
    heartbeat_interval: float = 30.0
    ping_interval_s: float = 5.0
    ping_timeout_s: float = 5.0
    app_ping: str = ""
    app_ping_interval_s: float = 0.0
    max_reconnect_attempts: int = 10
    on_exhausted: Literal["fail", "open"] = "fail"
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 5.0
    backoff_overload_s: float = 60.0
    backoff_permanent_s: float = 300.0
    backoff_reset_after_s: float = 30.0
    breaker_cooldown_s: float = 5.0
    breaker_cooldown_max_s: float = 60.0
    status_meanings: Mapping[int, Refusal] = field(default_factory=dict[int, Refusal])
    close_code_meanings: Mapping[int, Refusal] = field(default_factory=dict[int, Refusal])
    channel_of: ChannelOf | None = None
    decode: Literal["json", "text", "bytes"] = "json"
    accept_binary: bool = False
    connect_timeout_s: float = 10.0
    open_timeout_s: float = 30.0
    close_timeout_s: float = 2.0
    frame_timeout_s: float = 10.0
    send_timeout_s: float = 10.0
    frame_bytes_max: int = MIB
    fragments_max: int = 1024
    send_limit: int = 0
    send_window_s: float = 1.0
    send_control_reserve: int = 1
    send_spacing_s: float = 0.0
    send_queue_max: int = 1000
    write_buffer_bytes_max: int = MIB
    handler_queue_max: int = 10_000
    handler_failures_max: int = 10
    redirects_max: int = 5
    redirect_hosts: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    user_agent: str = "crossfeed"
    proxy: str = ""
    tls_ca_file: str = ""
    tcp_user_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Check everything that can be checked without the network.

        Raises:
            ConfigError: names the field, the value and what would be right.
        """
        for name in ("url", *(f"alternate_urls[{i}]" for i in range(len(self.alternate_urls)))):
            value = self.url if name == "url" else self.alternate_urls[int(name[15:-1])]
            check_url(value, field=name, schemes=("wss", "ws"))
        if self.proxy:
            check_url(self.proxy, field="proxy", schemes=("http", "https", "socks4", "socks5"))
        for name in _POSITIVE:
            check_number(getattr(self, name), field=name, is_zero_allowed=False)
        for name in _NOT_NEGATIVE:
            check_number(getattr(self, name), field=name, is_zero_allowed=True)
        check_choice(self.on_exhausted, ("fail", "open"), field="on_exhausted")
        check_choice(self.decode, ("json", "text", "bytes"), field="decode")
        if self.backoff_cap_s < self.backoff_base_s:
            raise ConfigError(
                f"{self.backoff_cap_s:g} is below backoff_base_s {self.backoff_base_s:g}",
                field="backoff_cap_s",
            )
        if bool(self.app_ping) != bool(self.app_ping_interval_s):
            raise ConfigError(
                "needs app_ping_interval_s, and the other way round", field="app_ping"
            )
        if self.ping_interval_s and not self.ping_timeout_s:
            raise ConfigError("must be positive while pings are sent", field="ping_timeout_s")
        if not self.ping_interval_s and not self.heartbeat_interval:
            raise ConfigError(
                "must be positive while ping_interval_s is 0: a dead peer would never be noticed",
                field="heartbeat_interval",
            )
        check_headers(self.headers)

    def __repr__(self) -> str:
        """Show what differs from the defaults, secrets masked."""
        shown = [f"url={mask_url(self.url)!r}"]
        for name, default in zip(
            self.__struct_fields__[1:], self.__struct_defaults__, strict=False
        ):
            value = getattr(self, name)
            if value == default or (
                value == {} and name in ("headers", "status_meanings", "close_code_meanings")
            ):
                continue
            if name == "headers":
                value = dict.fromkeys(value, MASK)
            elif name == "proxy":
                value = mask_url(value)
            elif name == "alternate_urls":
                value = tuple(mask_url(url) for url in value)
            shown.append(f"{name}={value!r}")
        return f"WebSocketConfig({', '.join(shown)})"

    @property
    def label(self) -> str:
        """Name for logs and errors."""
        return self.name or (urlsplit(self.url).hostname or "")

    @property
    def host(self) -> str:
        """Host and port of the address, without any user and password."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def backoff(self) -> Backoff:
        """The waits of the reconnect rule."""
        return Backoff(
            base_s=self.backoff_base_s,
            cap_s=self.backoff_cap_s,
            overload_s=self.backoff_overload_s,
            permanent_s=self.backoff_permanent_s,
            good_data_s=self.backoff_reset_after_s,
            attempts_max=self.max_reconnect_attempts,
        )

    @property
    def heartbeat(self) -> HeartbeatLimits:
        """The limits of the heartbeat rule."""
        return HeartbeatLimits(
            ping_interval_s=self.ping_interval_s,
            ping_timeout_s=self.ping_timeout_s,
            silence_max_s=self.heartbeat_interval,
            app_ping_interval_s=self.app_ping_interval_s,
        )

    def make_send_budget(self) -> SendBudget:
        """Make the budget that the send limits describe."""
        return SendBudget(
            limit=self.send_limit,
            window_s=self.send_window_s,
            control_reserve=self.send_control_reserve,
            spacing_s=self.send_spacing_s,
        )


def check_config(config: object) -> None:
    """Accept a `WebSocketConfig` only, no address and no dict.

    Raises:
        ConfigError: says what to give.
    """
    if not isinstance(config, WebSocketConfig):
        text = f"give WebSocketConfig(url=...), not {type(config).__name__}"
        raise ConfigError(text, field="config")


def check_url(url: object, *, field: str, schemes: tuple[str, ...]) -> None:
    """Accept an address of one of `schemes` with a host.

    Raises:
        ConfigError: names the field; secrets in the address are masked.
    """
    if not isinstance(url, str):
        raise ConfigError(f"must be text, is {type(url).__name__}", field=field)
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError as exc:
        raise ConfigError(f"{mask_url(url)!r} is no address ({exc})", field=field) from exc
    if parts.scheme not in schemes:
        raise ConfigError(f"{mask_url(url)!r} must start with {wanted}", field=field)
    if not parts.hostname or not port_ok:
        raise ConfigError(f"{mask_url(url)!r} names no host", field=field)
    if parts.username is not None and "ws" in schemes:
        text = f"{mask_url(url)!r} must not carry a user and password; use headers"
        raise ConfigError(text, field=field)
    if parts.fragment:
        raise ConfigError(f"{mask_url(url)!r} must have no #fragment", field=field)
    if any(ord(character) <= ord(" ") or ord(character) == 127 for character in url):  # noqa: PLR2004 - DEL
        raise ConfigError(f"{mask_url(url)!r} has blanks or control characters", field=field)


def check_number(value: object, *, field: str, is_zero_allowed: bool) -> None:
    """Accept a finite number above zero, or zero where allowed.

    Raises:
        ConfigError: names the field and the value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"must be a finite number, is {value!r}", field=field)
    if value < 0 or (value == 0 and not is_zero_allowed):
        bound = "0 or more" if is_zero_allowed else "above 0"
        raise ConfigError(f"must be {bound}, is {value!r}", field=field)


def check_choice(value: object, choices: tuple[str, ...], *, field: str) -> None:
    """Accept one of `choices`.

    Raises:
        ConfigError: names the field, the value and the choices.
    """
    if value not in choices:
        raise ConfigError(f"must be one of {', '.join(choices)}, is {value!r}", field=field)


def check_headers(headers: Mapping[str, object]) -> None:
    """Accept header names and values that cannot smuggle further lines into a request.

    Raises:
        ConfigError: names the header, never its value.
    """
    for name, value in headers.items():
        if not name or not all(
            c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in name
        ):
            raise ConfigError("is no header name", field=f"headers[{name!r}]")
        if not isinstance(value, str) or any(ord(c) < ord(" ") and c != "\t" for c in value):
            raise ConfigError(
                "has a value that is no text or has control characters", field=f"headers[{name!r}]"
            )
