"""Replay: a journal takes the place of transport and session; everything after it is the same.

```
 live:   socket ─► tap ─► core.feed ─► gates, books ─► events ─► router
                    └──► journal
 replay: journal ──► core.feed ─► gates, books ─► events ─► router
```
`FeedReplay` makes the recorded calls on the pure half of one feed, in their order and with their
times: the same core, gates and books as live, hence the same events. Nothing is asked of a venue
and nothing is sent: the commands of the pure half are dropped, since their consequences stand in
the journal.

Where a journal lacks records (`Loss`, damage) every stream is told that its lines were down: trades
get a gap, books are unsound until an image comes. A hole in the recording is never passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from crossfeed.books.l3 import L3Sync
from crossfeed.books.sync import BookSync
from crossfeed.errors import ConfigError, CorruptRecordError, CrossfeedError
from crossfeed.integrity.freshness import Freshness
from crossfeed.integrity.gaps import GapLedger
from crossfeed.journal.records import Record, RecordKind, split_body
from crossfeed.model.commands import RestRequest, Want
from crossfeed.model.events import BookSnapshot, MarketData
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.runtime.delivery import Router
from crossfeed.runtime.gates import Pulse
from crossfeed.runtime.line_parts import watch_streams
from crossfeed.runtime.native_core import make_core
from crossfeed.runtime.pipeline import PureCore
from crossfeed.runtime.repairs import same_gap
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.streams import StreamSet
from crossfeed.transport.listener import OnFrame
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.registry import find_venue
from crossfeed.venues.symbols import SymbolTable

if TYPE_CHECKING:
    from crossfeed.runtime.connection import Connection

__all__ = ["FeedReplay", "settings_of"]

CORES_MAX: Final = 4096
Deliver = Callable[[MarketData], object]


class _Arguments:
    """The arguments of a recorded call, checked as they are read."""

    __slots__ = ("mono_ns", "now_ns", "values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.now_ns: int = self.get("now_ns", int)
        self.mono_ns: int = self.get("mono_ns", int)

    def get(self, name: str, kind: Any) -> Any:  # noqa: ANN401 - as `kind` says
        """Return one argument.

        Raises:
            CorruptRecordError: It is missing or of another type.
        """
        try:
            return msgspec.convert(self.values[name], kind)
        except (KeyError, msgspec.ValidationError) as error:
            reason = f"argument {name}: {error}"
            raise CorruptRecordError("journal", offset=0, reason=reason) from error


class _StandIn:
    """What a core's own way asks of its connection and session: nothing is carried out here."""

    def __init__(self, core: PureCore, router: Router) -> None:
        self.core = core
        self.router = router
        self.session = self

    def on_frame(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
        """Take one frame, as `Connection.on_frame`."""
        publish = self.router.publish
        for event in self.core.feed(frame, ts_recv_ns, ts_mono_ns).events:
            publish(event)

    def execute(self, connection: object, commands: object) -> None:
        """Carry out nothing: what came of the commands is recorded."""

    def sample(self, ts_mono_ns: int) -> None:
        """Measure nothing."""


class FeedReplay:
    """One feed of a run, played again. Made by the player when the feed's configuration comes.

    Attributes:
        name: Name of the feed in the journal.
        venue: The venue.
        streams: The same streams, gates and books as live.
        gaps: The same gap ledger as live.
        refused: Records that could not be applied (of a venue or version this build does not know).
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any],
        deliver: Deliver,
        *,
        is_midway: bool = False,
    ) -> None:
        """Prepare.

        Args:
            name: Name of the feed in the journal.
            config: Its recorded configuration.
            deliver: Takes its events.
            is_midway: The journal does not begin where the feed began.

        Raises:
            ConfigError: A venue or setting this build does not know.
        """
        self.name = name
        self.venue = find_venue(str(config.get("venue", "")))
        self.settings = settings_of(config.get("settings", {}))
        self.gaps = GapLedger()
        self.streams = StreamSet(self.venue, self.gaps, self.settings)
        self.refused = 0
        self._is_divergent = is_midway
        self._deliver = deliver
        self._table = SymbolTable(self.venue.name, self.venue.builtin())
        self._options = CodecOptions(
            keep_raw=self.settings.keep_raw, parameters=self.settings.parameters
        )
        self._cores: dict[str, PureCore] = {}
        self._fresh: dict[str, Freshness] = {}
        self._up: dict[str, dict[Want, None]] = {}
        self._wants: dict[str, dict[Want, None]] = {}
        self._steps: dict[str, Callable[[str, _Arguments], None]] = {
            "stream_open": self._stream_open,
            "core_open": self._core_open,
            "line_up": self._line_up,
            "line_down": self._line_down,
            "forget": self._forget,
            "watch": self._watch,
            "unwatch": self._unwatch,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "acknowledged": self._acknowledged,
            "subscribed": self._subscribed,
            "refused": self._refused,
            "snapshot_failed": self._snapshot_failed,
            "repair_failed": self._repair_failed,
            "resync": self._resync,
            "audit": self._audit,
            "imaged": _nothing,  # for seeking only, see `seek`
        }

    def set_wanted(self, *, deltas: bool, books: bool) -> None:
        """Say whether anybody listens to book changes as events, and to the books themselves."""
        self.streams.set_wanted(deltas=deltas, books=books)

    def instrument(self, name: str) -> Instrument:
        """Return the instrument of a venue symbol or a unified one.

        Raises:
            UnknownSymbolError: It is not among the recorded ones.
        """
        return self._table.resolve(name, quotes=self.venue.profile.quote_order)

    # ── records ─────────────────────────────────────────────────────────────

    def way(self, line: str, router: Router | None) -> OnFrame:
        """Return what plays the frames of a connection: the way of every message.

        Args:
            line: The connection.
            router: Takes the events, by the compiled core's own way where there is one; None: they
                go to `deliver`.
        """
        core = self._core(line)
        if router is not None:
            return core.path(cast("Connection", _StandIn(core, router)))
        feed, deliver = core.feed, self._deliver

        def play(frame: bytes, wall_ns: int, mono_ns: int) -> None:
            for event in feed(frame, wall_ns, mono_ns).events:
                deliver(event)

        return play

    def apply(self, record: Record) -> None:
        """Play one record that is no frame and deliver what comes of it.

        Raises:
            CorruptRecordError: It is not what this build or an earlier one writes.
        """
        kind = record.kind
        if kind == RecordKind.TIMER:
            self._timer(record)
        elif kind in {RecordKind.CONTROL, RecordKind.OPEN, RecordKind.CLOSE}:
            arguments = _Arguments(record.json())
            step = self._steps.get(str(arguments.values.get("call")))
            if step is None:
                self.refused += 1
            else:
                step(record.line, arguments)
        elif kind == RecordKind.REST_ANSWER:
            self._answer(record)
        elif kind == RecordKind.INSTRUMENTS:
            self._table.adopt(_arguments_of(record).get("instruments", list[Instrument]))

    def interrupt(self, now_ns: int, mono_ns: int, cause: str) -> None:
        """Let all streams know that records are missing here."""
        self._is_divergent = True
        out = Output()
        for line, wants in list(self._up.items()):
            self.streams.line_down(line, list(wants), cause, now_ns, mono_ns, out)
            self.streams.line_up(line, list(wants), now_ns, mono_ns, out)
        self._give(out.events)

    def skip(self, now_ns: int, mono_ns: int, cause: str) -> None:
        """Let all streams know that everything is missing until the state that comes next.

        Its connections may be others by then; streams and ledger stay, so that what follows is held
        against what came before.
        """
        self._is_divergent = True
        self.close(now_ns, mono_ns, cause)
        self._cores.clear()
        self._fresh.clear()

    def close(self, now_ns: int, mono_ns: int, cause: str) -> None:
        """End the feed: what it knew belongs to a run that is over."""
        out = Output()
        for line, wants in list(self._up.items()):
            self.streams.line_down(line, list(wants), cause, now_ns, mono_ns, out)
        self._up.clear()
        self._give(out.events)

    def _give(self, events: list[MarketData]) -> None:
        deliver = self._deliver
        for event in events:
            deliver(event)

    def _core(self, line: str) -> PureCore:
        core = self._cores.get(line)
        if core is None:
            if len(self._cores) >= CORES_MAX:
                del self._cores[next(iter(self._cores))]
            codec = self.venue.make_codec(self._table, self._options)
            core = self._cores[line] = make_core(codec, self.streams, line)
        return core

    def _freshness(self, line: str) -> Freshness:
        return self._fresh.setdefault(line, Freshness())

    # ── timers ──────────────────────────────────────────────────────────────

    def _timer(self, record: Record) -> None:
        out = Output()
        if record.payload == b"streams":
            self.streams.on_timer(record.wall_ns, record.mono_ns, out)
        else:
            self._freshness(record.line).on_timer(record.wall_ns, record.mono_ns, out)
            self.streams.review(record.wall_ns, record.mono_ns, out)
        self._give(out.events)

    # ── steps ───────────────────────────────────────────────────────────────

    def _stream_open(self, line: str, given: _Arguments) -> None:
        del line
        want, kind = given.get("want", Want), given.get("kind", str)
        self._wants.setdefault(want.symbol, {})[want] = None
        if given.values.get("is_open") is False:
            self.streams.close(want, kind)
        else:
            self.streams.open(want, kind, given.get("instrument", Instrument | None))

    def _core_open(self, line: str, given: _Arguments) -> None:
        self._core(line).on_open()
        self._freshness(line).on_open(given.mono_ns)

    def _line_up(self, line: str, given: _Arguments) -> None:
        wants, out = given.get("wants", list[Want]), Output()
        self._up.setdefault(line, {}).update(dict.fromkeys(wants))
        self.streams.line_up(line, wants, given.now_ns, given.mono_ns, out)
        self._give(out.events)

    def _line_down(self, line: str, given: _Arguments) -> None:
        wants, out = given.get("wants", list[Want]), Output()
        up = self._up.get(line, {})
        for want in wants:
            up.pop(want, None)
        if not up:
            self._up.pop(line, None)
        cause = given.get("cause", str)
        self.streams.line_down(line, wants, cause, given.now_ns, given.mono_ns, out)
        self._give(out.events)

    def _forget(self, line: str, given: _Arguments) -> None:
        del given
        self.streams.forget(line)
        self._up.pop(line, None)
        self._fresh.pop(line, None)

    def _watch(self, line: str, given: _Arguments) -> None:
        freshness = self._freshness(line)
        freshness.listen(Pulse(self.streams.table(line)))
        wants = [given.get("want", Want)]
        watch_streams(freshness, self.streams, line, wants, given.mono_ns)

    def _unwatch(self, line: str, given: _Arguments) -> None:
        for flow in self.streams.of(given.get("want", Want)):
            self._freshness(line).unwatch(flow.stream)

    def _subscribe(self, line: str, given: _Arguments) -> None:
        self._core(line).codec.subscribe(given.get("wants", list[Want]), given.now_ns)

    def _unsubscribe(self, line: str, given: _Arguments) -> None:
        self._core(line).codec.unsubscribe(given.get("wants", list[Want]), given.now_ns)

    def _acknowledged(self, line: str, given: _Arguments) -> None:
        for flow in self.streams.of(given.get("want", Want)):
            self._freshness(line).acknowledged(flow.stream, given.mono_ns)

    def _subscribed(self, line: str, given: _Arguments) -> None:
        del line
        out = Output()
        self.streams.subscribed(given.get("want", Want), given.now_ns, given.mono_ns, out)
        self._give(out.events)

    def _refused(self, line: str, given: _Arguments) -> None:
        del line
        want, reason, out = given.get("want", Want), given.get("reason", str), Output()
        self.streams.refused(want, reason, given.now_ns, given.mono_ns, out)
        self._give(out.events)

    def _snapshot_failed(self, line: str, given: _Arguments) -> None:
        del line
        symbol = given.get("symbol", str)
        epoch = self._epoch(symbol, given.get("epoch", int))
        self.streams.snapshot_failed(symbol, epoch, given.mono_ns, given.get("wait_s", float))

    def _epoch(self, symbol: str, epoch: int) -> int:
        """Return the number of the request that an image answers.

        It is the recorded one, unless this replay has not asked as often as was asked live.
        """
        if not self._is_divergent:
            return epoch
        flows = [flow for want in self._wants.get(symbol, ()) for flow in self.streams.of(want)]
        gates = [gate for flow in flows for gate in flow.carrier.gates()]
        books = [gate for gate in gates if isinstance(gate, BookSync | L3Sync)]
        # Where there are both, the image is that of the orders.
        books.sort(key=lambda book: isinstance(book, BookSync))
        return books[0].stats().epoch if books else epoch

    def _repair_failed(self, line: str, given: _Arguments) -> None:
        del line
        gap_id = given.get("gap_id", int)
        if "channel" in given.values:
            hole = (given.get("first", int), given.get("last", int))
            channel, symbol = given.get("channel", str), given.get("symbol", str)
            gap_id = same_gap(self.gaps, gap_id, channel, symbol, *hole)
        self.streams.repair_failed(gap_id, given.mono_ns)

    def _resync(self, line: str, given: _Arguments) -> None:
        del line
        out = Output()
        self.streams.resync(given.get("symbol", str), given.now_ns, given.mono_ns, out)
        self._give(out.events)

    def _audit(self, line: str, given: _Arguments) -> None:
        del line
        flow, out = self.streams.book_flow(given.get("symbol", str)), Output()
        syncs = flow.syncs() if flow is not None else ()
        if any(sync.begin_audit(given.mono_ns, out) for sync in syncs):
            self._give(out.events)

    # ── REST answers ────────────────────────────────────────────────────────

    def _answer(self, record: Record) -> None:
        meta, body = split_body(record.payload)
        if meta.get("is_metadata"):
            return  # what was read from it is the next record
        given = _Arguments(meta | {"now_ns": record.wall_ns, "mono_ns": record.mono_ns})
        request, status = given.get("request", RestRequest), given.get("status", int)
        if request.purpose == "snapshot" and not meta.get("is_audit"):
            epoch = self._epoch(request.symbol, request.epoch)
            request = msgspec.structs.replace(request, epoch=epoch)
        core, out = self._core(record.line), Output()
        try:
            if meta.get("is_audit"):
                core.codec.receive_rest(request, status, body, record.wall_ns, record.mono_ns, out)
                self._audited(request, out)
                return
            core.feed_rest(
                request,
                status,
                body,
                record.wall_ns,
                record.mono_ns,
                out,
                gap_id=self._gap_id(request, given.get("gap_id", int)),
                line=given.get("rest_line", str),
            )
        except CrossfeedError:
            return  # as live: what follows from it is the next record
        self._give(out.events)

    def _gap_id(self, request: RestRequest, gap_id: int) -> int:
        if request.purpose != "backfill":
            return gap_id
        channel, symbol = request.channel, request.symbol
        found = same_gap(self.gaps, gap_id, channel, symbol, request.first, request.last)
        if found or gap_id >= 0:
            return found
        streams = (trust.stream for trust in self.streams.trusts())
        asked = next((s for s in streams if (s.channel, s.symbol) == (channel, symbol)), None)
        return 0 if asked is None else self.gaps.ask(asked)

    def _audited(self, request: RestRequest, out: Output) -> None:
        flow = self.streams.book_flow(request.symbol)
        for event in out.events:
            if isinstance(event, BookSnapshot) and flow is not None:
                for sync in flow.syncs():
                    assert isinstance(sync, BookSync)
                    sync.audit(event)


def _nothing(line: str, given: _Arguments) -> None:
    """Play a step that changes nothing."""


def _arguments_of(record: Record) -> _Arguments:
    return _Arguments({"now_ns": record.wall_ns, "mono_ns": record.mono_ns} | record.json())


def settings_of(recorded: object) -> FeedSettings:
    """Return the settings a feed was recorded with; credentials are not among them.

    Raises:
        ConfigError: A value that this build does not take.
    """
    known = set(FeedSettings.__struct_fields__)
    values = cast("dict[str, Any]", recorded) if isinstance(recorded, dict) else {}
    kept = {
        name: value
        for name, value in values.items()
        if name in known and not name.startswith("api_")
    }
    try:
        return msgspec.convert(kept, FeedSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"recorded settings: {error}", field="settings") from error
