"""Every exception crossfeed raises.

```
CrossfeedError
├─ ConfigError (ValueError)        before start; never retried
│  ├─ UnknownVenueError · UnknownSymbolError · UnsupportedChannelError
├─ TransportError                  the session retries with backoff
│  ├─ ConnectFailedError · HandshakeRejectedError(status, retry_after_s)
│  ├─ ConnectionLostError (ConnectionError) · StaleConnectionError (TimeoutError)
│  ├─ ProtocolViolationError(close_code) · NotConnectedError · SendRejectedError
│  └─ DeadlineError (TimeoutError)
├─ VenueError(code, text)          the venue said no
│  ├─ SubscriptionRejectedError(symbols) · RateLimitedError(retry_after_s)
│  ├─ AuthRejectedError · VenueMaintenanceError
├─ DecodeError(reason, excerpt)    counted; the frame is set aside; the feed goes on
│  ├─ MalformedFrameError · UnknownMessageError · SchemaChangedError · InvalidValueError
├─ BookError                       the book is marked UNSOUND and resynchronised
│  ├─ SequenceGapError(expected, got) · ChecksumMismatchError · CrossedBookError
├─ DeliveryError                   a subscriber is at fault
│  └─ QueueOverflowError · HandlerQuarantinedError · LoopBlockedError(seconds, stack)
├─ SinkError                       that sink is isolated
│  ├─ SinkUnavailableError · SinkOverflowError
├─ CircuitOpenError(retry_at_ns)   refused without trying
├─ StoreError                      history on disk; what was committed before is untouched
└─ JournalError
   ├─ CorruptRecordError(offset) · UnsupportedVersionError · JournalLockedError(pid)
```

Every error carries its facts as attributes and builds its text from them: what happened, where,
what to do. `retryable` says whether trying again unchanged can help.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AuthRejectedError",
    "BookError",
    "ChecksumMismatchError",
    "CircuitOpenError",
    "ConfigError",
    "ConnectFailedError",
    "ConnectionLostError",
    "CorruptRecordError",
    "CrossedBookError",
    "CrossfeedError",
    "DeadlineError",
    "DecodeError",
    "DeliveryError",
    "HandlerQuarantinedError",
    "HandshakeRejectedError",
    "InvalidValueError",
    "JournalError",
    "JournalLockedError",
    "LoopBlockedError",
    "MalformedFrameError",
    "NotConnectedError",
    "ProtocolViolationError",
    "QueueOverflowError",
    "RateLimitedError",
    "SchemaChangedError",
    "SendRejectedError",
    "SequenceGapError",
    "SinkError",
    "SinkOverflowError",
    "SinkUnavailableError",
    "StaleConnectionError",
    "StoreError",
    "SubscriptionRejectedError",
    "TransportError",
    "UnknownMessageError",
    "UnknownSymbolError",
    "UnknownVenueError",
    "UnsupportedChannelError",
    "UnsupportedVersionError",
    "VenueError",
    "VenueMaintenanceError",
]

EXCERPT_BYTES_MAX = 120


class CrossfeedError(Exception):
    """Base of all errors that crossfeed raises."""

    retryable: ClassVar[bool] = False


# ── configuration ─────────────────────────────────────────────────────────────


class ConfigError(CrossfeedError, ValueError):
    """The configuration cannot work. Raised before anything starts; nothing was changed.

    Attributes:
        field: Path of the offending field ("binance.symbols[0]"), empty if it concerns the whole.
    """

    def __init__(self, text: str, *, field: str = "") -> None:
        """Build from the full text and the path of the field it concerns."""
        self.field = field
        super().__init__(f"{field}: {text}" if field else text)


class UnknownVenueError(ConfigError):
    """A venue name that no venue folder has."""


class UnknownSymbolError(ConfigError):
    """A symbol the venue does not list, or text that is no symbol."""


class UnsupportedChannelError(ConfigError):
    """The venue has no such channel, or needs credentials for it that were not given."""


# ── transport ─────────────────────────────────────────────────────────────────


class TransportError(CrossfeedError):
    """A connection failed. The session retries with backoff unless the refusal is permanent.

    Attributes:
        where: Name or URL (credentials masked) of the connection.
        is_permanent: True where a retry with the same input is known to fail (401, 403, 451).
    """

    retryable: ClassVar[bool] = True

    def __init__(self, text: str, *, where: str = "", is_permanent: bool = False) -> None:
        """Build from the cause and the connection it happened on."""
        self.where = where
        self.is_permanent = is_permanent
        super().__init__(f"{where}: {text}" if where else text)


class ConnectFailedError(TransportError):
    """No connection could be made (DNS, refused, TLS, proxy)."""


class HandshakeRejectedError(TransportError):
    """The server answered the upgrade with something else than 101.

    Attributes:
        status: HTTP status, 0 if the answer was no HTTP.
        retry_after_s: What the server's Retry-After asked for, None if it did not.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int,
        retry_after_s: float | None = None,
        where: str = "",
        is_permanent: bool = False,
    ) -> None:
        """Build from the status and the server's wishes."""
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(text, where=where, is_permanent=is_permanent)


