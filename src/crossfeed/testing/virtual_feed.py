"""One client of one venue in virtual time: plays the session between venue and pure core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from crossfeed.errors import CrossfeedError, RateLimitedError
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import (
    Acknowledged,
    Backfill,
    Command,
    FetchSnapshot,
    Reconnect,
    Refused,
    RestRequest,
    Resubscribe,
    Rotate,
    Send,
    VenueNotice,
    Want,
)
from crossfeed.model.events import MarketData
from crossfeed.model.output import Output
from crossfeed.model.ports import RandomSource
from crossfeed.model.sequencing import SnapshotSource
from crossfeed.model.trust import Trust
from crossfeed.runtime.links import make_send_budget
from crossfeed.runtime.pipeline import PureCore
from crossfeed.runtime.recording import FeedTap, make_streams
from crossfeed.runtime.session import PROVEN_BY_HEARTBEAT
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator.http import Response
from crossfeed.testing.checker import BookSeen
from crossfeed.testing.checker_recording import Recording
from crossfeed.testing.virtual_line import VirtualLine
from crossfeed.transport.canary import Admission, AdmissionLimits
from crossfeed.transport.rest_budget import WeightWindow
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.registry import find_venue
from crossfeed.venues.symbols import SymbolTable

if TYPE_CHECKING:
    from crossfeed.testing.virtual import VirtualWorld

__all__ = ["VirtualFeed"]

NS: Final = 1_000_000_000
REST_DEADLINE_NS: Final = 10 * NS
PAGES_MAX: Final = 100
READY_POLL_NS: Final = NS // 20
READY_POLLS_MAX: Final = 200
BANNED: Final = (429, 418)


class VirtualFeed:
    """A client of one venue. Made by `VirtualWorld.feed`.

    Attributes:
        venue: The venue.
        streams: The product's own streams, gates and books.
        ledger: The product's own gap ledger.
        lines: Its connections.
        recording: What it gave out.
        listeners: Called with every event it gives out.
        reconnects: Connections lost so far.
        rotations: Connections replaced so far, make before break.
        notices: What the venue said besides data.
    """

    def __init__(
        self,
        world: VirtualWorld,
        venue: str,
        requests: Sequence[tuple[str, str]],
        settings: FeedSettings,
        random: RandomSource,
        tap: FeedTap | None = None,
    ) -> None:
        """Prepare; `open` connects. What enters is recorded by `tap`, as the session does it."""
        self.world = world
        self.venue = find_venue(venue)
        self.settings = settings
        self.random = random
        self.ledger = GapLedger()
        self.tap = tap
        self.streams = make_streams(self.venue, self.ledger, settings, tap)
        self.options = CodecOptions(
            keep_raw=settings.keep_raw,
            api_key=settings.api_key,
            api_secret=settings.api_secret,
            api_passphrase=settings.api_passphrase,
        )
        self.table = SymbolTable(venue, self.venue.builtin())
        self.recording = Recording()
        self.listeners: list[Callable[[MarketData], None]] = [self.recording.take]
        self.lines: list[VirtualLine] = []
        self.reconnects = self.rotations = self.resubscribes = 0
        self.requests = self.refused_requests = 0
        self.notices: list[VenueNotice] = []
        self.refused: dict[Want, str] = {}
        limits = self.venue.profile.limits
        windows = ((limits.connects_max, limits.connect_window_s),)
        self.admission = Admission(AdmissionLimits(windows=windows), random)
        self.send_budget = make_send_budget(limits) if limits.is_send_shared else None
        self._weights = WeightWindow(limits.rest_weight_max, limits.rest_window_s)
        self._held_until_ns = 0
        self._number = 0
        self._learn()
        self._symbols: dict[str, None] = {}
        self._wants = [self._note(kind, name) for kind, name in self._with_companions(requests)]

    def _learn(self) -> None:
        """Adopt the venue's own instruments; the built-in ones stand in, as in the session."""
        request = self.venue.instruments_request()
        self._weights.record(self.world.mono_ns(), request.weight)
        answer = self.serve(request)
        with suppress(CrossfeedError):
            instruments = self.venue.parse_instruments(answer.status, answer.body)
            if self.tap is not None:
                self.tap.adopted(instruments)
            self.table.adopt(instruments)

    def _with_companions(self, requests: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Add the heartbeats that prove the tail of trades, as the session does."""
        heartbeat = self.venue.profile.channel("heartbeat")
        if heartbeat is None or not heartbeat.has_symbol or heartbeat.needs_key:
            return list(requests)
        proven = [("heartbeat", name) for kind, name in requests if kind in PROVEN_BY_HEARTBEAT]
        return list(dict.fromkeys([*requests, *proven]))

    def _note(self, kind: str, name: str) -> Want:
        if not name:  # a channel of the whole venue (status)
            want = self.venue.want(kind, "", self.options)
            self.streams.open(want, kind, None)
            return want
        instrument = self.table.resolve(name, quotes=self.venue.profile.quote_order)
        self._symbols[instrument.symbol] = None
        want = self.venue.want(kind, instrument.symbol, self.options)
        self.streams.open(want, kind, instrument)
        return want

    def symbols(self) -> list[str]:
        """Return the venue's symbols it has subscribed."""
        return list(self._symbols)

    # ── connections ─────────────────────────────────────────────────────────

    def open(self) -> None:
        """Connect all lines."""
        wants = list(dict.fromkeys(self._wants))
        size = self.settings.streams_per_connection or len(wants)
        for start in range(0, len(wants), size):
            for _ in range(self.settings.lines):
                self.lines.append(self._make_line(wants[start : start + size]))
        for line in self.lines:
            line.connect()

    def _make_line(self, wants: Sequence[Want]) -> VirtualLine:
        self._number += 1
        name = f"{self.venue.name}-{self._number}"
        codec = self.venue.make_codec(self.table, self.options)
        return VirtualLine(self, name, PureCore(codec, self.streams, name), wants)

    def wake(self) -> None:
        """Let lines that wait for the shared rule ask it again: an attempt has ended."""
        for line in self.lines:
            if line.is_waiting:
                self.world.after(0, line.ask_again)

    def pump(self) -> None:
        """Take what the venue has sent."""
        for line in tuple(self.lines):
            line.pump()

    def tick(self) -> None:
        """Run all timers, as the session does ten times a second."""
        out = Output()
        self.streams.on_timer(self.world.now_ns(), self.world.mono_ns(), out)
        self.give(out)
        for line in tuple(self.lines):
            line.tick()

    def rotate(self, line: VirtualLine, cause: str = "rotation") -> None:
        """Replace a connection: open the new one, wait until it is ready, close the old one."""
        if line.is_replaced or line not in self.lines:
            return
        line.is_replaced = True
        fresh = self._make_line(list(line.wants))
        self.lines.append(fresh)
        fresh.connect()
        self.world.after(READY_POLL_NS, lambda: self._finish_rotation(line, fresh, cause, 0))

    def _finish_rotation(
        self, line: VirtualLine, fresh: VirtualLine, cause: str, polls: int
    ) -> None:
        is_ready = fresh.is_settled and self.streams.is_ready(fresh.name, list(fresh.wants))
        if not is_ready and polls < READY_POLLS_MAX and line.is_up:
            self.world.after(
                READY_POLL_NS, lambda: self._finish_rotation(line, fresh, cause, polls + 1)
            )
            return
        line.close(cause)
        self.lines.remove(line)
        self.streams.forget(line.name)
        self.rotations += 1

    # ── what the core says ──────────────────────────────────────────────────

    def give(self, out: Output, line: VirtualLine | None = None) -> None:
        """Hand events to the listeners and carry out commands."""
        for event in out.events:
            for listener in self.listeners:
                listener(event)
        if out.commands and self.lines:
            for command in out.commands:
                self._execute(line or self.lines[0], command)

    def _execute(self, line: VirtualLine, command: Command) -> None:
        match command:
            case Acknowledged():
                self._on_acknowledged(line, command)
            case Refused():
                self._on_refused(command)
            case Send():
                line.send(command.payload)
            case Resubscribe():
                self._resubscribe(line, command)
            case Reconnect():
                line.drop("reconnect")
            case Rotate():
                self.rotate(line, command.cause)
            case FetchSnapshot():
                self._fetch_snapshot(line.core, command)
            case Backfill():
                self._backfill(line.core, command)
            case VenueNotice():
                self.notices = [*self.notices[-99:], command]

    def _on_acknowledged(self, line: VirtualLine, said: Acknowledged) -> None:
        if said.is_removal:
            return
        line.acknowledged(said.wants)
        out = Output()
        for want in said.wants:
            self.streams.subscribed(want, self.world.now_ns(), self.world.mono_ns(), out)
        self.give(out, line)

    def _on_refused(self, said: Refused) -> None:
        out = Output()
        for want in said.wants:
            self.refused[want] = said.reason
            now_ns, mono_ns = self.world.now_ns(), self.world.mono_ns()
            self.streams.refused(want, said.reason, now_ns, mono_ns, out)
        self.give(out)

    def _resubscribe(self, line: VirtualLine, command: Resubscribe) -> None:
        want = self.streams.want_of(command.channel, command.symbol)
        named = [each for each in self.lines if each.name == command.line]
        carriers = named or [line, *(each for each in self.lines if each is not line)]
        carrier = next((each for each in carriers if want in each.wants), None)
        if carrier is not None and want is not None:
            self.resubscribes += 1
            carrier.resubscribe([want])

    # ── REST ────────────────────────────────────────────────────────────────

    def _fetch_snapshot(self, core: PureCore, wanted: FetchSnapshot) -> None:
        request = core.codec.snapshot_request(wanted.symbol, wanted.epoch, wanted.attempt)
        if request is not None:

            def failed(error: CrossfeedError | None) -> None:
                wait_s = error.retry_after_s if isinstance(error, RateLimitedError) else 0.0
                self.streams.snapshot_failed(
                    wanted.symbol, wanted.epoch, self.world.mono_ns(), wait_s
                )

            self._ask(core, request, failed)

    def _backfill(self, core: PureCore, wanted: Backfill) -> None:
        def failed(error: CrossfeedError | None) -> None:
            del error
            self.streams.repair_failed(wanted.gap_id, self.world.mono_ns())

        request = core.codec.backfill_request(wanted)
        if request is None:
            failed(None)
        else:
            self._ask(core, request, failed, gap_id=wanted.gap_id)

    def _ask(
        self,
        core: PureCore,
        request: RestRequest,
        failed: Callable[[CrossfeedError | None], None],
        *,
        gap_id: int = 0,
        page: int = 0,
    ) -> None:
        """Make one request within the venue's budget, half a round trip away."""
        world, now_ns = self.world, self.world.mono_ns()
        wait_ns = max(self._weights.wait_ns(now_ns, request.weight), self._held_until_ns - now_ns)
        if wait_ns > 0:
            again = lambda: self._ask(core, request, failed, gap_id=gap_id, page=page)  # noqa: E731
            world.after(wait_ns, again)
            return
        self._weights.record(now_ns, request.weight)
        self.requests += 1

        def serve() -> None:
            answer = self.serve(request)
            delay_ns = round(answer.delay_s * NS)
            if delay_ns > REST_DEADLINE_NS:
                world.after(REST_DEADLINE_NS, lambda: failed(None))
                return
            world.after(
                world.half_trip_ns + delay_ns,
                lambda: self._answered(
                    core,
                    request,
                    (answer.status, answer.body, answer.headers.get("Retry-After", "")),
                    failed,
                    gap_id,
                    page,
                ),
            )

        world.after(world.half_trip_ns, serve)

    def serve(self, request: RestRequest) -> Response:
        """Let the simulated venue answer; another base belongs to the venue that owns the books."""
        exchanges = self.world.room.simulator.exchanges
        name = exchanges[self.venue.name].owner if request.base else self.venue.name
        if name not in exchanges:
            return Response(404)
        path = urlsplit(self.venue.profile.endpoints[0].rest_base(request)).path.rstrip("/")
        query = "&".join(f"{key}={value}" for key, value in request.query)
        return self.world.room.rest(name, path + request.path + (f"?{query}" if query else ""))

    def _answered(
        self,
        core: PureCore,
        request: RestRequest,
        answer: tuple[int, bytes, str],
        failed: Callable[[CrossfeedError | None], None],
        gap_id: int,
        page: int,
    ) -> None:
        status, body, retry_after = answer
        out = Output()
        if status in BANNED:
            self.refused_requests += 1
            wait_s = float(retry_after or 1)
            self._held_until_ns = self.world.mono_ns() + round(wait_s * NS)
            failed(RateLimitedError(self.venue.name, "told to wait", retry_after_s=wait_s))
            return
        now_ns, mono_ns = self.world.now_ns(), self.world.mono_ns()
        if self.tap is not None:
            self.tap.answered(
                core.name, request, status, body, now_ns, mono_ns, gap_id=gap_id, rest_line=""
            )
        try:
            following = core.feed_rest(request, status, body, now_ns, mono_ns, out, gap_id=gap_id)
        except CrossfeedError as error:
            failed(error)
            return
        self.give(out)
        if following is not None and page < PAGES_MAX:
            self._ask(core, following, failed, gap_id=gap_id, page=page + 1)

    # ── judging ─────────────────────────────────────────────────────────────

    def open_holes(self) -> int:
        """Return how many holes are open."""
        return self.ledger.totals().open

    def trust(self, kind: str, symbol: str) -> StreamTrust:
        """Return the trust of a stream."""
        return next(
            trust
            for trust in self.streams.trusts()
            if (trust.stream.channel, trust.stream.symbol) == (kind, symbol)
        )

    def look(self) -> Iterator[tuple[str, BookSeen]]:
        """Yield every book as it is shown now, with its symbol."""
        for book in self.streams.books():
            image = book.image()
            want = self.streams.want_of("book", book.symbol)
            assert want is not None, "a book has a want"
            rule = self.venue.book_rule(want)
            is_numbered = rule.snapshot_source is SnapshotSource.REST
            yield (
                book.symbol,
                BookSeen(
                    at_ns=self.world.mono_ns(),
                    is_sound=image.trust is Trust.SOUND,
                    sequence=image.sequence if is_numbered else 0,
                    event_ns=image.ts_event_ns,
                    bids=image.bids,
                    asks=image.asks,
                    depth=rule.depth_limit,
                ),
            )
