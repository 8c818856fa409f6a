"""The contract of a venue: what its folder declares, and what its codec does.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from crossfeed.model.commands import Backfill, RestRequest, Want
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.model.sequencing import BookRule
from crossfeed.model.trust import Integrity
from crossfeed.venues.symbols import SymbolTable

__all__ = ["Channel", "Codec", "CodecOptions", "Endpoint", "Limits", "Profile", "Venue"]


class Endpoint(Struct, frozen=True, kw_only=True):
    """One place where a venue can be reached.

    Attributes:
        name: "production", "market-data", "us", "sandbox" ...
        ws_url: WebSocket base URL, without path and query that the codec adds.
        rest_url: REST base URL.
        source: Where that stands, with the date checked.
        rest_bases: Further REST base URLs by the name that `RestRequest.base` carries.
    """

    name: str
    ws_url: str
    rest_url: str
    source: str
    rest_bases: Mapping[str, str] = {}

    def rest_base(self, request: RestRequest) -> str:
        """Return the base URL below which `request.path` lies."""
        return self.rest_bases[request.base] if request.base else self.rest_url


class Limits(Struct, frozen=True, kw_only=True):
    """What a venue allows. Every number has its source in the profile.

    Attributes:
        frame_bytes_max: Largest frame we accept, bytes.
        streams_per_connection: Streams on one connection; 0 where none is known.
        params_per_message: Streams in one subscribe message.
        sends_max: Client messages (pongs included) in any `send_window_s`.
        send_spacing_s: Messages go out at least this far apart; 0: no rule.
        is_send_shared: They are counted over all connections of an address, not one by one.
        connects_max: Connection attempts in any `connect_window_s`.
        rest_weight_max: REST weight in any `rest_window_s`.
        subscribe_deadline_s: A subscription must be sent this soon after connecting; 0: no rule.
        lifetime_s: The venue cuts a connection at this age; 0: no rule known.
        silence_max_s: No frame at all (data, ping, heartbeat) for this long means dead.
        ack_deadline_s: An acknowledgement must come within.
        ping_interval_s: We send WebSocket pings this often; 0: never.
    """

    frame_bytes_max: int = 1 << 20
    streams_per_connection: int = 0
    params_per_message: int = 200
    sends_max: int = 5
    send_window_s: float = 1.0
    send_spacing_s: float = 0.0
    is_send_shared: bool = False
    connects_max: int = 100
    connect_window_s: float = 300.0
    rest_weight_max: int = 10
    rest_window_s: float = 1.0
    subscribe_deadline_s: float = 0.0
    lifetime_s: float = 0.0
    silence_max_s: float = 30.0
    ack_deadline_s: float = 10.0
    ping_interval_s: float = 20.0


class Channel(Struct, frozen=True, kw_only=True):
    """One channel of a venue, as the support matrix shows it.

    Attributes:
        name: The venue's word, without parameter ("trade", "kline", "level2_batch").
        kind: Our word: "trade", "agg_trade", "ticker", "mini_ticker", "kline", "depth", "book",
            "book_ticker", "heartbeat", "status", "full".
        integrity: How well it can be proven.
        age_limit_s: A value older than this is STALE; 0: never stale by age alone.
        is_event_like: True where silence may just be a quiet market (trades); then only sibling
            evidence or a heartbeat makes it stale.
        chain: "id" (numbered +1 by trade_id), "sequence" (numbered +1 by sequence), "book" (by the
            book rule), "none".
        needs_key: Credentials are required.
        has_symbol: False for channels of the whole venue (status).
        parameters: Allowed parameters ("1m", "5m" ...), empty if it takes none.
        can_backfill: Missing events can be fetched by REST.
    """

    name: str
    kind: str
    integrity: Integrity
    age_limit_s: float = 0.0
    is_event_like: bool = False
    chain: str = "none"
    needs_key: bool = False
    has_symbol: bool = True
    parameters: tuple[str, ...] = ()
    can_backfill: bool = False


class Profile(Struct, frozen=True, kw_only=True):
    """A venue's facts as data.

    Attributes:
        name: Name of the feed; also the folder ("coinbase_advanced").
        exchange: Name its events carry. Feeds of one exchange never both enter an aggregate.
        endpoints: Where it can be reached; the first is the default.
        channels: All channels we speak.
        quotes_from: Where a `book_ticker` comes from: "book_ticker", "book" or "ticker".
        closed_states: Values of `VenueStatus.system` in which the venue makes no market at all.
        closed_products: States of a product in which nothing is traded: values of its `status`, or
            names of its own flags. In any other its market is open.
        auction_states: States in which orders gather without being matched, so that a crossed book
            is real: values of `VenueStatus.system` or of a product's `status`, or names of the
            product's own flags.
        passing_close_codes: Close codes after which the venue may be tried again as after any loss,
            though others refuse for good with them (1008).
        quote_order: Quote currencies that stand in for USD where the venue lists no USD pair.
        documents: Links to the documents the facts were read in, with dates.
    """

    name: str
    exchange: str
    endpoints: tuple[Endpoint, ...]
    limits: Limits
    channels: tuple[Channel, ...]
    quotes_from: str
    closed_states: tuple[str, ...] = ()
    closed_products: tuple[str, ...] = ()
    auction_states: tuple[str, ...] = ()
    passing_close_codes: frozenset[int] = frozenset()
    quote_order: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()

    def channel(self, kind: str) -> Channel | None:
        """Return the channel of one of our kinds, None if the venue has none.

        The first one listed wins.
        """
        return next((channel for channel in self.channels if channel.kind == kind), None)

    def named(self, name: str) -> Channel | None:
        """Return the channel with the venue's own word, None if it has none."""
        return next((channel for channel in self.channels if channel.name == name), None)


