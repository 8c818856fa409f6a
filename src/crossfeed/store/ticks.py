"""Many prices or sizes at once → integers and the decimals they count.

The rule of `crossfeed.model.numbers`, vectorised: a float stands for its shortest decimal. An
integer is taken only where dividing it gives back the very float; what has more than 15 significant
digits is read from the venue's own text where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crossfeed.model.numbers import SCALE_MAX
from crossfeed.store.packages import package

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DIGITS_UNITS_MAX", "ExactOf", "Units", "units_of"]

DIGITS_UNITS_MAX: Final = 10**15
_DECIMALS_USUAL: Final = 8
_INT64_MAX: Final = 2**63 - 1
SCALE_LIMIT: Final = 400
"""Beyond what any float needs; bounds the work on a hostile decimal."""

ExactOf = Callable[[int, int], Decimal | None]
"""(column, row) -> the venue's own decimal, None where only the float is left."""


class Units(NamedTuple):
    """Columns of integers with their scale.

    Attributes:
        units: Shape (columns, rows).
        scale: Decimals; one number, or one for each row where no common one fits into 63 bits
            (below 0 for numbers beyond them).
        refused: Rows that no scale fits (they span more than 63 bits, or are not finite).
        long: Row -> its decimals, where they fit no scale but their floats do: `units` hold those.
    """

    units: NDArray[np.int64]
    scale: int | NDArray[np.int16]
    refused: list[int]
    long: dict[int, list[Decimal]]


def units_of(
    values: NDArray[np.float64], scale_min: int = 0, exact_of: ExactOf | None = None
) -> Units:
    """Turn floats into integers, exactly.

    Args:
        values: Shape (columns, rows); the columns of a row share one scale.
        scale_min: Decimals to start with (the instrument's).
        exact_of: Asked for values with more than 15 significant digits only.

    Returns:
        The integers at the lowest scale >= `scale_min` that holds them all; cost 30 ns a value.
    """
    np = package("numpy")
    # What no integer of 15 digits holds at any scale goes the long way from the start.
    is_plain = np.abs(values) < DIGITS_UNITS_MAX
    plain = np.where(is_plain, values, 0.0)
    scale, todo = scale_min, plain.ravel()
    few = values.size // 1000
    # A few odd values above the usual decimals do not spoil the scale of all others.
    while scale < SCALE_MAX and todo.size > (few if scale >= _DECIMALS_USUAL else 0):
        power = float(10**scale)
        scaled = np.rint(todo * power)
        wrong = (scaled / power != todo) & (np.abs(scaled) < DIGITS_UNITS_MAX)
        todo = todo[wrong]
        if todo.size:
            scale += 1
    power = float(10**scale)
    scaled = np.rint(plain * power)
    is_exact = is_plain & (scaled / power == plain) & (np.abs(scaled) < DIGITS_UNITS_MAX)
    units = np.where(is_exact, scaled, 0.0).astype(np.int64)
    rows = np.flatnonzero(~is_exact.all(axis=0))
    if not rows.size:
        return Units(units, scale, [], {})
    return _long_rows(values, units, scale, rows.tolist(), exact_of)


def _long_rows(
    values: NDArray[np.float64],
    units: NDArray[np.int64],
    scale: int,
    rows: list[int],
    exact_of: ExactOf | None,
) -> Units:
    """Finish the rows that a float of 15 digits cannot carry, one by one with decimals."""
    np = package("numpy")
    known = {row: _decimals(values, row, exact_of) for row in rows}
    needed = max((_scale(each) for each in known.values() if each), default=0)
    if scale < needed <= SCALE_MAX and _fit_all(units, 10 ** (needed - scale)):
        units, scale = units * 10 ** (needed - scale), needed
    scales: Any = None
    refused: list[int] = []
    long: dict[int, list[Decimal]] = {}
    for row, exact in known.items():
        decimals = exact
        own = _own_scale(decimals, scale)
        if exact is not None and own is None and _is_sane(exact):
            decimals = _decimals(values, row, None)
            own = _own_scale(decimals, scale)
            long[row] = exact
        if decimals is None or own is None:
            refused.append(row)
            long.pop(row, None)
            continue
        units[:, row] = [int(each.scaleb(own)) for each in decimals]
        if own != scale:
            scales = np.full(units.shape[1], scale, np.int16) if scales is None else scales
            scales[row] = own
    return Units(units, scale if scales is None else scales, refused, long)


def _decimals(
    values: NDArray[np.float64], row: int, exact_of: ExactOf | None
) -> list[Decimal] | None:
    found: list[Decimal] = []
    for column, value in enumerate(values[:, row].tolist()):
        exact = exact_of(column, row) if exact_of is not None else None
        found.append(Decimal(repr(value)) if exact is None else exact)
    return found if all(each.is_finite() for each in found) else None


def _scale(decimals: list[Decimal]) -> int:
    return max(-int(each.normalize().as_tuple().exponent) for each in decimals)


def _own_scale(decimals: list[Decimal] | None, common: int) -> int | None:
    """Return the first scale that fits: the common one, the row's own, the row's own below 0."""
    if decimals is None:
        return None
    own = _scale(decimals)
    return next((each for each in (common, max(0, own), own) if _fit(decimals, each)), None)


def _fit(decimals: list[Decimal], scale: int) -> bool:
    if abs(scale) > SCALE_LIMIT:
        return False
    scaled = [each.scaleb(scale) for each in decimals]
    return all(abs(each) <= _INT64_MAX and each == each.to_integral_value() for each in scaled)


def _is_sane(decimals: list[Decimal]) -> bool:
    """Say whether decimals are of a size that a float can have: others are nobody's price."""
    return all(abs(each.adjusted()) <= SCALE_LIMIT for each in decimals)


def _fit_all(units: NDArray[np.int64], factor: int) -> bool:
    return int(abs(units).max(initial=0)) * factor <= _INT64_MAX
