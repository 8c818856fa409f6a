"""What a venue has said of its markets: closed or open, and where a crossed book is no mistake."""

from __future__ import annotations

from msgspec import Struct

from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.instrument import Instrument, InstrumentStatus
from crossfeed.model.output import Output
from crossfeed.model.trust import Trust

__all__ = ["MarketState", "MarketStates"]


class MarketState(Struct, frozen=True):
    """Why a market is not open."""

    trust: Trust
    cause: str


class MarketStates:
    """Remembers the states of one venue's markets, for streams and lines that come later.

    The empty symbol stands for the venue as a whole. Owned by a `StreamSet`.
    """

    def __init__(self) -> None:
        """Start with everything open."""
        self._closed: dict[str, MarketState] = {}
        self._crossable: set[str] = set()

    def note(self, symbol: str, trust: Trust, cause: str) -> None:
        """The venue said how the market of `symbol` stands; SOUND: it is open."""
        if trust is Trust.SOUND:
            self._closed.pop(symbol, None)
        else:
            self._closed[symbol] = MarketState(trust, cause)

    def forget_products(self) -> None:
        """Nobody tells of single markets any more: what was said of them gets old."""
        self._closed = {name: state for name, state in self._closed.items() if not name}

    def is_closed(self, symbol: str) -> bool:
        """Say whether the venue closed this very market."""
        return symbol in self._closed

    def against(self, symbol: str) -> MarketState | None:
        """Return the worst that is said of `symbol` and of the venue as a whole."""
        said = [state for name in ("", symbol) if (state := self._closed.get(name)) is not None]
        return max(said, key=_severity, default=None)

    def tell(self, stream: StreamTrust, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Bring a stream's trust in line with what is said of its market; `cause` if it is open."""
        symbol = stream.stream.symbol
        state = self.against(symbol) if symbol else None
        trust, cause = (Trust.SOUND, cause) if state is None else (state.trust, state.cause)
        stream.report("market", trust, cause, now_ns, mono_ns, out)

    def learn(self, instrument: Instrument | None) -> None:
        """Take what the venue's instrument list says, until its status channel says more.

        Restricted orders (post-only, auction) explain a crossed book. That a market is closed is
        not taken from the list: it may be hours old, and nobody would tell that it opened.
        """
        if instrument is not None and instrument.status is InstrumentStatus.LIMITED:
            self.allow_crossing(instrument.symbol, is_allowed=True)

    def allow_crossing(self, symbol: str, *, is_allowed: bool) -> None:
        """The venue's status explains a crossed book of `symbol`, or does no longer."""
        change = self._crossable.add if is_allowed else self._crossable.discard
        change(symbol)

    def may_cross(self, symbol: str) -> bool:
        """Say whether a crossed book of `symbol` is no mistake now."""
        return not self._crossable.isdisjoint({"", symbol})


def _severity(state: MarketState) -> Trust:
    return state.trust
