"""Open a WebSocket with picows and turn everything that can go wrong into our errors."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import socket
import ssl
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import picows
from python_socks import ProxyError

from crossfeed.errors import (
    ConfigError,
    ConnectFailedError,
    HandshakeRejectedError,
    TransportError,
)
from crossfeed.model.ports import Clock
from crossfeed.transport.address import Resolver, connect_first, tune_socket
from crossfeed.transport.config import WebSocketConfig, check_url
from crossfeed.transport.deadline import deadline
from crossfeed.transport.masking import escape, mask_url

__all__ = ["make_tls_context", "open_transport", "parse_retry_after"]

SWITCHING_PROTOCOLS: Final = 101
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
PROXY_AUTH_REQUIRED: Final = 407
EXCERPT_BYTES: Final = 100
TLS_SHUTDOWN_TIMEOUT_S: Final = 1.0
NS_PER_S: Final = 1_000_000_000

_STATUS_LINE: Final = re.compile(rb"HTTP/\d\.\d (\d{3})(?: |$)")
_SECONDS: Final = re.compile(r"\d{1,9}")

ListenerFactory = Callable[[], picows.WSListener]


@functools.lru_cache(maxsize=8)
def make_tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Make a verifying context, TLS 1.2 or later; the same one for the same file.

    The first call reads the CA file, which takes some 10 ms and a megabyte: a hundred connections
    share it.

    Raises:
        ConfigError: `ca_file` cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f'cannot use "{escape(ca_file)}": {exc}', field="tls_ca_file") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def open_transport(
    config: WebSocketConfig,
    url: str,
    *,
    clock: Clock,
    resolver: Resolver,
    tls: ssl.SSLContext | None,
    listener_factory: ListenerFactory,
    logger: object,
) -> picows.WSTransport:
    """Connect to `url`, follow allowed redirects, upgrade.

    Args:
        config: The limits; `connect_timeout_s` bounds everything together.
        url: Address to connect to (one of the configuration's, or the url provider's).
        clock: Source of time for the deadline and Retry-After dates.
        resolver: Turns names into addresses.
        tls: Context for `wss`; None where no TLS is used.
        listener_factory: Makes the listener once the upgrade is accepted.
        logger: What picows logs to.

    Returns:
        The open transport. On any error, cancellation included, no socket is left behind.

    Raises:
        ConnectFailedError: DNS, TCP, TLS or proxy failed.
        HandshakeRejectedError: the server answered with something else than a valid upgrade.
        DeadlineError: it took longer than `connect_timeout_s`.
    """
    shown = mask_url(url)
    trusted = {urlsplit(own).netloc for own in (url, config.url, *config.alternate_urls)}
    async with deadline(clock, config.connect_timeout_s, "connecting", where=shown):
        for hop in range(config.redirects_max + 1):
            headers = dict(config.headers) if urlsplit(url).netloc in trusted else {}
            headers.setdefault("User-Agent", config.user_agent)
            dialer = _Dialer(config, clock, resolver, tls, listener_factory, logger)
            try:
                return await dialer.dial(url, headers)
            except _Redirected as redirected:
                if hop == config.redirects_max:
                    text = f"more than {config.redirects_max} redirects"
                    raise HandshakeRejectedError(
                        text, status=redirected.status, where=shown
                    ) from None
                url = _check_redirect(url, redirected, config)
    raise AssertionError("unreachable")


def _can_poll_sockets() -> bool:
    """Say whether the loop tells a polled socket's reader of a reset; uvloop's does not.

    aiofastnet's transport, which picows prefers, polls. On uvloop (0.23) a reset that follows data
    never reaches it: libuv ends the poll with an error that uvloop drops. Until the pings failed,
    10 s later, the connection looked alive. uvloop's own transport reads by itself and sees it.
    """
    return not type(asyncio.get_running_loop()).__module__.startswith("uvloop")


class _Redirected(Exception):  # noqa: N818 - an instruction, never seen outside
    """The server sent us elsewhere."""

    def __init__(self, status: int, location: str) -> None:
        self.status = status
        self.location = location
        super().__init__(status, location)


def _check_redirect(url: str, redirected: _Redirected, config: WebSocketConfig) -> str:
    """Return the address to go on with.

    Raises:
        HandshakeRejectedError: another scheme, a host that is not allowed, or no address.
    """

    def refuse(why: str) -> HandshakeRejectedError:
        target = mask_url(redirected.location)
        return HandshakeRejectedError(
            f"redirect to {target!r} not followed: {why}",
            status=redirected.status,
            where=mask_url(url),
        )

    try:
        target = urljoin(url, redirected.location)
        check_url(target, field="location", schemes=(urlsplit(url).scheme,))
    except ValueError as exc:
        raise refuse("another scheme, or no valid address") from exc
    host = urlsplit(target).hostname or ""
    allowed = {urlsplit(own).hostname for own in (config.url, *config.alternate_urls)}
    if host != urlsplit(url).hostname and host not in allowed and host not in config.redirect_hosts:
        raise refuse("host not in redirect_hosts")
    return target


class _Dialer:
    """One attempt at one address."""

    def __init__(
        self,
        config: WebSocketConfig,
        clock: Clock,
        resolver: Resolver,
        tls: ssl.SSLContext | None,
        listener_factory: ListenerFactory,
        logger: object,
    ) -> None:
        self._config = config
        self._clock = clock
        self._resolver = resolver
        self._tls = tls
        self._listener_factory = listener_factory
        self._logger = logger
        self._socket: socket.socket | None = None

    async def dial(self, url: str, headers: dict[str, str]) -> picows.WSTransport:
        try:
            return await self._connect(url, headers)
        except BaseException:
            self._drop_socket()
            raise

    async def _connect(self, url: str, headers: dict[str, str]) -> picows.WSTransport:
        config = self._config
        where = mask_url(url)
        options: dict[str, Any] = {}
        if urlsplit(url).scheme == "wss":
            options = {
                "ssl_handshake_timeout": config.connect_timeout_s,
                "ssl_shutdown_timeout": TLS_SHUTDOWN_TIMEOUT_S,
            }
        try:
            transport, listener = await picows.ws_connect(  # pyright: ignore[reportUnknownMemberType]
                self._make_listener,
                url,
                ssl_context=self._tls,
                websocket_handshake_timeout=None,
                logger_name=self._logger,  # type: ignore[arg-type]
                enable_auto_pong=False,
                max_frame_size=config.frame_bytes_max,
                extra_headers=headers,
                max_redirects=0,
                proxy=config.proxy or None,
                socket_factory=self._make_socket,
                use_aiofastnet=_can_poll_sockets(),
                **options,
            )
        except TransportError as exc:
            if not exc.where:
                exc.where = where
                exc.args = (f"{where}: {exc}",)
            raise
        except picows.WSHandshakeError as exc:
            raise self._refusal(exc, where) from exc
        except ssl.SSLCertVerificationError as exc:
            text = f"certificate not accepted: {escape(exc.verify_message or str(exc))}"
            raise ConnectFailedError(text, where=where, is_permanent=True) from exc
        except ssl.SSLError as exc:
            raise ConnectFailedError(f"TLS failed: {escape(str(exc))}", where=where) from exc
        except ProxyError as exc:
            denied = str(PROXY_AUTH_REQUIRED) in str(exc)
            text = f"proxy {mask_url(config.proxy)}: {escape(str(exc))}"
            raise ConnectFailedError(text, where=where, is_permanent=denied) from exc
        except (OSError, picows.WSError, UnicodeError, ValueError) as exc:
            text = f"{type(exc).__name__}: {escape(str(exc))}"
            raise ConnectFailedError(text, where=where) from exc
        # picows reports an end before the upgrade's answer as success without a listener.
        if listener is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise ConnectFailedError("the server hung up during the handshake", where=where)
        return transport

    async def _make_socket(self, endpoint: picows.WSParsedURL) -> socket.socket:
        found = await self._resolver.resolve(str(endpoint.host), int(endpoint.port))
        self._socket = await connect_first(found, self._clock)
        tune_socket(self._socket, self._config.tcp_user_timeout_s)
        return self._socket

    def _make_listener(
        self, _request: picows.WSUpgradeRequest, response: picows.WSUpgradeResponse
    ) -> picows.WSListener:
        for name in ("Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"):
            value = response.headers.get(name)
            if value is not None:
                text = f'the server chose {name} "{escape(value)}", which was not offered'
                raise HandshakeRejectedError(text, status=SWITCHING_PROTOCOLS)
        return self._listener_factory()

    def _drop_socket(self) -> None:
        """End the connection under a transport that nobody holds: it sees EOF and closes itself."""
        if self._socket is not None and self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _refusal(self, exc: picows.WSHandshakeError, where: str) -> Exception:
        header = exc.raw_header or b""
        match = _STATUS_LINE.match(header)
        status = int(match.group(1)) if match else 0
        lines = [line.partition(b":") for line in header.split(b"\r\n")[1:]]
        fields = {name.strip().lower(): value.strip() for name, _, value in lines}
        location = fields.get(b"location")
        if status in REDIRECTS and location is not None:
            return _Redirected(status, location.decode("latin-1"))
        if status == SWITCHING_PROTOCOLS or not status:
            text = f"no valid WebSocket upgrade: {escape(str(exc), 200)}"
        else:
            excerpt = escape((exc.raw_body or b"")[:EXCERPT_BYTES])
            text = f"HTTP {status} instead of an upgrade" + (f': "{excerpt}"' if excerpt else "")
        retry_after = fields.get(b"retry-after", b"").decode("latin-1")
        return HandshakeRejectedError(
            text,
            status=status,
            retry_after_s=parse_retry_after(retry_after, self._clock.now_ns()),
            where=where,
            is_permanent=status in (401, 403, 407, 451),
        )


def parse_retry_after(text: str, now_ns: int) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date (made relative to `now_ns`, wall clock).

    Returns:
        Seconds to wait, None if the header is absent or unreadable.
    """
    text = text.strip()
    if _SECONDS.fullmatch(text) and text.isascii():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
        return max(0.0, when.timestamp() - now_ns / NS_PER_S)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
