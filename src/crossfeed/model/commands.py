"""What pure machines ask of the session.

Values, not calls: the session carries them out within its budgets.
"""

from __future__ import annotations

from msgspec import Struct

from crossfeed.model.status import Stream

__all__ = [
    "Acknowledged",
    "Backfill",
    "Command",
    "FetchSnapshot",
    "Reconnect",
    "Refused",
    "RestRequest",
    "Resubscribe",
    "Rotate",
    "Send",
    "VenueNotice",
    "Want",
]


class Want(Struct, frozen=True, gc=False):
    """One stream to subscribe at a venue.

    Attributes:
        channel: The venue's channel word, with its parameter where it has one ("trade", "kline_5m",
            "depth@100ms", "level2_batch", "book-10").
        symbol: The venue's symbol; empty for channels without one (status).
    """

    channel: str
    symbol: str


class RestRequest(Struct, frozen=True, kw_only=True):
    """One REST call, made by a codec, executed by the session, answered to `codec.receive_rest`.

    Attributes:
        purpose: "snapshot", "backfill", "instruments", "poll", "audit", "tail" or "time".
        path: Path below the venue's REST base URL, with the leading slash.
        query: Query parameters in order.
        weight: Cost in the venue's REST budget.
        symbol: The venue's symbol it concerns; empty if none.
        channel: Channel of the stream it concerns ("book", "trade" ...).
        epoch: Generation of the asking machine; an answer to an older one is void.
        first: Backfill: first id wanted.
        last: Backfill: last id wanted.
        base: Name of another REST base of the endpoint (`Endpoint.rest_bases`); empty: its own.
    """

    purpose: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    weight: int = 1
    symbol: str = ""
    channel: str = ""
    epoch: int = 0
    first: int = 0
    last: int = 0
    base: str = ""


class FetchSnapshot(Struct, frozen=True):
    """Fetch a book snapshot by REST (venues whose rule needs one)."""

    symbol: str
    epoch: int
    attempt: int = 0


class Backfill(Struct, frozen=True):
    """Fetch the events `first..last` (inclusive ids) of `stream` by REST.

    `after_ns` bounds by time.

    Attributes:
        gap_id: The ledger entry it repairs.
        after_ns: Event time of the last event before the hole, for venues that page by time.
    """

    stream: Stream
    first: int
    last: int
    gap_id: int
    after_ns: int = 0


class Resubscribe(Struct, frozen=True):
    """Unsubscribe and subscribe one symbol's channel again, for a new snapshot.

    Attributes:
        channel: Channel of the stream, or the venue's own word for it.
        symbol: The venue's symbol.
        cause: Short stable word.
        line: Connection on which; empty: the one that asks.
    """

    channel: str
    symbol: str
    cause: str
    line: str = ""


class Reconnect(Struct, frozen=True):
    """Close this connection and open a new one.

    Attributes:
        cause: Short stable word.
        is_other_endpoint: Take another of the venue's endpoints, where it has one.
    """

    cause: str
    is_other_endpoint: bool = False


class Rotate(Struct, frozen=True):
    """Open a new connection first, then close this one (shutdown notice, age limit)."""

    cause: str


class Send(Struct, frozen=True):
    """Send one text frame (application ping, login)."""

    payload: bytes


class Acknowledged(Struct, frozen=True):
    """The venue confirmed these wants, which proves nothing: first data does."""

    wants: tuple[Want, ...]
    is_removal: bool = False


class Refused(Struct, frozen=True):
    """The venue refused these wants, with its words.

    `is_auth` where credentials are missing or wrong.
    """

    wants: tuple[Want, ...]
    reason: str
    is_auth: bool = False


class VenueNotice(Struct, frozen=True):
    """The venue said something that is neither data nor an answer to a subscription.

    An error frame.

    Attributes:
        code: The venue's code, empty if none.
        text: The venue's words.
        is_error: False for a mere warning.
    """

    code: str
    text: str
    is_error: bool = True


Command = (
    FetchSnapshot
    | Backfill
    | Resubscribe
    | Reconnect
    | Rotate
    | Send
    | Acknowledged
    | Refused
    | VenueNotice
)
