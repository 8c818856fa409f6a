"""Speaks Binance spot's protocol: frames → events, wishes → frames. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from crossfeed.errors import ConfigError
from crossfeed.model.commands import (
    Acknowledged,
    Backfill,
    Refused,
    RestRequest,
    Resubscribe,
    Rotate,
    VenueNotice,
    Want,
)
from crossfeed.model.output import Output
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.binance import rest
from crossfeed.venues.binance.profile import PROFILE, channel_of
from crossfeed.venues.binance.wire import (
    ROUTES,
    Refusal,
    Reply,
    ShutdownMessage,
    StreamShutdown,
    WrappedRefusal,
)
from crossfeed.venues.codec import TableCodec
from crossfeed.venues.symbols import SymbolTable

__all__ = ["BinanceCodec"]

UNITS: Final = {"MILLISECOND": 1_000_000, "MICROSECOND": 1_000}
PENDING_MAX: Final = 1024
"""Control messages whose answer is awaited; the oldest is forgotten (its deadline is long over)."""

Asked = tuple[tuple[Want, ...], bool]
"""Wants of one control message, and whether it removes them."""


class BinanceCodec(TableCodec):
    """One connection's codec; see `Codec`.

    Always in combined mode (`/stream`); bare frames decode, too. Takes the option
    `parameters["time_unit"]`: "MILLISECOND" (the venue's default) or "MICROSECOND", which changes
    all times of the stream.
    """

    def __init__(self, table: SymbolTable, options: CodecOptions) -> None:
        """Compile the declarations.

        Raises:
            ConfigError: The time unit is not one of Binance's.
        """
        self._unit = options.parameters.get("time_unit", "MILLISECOND").upper()
        if self._unit not in UNITS:
            msg = f"{self._unit!r} is no time unit of binance; it has: {', '.join(UNITS)}"
            raise ConfigError(msg, field="parameters.time_unit")
        super().__init__(PROFILE.exchange, ROUTES, table, options, time_unit_ns=UNITS[self._unit])
        self._rest = rest.RestReader(PROFILE.exchange, keep_raw=options.keep_raw)
        self._pending: dict[int, Asked] = {}
        self._request_id = 0

    # ── stream: what to send ──────────────────────────────────────────────────

    def url_path(self, wants: Sequence[Want]) -> str:  # noqa: ARG002 - subscribed by message
        """Return the combined-mode path, with the time unit where it is not the default."""
        return "/stream" if self._unit == "MILLISECOND" else f"/stream?timeUnit={self._unit}"

    def on_open(self) -> None:
        """Forget the last connection's unanswered messages; ids go on: late answers match none."""
        self._pending.clear()

    def subscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:  # noqa: ARG002 - unsigned
        """Return SUBSCRIBE frames of at most 200 streams each.

        Raises:
            UnsupportedChannelError: A want names no channel of Binance (it would be acknowledged
                and then stay silent). Nothing was changed.
        """
        frames = self._control("SUBSCRIBE", wants, is_removal=False)
        self.ask(wants)
        return frames

    def unsubscribe(self, wants: Sequence[Want], ts_ns: int) -> list[bytes]:  # noqa: ARG002 - unsigned
        """Return UNSUBSCRIBE frames of at most 200 streams each.

        Raises:
            UnsupportedChannelError: A want names no channel of Binance. Nothing was changed.
        """
        frames = self._control("UNSUBSCRIBE", wants, is_removal=True)
        self.drop(wants)
        return frames

    def list_subscriptions(self) -> bytes:
        """Return the frame that asks what is subscribed; the answer finds what the venue lost."""
        return self._frame("LIST_SUBSCRIPTIONS", None, ((), False))

    def keepalive(self) -> None:
        """Return None: Binance takes WebSocket pings only."""
        return

    def _control(self, method: str, wants: Sequence[Want], *, is_removal: bool) -> list[bytes]:
        streams = {want: _stream(want) for want in wants}
        names = list(streams)
        size = PROFILE.limits.params_per_message
        batches = [tuple(names[at : at + size]) for at in range(0, len(names), size)]
        return [
            self._frame(method, [streams[want] for want in batch], (batch, is_removal))
            for batch in batches
        ]

    def _frame(self, method: str, params: list[str] | None, asked: Asked) -> bytes:
        self._request_id += 1
        if len(self._pending) >= PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        self._pending[self._request_id] = asked
        message: dict[str, object] = {"method": method}
        if params is not None:
            message["params"] = params
        return msgspec.json.encode(message | {"id": self._request_id})

    # ── stream: service messages ──────────────────────────────────────────────

    def on_shutdown(self, message: ShutdownMessage | StreamShutdown, out: Output) -> None:  # noqa: ARG002
        """Ask for a new connection at once: there is no fixed lead time (CHANGELOG 2026-06-09)."""
        out.commands.append(Rotate("serverShutdown"))

    def on_reply(self, message: Reply, out: Output) -> None:
        """Take an acknowledgement, or the list of subscriptions."""
        asked = self._pending.pop(message.id, None) if isinstance(message.id, int) else None
        if asked is None:
            text = f"answer to no open request: id {message.id!r}"
            out.commands.append(VenueNotice("", text, is_error=False))
        elif isinstance(message.result, list):
            listed = frozenset(message.result)
            out.commands += [
                Resubscribe(want.channel, want.symbol, "not listed by the venue")
                for want in self.asked()
                if _stream(want) not in listed
            ]
        elif asked[0]:
            out.commands.append(Acknowledged(*asked))

    def on_refusal(self, message: Refusal, out: Output) -> None:
        """Take an error: it refuses the request it names, else the only open one, else nobody's."""
        self._refuse(message.code, message.msg, message.id, out)

    def on_wrapped_refusal(self, message: WrappedRefusal, out: Output) -> None:
        """Take an error of the other shape."""
        self._refuse(message.error.code, message.error.msg, message.id, out)

    def _refuse(self, code: int, text: str, request_id: int | str | None, out: Output) -> None:
        if request_id is None and len(self._pending) == 1:
            request_id = next(iter(self._pending))
        asked = self._pending.pop(request_id, None) if isinstance(request_id, int) else None
        if asked is None or not asked[0]:
            out.commands.append(VenueNotice(str(code), text))
        else:
            out.commands.append(Refused(asked[0], f"{text} [{code}]"))

    # ── REST ──────────────────────────────────────────────────────────────────

    def snapshot_request(self, symbol: str, epoch: int, attempt: int) -> RestRequest:
        """Return the request for a book snapshot; see `rest.snapshot_request`."""
        return rest.snapshot_request(symbol, epoch, attempt)

    def backfill_request(self, wanted: Backfill) -> RestRequest | None:
        """Return the first page of a backfill; trades and aggregates only."""
        return rest.backfill_request(wanted)

    def poll_request(self, want: Want) -> RestRequest | None:
        """Return the request that stands in for a stream; see `rest.poll_request`."""
        return rest.poll_request(want)

    def receive_rest(
        self,
        request: RestRequest,
        status: int,
        body: bytes,
        ts_recv_ns: int,
        ts_mono_ns: int,
        out: Output,
    ) -> RestRequest | None:
        """Decode an answer; see `Codec.receive_rest`.

        The market-data hosts have no historicalTrades (market_data_only.md): there the newest 1000
        trades are asked instead, which mends short holes.
        """
        if status == rest.NOT_FOUND and request.path == rest.HISTORY:
            return rest.recent_instead(request)
        if status != rest.OK:
            raise rest.refusal(status, body, ts_recv_ns)
        instrument = self.table.get(request.symbol)
        unified = instrument.unified if instrument is not None else ""
        names = (request.symbol, unified)
        events = self._rest.read(request, body, names, ts_recv_ns, ts_mono_ns)
        out.events += events
        return rest.next_page(request, events)


def _stream(want: Want) -> str:
    """Return the stream's name: the symbol (any letters) in lower case, "@", the channel."""
    channel_of(want.channel)
    return f"{want.symbol.lower()}@{want.channel}"
