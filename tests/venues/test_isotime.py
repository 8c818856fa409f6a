"""RFC 3339 times → ns: exact, whatever was read before, and nothing else is taken."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.venues import isotime
from crossfeed.venues.isotime import iso_ns

MOMENTS = st.datetimes(datetime(2009, 1, 1), datetime(2261, 12, 31, 23, 59, 59))  # noqa: DTZ001
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin each test without a remembered moment."""
    monkeypatch.setattr(isotime, "_second", (isotime._NEVER, 0))
    monkeypatch.setattr(isotime, "_minute", (isotime._NEVER, 0))


def text_of(moment: datetime, ns: int, digits: int) -> tuple[str, int]:
    """Write a moment with some fraction digits; return the text and the exact ns."""
    seconds = int((moment.replace(microsecond=0, tzinfo=UTC) - EPOCH) / timedelta(seconds=1))
    fraction = f"{ns:09}"[:digits]
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if digits else "") + "Z"
    return text, seconds * 10**9 + int(fraction.ljust(9, "0"))


STEPS = st.lists(
    st.tuples(st.integers(-90, 90), st.integers(0, 10**9 - 1), st.integers(0, 9)), min_size=1
)


@given(start=MOMENTS, steps=STEPS)
def test_moments_near_each_other(start: datetime, steps: list[tuple[int, int, int]]) -> None:
    """Whatever second or minute is remembered, each text is read exactly."""
    for seconds, ns, digits in steps:
        moment = min(max(start + timedelta(seconds=seconds), datetime(2009, 1, 1)), start.max)  # noqa: DTZ001
        text, exact = text_of(moment, ns, digits)
        expected = exact if moment.year <= 2261 else 0
        assert iso_ns(text) == expected
        assert iso_ns(text) == expected


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-03-01T12:00:00.000000000Z", 1772366400 * 10**9),
        ("2026-03-01T12:00:00.5Z", 1772366400 * 10**9 + 500_000_000),
        ("2026-03-01T12:00:00Z", 1772366400 * 10**9),
        ("2026-03-01 12:00:00.123456789+00:00", 1772366400 * 10**9 + 123_456_789),
        ("2026-03-01t12:00:00.1z", 1772366400 * 10**9 + 100_000_000),
        ("2016-12-31T23:59:60.5Z", 1483228799 * 10**9 + 500_000_000),
        ("0001-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000Z", 0),
        ("2262-01-01T00:00:00Z", 0),
    ],
)
def test_known_texts(text: str, ns: int) -> None:
    """Other spellings, a leap second, and times that stand for none."""
    assert iso_ns(text) == ns
    assert iso_ns("2026-03-01T12:00:00.25Z") == 1772366400 * 10**9 + 250_000_000
    assert iso_ns(text) == ns


GOOD = "2026-03-01T12:00:00.123456Z"
ODD = (
    "", "Z", ".Z", "2026", "2026-03-01", "2026-03-01T12:00:00", "2026-03-01T12:00:00.Z",
    "2026-03-01T12:00:00.1234567890Z", "2026-03-01T12:00:00.12_3Z", "2026-03-01T12:00:00. 12Z",
    "2026-03-01T12:00:00.+12Z", "2026-03-01T12:00:00.\u0661\u0662Z", "2026-13-01T12:00:00.5Z",
    "2026-03-01T12:00:\u0660\u0660.5Z", "2026-03-01T12:00:0x.5Z", "2026-03-01T12:00:00.5",
    "2026-03-01T12:00:00.5+01:00", "2026-03-01T12:00:00.5ZZ", " 2026-03-01T12:00:00.5Z",
    "2026-02-30T12:00:00.5Z", "2026-03-01T25:00:00.5Z", " " * 32, "9" * 10_000,
)  # fmt: skip


@pytest.mark.fault("D03", "D04", "K03")
@pytest.mark.parametrize("text", ODD)
def test_odd_texts(text: str) -> None:
    """What is no UTC time of the form is refused, before and after a good one."""
    with pytest.raises(ValueError, match=r"time|month|day|hour|range"):
        iso_ns(text)
    iso_ns(GOOD)
    iso_ns(GOOD)
    with pytest.raises(ValueError, match=r"time|month|day|hour|range"):
        iso_ns(text)
    assert iso_ns(GOOD) == 1772366400 * 10**9 + 123_456_000


@given(text=st.text(max_size=40))
def test_any_text(text: str) -> None:
    """Any text is a time or a ValueError, nothing else."""
    try:
        assert iso_ns(text) >= 0
    except ValueError:
        assert text != GOOD
