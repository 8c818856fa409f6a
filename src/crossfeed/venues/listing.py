"""Requests at venues that answer with the list of all subscriptions and know no request ids."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from crossfeed.model.commands import Want

__all__ = ["ListChange", "Refusal", "SubscriptionList", "is_passing", "named_wants"]

REQUESTS_MAX: Final = 4096
"""Unanswered requests remembered on one connection; the oldest is forgotten beyond."""

_PASSING: Final = ("rate limit", "too many requests", "errslow")
_WORD: Final = re.compile(r"[A-Za-z0-9_.]+(?:-[A-Za-z0-9_.]+)*")


class ListChange(Struct, frozen=True):
    """What one list frame tells.

    Attributes:
        added: Wants it confirms.
        removed: Wants whose removal it confirms.
        lost: Wants confirmed before that are gone without our asking.
    """

    added: tuple[Want, ...]
    removed: tuple[Want, ...]
    lost: tuple[Want, ...]


class Refusal(Struct, frozen=True):
    """What one error frame refuses.

    Attributes:
        refused: Wants the venue does not take.
        again: The other wants of the same request: the venue threw the whole request away.
        is_removal: The request was an unsubscribe.
    """

    refused: tuple[Want, ...]
    again: tuple[Want, ...]
    is_removal: bool


class _Request:
    """One request under way: the wants of it that are not settled yet."""

    __slots__ = ("is_removal", "wants")

    def __init__(self, wants: Iterable[Want], *, is_removal: bool) -> None:
        self.wants = list(dict.fromkeys(wants))
        self.is_removal = is_removal


class SubscriptionList:
    """Settles requests by the venue's full lists and error frames, which name no request.

    Every request is answered by one list (or by an error followed by a list), in the order of
    asking. So each list is compared with the first unsettled request of every want, and an error is
    laid to the oldest request that holds what it names. One per connection; `reset` when it is
    opened anew.
    """

    def __init__(self) -> None:
        """Start with nothing asked."""
        self._requests: deque[_Request] = deque(maxlen=REQUESTS_MAX)
        self._confirmed: set[Want] = set()

    def reset(self) -> None:
        """Forget all requests and confirmations: the connection is new."""
        self._requests.clear()
        self._confirmed.clear()

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still due."""
        return bool(self._requests)

    def ask(self, wants: Iterable[Want], *, is_removal: bool = False) -> None:
        """Note one request that is about to be sent."""
        request = _Request(wants, is_removal=is_removal)
        if request.wants:
            self._requests.append(request)

    def take_list(self, is_listed: Callable[[Want], bool]) -> ListChange:
        """Settle what a list settles. Cost O(wants waiting and confirmed).

        Args:
            is_listed: Says whether the frame lists a want.
        """
        added: list[Want] = []
        removed: list[Want] = []
        judged: set[Want] = set()
        for request in self._requests:
            open_wants: list[Want] = []
            for want in request.wants:
                if want in judged or is_listed(want) is request.is_removal:
                    open_wants.append(want)
                else:
                    (removed if request.is_removal else added).append(want)
                judged.add(want)
            request.wants = open_wants
        while self._requests and not self._requests[0].wants:
            self._requests.popleft()
        self._confirmed.difference_update(removed)
        lost = [want for want in self._confirmed if want not in judged and not is_listed(want)]
        self._confirmed.difference_update(lost)
        self._confirmed.update(added)
        return ListChange(tuple(added), tuple(removed), tuple(sorted(lost, key=str)))

    def take_error(self, reason: str) -> Refusal | None:
        """Take the request that an error refuses out of the waiting ones.

        Returns:
            What is refused: the wants the reason names, or else the whole of the oldest request.
            None if no request is waiting.
        """
        for request in self._requests:
            named = named_wants(request.wants, reason)
            if named:
                break
        else:
            if not self._requests:
                return None
            request = self._requests[0]
            named = request.wants
        self._requests.remove(request)
        again = tuple(want for want in request.wants if want not in named)
        return Refusal(tuple(named), again, request.is_removal)


def named_wants(wants: Sequence[Want], reason: str) -> list[Want]:
    """Return the wants whose symbol or channel stands in a venue's sentence.

    A named symbol decides; among its wants those whose channel is named too, if any is.
    """
    words = set(_WORD.findall(reason))
    words |= {word.rstrip(".") for word in words}
    by_symbol = [want for want in wants if want.symbol in words]
    by_channel = [want for want in by_symbol or wants if want.channel in words]
    return by_channel or by_symbol


def is_passing(reason: str) -> bool:
    """Say whether a venue's sentence tells of haste, theirs or ours, and judges no want.

    Coinbase: "rate limit exceeded", "ErrSlowConsume", "ErrSlowRead". What was asked stays open: it
    is asked again when its deadline passes.
    """
    text = reason.lower()
    return any(word in text for word in _PASSING)
