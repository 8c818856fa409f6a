"""Book audits: every book is compared with a REST image from time to time.

Within the venue's budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from crossfeed.books.audit import AuditReport
from crossfeed.model.output import Output
from crossfeed.model.trust import Integrity

if TYPE_CHECKING:
    from crossfeed.runtime.session import Session

__all__ = ["Auditor", "BookAudit"]

NS_PER_S: Final = 1_000_000_000


class BookAudit(Struct, frozen=True):
    """The newest audit of one book.

    Attributes:
        symbol: The venue's symbol.
        report: What the comparison found, None before the first.
        is_exact: True where book and image stand at the same number: then any difference is an
            error (and the book is rebuilt). False where they cannot be aligned: then the score is
            judged by its course.
    """

    symbol: str
    report: AuditReport | None
    is_exact: bool


class Auditor:
    """Audits one book of a session at a time, in turn. Owned by the session; costs nothing between.

    Args:
        session: The session.
        interval_s: Distance of two audits of one book; 0 audits nothing.
    """

    def __init__(self, session: Session, interval_s: float) -> None:
        """Wait for the first interval."""
        self._session = session
        self._interval_ns = int(interval_s * NS_PER_S)
        self._due_ns = 0
        self._turn = 0

    def on_timer(self, mono_ns: int) -> None:
        """Start the audit that is due, if one is."""
        flows = self._session.streams.book_flows()
        if not self._interval_ns or not flows:
            return
        if not self._due_ns:
            self._due_ns = mono_ns + self._interval_ns // len(flows)
        if mono_ns < self._due_ns:
            return
        self._due_ns = mono_ns + self._interval_ns // len(flows)
        self._turn = (self._turn + 1) % len(flows)
        self.audit(flows[self._turn].want.symbol, mono_ns)

    def audit(self, symbol: str, mono_ns: int) -> None:
        """Start one audit; its result shows in `results` when the image has come."""
        session = self._session
        flow = session.streams.book_flow(symbol)
        if flow is None or flow.trust.integrity is Integrity.CHECKSUMMED:
            return  # a checksummed book is audited by the venue itself, with every message
        if session.tap is not None:
            session.tap.step("", "audit", 0, mono_ns, symbol=symbol)
        out = Output()
        for sync in flow.syncs():
            if sync.begin_audit(mono_ns, out):
                session.deliver(out)
                return
        carrier = next((c for c in session.connections if flow.want in c.wants), None)
        request = None if carrier is None else carrier.core.codec.poll_request(flow.want)
        if carrier is not None and request is not None:
            session.rest.audit(carrier.core, request, flow)

    def results(self) -> Iterator[BookAudit]:
        """Yield the newest audit of each book."""
        for flow in self._session.streams.book_flows():
            reports = (sync.stats().last_audit for sync in flow.syncs())
            report = next((found for found in reports if found is not None), None)
            yield BookAudit(flow.want.symbol, report, flow.chains_on_images)
