"""The compiled core: the reference core with a compiled decoder and message path in front."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

from crossfeed.model.commands import Command
from crossfeed.model.events import Quote
from crossfeed.model.output import Output
from crossfeed.model.trust import Mark, Trust
from crossfeed.runtime.core_choice import compiled_modules
from crossfeed.runtime.gate_chain import chain_of
from crossfeed.runtime.native_tables import engine_spec
from crossfeed.runtime.pipeline import PureCore
from crossfeed.transport.listener import OnFrame
from crossfeed.venues.codec import DecoderTables, TableCodec

if TYPE_CHECKING:
    from crossfeed.runtime.connection import Connection
    from crossfeed.runtime.streams import StreamSet
    from crossfeed.venues.base import Codec

__all__ = ["NativeCore", "make_core"]

FROM_BOOK: Final = Mark.FROM_BOOK


class NativeCore(PureCore):
    """`PureCore` that lets the compiled engine try first; what it declines goes the pure way.

    Args:
        native: The compiled modules.
        codec: Speaks the venue's protocol on this connection.
        tables: What it decodes by.
        streams: The session's streams.
        name: Name of the connection.

    Attributes:
        engine: The decoder: how many frames it took and declined, and why.
    """

    def __init__(
        self,
        native: SimpleNamespace,
        codec: Codec,
        tables: DecoderTables,
        streams: StreamSet,
        name: str,
    ) -> None:
        """Make the tables. Cost about 2 ms."""
        super().__init__(codec, streams, name)
        spec = engine_spec(
            tables.exchange,
            tables.routes,
            time_unit_ns=tables.time_unit_ns,
            sequence_field=tables.sequence_field,
            plain=partial(getattr, codec),
        )
        guess = tables.routes.guess
        self.engine = native.engine.Engine(spec, tables.symbols, guess, keep_raw=tables.keep_raw)
        self._path_type = native.path.Path
        self._pure_feed = super().feed
        known = (Trust.SOUND, Quote, FROM_BOOK)
        self._step = native.step.Step(
            self.engine, self, Output, self._pure_feed, partial(chain_of, native), known
        )
        self.feed = self._step.feed  # type: ignore[method-assign]

    def path(self, connection: Connection) -> OnFrame:
        """Return what takes the frames of `connection`; see `PureCore.path`."""
        session = connection.session

        def finish(commands: Iterable[Command]) -> None:
            session.execute(connection, commands)

        path = self._path_type(
            self._step, connection.on_frame, finish, session.router, connection.sample
        )
        take: OnFrame = path.take
        return take


def make_core(codec: Codec, streams: StreamSet, name: str) -> PureCore:
    """Make the core of one connection: compiled where that is possible, else the reference."""
    native = compiled_modules()
    if native is None or not isinstance(codec, TableCodec):
        return PureCore(codec, streams, name)
    if not isinstance(streams.counters, native.states.CounterState):
        return PureCore(codec, streams, name)  # they were opened while the pure core was asked for
    return NativeCore(native, codec, codec.tables(), streams, name)
