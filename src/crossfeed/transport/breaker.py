"""Circuit breaker: stop asking what keeps failing, try again after a while.

```
            failures_max in a row                 cooldown over
  CLOSED ───────────────────────► OPEN ───────────────────────────► HALF_OPEN
    ▲                              ▲   ◄─ trial fails or times out ──┤  (one trial at a time)
    └──────────────────────────────┼────────── trial succeeds ───────┘
  any ── force_open(until) ──► FORCED_OPEN ── until is over ──► HALF_OPEN
```
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, cast

from crossfeed.errors import CircuitOpenError, ConfigError
from crossfeed.model.ports import Clock
from crossfeed.transport.defaults import default_clock

__all__ = ["Breaker", "BreakerState", "CircuitBreaker"]

NS_PER_S: Final = 1_000_000_000

_P = ParamSpec("_P")
_R = TypeVar("_R")


class BreakerState(StrEnum):
    """What a breaker does with the next attempt."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"


class Breaker:
    """The rule: a state machine over monotonic ns. Every admitted attempt must be reported on once.

    The cool-down doubles with each failed trial up to its maximum and starts anew after a success.
    A trial that reports nothing within its timeout counts as failed, so a lost report cannot keep
    it half open.
    """

    __slots__ = (
        "_cooldown_max_ns",
        "_cooldown_min_ns",
        "_cooldown_ns",
        "_failures_max",
        "_retry_at_ns",
        "_state",
        "_trial_timeout_ns",
        "_trial_until_ns",
        "failures",
        "opened_count",
    )

    def __init__(
        self,
        *,
        failures_max: int = 5,
        cooldown_s: float = 5.0,
        cooldown_max_s: float = 60.0,
        trial_timeout_s: float = 30.0,
    ) -> None:
        """Open after `failures_max` (>= 1) failures in a row; all times in seconds, positive.

        Raises:
            ConfigError: a number out of range, named.
        """
        if failures_max < 1:
            raise ConfigError(f"must be at least 1, is {failures_max}", field="failures_max")
        for field, value in (
            ("cooldown_s", cooldown_s),
            ("cooldown_max_s", cooldown_max_s),
            ("trial_timeout_s", trial_timeout_s),
        ):
            if not value > 0:
                raise ConfigError(f"must be positive, is {value}", field=field)
        self._failures_max = failures_max
        self._cooldown_min_ns = round(cooldown_s * NS_PER_S)
        self._cooldown_max_ns = max(self._cooldown_min_ns, round(cooldown_max_s * NS_PER_S))
        self._trial_timeout_ns = round(trial_timeout_s * NS_PER_S)
        self._cooldown_ns = self._cooldown_min_ns
        self._state = BreakerState.CLOSED
        self._retry_at_ns = 0
        self._trial_until_ns: int | None = None
        self.failures = 0
        self.opened_count = 0

    def state(self, now_ns: int) -> BreakerState:
        """Return the state at `now_ns`: an open breaker whose time is over is half open."""
        self._settle(now_ns)
        return self._state

    def retry_at_ns(self, now_ns: int) -> int:
        """Return when an attempt may be made: `now_ns` if one may be made now."""
        self._settle(now_ns)
        if self._state in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
            return self._retry_at_ns
        if self._state is BreakerState.HALF_OPEN and self._trial_until_ns is not None:
            return self._trial_until_ns
        return now_ns

    def admit(self, now_ns: int) -> int:
        """Ask to make an attempt.

        Returns:
            0 if it may be made now (in HALF_OPEN it is the trial), else the time to ask again.
        """
        retry_at_ns = self.retry_at_ns(now_ns)
        if retry_at_ns > now_ns:
            return retry_at_ns
        if self._state is BreakerState.HALF_OPEN:
            self._trial_until_ns = now_ns + self._trial_timeout_ns
        return 0

    def on_success(self, now_ns: int, *, is_lasting: bool = True) -> None:
        """Report that an admitted attempt succeeded; late news from before opening is ignored.

        Args:
            now_ns: Monotonic time.
            is_lasting: Whether this proves health. Otherwise the breaker closes but the next
                cool-down keeps the length it had reached, so that a peer that accepts and fails
                again gains nothing.
        """
        self._settle(now_ns)
        if self._state in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
            return
        self._state = BreakerState.CLOSED
        self._trial_until_ns = None
        self.failures = 0
        if is_lasting:
            self._cooldown_ns = self._cooldown_min_ns

    def on_failure(self, now_ns: int) -> None:
        """Report that an admitted attempt failed."""
        self._settle(now_ns)
        self.failures += 1
        is_trial = self._state is BreakerState.HALF_OPEN
        is_last_straw = self.failures >= self._failures_max
        if is_trial or (self._state is BreakerState.CLOSED and is_last_straw):
            self._open(now_ns)

    def on_abandoned(self, now_ns: int) -> None:
        """Report that an admitted attempt was cancelled: its trial place is free again."""
        self._settle(now_ns)
        self._trial_until_ns = None

    def force_open(self, until_ns: int) -> None:
        """Refuse everything until `until_ns` (a ban); an earlier end never shortens a later one."""
        if self._state is not BreakerState.FORCED_OPEN:
            self.opened_count += 1
            self._retry_at_ns = until_ns
        self._state = BreakerState.FORCED_OPEN
        self._retry_at_ns = max(self._retry_at_ns, until_ns)
        self._trial_until_ns = None

    def hold(self, now_ns: int, wait_ns: int) -> None:
        """Open for exactly `wait_ns` (a permanent refusal that is probed rarely)."""
        self._open(now_ns)
        self._retry_at_ns = now_ns + wait_ns

    def _open(self, now_ns: int) -> None:
        self._state = BreakerState.OPEN
        self._retry_at_ns = now_ns + self._cooldown_ns
        self._cooldown_ns = min(self._cooldown_ns * 2, self._cooldown_max_ns)
        self._trial_until_ns = None
        self.opened_count += 1

    def _settle(self, now_ns: int) -> None:
        """Let the passing of time change the state."""
        if self._state in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
            if now_ns >= self._retry_at_ns:
                self._state = BreakerState.HALF_OPEN
        elif self._trial_until_ns is not None and now_ns >= self._trial_until_ns:
            self.failures += 1
            self._open(self._trial_until_ns)
            self._settle(now_ns)


