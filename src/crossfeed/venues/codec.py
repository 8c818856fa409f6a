"""What all table-driven codecs share.

Decoding by declaration, and the book of symbols asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from crossfeed.errors import UnknownMessageError
from crossfeed.model.commands import Want
from crossfeed.model.events import MarketData
from crossfeed.model.output import Output
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.decoder import After, Decoder, SymbolNames
from crossfeed.venues.symbols import SymbolTable
from crossfeed.venues.wire import Route, Routes

__all__ = ["DecoderTables", "TableCodec"]

Handler = Callable[[Any, Output], None]
Refiner = Callable[[Any, list[MarketData], Output], None]


class DecoderTables(NamedTuple):
    """What a codec decodes by: all that another decoder of the same frames needs to know."""

    exchange: str
    routes: Routes
    symbols: SymbolNames
    time_unit_ns: int
    keep_raw: bool
    sequence_field: str


class TableCodec:
    """Base of the venues' codecs: `receive` runs the declarations; service messages go to handlers.

    A subclass names its handlers in the routes (`handler="on_ack"`) and implements the rest of the
    `Codec` contract.

    Attributes:
        sequence_field: Wire name of the number of all frames of a connection, at venues that have
            one; then `receive` sets `connection_sequence` from it and does no more.
        keepalive_answer: What the venue answers a `keepalive` with where that is no message of its
            protocol ("pong"): taken, and nothing comes of it.
        needs_messages: True while `receive` must see every message itself, because it does more
            than its routes say.
    """

    sequence_field: str = ""
    keepalive_answer: bytes = b""
    needs_messages: bool = False

    def __init__(
        self,
        exchange: str,
        routes: Routes,
        table: SymbolTable,
        options: CodecOptions,
        *,
        time_unit_ns: int = 1_000_000,
    ) -> None:
        """Compile the declarations for this connection."""
        # Of the instance, not the class: read with each frame, which costs an eighth this way.
        self.connection_sequence: int | None = None
        self.exchange = exchange
        self.table = table
        self.options = options
        self.symbols: SymbolNames = {}
        self._asked: dict[str, set[Want]] = {}
        self._handlers: dict[str, Handler] = {
            route.handler: getattr(self, route.handler)
            for route in routes.table.values()
            if route.handler
        }
        self._decoder = Decoder(
            exchange,
            routes,
            self.symbols,
            time_unit_ns=time_unit_ns,
            keep_raw=options.keep_raw,
            after=self._after,
            ignored=self.keepalive_answer,
        )
        if type(self).receive is TableCodec.receive:
            self.receive = self._decoder.receive  # type: ignore[method-assign]
        self._tables = DecoderTables(
            exchange, routes, self.symbols, time_unit_ns, options.keep_raw, self.sequence_field
        )

    def _after(self, route: Route) -> After | None:
        """Return what takes the messages of a route; None where their events only go out."""
        if not (route.refine or route.handler):
            return None
        handle = self._handlers.get(route.handler)
        refine: Refiner | None = getattr(self, route.refine) if route.refine else None

        def after(message: Any, events: list[MarketData] | None, out: Output) -> None:  # noqa: ANN401 - any declaration
            if events is not None and refine is not None:
                refine(message, events, out)
            elif events is not None:
                out.events += events
            if handle is not None:
                handle(message, out)

        return after

    def tables(self) -> DecoderTables:
        """Return what frames are decoded by; `symbols` is the live dict."""
        return self._tables

    def receive(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int, out: Output) -> None:
        """Decode one frame; see `Codec.receive`."""
        # Unless a subclass has its own, `__init__` put the decoder's in its place: one call less.
        self._decoder.receive(frame, ts_recv_ns, ts_mono_ns, out)

    def ask(self, wants: Iterable[Want]) -> None:
        """Take `wants` as asked for: messages with their symbols are known from now on."""
        for want in wants:
            if not want.symbol:
                continue
            instrument = self.table.get(want.symbol)
            unified = instrument.unified if instrument is not None else ""
            names = (want.symbol, unified)
            for name in self.names_on_wire(want.symbol):
                if name == want.symbol or name not in self._asked:
                    self.symbols[name] = names
            self._asked.setdefault(want.symbol, set[Want]()).add(want)

    def drop(self, wants: Iterable[Want]) -> None:
        """Take `wants` as no longer asked for; a symbol without any want becomes unknown."""
        for want in wants:
            left = self._asked.get(want.symbol)
            if left is None:
                continue
            left.discard(want)
            if not left:
                del self._asked[want.symbol]
                for name in self.names_on_wire(want.symbol):
                    self.symbols.pop(name, None)
                heirs = [w for s in self._asked for w in self._asked[s] if self._shares(s, want)]
                self.ask(heirs)

    def _shares(self, symbol: str, want: Want) -> bool:
        """Say whether `symbol` may come under a name that `want` used."""
        names = self.names_on_wire(want.symbol)
        return len(names) > 1 and not set(names).isdisjoint(self.names_on_wire(symbol))

    def names_on_wire(self, symbol: str) -> tuple[str, ...]:
        """Return the names under which messages may carry `symbol`.

        Coinbase: USD for a USDC alias.
        """
        return (symbol,)

    def asked(self) -> list[Want]:
        """Return all wants asked for, symbols in order of asking."""
        return [want for wants in self._asked.values() for want in sorted(wants, key=str)]

    def unknown(self, frame: bytes, detail: str) -> UnknownMessageError:
        """Make the error for a well-formed message of no known sort."""
        return UnknownMessageError(self.exchange, "unknown_type", detail, frame)
