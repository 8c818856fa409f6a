"""Numbers stay exact, whatever the program around us set."""

from decimal import Decimal, localcontext

import pytest

from crossfeed.model.numbers import SCALE_MAX, decimals_of, exact_units, to_units


def test_the_programs_decimal_context_rounds_nothing():
    """A user who computes with six digits still gets books with all of them."""
    with localcontext() as context:
        context.prec = 6
        assert to_units("12345678.90", 2) == 1_234_567_890
        assert to_units(Decimal("22517998136852.48"), 8) == 2_251_799_813_685_248_000_000
        assert exact_units(123_456_789, 2) == Decimal("1234567.89")
        assert decimals_of("0.12345678") == 8


def test_forty_characters_are_exact_or_refused():
    """More digits than a decimal context keeps (28) are neither rounded nor cut."""
    text = "123456789012345678901234567890.1234567"
    assert to_units(text, 7) == 1_234_567_890_123_456_789_012_345_678_901_234_567
    with pytest.raises(ValueError, match="more than 6 decimals"):
        to_units(text, 6)


@pytest.mark.fault("D03")
@pytest.mark.parametrize("text", ["1e-19", "0.0000000000000000001", "1e-999"])
def test_an_increment_finer_than_any_scale_is_refused(text):
    with pytest.raises(ValueError, match=f"more than {SCALE_MAX} decimals"):
        decimals_of(text)


@pytest.mark.parametrize(("value", "scale"), [(1e-19, 8), (1e-15, 8), (4e-7, 6), (5e-324, 18)])
def test_what_is_finer_than_the_scale_is_not_nothing(value, scale):
    """A float near a whole count of units is that count only if it leads back to the same float."""
    with pytest.raises(ValueError, match="decimals"):
        to_units(value, scale)
