"""What happens when, in simulated time: a heap of due times, without a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

__all__ = ["Scheduler", "Task"]

#: A task is called with its own due time and returns when it wants to be called next, or None.
Task = Callable[[int], "int | None"]


class Scheduler:
    """Runs tasks in order of their due time; ties by rank, then in order of their scheduling.

    The result does not depend on how finely time is advanced: a task sees its own due time, not
    the time `run` was called with. So one step of a second equals a thousand steps of 1 ms.
    """

    __slots__ = ("_heap", "_order", "now_ns", "skipped_ns")

    def __init__(self, start_ns: int) -> None:
        """Start at `start_ns` (ns since 1970 UTC)."""
        self._heap: list[tuple[int, int, int, Task]] = []
        self._order = count()
        self.now_ns = start_ns
        #: Time that was jumped over because the process was stopped or overloaded, ns.
        self.skipped_ns = 0

    def at(self, due_ns: int, task: Task, *, rank: int = 1) -> None:
        """Call `task` once `due_ns` is reached; at equal times a lower rank comes first.

        Markets have rank 0: what is pushed at an instant includes what happened at that instant.
        """
        heappush(self._heap, (due_ns, rank, next(self._order), task))

    def after(self, delay_ns: int, task: Task) -> None:
        """Call `task` in `delay_ns` from the present simulated time."""
        self.at(self.now_ns + delay_ns, task)

    def next_due_ns(self) -> int | None:
        """Return when the next task is due, None if nothing is scheduled."""
        return self._heap[0][0] if self._heap else None

    def run(self, now_ns: int) -> None:
        """Run everything due up to and including `now_ns`, then stand at `now_ns`."""
        heap = self._heap
        order = self._order
        while heap and heap[0][0] <= now_ns:
            due_ns, rank, _, task = heappop(heap)
            self.now_ns = max(self.now_ns, due_ns)
            again_ns = task(self.now_ns)
            if again_ns is not None:
                heappush(heap, (again_ns, rank, next(order), task))
        self.now_ns = max(self.now_ns, now_ns)

    def jump(self, now_ns: int) -> None:
        """Move all due times forward so that what was due long ago is due at `now_ns`.

        For the live shell after the process was stopped or could not keep up: the missed time is
        skipped rather than made up for in one burst. Relative order and distances are kept.
        """
        if not self._heap:
            return
        shift_ns = now_ns - self._heap[0][0]
        if shift_ns <= 0:
            return
        self._heap = [
            (due_ns + shift_ns, rank, order, task) for due_ns, rank, order, task in self._heap
        ]
        self.skipped_ns += shift_ns
