"""Kraken's requests and which wants their answers settle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from crossfeed.model.commands import Want
from crossfeed.venues.kraken.wire import Reply

__all__ = ["PENDING_MAX", "Requests", "ordered"]

PENDING_MAX: Final = 4096
"""Requests awaiting answers; the oldest are forgotten beyond (their wants are asked again)."""


class Requests:
    """Numbers the requests of one connection and keeps the wants that await their answers.

    One subscribe request is answered once for each of its symbols.
    """

    def __init__(self) -> None:
        """Start with nothing asked."""
        self._req_id = 0
        self._pending: dict[int, tuple[set[Want], bool]] = {}

    def clear(self) -> None:
        """Forget all requests: their answers will not come. Numbers go on."""
        self._pending.clear()

    def frame(
        self, method: str, params: dict[str, Any] | None, wants: Iterable[Want], *, is_removal: bool
    ) -> bytes:
        """Return a numbered request whose answers settle `wants`."""
        self._req_id += 1
        self._pending[self._req_id] = (set(wants), is_removal)
        if len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        message: dict[str, Any] = {"method": method}
        if params is not None:
            message["params"] = params
        return msgspec.json.encode(message | {"req_id": self._req_id})

    def take(self, req_id: int) -> tuple[tuple[Want, ...], bool]:
        """Return all wants of a request, and whether it removes them; the request is over."""
        wants, is_removal = self._pending.pop(req_id, (set[Want](), False))
        return ordered(wants), is_removal

    def settle(self, reply: Reply, *, is_removal: bool) -> tuple[Want, ...]:
        """Return the wants that a reply concerns; they await no other answer."""
        symbol = reply.symbol or (reply.result.symbol if reply.result is not None else "")
        if reply.req_id not in self._pending:
            return self._settle_described(reply, symbol, is_removal=is_removal)
        wants, _ = self._pending[reply.req_id]
        found = {want for want in wants if want.symbol == symbol}
        if not found and not symbol:
            # An error may name its symbol in its text; else it concerns the whole request.
            named = set(reply.error.split())
            found = {want for want in wants if want.symbol in named} or set(wants)
        self._drop(reply.req_id, found)
        return ordered(found)

    def _settle_described(self, reply: Reply, symbol: str, *, is_removal: bool) -> tuple[Want, ...]:
        """Settle by what the reply says was subscribed, where it does not carry our number."""
        result = reply.result
        if result is None:
            return ()
        number = result.depth or result.interval
        name = f"{result.channel}:{number}" if number else result.channel
        for req_id, (wants, removes) in self._pending.items():
            found = {
                want
                for want in wants
                if want.symbol == symbol and (want.channel == name or _is_ticker(want, name))
            }
            if found and removes is is_removal:
                self._drop(req_id, found)
                return ordered(found)
        return ()

    def _drop(self, req_id: int, settled: set[Want]) -> None:
        wants, _ = self._pending[req_id]
        wants -= settled
        if not wants:
            del self._pending[req_id]


def ordered(wants: Iterable[Want]) -> tuple[Want, ...]:
    """Return wants in a stable order."""
    return tuple(sorted(wants, key=lambda want: (want.symbol, want.channel)))


def _is_ticker(want: Want, name: str) -> bool:
    return name == "ticker" and want.channel.startswith("ticker")