# Time of admission of the `with` blocks this task or thread is in, innermost last.
_entered: ContextVar[tuple[int, ...]] = ContextVar("crossfeed_breaker_entered", default=())


class CircuitBreaker:
    """Guard calls with a breaker: as decorator, as `with` / `async with` block, or by `call`.

    ```python
    breaker = CircuitBreaker(failure_threshold=5, recovery_timeout=30.0, name="orders")


    @breaker
    async def place(order): ...


    with breaker:
        fetch()
    ```
    While open, calls raise `CircuitOpenError` at once and the guarded code does not run. Exceptions
    of the types in `failures` count as failures; others (and cancellation) count as neither.
    Belongs to one thread.
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        recovery_timeout: float = 30.0,
        *,
        name: str = "circuit",
        failures: tuple[type[BaseException], ...] = (Exception,),
        recovery_timeout_max: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Open after `failure_threshold` failures in a row, retry after `recovery_timeout` s.

        Args:
            failure_threshold: Failures in a row that open it, at least 1.
            recovery_timeout: Seconds until the first trial; doubles with each failed trial.
            name: Who is guarded; stands in the error.
            failures: Exception types that count as failure.
            recovery_timeout_max: Longest time between trials, seconds; `recovery_timeout` by
                default.
            clock: Source of time; the system's by default.
        """
        self.name = name
        self._failures = failures
        self._clock = clock if clock is not None else default_clock()
        self._rule = Breaker(
            failures_max=failure_threshold,
            cooldown_s=recovery_timeout,
            cooldown_max_s=recovery_timeout_max or recovery_timeout,
            trial_timeout_s=max(recovery_timeout, 1.0),
        )

    @property
    def state(self) -> BreakerState:
        """The state now."""
        return self._rule.state(self._clock.monotonic_ns())

    @property
    def failure_count(self) -> int:
        """Failures in a row so far."""
        return self._rule.failures

    def force_open(self, seconds: float) -> None:
        """Refuse everything for `seconds`."""
        self._rule.force_open(self._clock.monotonic_ns() + round(seconds * NS_PER_S))

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name}: {self.state}, {self.failure_count} failures>"

    # ── guarding ──────────────────────────────────────────────────────────────

    def __enter__(self) -> Self:
        """Ask to run the block.

        Raises:
            CircuitOpenError: the breaker is open; the block does not run.
        """
        now_ns = self._clock.monotonic_ns()
        retry_at_ns = self._rule.admit(now_ns)
        if retry_at_ns:
            raise CircuitOpenError(self.name, retry_at_ns=retry_at_ns)
        _entered.set((*_entered.get(), self._rule.opened_count))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Report how the block ended."""
        *outer, opened_count = _entered.get()
        _entered.set(tuple(outer))
        now_ns = self._clock.monotonic_ns()
        if opened_count != self._rule.opened_count:
            return  # Admitted before the breaker last opened: old news.
        if error is None:
            self._rule.on_success(now_ns)
        elif isinstance(error, self._failures):
            self._rule.on_failure(now_ns)
        else:
            self._rule.on_abandoned(now_ns)

    async def __aenter__(self) -> Self:
        """As `__enter__`."""
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """As `__exit__`."""
        self.__exit__(kind, error, trace)

    def call(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call `function` guarded; await the result if it is a coroutine function."""
        return self(function)(*args, **kwargs)

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Return `function`, sync or async, guarded by this breaker."""
        if inspect.iscoroutinefunction(function):
            coroutine = cast("Callable[_P, Awaitable[Any]]", function)

            @functools.wraps(function)
            async def guarded_async(*args: _P.args, **kwargs: _P.kwargs) -> object:
                with self:
                    return await coroutine(*args, **kwargs)

            return cast("Callable[_P, _R]", guarded_async)

        @functools.wraps(function)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with self:
                return function(*args, **kwargs)

        return guarded
