"""Getting a book's image: what was asked, what to keep meanwhile, when to ask again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Generic, TypeVar

from msgspec import Struct

from crossfeed.model.commands import FetchSnapshot, Resubscribe
from crossfeed.model.events import MarketData
from crossfeed.model.output import Output
from crossfeed.model.sequencing import SnapshotSource, Verdict
from crossfeed.model.status import Stream

__all__ = ["NEVER_NS", "BookLimits", "Purpose", "Rebuild"]

NEVER_NS: Final = 2**63 - 1
SECOND_NS: Final = 1_000_000_000

Update = TypeVar("Update", bound=MarketData)


class Purpose(StrEnum):
    """What an image is wanted for."""

    NONE = "none"
    SYNC = "sync"
    """The book is not proven: it is rebuilt from the image."""
    REFRESH = "refresh"
    """The book is right but its provable window ran thin: it is rebuilt without being unsound."""
    AUDIT = "audit"
    """The book is compared with the image and not changed."""


class BookLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one book.

    Attributes:
        buffer_max: Updates kept while a REST image is on its way; the oldest go first.
        answer_s: An image not there after this counts as failed.
        retry_s: Wait before the second try; doubles with each further one.
        retry_max_s: Longest such wait. Tries never end.
        restarts_max: A book that starts over more often than this, each time within `restart_s` of
            asking for an image, waits before it asks again: as for a second try, then longer.
        restart_s: See `restarts_max`.
        restart_wait_max_s: Longest such wait.
        old_images_max: Images in a row that are too old before an alert is raised (from then on the
            command's `attempt` tells the venue's codec to ask for another depth).
        crossed_s: A book may be crossed or locked this long before it counts as corrupt.
        crossed_max_s: Longest such patience, doubled each time a fresh image is crossed as well.
        window_levels: A side of a REST image with at least so many levels may be cut by the venue:
            it is known only as far as its last level. 0: images are whole.
        window_levels_min: A cut side with fewer levels left is refreshed by a new image.
        window_check_updates: The levels left are counted each time a side is empty, and when the
            top moves with every n-th update.
        reconnect_quiet_s: After a reconnect without any update for this long an image proves the
            book.
        tail_grace_s: What a heartbeat names as sent may come this much later before it is missing.
    """

    buffer_max: int = 2_048
    answer_s: float = 10.0
    retry_s: float = 0.25
    retry_max_s: float = 30.0
    restarts_max: int = 3
    restart_s: float = 2.0
    restart_wait_max_s: float = 5.0
    old_images_max: int = 3
    crossed_s: float = 1.0
    crossed_max_s: float = 60.0
    window_levels: int = 1_000
    window_levels_min: int = 20
    window_check_updates: int = 16
    reconnect_quiet_s: float = 2.0
    tail_grace_s: float = 1.0


