"""A small REST client: bounded, budgeted, within deadlines, and with our errors only.

aiohttp does the HTTP; it is imported with the first request, since many uses never make one.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlencode, urlsplit

from msgspec import Struct

from crossfeed.errors import (
    ConnectFailedError,
    CrossfeedError,
    DeadlineError,
    NotConnectedError,
    ProtocolViolationError,
    RateLimitedError,
)
from crossfeed.model.ports import Clock
from crossfeed.transport.config import check_headers, check_number, check_url
from crossfeed.transport.deadline import deadline
from crossfeed.transport.defaults import default_clock
from crossfeed.transport.handshake import make_tls_context, parse_retry_after
from crossfeed.transport.masking import escape, mask_url
from crossfeed.transport.rest_budget import RestBudget

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpAnswer", "HttpClient", "RestBudget"]

NS_PER_S: Final = 1_000_000_000
MIB: Final = 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
STATUS_TOO_MANY: Final = 429
STATUS_BANNED: Final = 418
LIMITED_S: Final = 60.0
BANNED_S: Final = 300.0
RETRY_AFTER_MAX_S: Final = 86_400.0
EXCERPT_BYTES: Final = 100
CLOSE_TOO_BIG: Final = 1009


class HttpAnswer(Struct, frozen=True):
    """What the server answered.

    Attributes:
        status: HTTP status.
        headers: Header fields, names in lower case; of repeated ones the last.
        body: The body, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Talks to one REST base address. Used as `async with` or closed by `close()`, safe twice.

    Attributes:
        requests: Requests sent.
        failures: Of these, how many got no answer.
        limited: Answers 429 and 418.
    """

    def __init__(
        self,
        base_url: str,
        *,
        budget: RestBudget | None = None,
        name: str = "",
        proxy: str = "",
        tls_ca_file: str = "",
        body_bytes_max: int = 32 * MIB,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is opened before the first request.

        Args:
            base_url: `https://` or `http://` address; paths are appended to it.
            budget: Shared by all clients of the venue. None sends without limit.
            name: Name of the venue in errors; the host by default.
            proxy: `http://` or `https://` proxy with user and password if needed.
            tls_ca_file: File of CA certificates (PEM) to trust in place of the system's.
            body_bytes_max: Longest body, decompressed.
            clock: Source of time; the system's by default.

        Raises:
            ConfigError: an address is malformed, or the proxy of a kind that REST cannot use.
        """
        check_url(base_url, field="base_url", schemes=("https", "http"))
        if proxy:
            check_url(proxy, field="proxy", schemes=("http", "https"))
        check_number(body_bytes_max, field="body_bytes_max", is_zero_allowed=False)
        self.requests = 0
        self.failures = 0
        self.limited = 0
        self._base_url = base_url.rstrip("/")
        self._name = name or (urlsplit(base_url).hostname or "")
        self._budget = budget if budget is not None else RestBudget()
        self._proxy = proxy
        self._ca_file = tls_ca_file
        self._body_bytes_max = body_bytes_max
        self._clock = clock if clock is not None else default_clock()
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._is_closed = False

    async def get(
        self,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        weight: int = 1,
        priority: int = 1,
        deadline_s: float = 10.0,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Send a GET request in its turn; return whatever the server answers but 429 and 418.

        Args:
            path: Below the base address, with the leading slash.
            query: Query parameters in order.
            weight: Cost in the venue's budget.
            priority: 0 goes first.
            deadline_s: For waiting, connecting and reading together.
            headers: Further headers.

        Raises:
            RateLimitedError: 429 or 418 (the budget is then held for all clients of the venue), or
                the turn does not come within the deadline; `retry_after_s` says when to try again.
            DeadlineError: no answer in time.
            TransportError: no connection, a broken or oversize answer.
        """
        return await self.request(
            "GET",
            path,
            query=query,
            weight=weight,
            priority=priority,
            deadline_s=deadline_s,
            headers=headers,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        weight: int = 1,
        priority: int = 1,
        deadline_s: float = 10.0,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Send a request of any method; otherwise as `get`."""
        if headers:
            check_headers(headers)
        url = self._base_url + path + ("?" + urlencode(query) if query else "")
        where = mask_url(url)
        start_ns = self._clock.monotonic_ns()
        await self._take_turn(weight, priority, deadline_s)
        left_s = deadline_s - (self._clock.monotonic_ns() - start_ns) / NS_PER_S
        self.requests += 1
        try:
            async with deadline(self._clock, left_s, f"{method} {escape(path)}", where=self._name):
                answer = await self._exchange(method, url, body, headers)
        except CrossfeedError:
            self.failures += 1
            raise
        self._check_limited(answer, where)
        return answer

    async def close(self) -> None:
        """Close all connections. Requests under way fail."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, as `close()`."""
        await self.close()

    # ── inside ────────────────────────────────────────────────────────────────

    async def _take_turn(self, weight: int, priority: int, deadline_s: float) -> None:
        now_ns = self._clock.monotonic_ns()
        held_ns = self._budget.held_ns(now_ns)
        if held_ns > deadline_s * NS_PER_S:
            text = "the venue has told us to wait"
            raise RateLimitedError(self._name, text, retry_after_s=held_ns / NS_PER_S)
        try:
            async with deadline(self._clock, deadline_s, "waiting for the REST budget"):
                await self._budget.spend(weight, priority=priority, clock=self._clock)
        except DeadlineError as exc:
            wait_ns = self._budget.wait_ns(self._clock.monotonic_ns(), weight)
            retry_after_s = max(1.0, wait_ns / NS_PER_S)
            text = f"no room in the REST budget within {deadline_s:g} s"
            raise RateLimitedError(self._name, text, retry_after_s=retry_after_s) from exc

    async def _exchange(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> HttpAnswer:
        import aiohttp

        session = await self._open_session()
        try:
            async with session.request(
                method,
                url,
                data=body,
                headers=headers,
                proxy=self._proxy or None,
                allow_redirects=False,
            ) as response:
                payload = await self._read(response)
                fields = {name.lower(): value for name, value in response.headers.items()}
                return HttpAnswer(response.status, fields, payload)
        except aiohttp.ClientConnectorCertificateError as exc:
            text = f"certificate not accepted: {escape(str(exc.certificate_error))}"
            raise ConnectFailedError(text, where=self._name, is_permanent=True) from exc
        except ssl.SSLError as exc:
            raise ConnectFailedError(f"TLS failed: {escape(str(exc))}", where=self._name) from exc
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as exc:
            text = f"{type(exc).__name__}: {escape(self._masked(str(exc)))}"
            raise ConnectFailedError(text, where=self._name) from exc

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """Read the body, decompress it, never hold more than the limit of it.

        Raises:
            ProtocolViolationError: the body is too long, of an encoding we did not ask for, or cut
                off.
        """
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "deflate"):
            raise self._violation(f'unknown content encoding "{escape(encoding)}"')
        inflater = None if encoding == "identity" else zlib.decompressobj(32 + zlib.MAX_WBITS)
        parts: list[bytes] = []
        room = self._body_bytes_max
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            part = chunk if inflater is None else inflater.decompress(chunk, room + 1)
            room -= len(part)
            if room < 0:
                raise self._violation(f"body of more than {self._body_bytes_max} bytes")
            parts.append(part)
        if inflater is not None and parts and not inflater.eof:
            raise self._violation("compressed body is cut off")
        return b"".join(parts)

    def _violation(self, text: str) -> ProtocolViolationError:
        return ProtocolViolationError(text, close_code=CLOSE_TOO_BIG, where=self._name)

    def _check_limited(self, answer: HttpAnswer, where: str) -> None:
        """Hold the venue's budget after 429 or 418.

        Raises:
            RateLimitedError: the answer was one of these.
        """
        if answer.status not in (STATUS_TOO_MANY, STATUS_BANNED):
            return
        self.limited += 1
        asked_s = parse_retry_after(answer.headers.get("retry-after", ""), self._clock.now_ns())
        otherwise_s = BANNED_S if answer.status == STATUS_BANNED else LIMITED_S
        wait_s = min(otherwise_s if asked_s is None else asked_s, RETRY_AFTER_MAX_S)
        self._budget.hold(self._clock.monotonic_ns(), wait_s)
        text = f'HTTP {answer.status} from {where}: "{escape(answer.body[:EXCERPT_BYTES])}"'
        raise RateLimitedError(
            self._name, text, retry_after_s=max(wait_s, 0.001), code=str(answer.status)
        )

    async def _open_session(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._is_closed:
                raise NotConnectedError("the client is closed", where=self._name)
            if self._session is None:
                self._session = await self._make_session()
            return self._session

    async def _make_session(self) -> aiohttp.ClientSession:
        import aiohttp

        tls: ssl.SSLContext | bool = True
        if self._base_url.startswith("https:"):
            # Reading the CA file takes some 10 ms: not on the loop.
            tls = await asyncio.to_thread(make_tls_context, self._ca_file)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=8, ttl_dns_cache=60),
            headers={"User-Agent": "crossfeed", "Accept-Encoding": "gzip"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )

    def _masked(self, text: str) -> str:
        """Take the proxy's password out of a foreign error text."""
        password = urlsplit(self._proxy).password if self._proxy else None
        return text.replace(password, "***") if password else text
