"""One connection of a session.

Its codec, its core, its subscriptions and their acknowledgements.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from crossfeed.errors import (
    AuthRejectedError,
    DeadlineError,
    NotConnectedError,
    SubscriptionRejectedError,
    VenueError,
)
from crossfeed.integrity.freshness import Freshness
from crossfeed.model.commands import Acknowledged, Refused, Want
from crossfeed.model.output import Output
from crossfeed.runtime.gates import Pulse
from crossfeed.runtime.line_parts import watch_streams
from crossfeed.runtime.pipeline import SAMPLE_MASK, PureCore
from crossfeed.transport.manager import WebSocketManager
from crossfeed.transport.state import ConnectionState

if TYPE_CHECKING:
    from crossfeed.runtime.session import Session

__all__ = ["Connection", "WantState"]

log = logging.getLogger("crossfeed.session")

ACK_ATTEMPTS_MAX = 2


class WantState(StrEnum):
    """Where one subscription stands on its connection."""

    NOTED = "noted"
    ASKED = "asked"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    LEAVING = "leaving"


class Connection:
    """Carries a part of a session's subscriptions. Made and closed by the session.

    Attributes:
        session: Whose it is.
        name: Unique within the client ("binance-1").
        manager: The WebSocket connection.
        core: Codec, integrity and books for its frames.
        freshness: Watches over the streams it carries.
        shard: Number of the share of the subscriptions it carries; all lines of a share have the
            same.
        place: Which of the venue's addresses it goes to.
        path: Path of that address, the same for all its subscriptions.
        rotate_at_ns: Monotonic time at which it is to be replaced; 0: never.
        wants: Its subscriptions and where they stand.
        refused: Refused subscriptions with the venue's reason.
    """

    def __init__(
        self, session: Session, name: str, manager: WebSocketManager, core: PureCore
    ) -> None:
        """Take its parts; nothing is connected yet."""
        self.name = name
        self.manager = manager
        self.core = core
        self.wants: dict[Want, WantState] = {}
        self.refused: dict[Want, Refused] = {}
        self.freshness = Freshness()
        self.session = self._session = session
        self._settled = asyncio.Event()
        self._changing = asyncio.Lock()
        self._has_opened = False
        self._frames = 0
        self.rotate_at_ns = 0
        self.shard = 0
        self.place = 0
        self.path = ""

    @property
    def is_live(self) -> bool:
        """Whether the connection is up and subscribed."""
        return self.manager.state is ConnectionState.CONNECTED

    # ── opening ─────────────────────────────────────────────────────────────

    async def on_open(self) -> None:
        """Subscribe everything again on a fresh connection; return when the venue answered.

        Raises:
            SubscriptionRejectedError: All subscriptions were refused on the very first opening.
            TransportError: The connection ended, or nothing at all was acknowledged in time.
        """
        wants = [want for want in self.wants if want not in self.refused]
        session, out = self._session, Output()
        now_ns, mono_ns = session.clock.now_ns(), session.clock.monotonic_ns()
        if session.tap is not None:
            session.tap.keep(self.name, "core_open", now_ns, mono_ns)
        self.core.on_open()
        self.freshness.on_open(mono_ns)
        self.freshness.listen(Pulse(session.streams.table(self.name)))
        session.streams.line_up(self.name, wants, now_ns, mono_ns, out)
        for want in wants:
            self.watch(want, mono_ns)
        session.deliver(out, self.core)
        await self._ask(wants)
        if wants and all(want in self.refused for want in wants) and not self._has_opened:
            raise self.rejection(wants)
        self._has_opened = True
        self.rotate_at_ns = session.links.rotation_due_ns(mono_ns)

    def watch(self, want: Want, mono_ns: int) -> None:
        """Watch over the streams of `want`: a venue may answer pings and yet send nothing."""
        if self._session.tap is not None:
            key = f"{want.channel}/{want.symbol}"
            self._session.tap.keep(self.name, "watch", 0, mono_ns, key=key, want=want)
        watch_streams(self.freshness, self._session.streams, self.name, [want], mono_ns)

    def unwatch(self, want: Want) -> None:
        """Watch over the streams of `want` no longer."""
        if self._session.tap is not None:
            self._session.tap.step(self.name, "unwatch", want=want)
        for flow in self._session.streams.of(want):
            self.freshness.unwatch(flow.stream)

    def on_timer(self, now_ns: int, mono_ns: int) -> None:
        """Look whether the streams are still alive."""
        if self.is_live and mono_ns >= self.freshness.next_due_ns:
            out = Output()
            if self._session.tap is not None:
                self._session.tap.timer(self.name, "freshness", now_ns, mono_ns)
            self.freshness.on_timer(now_ns, mono_ns, out)
            self._session.streams.review(now_ns, mono_ns, out)
            self._session.deliver(out, self.core)

    def rejection(self, wants: Sequence[Want]) -> VenueError:
        """Make the error that names the refused ones among `wants`."""
        named = [want for want in wants if want in self.refused]
        symbols = {(w.symbol or w.channel): self.refused[w].reason for w in named}
        venue = self._session.venue.name
        if named and all(self.refused[want].is_auth for want in named):
            reasons = "; ".join(sorted(set(symbols.values())))
            return AuthRejectedError(
                venue, reasons, hint="give an API key, or leave the channel out"
            )
        return SubscriptionRejectedError(venue, symbols, hint="check the symbols and channels")

    async def add(self, wants: Sequence[Want]) -> None:
        """Add subscriptions; return when the venue answered.

        On a broken line they wait for the next.
        """
        for want in wants:
            self.wants.setdefault(want, WantState.NOTED)
            self.refused.pop(want, None)
        if self.is_live:
            session, out = self._session, Output()
            now_ns, mono_ns = session.clock.now_ns(), session.clock.monotonic_ns()
            session.streams.line_up(self.name, wants, now_ns, mono_ns, out)
            for want in wants:
                self.watch(want, mono_ns)
            session.deliver(out, self.core)
            await self._ask(wants)

    def unsettled(self, wants: Sequence[Want]) -> list[Want]:
        """Return those of `wants` it carries unanswered: the call that asked was cancelled."""
        open_states = {WantState.NOTED, WantState.ASKED, WantState.LEAVING}
        return [w for w in wants if self.is_live and self.wants.get(w) in open_states]

    async def remove(self, wants: Sequence[Want]) -> None:
        """Remove subscriptions; return when the venue answered."""
        present = [want for want in wants if want in self.wants]
        if self.is_live and present:
            async with self._changing:
                leaving = [want for want in present if want in self.wants and self.is_live]
                self.wants.update(dict.fromkeys(leaving, WantState.LEAVING))
                frames = self._unsubscribe(leaving) if leaving else ()
                await self._send_and_wait(frames, leaving, WantState.LEAVING)
        for want in present:
            self.unwatch(want)
            self.wants.pop(want, None)
            self.refused.pop(want, None)

    async def resubscribe(self, wants: Sequence[Want]) -> None:
        """Unsubscribe and subscribe again, for new snapshots. The wants stay ours throughout."""
        try:
            async with self._changing:  # not in the midst of a removal
                kept = [want for want in wants if want in self.wants and self.is_live]
                for frame in self._unsubscribe(kept) if kept else ():
                    await self.send(frame)
                await self._ask(kept)
        except NotConnectedError:
            log.debug("%s ended meanwhile: its next opening subscribes everything", self.name)

    def _subscribe(self, wants: Sequence[Want]) -> list[bytes]:
        """Make the frames that subscribe `wants`."""
        now_ns, tap = self._session.clock.now_ns(), self._session.tap
        if tap is not None:
            key = ",".join(f"{want.channel}/{want.symbol}" for want in wants)
            tap.keep(self.name, "subscribe", now_ns, key=key, wants=wants)
        return self.core.codec.subscribe(wants, now_ns)

    def _unsubscribe(self, wants: Sequence[Want]) -> list[bytes]:
        """Make the frames that unsubscribe `wants`."""
        now_ns, tap = self._session.clock.now_ns(), self._session.tap
        if tap is not None:
            key = ",".join(f"{want.channel}/{want.symbol}" for want in wants)
            tap.keep(self.name, "unsubscribe", now_ns, key=key, wants=wants)
        return self.core.codec.unsubscribe(wants, now_ns)

    async def send(self, frame: bytes) -> None:
        """Send one frame.

        Raises:
            TransportError: It could not be sent.
        """
        if self._session.tap is not None:
            self._session.tap.sent(self.name, frame)
        await self.manager.send_text(frame)

    async def _ask(self, wants: Sequence[Want]) -> None:
        """Subscribe `wants`; ask once more for those that got no answer, then name them."""
        pending = [want for want in wants if want not in self.refused]
        for attempt in range(ACK_ATTEMPTS_MAX):
            if not pending:
                return
            for want in pending:
                self.wants[want] = WantState.ASKED
            await self._send_and_wait(self._subscribe(pending), pending, WantState.ASKED)
            pending = [want for want in pending if self.wants.get(want) is WantState.ASKED]
            if pending and attempt + 1 < ACK_ATTEMPTS_MAX:
                log.warning(
                    "%s: no acknowledgement for %s, asking again", self.name, _names(pending)
                )
        if pending and len(pending) == len(wants):
            limit_s = self._session.venue.profile.limits.ack_deadline_s
            msg = f"no acknowledgement for {_names(pending)}"
            raise DeadlineError(msg, limit_s=limit_s * ACK_ATTEMPTS_MAX, where=self.name)
        for want in pending:
            self.on_refused(Refused((want,), "no acknowledgement in time"))

    async def _send_and_wait(
        self, frames: Sequence[bytes], wants: Sequence[Want], while_state: WantState
    ) -> None:
        for frame in frames:
            await self.send(frame)
        deadline_s = self._session.venue.profile.limits.ack_deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                while any(self.wants.get(want) is while_state for want in wants):
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return

    # ── what the venue says ─────────────────────────────────────────────────

    def on_frame(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
        """Take one frame that the core's own `path` leaves to us."""
        session = self._session
        out = self.core.feed(frame, ts_recv_ns, ts_mono_ns)
        publish = session.router.publish
        for event in out.events:
            publish(event)
        if out.commands:
            session.execute(self, out.commands)
        self._frames += 1
        if not self._frames & SAMPLE_MASK:
            self.sample(ts_mono_ns)

    def sample(self, ts_mono_ns: int) -> None:
        """Note how long the frame received at `ts_mono_ns` took."""
        session = self._session
        session.processing.add(session.clock.monotonic_ns() - ts_mono_ns)

    def on_acknowledged(self, said: Acknowledged) -> None:
        """Note what the venue confirmed."""
        mono_ns, tap = self._session.clock.monotonic_ns(), self._session.tap
        for want in said.wants:
            state = self.wants.get(want)
            if state is None:
                continue
            if said.is_removal and state is WantState.LEAVING:
                del self.wants[want]
            elif not said.is_removal and state in {WantState.ASKED, WantState.NOTED}:
                self.wants[want] = WantState.ACKNOWLEDGED
                if tap is not None:
                    tap.step(self.name, "acknowledged", 0, mono_ns, want=want)
                for flow in self._session.streams.of(want):
                    self.freshness.acknowledged(flow.stream, mono_ns)
        self._settled.set()

    def on_refused(self, said: Refused) -> None:
        """Note what the venue refused."""
        for want in said.wants:
            if want in self.wants:
                self.wants[want] = WantState.REFUSED
                self.refused[want] = said
        self._session.on_refused(self, said)
        self._settled.set()

    def on_lost(self, cause: str, out: Output) -> None:
        """Forget what the broken connection had acknowledged.

        And wake whoever waits for an answer.
        """
        for want, state in list(self.wants.items()):
            if state is WantState.LEAVING:
                del self.wants[want]
            elif state is not WantState.REFUSED:
                self.wants[want] = WantState.NOTED
        session = self._session
        now_ns, mono_ns = session.clock.now_ns(), session.clock.monotonic_ns()
        session.streams.line_down(self.name, list(self.wants), cause, now_ns, mono_ns, out)
        self._settled.set()


def _names(wants: Sequence[Want]) -> str:
    shown = ", ".join(f"{want.channel}:{want.symbol}" for want in wants[:5])
    return shown + (f" and {len(wants) - 5} more" if len(wants) > 5 else "")  # noqa: PLR2004
