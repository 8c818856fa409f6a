"""What a book needs from outside its stage. The pipeline hands in `integrity.trust.StreamTrust`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from crossfeed.model.output import Output
from crossfeed.model.status import GapRecord, GapState, Stream
from crossfeed.model.trust import Integrity, Trust

__all__ = ["TrustKeeper"]


class TrustKeeper(Protocol):
    """Keeps the trust of one stream and its gaps, and tells both in the stream."""

    @property
    def stream(self) -> Stream:
        """Which stream."""
        ...

    @property
    def unified(self) -> str:
        """Unified symbol, empty where it is unknown."""
        ...

    @property
    def integrity(self) -> Integrity:
        """How well the stream can be proven."""
        ...

    @property
    def current(self) -> Trust:
        """The trust now, the worst of what anybody reported."""
        ...

    @property
    def cause(self) -> str:
        """Why."""
        ...

    @property
    def detail(self) -> str:
        """The same as a sentence, may be empty."""
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called after every change."""
        ...

    def report(
        self,
        source: str,
        trust: Trust,
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
        detail: str = "",
    ) -> None:
        """Set what `source` has against the stream; SOUND withdraws it."""
        ...

    def alert(self, cause: str, detail: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Tell subscribers something that does not change the trust."""
        ...

    def open_gap(
        self,
        first: int,
        last: int,
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
        *,
        is_countable: bool = True,
    ) -> GapRecord:
        """Enter a hole in the ledger and tell it."""
        ...

    def close_gap(
        self,
        gap_id: int,
        state: GapState,
        now_ns: int,
        mono_ns: int,
        out: Output,
        *,
        last: int = 0,
    ) -> None:
        """Close a hole and tell it; nothing happens if it is closed already."""
        ...