class ConnectionLostError(TransportError, ConnectionError):
    """An established connection ended without our asking.

    Attributes:
        close_code: WebSocket close code, 1006 where no close frame came.
        reason: The peer's reason, control characters escaped.
    """

    def __init__(
        self, text: str, *, close_code: int = 1006, reason: str = "", where: str = ""
    ) -> None:
        """Build from the close code and reason."""
        self.close_code = close_code
        self.reason = reason
        super().__init__(text, where=where)


class DeadlineError(TransportError, TimeoutError):
    """Something did not happen in its time. Also a `TimeoutError`.

    Attributes:
        limit_s: The deadline that passed, seconds.
    """

    def __init__(self, text: str, *, limit_s: float, where: str = "") -> None:
        """Build from what was waited for and how long."""
        self.limit_s = limit_s
        super().__init__(text, where=where)


class StaleConnectionError(DeadlineError):
    """The connection is open but silent beyond its heartbeat limit."""


class ProtocolViolationError(TransportError):
    """The peer broke RFC 6455 or a limit of ours; the connection is closed with `close_code`."""

    def __init__(self, text: str, *, close_code: int, where: str = "") -> None:
        """Build from the violation and the close code we answer with."""
        self.close_code = close_code
        super().__init__(text, where=where)


class NotConnectedError(TransportError):
    """The operation needs an open connection."""


class SendRejectedError(TransportError):
    """A message was not sent: the send queue is full or the rate limit would be passed."""


# ── venue ─────────────────────────────────────────────────────────────────────


class VenueError(CrossfeedError):
    """The venue refused a request.

    Attributes:
        venue: Name of the venue.
        code: The venue's own code, as text; empty if it gave none.
        text: The venue's own words.
    """

    def __init__(self, venue: str, text: str, *, code: str = "", hint: str = "") -> None:
        """Build from the venue's answer and a hint what to do."""
        self.venue = venue
        self.code = code
        self.text = text
        coded = f" [{code}]" if code else ""
        super().__init__(f"{venue}{coded}: {text}" + (f" ({hint})" if hint else ""))


class SubscriptionRejectedError(VenueError):
    """Subscriptions were refused.

    Attributes:
        symbols: Venue symbol (or channel) -> the venue's reason.
    """

    def __init__(self, venue: str, symbols: dict[str, str], *, hint: str = "") -> None:
        """Build from the refused symbols and the venue's reason for each."""
        self.symbols = symbols
        listed = "; ".join(f"{name}: {reason}" for name, reason in sorted(symbols.items()))
        super().__init__(venue, f"subscription refused: {listed}", hint=hint)


class RateLimitedError(VenueError):
    """A request came too early for the venue's budget.

    Attributes:
        retry_after_s: Seconds until the next attempt is allowed.
    """

    retryable: ClassVar[bool] = True

    def __init__(self, venue: str, text: str, *, retry_after_s: float, code: str = "") -> None:
        """Build from the venue's answer and the wait it asks for."""
        self.retry_after_s = retry_after_s
        super().__init__(venue, text, code=code, hint=f"wait {retry_after_s:g} s")


class AuthRejectedError(VenueError):
    """The venue did not accept the credentials, or wants some where none were given."""


class VenueMaintenanceError(VenueError):
    """The venue is closed for now."""

    retryable: ClassVar[bool] = True


# ── decoding ──────────────────────────────────────────────────────────────────


class DecodeError(CrossfeedError):
    """A frame could not be turned into events. It is counted and set aside; the feed goes on.

    Attributes:
        venue: Name of the venue.
        reason: Short stable word for metrics ("syntax", "missing_field", "nan", ...).
        excerpt: At most 120 bytes of the frame, escaped.
        data_type: What the frame would have become ("book_ticker", "orderbook_update"); empty where
            that is not known, or nothing was lost by it.
        symbols: Symbols asked for that it names.
    """

    def __init__(self, venue: str, reason: str, detail: str, frame: bytes = b"") -> None:
        """Build from the reason and the frame it concerns."""
        self.venue = venue
        self.reason = reason
        self.detail = detail
        self.excerpt = frame[:EXCERPT_BYTES_MAX].decode("ascii", "backslashreplace")
        self.data_type = ""
        self.symbols: frozenset[str] = frozenset()
        shown = f": {self.excerpt!r}" if frame else ""
        super().__init__(f"{venue}: {reason}: {detail}{shown}")