class Rebuild(Generic[Update]):
    """One image on its way. Every request has its epoch: an answer to an older one is void.

    Attributes:
        purpose: What the image is wanted for; NONE while none is.
        epoch: Number of the newest request.
        attempt: Tries so far for this image, counted from 0.
        old_images: Images in a row that were too old.
        buffer: REST: updates since the image was wanted, unbroken, oldest first.
        overflowed: Updates dropped from a full buffer so far.
        next_due_ns: Monotonic time at which `on_timer` has something to do.
    """

    def __init__(
        self,
        stream: Stream,
        source: SnapshotSource,
        follow: Callable[[Update, Update], Verdict],
        limits: BookLimits,
    ) -> None:
        """Start with nothing wanted; `follow` judges an update by the one kept before it."""
        self._stream = stream
        self._follow = follow
        self._limits = limits
        self._is_rest = source is SnapshotSource.REST
        self._is_asked = False
        self._asked_ns = -NEVER_NS
        self._restarts = 0
        self._cause = ""
        self.purpose = Purpose.NONE
        self.epoch = 0
        self.attempt = 0
        self.old_images = 0
        self.overflowed = 0
        self.buffer: deque[Update] = deque(maxlen=limits.buffer_max)
        self.next_due_ns = NEVER_NS

    def __repr__(self) -> str:
        """Return purpose, epoch and attempt."""
        return f"Rebuild({self.purpose}, epoch {self.epoch}, attempt {self.attempt})"

    def begin(self, purpose: Purpose, cause: str, mono_ns: int, out: Output) -> None:
        """Want an image and ask for it; what was wanted before is void, the buffer starts anew.

        A book that no image keeps right for long (a venue whose updates we do not understand any
        more) is asked for ever more rarely.
        """
        limits = self._limits
        self.purpose = purpose
        self._cause = cause
        self.attempt = self.old_images = 0
        self.buffer.clear()
        is_again = mono_ns - self._asked_ns < limits.restart_s * SECOND_NS
        self._restarts = self._restarts + 1 if is_again else 0
        if self._restarts <= limits.restarts_max:
            self._ask(mono_ns, out)
        else:
            doublings = self._restarts - limits.restarts_max - 1
            self._wait(doublings, limits.restart_wait_max_s, mono_ns)

    def _ask(self, mono_ns: int, out: Output) -> None:
        self.epoch += 1
        self._is_asked = True
        self._asked_ns = mono_ns
        self.next_due_ns = mono_ns + int(self._limits.answer_s * SECOND_NS)
        stream = self._stream
        if self._is_rest:
            out.commands.append(FetchSnapshot(stream.symbol, self.epoch, self.attempt))
        else:
            out.commands.append(Resubscribe(stream.channel, stream.symbol, self._cause))

    def end(self) -> None:
        """Want nothing any more."""
        self.purpose = Purpose.NONE
        self._is_asked = False
        self.buffer.clear()
        self.next_due_ns = NEVER_NS

    def is_answer(self, epoch: int) -> bool:
        """Say whether an image of this epoch is the one that is waited for."""
        return self._is_asked and epoch == self.epoch

    def failed(self, mono_ns: int, wait_s: float = 0.0) -> None:
        """Take the request as failed; ask again after the backoff, `wait_s` at least."""
        self._wait(self.attempt, self._limits.retry_max_s, mono_ns, wait_s)
        self.attempt += 1

    def _wait(self, doublings: int, max_s: float, mono_ns: int, wait_s: float = 0.0) -> None:
        """Ask after the backoff, at most `max_s`, but `wait_s` at least."""
        backoff_s = min(self._limits.retry_s * 2.0 ** min(doublings, 30), max_s)
        self._is_asked = False
        self.next_due_ns = mono_ns + int(max(backoff_s, wait_s) * SECOND_NS)

    def is_old_again(self, mono_ns: int, alert_after: int) -> bool:
        """Take the image as too old and ask again later; True each `alert_after` times in a row.

        Then the kept updates are dropped as well: if the venue has begun to count anew, it is they
        that are too old.
        """
        self.old_images += 1
        self.failed(mono_ns)
        is_alert = self.old_images % alert_after == 0
        if is_alert:
            self.buffer.clear()
        return is_alert

    def arrived(self) -> None:
        """Take the request as answered; the updates are kept on."""
        self._is_asked = False
        self.next_due_ns = NEVER_NS

    @property
    def last_kept(self) -> Update | None:
        """Newest kept update, None if there is none."""
        return self.buffer[-1] if self.buffer else None

    def on_timer(self, mono_ns: int, out: Output) -> None:
        """Ask again where it is due; a request without an answer counts as failed."""
        if mono_ns < self.next_due_ns:
            return
        if self._is_asked:
            self.failed(mono_ns)
        else:
            self._ask(mono_ns, out)

    def keep(self, update: Update) -> Verdict:
        """Keep one update for the image.

        Returns:
            APPLY when it was kept; OLD when it was there already; GAP when something is missing
            before it: what came before the hole is of no use any more and was dropped.
        """
        verdict = Verdict.APPLY
        if self.buffer:
            verdict = self._follow(self.buffer[-1], update)
            if verdict is Verdict.OLD:
                return verdict
            if verdict is Verdict.GAP:
                self.buffer.clear()
        if len(self.buffer) == self.buffer.maxlen:
            self.overflowed += 1
        self.buffer.append(update)
        return verdict
