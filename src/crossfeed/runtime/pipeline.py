"""The way of one message, from the socket to the subscribers. Read it here, from top to bottom.

```
 socket ─► WebSocketManager ─► PureCore.path
                                   │ frame, wall and monotonic receive time
                                   ▼
                 PureCore.feed ─► codec.receive      frame → events              (stage 2)
                                   │
                                   ├─► gate.admit    in order? known? sound?     (stage 3)
                                   │     └─► BookSync   deltas → book → quotes    (stage 3b)
                                   ▼
                 Output.events ─► Router.publish ─► inline handlers, queues, threads, aggregator
                 (stage 4) Output.commands ─► Session.execute  (snapshots, repairs, resubscriptions;
                 never on this way)
```

`Core.feed` is the seam: everything above it belongs to one connection, everything below it to
subscribers. A compiled core replaces `PureCore` as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from crossfeed.errors import DecodeError
from crossfeed.integrity.connection_counter import ConnectionCounter
from crossfeed.model.commands import RestRequest
from crossfeed.model.output import Output
from crossfeed.runtime.counters import Counters
from crossfeed.runtime.streams import StreamSet
from crossfeed.transport.listener import OnFrame
from crossfeed.venues.base import Codec

if TYPE_CHECKING:
    from crossfeed.runtime.connection import Connection

__all__ = ["SAMPLE_MASK", "Core", "PureCore"]

SAMPLE_MASK = 7
"""The time of every eighth frame is taken: taking it costs a seventh of a message."""


class Core(Protocol):
    """What a connection needs of its core. Synchronous, no I/O; time is an argument."""

    codec: Codec

    def feed(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> Output:
        """Turn one frame into events for subscribers and commands for the session. Never raises."""
        ...

    def feed_rest(
        self,
        request: RestRequest,
        status: int,
        body: bytes,
        ts_recv_ns: int,
        ts_mono_ns: int,
        out: Output,
        *,
        gap_id: int = 0,
        line: str = "",
    ) -> RestRequest | None:
        """Turn one REST answer into events and commands; return the next page's request, or None.

        Raises:
            VenueError: The venue refused.
            DecodeError: The body is not what the venue documents.
        """
        ...

    def on_open(self) -> None:
        """Forget what belonged to the last connection."""
        ...


class PureCore:
    """The reference core: codec, gates and books composed, in Python.

    Made by the session, one per connection; the streams are shared by all connections of the
    session.

    Args:
        codec: Speaks the venue's protocol on this connection.
        streams: The session's streams.
        name: Name of the connection, for the observers of its frame numbers.
    """

    def __init__(self, codec: Codec, streams: StreamSet, name: str) -> None:
        """Compose the stages."""
        self.codec = codec
        self.name = name
        self.counters: Counters = streams.counters
        self._streams = streams
        self._receive = codec.receive
        self.gates = streams.table(name)
        self._staged = Output()
        self.counter = ConnectionCounter((self,))

    def feed(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> Output:
        """See `Core.feed`."""
        out = Output()
        self.feed_into(frame, ts_recv_ns, ts_mono_ns, out)
        return out

    def feed_into(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int, out: Output) -> None:
        """Do what `feed` does, with an `Output` that is there."""
        counters, staged = self.counters, self._staged
        counters.frames += 1
        try:
            self._receive(frame, ts_recv_ns, ts_mono_ns, staged)
        except DecodeError as error:
            self._refuse(error, ts_recv_ns, ts_mono_ns, out)
            return
        sequence = self.codec.connection_sequence
        events = staged.events
        if sequence is not None and not self.counter.observe(sequence, ts_recv_ns, ts_mono_ns, out):
            counters.duplicates += len(events)
            events.clear()
        if events:
            counters.events += len(events)
            unasked = counters.unasked
            gates = self.gates
            try:
                for event in events:
                    gate = gates.get((type(event), event.symbol))
                    if gate is None:
                        counters.unasked += 1
                    else:
                        gate.admit(event, out)
                if counters.unasked - unasked < len(events):
                    counters.messages += 1
            finally:
                events.clear()  # whatever a gate came to: the next frame starts with its own
        if staged.commands:
            out.commands += staged.commands
            staged.commands.clear()

    def path(self, connection: Connection) -> OnFrame:
        """Return what takes the frames of `connection` and carries them to the subscribers.

        Does what `Connection.on_frame` does, with one `Output` for all frames.
        """
        feed_into, counters, out = self.feed_into, self.counters, Output()
        events, commands, session = out.events, out.commands, connection.session
        publish = session.router.publish

        def take(frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
            if events:
                # A handler led back here: the outer frame is not through.
                connection.on_frame(frame, ts_recv_ns, ts_mono_ns)
                return
            feed_into(frame, ts_recv_ns, ts_mono_ns, out)
            try:
                for event in events:
                    publish(event)
                if commands:
                    session.execute(connection, commands.copy())
            finally:
                events.clear()
                commands.clear()
            if not counters.frames & SAMPLE_MASK:
                connection.sample(ts_mono_ns)

        return take

    def _refuse(self, error: DecodeError, ts_recv_ns: int, ts_mono_ns: int, out: Output) -> None:
        """Count a frame that was not understood.

        It may have held the number that is missing next, or a value that nothing else tells of.
        """
        self._staged.events.clear()
        self._staged.commands.clear()
        self.counters.refuse(error)
        if error.symbols:
            self._streams.frame_refused(self.name, error, ts_recv_ns, ts_mono_ns, out)
        sequence = self.codec.connection_sequence
        if sequence is not None:
            self.counter.observe(sequence, ts_recv_ns, ts_mono_ns, out)

    def feed_rest(
        self,
        request: RestRequest,
        status: int,
        body: bytes,
        ts_recv_ns: int,
        ts_mono_ns: int,
        out: Output,
        *,
        gap_id: int = 0,
        line: str = "",
    ) -> RestRequest | None:
        """See `Core.feed_rest`."""
        staged = Output()
        page = self.codec.receive_rest(request, status, body, ts_recv_ns, ts_mono_ns, staged)
        self._streams.admit_rest(
            request,
            staged.events,
            gap_id,
            ts_recv_ns,
            ts_mono_ns,
            out,
            is_last=page is None,
            line=line,
        )
        out.commands += staged.commands
        return page

    def on_connection_gap(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Frames of this numbered connection were lost."""
        self._streams.connection_gap(self.name, now_ns, mono_ns, out)

    def on_open(self) -> None:
        """See `Core.on_open`."""
        self.codec.on_open()
        self.counter.on_open()
