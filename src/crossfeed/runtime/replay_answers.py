"""Recorded REST answers: read as far as history can need them, and found again by a request.

Nobody reads a whole journal for them. What clients can ask when they begin is read first: what was
answered from where books begin to the wanted moment, and a window beyond it. From then on history
brings the answers it passes. A client asks before the recorder was answered: what is not known is
looked for a window ahead of the clients, and what lies a window behind all of them is dropped.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from crossfeed.model.commands import RestRequest

__all__ = ["BEGINNING", "Answer", "Answers"]

ANSWERS_BYTES_MAX: Final = 512 << 20
"""Of one feed."""
BEGINNING: Final = -1
"""Place of the answers that every client needs when it begins."""


class Answer(Struct, frozen=True, eq=False):
    """A recorded answer to a REST request.

    Attributes:
        query: The request's parameters.
        status: HTTP status.
        body: As received.
        purpose: As in `RestRequest`.
        place: Records before it, counted from where books begin; `BEGINNING`.
    """

    query: dict[str, str]
    status: int
    body: bytes
    purpose: str
    place: int


class Answers:
    """One feed's answers around the moment at which history begins.

    Attributes:
        left_out: Recorded REST answers that were met and had to go: beyond what is kept in memory.
    """

    def __init__(self, start_ns: int) -> None:
        """Start empty, for history that begins at `start_ns` (wall time)."""
        self.left_out = 0
        self._start_ns = start_ns
        self._by_path: dict[str, list[Answer]] = {}
        self._bytes = 0
        self._late: deque[tuple[str, Answer]] = deque()

    def keep(self, request: RestRequest, at_ns: int, status: int, body: bytes) -> None:
        """Remember an answer of the beginning: the last one before the moment, else the first."""
        known = self._known(request)
        if known is not None and at_ns > self._start_ns:
            return
        if self._bytes + len(body) > ANSWERS_BYTES_MAX:
            self.left_out += 1
            return
        self._put(request, status, body, BEGINNING, known)

    def keep_late(
        self, request: RestRequest, at_ns: int, status: int, body: bytes, place: int
    ) -> None:
        """Remember an answer that history gets to: the first one after the moment.

        One of the beginning stands. Where not all fit, those read longest ago go.
        """
        known = self._known(request)
        if at_ns <= self._start_ns or (known is not None and known.place <= place):
            return
        while self._late and self._bytes + len(body) > ANSWERS_BYTES_MAX:
            self.left_out += self._drop_first()
        if self._bytes + len(body) > ANSWERS_BYTES_MAX:
            self.left_out += 1
            return
        # Making room may have dropped it.
        self._late.append((request.path, self._put(request, status, body, place, known)))

    def forget_passed(self, place: int) -> None:
        """Drop what history came to before `place`: whoever needs it again reads it again."""
        while self._late and self._late[0][1].place < place:
            self._drop_first()

    def all_for(self, path: str) -> list[Answer]:
        """Return the answers to requests of a path, also where another base comes before it."""
        known = (each for each in self._by_path if path.endswith(each))
        found = path if path in self._by_path else next(known, "")
        return self._by_path.get(found, [])

    def has(self, path: str, query: dict[str, str]) -> bool:
        """Say whether this very request was answered, as far as is known."""
        return any(answer.query == query for answer in self._by_path.get(path, []))

    def instruments(self) -> Answer | None:
        """Return the venue's list of instruments if it is among the answers."""
        kept = (answer for listed in self._by_path.values() for answer in listed)
        return next((answer for answer in kept if answer.purpose == "instruments"), None)

    def _known(self, request: RestRequest) -> Answer | None:
        query = dict(request.query)
        kept = self._by_path.get(request.path, [])
        return next((answer for answer in kept if answer.query == query), None)

    def _put(
        self, request: RestRequest, status: int, body: bytes, place: int, known: Answer | None
    ) -> Answer:
        """Keep an answer in place of the one known to the same request."""
        if known is not None:
            self._remove(request.path, known)
        answer = Answer(dict(request.query), status, body, request.purpose, place)
        self._by_path.setdefault(request.path, []).append(answer)
        self._bytes += len(body)
        return answer

    def _drop_first(self) -> int:
        """Drop the late answer read longest ago; return 1, 0 if it had been replaced."""
        return self._remove(*self._late.popleft())

    def _remove(self, path: str, answer: Answer) -> int:
        kept = self._by_path.get(path, [])
        if answer not in kept:
            return 0
        kept.remove(answer)
        if not kept:
            del self._by_path[path]  # or requests of a longer path would find nothing here
        self._bytes -= len(answer.body)
        return 1
