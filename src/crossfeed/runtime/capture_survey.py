"""What a captured session holds: whose it is, which streams, which line answers which question.

Captures say neither what was subscribed nor, in part, when a message came. All of it is read from
the messages themselves, before anything is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from msgspec.structs import replace

from crossfeed.errors import ConfigError, CrossfeedError, DecodeError, UnsupportedChannelError
from crossfeed.journal.captures import Captured
from crossfeed.model.commands import Want
from crossfeed.model.events import BookSnapshot, Candle, MarketData
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.runtime.kinds import BOOK_CLASSES, CLASSES
from crossfeed.runtime.order_flow import L3_KIND
from crossfeed.venues.base import Codec, CodecOptions, Venue
from crossfeed.venues.registry import find_venue, venue_names
from crossfeed.venues.symbols import SymbolTable

__all__ = ["CaptureSurvey", "guess_venue"]

PROBED: Final = 300
SYMBOLS_MAX: Final = 10_000
OK: Final = 200
_KIND_OF: Final[dict[type[MarketData], str]] = {
    each: kind for kind, each in CLASSES.items() if kind not in {L3_KIND, "ticker_batch"}
} | dict.fromkeys(BOOK_CLASSES, "book")


class CaptureSurvey:
    """Reads a session once and notes what it holds.

    Attributes:
        venue: Whose protocol it is.
        options: What its codecs are told (the depth of books, where the venue has several).
        table: Its instruments: built in, read from the session, or made of a symbol's name.
        instruments: Those that were read or made.
        streams: Connection -> kind and symbol of each of its streams, in the order of appearance.
        images: Lines that are images of a book, without an address that says so, and their symbol.
        times: Line -> the venue's time of a message, for sessions without times of receipt.
        decoded: Events understood.
    """

    def __init__(self, venue: Venue) -> None:
        """Start with nothing read."""
        self.venue = venue
        self.options = CodecOptions(keep_raw=True)
        self.table = SymbolTable(venue.name, venue.builtin())
        self.instruments: list[Instrument] = []
        self.streams: dict[str, dict[tuple[str, str], None]] = {}
        self.images: dict[int, str] = {}
        self.times: dict[int, int] = {}
        self.decoded = 0
        self._codecs: dict[str, Codec] = {}
        self._symbols: dict[str, None] = {}
        self._made: dict[str, Instrument] = {}

    def read(self, records: Iterable[Captured]) -> None:
        """Read a session, or a part of it.

        Raises:
            ConfigError: It has more symbols than any session.
        """
        for record in records:
            if record.url:
                self._read_metadata(record)
            else:
                self._read_frame(record)

    def wants(self, connection: str) -> Iterator[tuple[str, Want]]:
        """Yield kind and want of each stream of a connection that the venue has a channel for."""
        for kind, symbol in self.streams.get(connection, {}):
            try:
                yield kind, self.venue.want(kind, symbol, self.options)
            except UnsupportedChannelError:
                # What needs a key was recorded with one; none is needed to read it.
                keyed = replace(self.options, api_key="recorded")
                try:
                    yield kind, self.venue.want(kind, symbol, keyed)
                except UnsupportedChannelError:
                    continue

    def snapshot_symbol(self, record: Captured) -> str:
        """Return the symbol whose book a record is an image of; empty if it is none."""
        if not record.url:
            return self.images.get(record.line, "")
        parts = urlsplit(record.url)
        given = {*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))}
        codec = self._codec("")
        for symbol in self._symbols:
            request = codec.snapshot_request(symbol, 0, 0)
            if request is not None and symbol in given:
                word = request.path.rpartition("/")[2]
                return symbol if word in given or parts.path.endswith(request.path) else ""
        return ""

    def _codec(self, connection: str) -> Codec:
        codec = self._codecs.get(connection)
        if codec is None:
            codec = self.venue.make_codec(self.table, self.options)
            codec.on_open()
            self._codecs[connection] = codec
        return codec

    def _read_metadata(self, record: Captured) -> None:
        wanted = self.venue.instruments_request()
        if not urlsplit(record.url).path.endswith(wanted.path.rpartition("/")[2]):
            return
        try:
            found = self.venue.parse_instruments(OK, record.payload)
        except CrossfeedError:
            return  # of an older form than this build reads: the built-in table stands in
        self.table.adopt(found)
        self.instruments += found

    def _read_frame(self, record: Captured) -> None:
        self.streams.setdefault(record.connection, {})
        codec, out = self._codec(record.connection), Output()
        while True:  # each turn learns a symbol; `_learn` has a limit
            try:
                codec.receive(record.payload, record.ts_ns, 0, out)
                break
            except DecodeError as error:
                symbol = error.__cause__.args[0] if isinstance(error.__cause__, KeyError) else ""
                if not isinstance(symbol, str) or not symbol or symbol in self._symbols:
                    self._read_image(record, codec)
                    return
                self._learn(codec, symbol)
        self._note(record, out.events)

    def _learn(self, codec: Codec, symbol: str) -> None:
        """Let the codec know a symbol, in all channels that need no parameter."""
        if len(self._symbols) >= SYMBOLS_MAX:
            raise ConfigError(f"more than {SYMBOLS_MAX} symbols in one session")
        self._symbols[symbol] = None
        if self.table.get(symbol) is None:
            made = _instrument(self.venue.name, symbol)
            if made is not None:
                self.table.adopt([made])
                self.instruments.append(made)
        for channel in self.venue.profile.channels:
            if channel.has_symbol and not channel.needs_key and channel.kind != "kline":
                try:
                    codec.subscribe([self.venue.want(channel.kind, symbol, self.options)], 0)
                except UnsupportedChannelError:
                    continue

    def _note(self, record: Captured, events: list[MarketData]) -> None:
        self.decoded += len(events)
        streams = self.streams[record.connection]
        for event in events:
            kind = _KIND_OF.get(type(event), "")
            if isinstance(event, Candle):
                kind = f"kline_{event.interval}"
            elif isinstance(event, BookSnapshot):
                self._note_depth(event)
            if kind:
                streams[kind, event.symbol] = None
                self._symbols.setdefault(event.symbol)
            if kind == "book" and self.venue.profile.quotes_from == "book":
                streams["book_ticker", event.symbol] = None
        if not record.ts_ns and events:
            self.times[record.line] = events[-1].ts_event_ns

    def _note_depth(self, image: BookSnapshot) -> None:
        """See how deep the books were asked for, at venues that name the best levels only."""
        want = self.venue.want("book", image.symbol, self.options)
        depth = str(max(len(image.bids), len(image.asks)))
        if not self.venue.book_rule(want).depth_limit or "book_depth" in self.options.parameters:
            return
        parameters = {**self.options.parameters, "book_depth": depth}
        options = replace(self.options, parameters=parameters)
        try:
            self.venue.want("book", image.symbol, options)
        except UnsupportedChannelError:
            return
        self.options = options

    def _read_image(self, record: Captured, codec: Codec) -> None:
        """See whether a line is a REST answer that was written among the frames."""
        symbols = list(self._symbols)
        if len(symbols) != 1:
            return  # it names no symbol
        request, out = codec.snapshot_request(symbols[0], 0, 0), Output()
        if request is None:
            return
        try:
            codec.receive_rest(request, OK, record.payload, record.ts_ns, 0, out)
        except CrossfeedError:
            return
        if any(isinstance(event, BookSnapshot) for event in out.events):
            self.images[record.line] = symbols[0]


def _instrument(venue: str, symbol: str) -> Instrument | None:
    """Make an instrument of a symbol that spells out its pair (BAND-BTC, BTC/USD)."""
    base, _, quote = symbol.replace("/", "-").replace("_", "-").partition("-")
    if not (base.isalnum() and quote.isalnum()):
        return None
    return Instrument(venue=venue, symbol=symbol, base=base.upper(), quote=quote.upper())


def guess_venue(records: Iterable[Captured]) -> Venue:
    """Return the venue that understands the first messages best.

    Raises:
        ConfigError: None does, or several do equally well; names them.
    """
    probe = list(islice(records, PROBED))
    hosts = {urlsplit(record.url).hostname for record in probe if record.url}
    scores: Counter[str] = Counter()
    for name in venue_names():
        venue = find_venue(name)
        survey = CaptureSurvey(venue)
        survey.read(probe)
        if survey.decoded:
            known = {urlsplit(end.rest_url).hostname for end in venue.profile.endpoints}
            scores[name] = survey.decoded * (2 if hosts & known else 1)
    best = [name for name, score in scores.items() if score == max(scores.values())]
    if len(best) == 1:
        return find_venue(best[0])
    said = f"could be of {' or '.join(best)}" if best else "no venue known here sends such messages"
    raise ConfigError(f"{said}; name it", field="--venue")