class CodecOptions(Struct, frozen=True, kw_only=True):
    """What a codec may be told.

    Attributes:
        keep_raw: Whether events keep their frame.
        api_key: Credentials, where the venue takes them for market data. Never logged.
        api_secret: The same.
        api_passphrase: The same.
        parameters: Venue-specific options by name ("time_unit": "MICROSECOND").
    """

    keep_raw: bool = True
    api_key: str = ""
    api_secret: str = ""
    api_passphrase: str = ""
    parameters: Mapping[str, str] = {}

    def __repr__(self) -> str:
        """Return the options with secrets masked."""
        masked = "set" if self.api_key else "none"
        return f"CodecOptions(keep_raw={self.keep_raw}, key={masked}, {dict(self.parameters)})"


class Codec(Protocol):
    """Speaks one venue's protocol for one connection. Sans-I/O: bytes in, values out.

    Created by `Venue.make_codec`, one per connection; lives as long as it, over reconnects.

    Attributes:
        connection_sequence: Number of the frame last received, at venues that number all frames of
            a connection (+1 each, over all channels); None where this one has none, and elsewhere
            always. After a `DecodeError` it is None too unless the frame merely was not for us, so
            that a counter fed with it shows the refused frame as the hole it is.
    """

    connection_sequence: int | None

    def url_path(self, wants: Sequence[Want]) -> str:
        """Return what is appended to the endpoint's WebSocket URL.

        For instance "/stream?timeUnit=MICROSECOND". Wants whose paths differ, each asked for alone,
        are put on connections of their own.
        """
        ...

    def on_open(self) -> None:
        """Forget what belonged to the last connection (pending requests, counters)."""
        ...

    def subscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:
        """Return the frames that subscribe `wants`; their symbols are known from now on.

        Idempotent: what is subscribed already is asked again without harm. `ts_ns` (wall) signs.
        """
        ...

    def unsubscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:
        """Return the frames that unsubscribe `wants`."""
        ...

    def receive(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int, out: Output) -> None:
        """Decode one frame; append events and commands to `out`.

        Raises:
            DecodeError: Nothing was appended, nothing changed; the caller counts it and goes on.
        """
        ...

    def keepalive(self) -> bytes | None:
        """Return the venue's application-level ping, a text sent every 20 s; None: it has none."""
        ...

    def snapshot_request(self, symbol: str, epoch: int, attempt: int) -> RestRequest | None:
        """Return the request for a book snapshot, None where the stream brings it."""
        ...

    def backfill_request(self, wanted: Backfill) -> RestRequest | None:
        """Return the first request of a backfill, None where the venue cannot supply one."""
        ...

    def poll_request(self, want: Want) -> RestRequest | None:
        """Return the request that stands in for a stream while it is out, None if there is none."""
        ...

    def receive_rest(
        self,
        request: RestRequest,
        status: int,
        body: bytes,
        ts_recv_ns: int,
        ts_mono_ns: int,
        out: Output,
    ) -> RestRequest | None:
        """Decode a REST answer; append events to `out`; return the next page's request, or None.

        Snapshot answers yield a `BookSnapshot` (Mark.REST | Mark.SNAPSHOT), backfills and polls
        their events (Mark.BACKFILLED, Mark.REST), oldest first.

        Raises:
            VenueError: The venue refused (RateLimitedError with the wait it asks for).
            DecodeError: The body is not what the venue documents.
        """
        ...


class Venue(Struct, frozen=True, kw_only=True):
    """One venue folder's export: `VENUE = Venue(...)`.

    Attributes:
        profile: Its facts.
        builtin: Makes the built-in instruments.
        make_codec: Makes a codec for one connection; the table is shared by all of a client.
        book_rule: Rule of a book channel's want.
        want: Turns one of our kinds ("trade", "kline_5m", "book_ticker") and a venue symbol into
            the want that yields it. Raises UnsupportedChannelError with the kinds it has.
        instruments_request: REST request for the venue's metadata.
        parse_instruments: Parses its answer. Raises VenueError or DecodeError.
        wants_key: Kinds of wants that need credentials, with the sentence to say if there are none.
    """

    profile: Profile
    builtin: Callable[[], Sequence[Instrument]]
    make_codec: Callable[[SymbolTable, CodecOptions], Codec]
    want: Callable[[str, str, CodecOptions], Want]
    book_rule: Callable[[Want], BookRule]
    instruments_request: Callable[[], RestRequest]
    parse_instruments: Callable[[int, bytes], Sequence[Instrument]]

    @property
    def name(self) -> str:
        """Name of the feed."""
        return self.profile.name