class MalformedFrameError(DecodeError):
    """Not JSON, cut off, wrong encoding, nested too deeply."""


class UnknownMessageError(DecodeError):
    """Well-formed, but of no type we know, or for a symbol nobody asked for."""


class SchemaChangedError(DecodeError):
    """A known message lacks a field or has one of another type."""


class InvalidValueError(DecodeError):
    """A value that no market can have: NaN, infinite, a price of zero or below, out of pattern."""


# ── books ─────────────────────────────────────────────────────────────────────


class BookError(CrossfeedError):
    """A book can no longer be proven; it is marked UNSOUND and resynchronised."""


class SequenceGapError(BookError):
    """An update does not follow the last one. The book is unchanged and marked UNSOUND.

    Attributes:
        expected: First missing number.
        got: Number that came instead.
    """

    def __init__(self, where: str, *, expected: int, got: int) -> None:
        """Build from the expected and the received number."""
        self.expected = expected
        self.got = got
        super().__init__(f"{where}: expected {expected}, got {got}")


class ChecksumMismatchError(BookError):
    """The venue's checksum differs from ours. The book is marked UNSOUND."""

    def __init__(self, where: str, *, expected: int, got: int) -> None:
        """Build from the venue's checksum and the one computed."""
        self.expected = expected
        self.got = got
        super().__init__(f"{where}: venue says {expected}, book gives {got}")


class CrossedBookError(BookError):
    """Best bid at or above best ask for longer than the venue can explain."""


# ── delivery ──────────────────────────────────────────────────────────────────


class DeliveryError(CrossfeedError):
    """A subscriber could not be served. Other subscribers are not concerned."""


class QueueOverflowError(DeliveryError):
    """A bounded queue with policy `disconnect` was full; the subscription has ended."""


class HandlerQuarantinedError(DeliveryError):
    """A handler failed too often in a row and is called no more."""


class LoopBlockedError(DeliveryError):
    """Something ran on the event loop for so long that the feed stood still. It runs again.

    Attributes:
        seconds: How long.
        stack: Where it was, innermost line last.
    """

    def __init__(self, seconds: float, stack: str) -> None:
        """Build from the time and the stack that was seen meanwhile."""
        self.seconds = seconds
        self.stack = stack
        where = stack.strip().rpartition("\n  File ")[2].partition("\n")[0] or "unknown"
        super().__init__(
            f"the event loop stood still for {seconds:.1f} s at File {where}; "
            "make the handler quicker, async, or deliver it in a thread"
        )


# ── sinks, breaker, journal ───────────────────────────────────────────────────


class SinkError(CrossfeedError):
    """A sink failed; it is isolated from the feed."""


class SinkUnavailableError(SinkError):
    """The sink's server cannot be reached."""

    retryable: ClassVar[bool] = True


class SinkOverflowError(SinkError):
    """The sink's bounded buffer was full; what was dropped is counted."""


class CircuitOpenError(CrossfeedError):
    """The breaker is open: refused without trying.

    Attributes:
        retry_at_ns: Monotonic time of the next probe, nanoseconds.
    """

    retryable: ClassVar[bool] = True

    def __init__(self, where: str, *, retry_at_ns: int) -> None:
        """Build from the name of the breaker and the time of its next probe."""
        self.retry_at_ns = retry_at_ns
        super().__init__(f"{where}: circuit open, next probe at {retry_at_ns} ns (monotonic)")


class StoreError(CrossfeedError):
    """A store cannot be written, read or asked; what it held before is untouched."""


class JournalError(CrossfeedError):
    """A journal cannot be written or read."""


class CorruptRecordError(JournalError):
    """A record fails its length or CRC check.

    Attributes:
        offset: Byte offset of the record in its file.
    """

    def __init__(self, where: str, *, offset: int, reason: str) -> None:
        """Build from the file, the offset and what is wrong there."""
        self.offset = offset
        super().__init__(f"{where}: corrupt record at byte {offset}: {reason}")


class UnsupportedVersionError(JournalError):
    """The file was written by a format version this build cannot read."""


class JournalLockedError(JournalError):
    """Another process writes this journal.

    Attributes:
        pid: Its process id, 0 if unknown.
    """

    def __init__(self, where: str, *, pid: int) -> None:
        """Build from the journal's folder and the owner's pid."""
        self.pid = pid
        super().__init__(f"{where}: in use by process {pid}; stop it or choose another folder")
