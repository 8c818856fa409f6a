"""Feature vectors: fixed columns, a stated policy for what is missing, rolling book features."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.analytics.features import DERIVED_NAMES, FeatureExtractor
from crossfeed.errors import ConfigError
from crossfeed.model.trust import Integrity, Trust

DOCUMENT = {"spread": 0.022, "bid_volume": 2.5, "ask_volume": 1.8, "num_exchanges": 2}
NAN, INF = float("nan"), float("inf")


def test_documents_use() -> None:
    """The document's four numbers become a float64 vector in their order."""
    features = FeatureExtractor().extract(DOCUMENT)
    model_input = features.to_numpy()
    assert model_input.dtype == np.float64
    assert model_input.shape == (4,)
    assert model_input.tolist() == [0.022, 2.5, 1.8, 2.0]
    assert features.names == ("spread", "bid_volume", "ask_volume", "num_exchanges")
    assert features.missing == ()


def test_array_is_the_callers_own() -> None:
    """Writing into one array changes nothing else."""
    features = FeatureExtractor().extract({"a": 1})
    features.to_numpy()[0] = 9.0
    assert features.to_numpy().tolist() == [1.0]


def test_reading() -> None:
    """By name, by position, as a dict."""
    features = FeatureExtractor().extract({"a": 1, "b": 2})
    assert (len(features), list(features), features["b"]) == (2, [1.0, 2.0], 2.0)
    assert features.to_dict() == {"a": 1.0, "b": 2.0}
    with pytest.raises(KeyError, match="c"):
        features["c"]


def test_columns_never_change_place() -> None:
    """The first input fixes the order; later ones may come in any."""
    extractor = FeatureExtractor()
    assert extractor.names == ()
    extractor.extract({"a": 1, "b": 2})
    later = extractor.extract({"b": 4, "a": 3})
    assert (later.names, later.values) == (("a", "b"), (3.0, 4.0))
    assert extractor.names == ("a", "b")


def test_given_columns() -> None:
    """Columns may be set beforehand."""
    assert FeatureExtractor(["b", "a"]).extract({"a": 1, "b": 2}).values == (2.0, 1.0)


def test_unknown_column_is_an_error() -> None:
    """A value without a column would be lost silently; it is refused."""
    extractor = FeatureExtractor(["a"])
    with pytest.raises(ValueError, match="no such columns: b"):
        extractor.extract({"a": 1, "b": 2})


@pytest.mark.parametrize("value", [None, NAN, INF, -INF, 10**400])
def test_missing_is_nan(value) -> None:
    """What is no finite number is missing: NaN, and listed."""
    features = FeatureExtractor().extract({"a": 1.0, "b": value})
    assert math.isnan(features.values[1])
    assert features.missing == ("b",)


def test_absent_is_missing() -> None:
    """A column without input is missing as well."""
    extractor = FeatureExtractor(["a", "b"])
    assert extractor.extract({"a": 1}).missing == ("b",)


def test_policies() -> None:
    """Zero, the last valid value, or an error may stand for what is missing."""
    zero, last = FeatureExtractor(on_invalid="zero"), FeatureExtractor(on_invalid="last")
    assert zero.extract({"a": NAN}).values == (0.0,)
    assert math.isnan(last.extract({"a": None}).values[0])
    last.extract({"a": 5})
    assert last.extract({"a": INF}).values == (5.0,)
    last.reset()
    assert math.isnan(last.extract({"a": None}).values[0])
    strict = FeatureExtractor(on_invalid="raise")
    with pytest.raises(ValueError, match="missing or not finite: a"):
        strict.extract({"a": NAN})
    assert strict.names == ()


@pytest.mark.parametrize("value", ["1.0", [1.0], {}])
def test_what_is_no_number_at_all(value) -> None:
    """Text and containers are a mistake of the caller, not a missing value."""
    with pytest.raises(ValueError, match=r"a: .* is no number"):
        FeatureExtractor().extract({"a": value})


@pytest.mark.parametrize(
    ("value", "number"), [(True, 1.0), (Decimal("0.1"), 0.1), (np.float32(0.5), 0.5), (7, 7.0)]
)
def test_kinds_of_numbers(value, number) -> None:
    """Whatever is a number counts as one."""
    assert FeatureExtractor().extract({"a": value}).values == (number,)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"names": ["a", "a"]}, "names"),
        ({"on_invalid": "drop"}, "on_invalid"),
        ({"window": 0}, "window"),
        ({"window": 2.5}, "window"),
    ],
)
def test_impossible_settings(parts, field) -> None:
    """What cannot work is refused when the extractor is made."""
    with pytest.raises(ConfigError) as caught:
        FeatureExtractor(**parts)
    assert caught.value.field == field


def quote(bid: float, ask: float, bid_size: float, ask_size: float) -> dict[str, float]:
    """Make a book ticker's numbers."""
    return {
        "best_bid": bid,
        "best_ask": ask,
        "best_bid_quantity": bid_size,
        "best_ask_quantity": ask_size,
        "spread": (ask - bid) / (bid + ask) * 200,
    }


def test_derived_features_of_one_book() -> None:
    """Mid, microprice and imbalance of the first input; no return yet."""
    extractor = FeatureExtractor(derived=True)
    features = extractor.extract(quote(99.0, 101.0, 3.0, 1.0))
    assert features["mid_price"] == 100.0
    assert features["microprice_offset_percent"] == pytest.approx(0.5)
    assert features["imbalance"] == features["imbalance_mean"] == 0.5
    assert features["spread_mean"] == pytest.approx(2.0)
    assert features.missing == ("mid_return", "mid_volatility", "order_flow_imbalance")
    assert extractor.names == features.names
    assert extractor.names[-len(DERIVED_NAMES) :] == DERIVED_NAMES


def test_derived_features_over_the_window() -> None:
    """Return, volatility, mean imbalance and order-flow imbalance follow the inputs."""
    extractor = FeatureExtractor(derived=True, window=2)
    extractor.extract(quote(99.0, 101.0, 3.0, 1.0))
    rising = extractor.extract(quote(100.0, 102.0, 2.0, 2.0))
    assert rising["mid_return"] == pytest.approx(math.log(101 / 100))
    # The bid rose: its 2 are gained; the ask rose: its 1 of before are lost to sellers.
    assert rising["order_flow_imbalance"] == pytest.approx(2.0 + 1.0)
    same = extractor.extract(quote(100.0, 102.0, 5.0, 1.0))
    assert same["order_flow_imbalance"] == pytest.approx(3.0 + (5 - 2) - (1 - 2))
    assert same["imbalance_mean"] == pytest.approx((0.0 + 4 / 6) / 2)
    falling = extractor.extract(quote(99.0, 101.0, 1.0, 4.0))
    assert falling["order_flow_imbalance"] == pytest.approx(4.0 - 5.0 - 4.0)
    steps = [0.0, math.log(100 / 101)]
    expected = math.sqrt(sum(step * step for step in steps) / 2)
    assert falling["mid_volatility"] == pytest.approx(expected)


def test_derived_features_of_the_documents_input() -> None:
    """Sizes alone give the imbalance; what needs prices is missing."""
    features = FeatureExtractor(derived=True).extract(DOCUMENT)
    assert features["imbalance"] == pytest.approx(0.7 / 4.3)
    assert math.isnan(features["mid_price"])


def test_derived_features_without_their_input() -> None:
    """Nothing is made of prices without sizes, of no sizes, or of nothing."""
    extractor = FeatureExtractor(derived=True)
    empty = extractor.extract(quote(99.0, 101.0, 0.0, 0.0))
    assert "imbalance" in empty.missing
    assert "microprice_offset_percent" in empty.missing
    priced = FeatureExtractor(derived=True).extract({"best_bid": 99.0, "best_ask": 101.0})
    assert priced["mid_price"] == 100.0
    assert "mid_return" in priced.missing
    negative = FeatureExtractor(derived=True).extract({"best_bid": -1.0, "best_ask": 101.0})
    assert "mid_price" in negative.missing


def test_derived_names_are_taken() -> None:
    """A column cannot have the name of a derived one; without derived ones it can."""
    with pytest.raises(ValueError, match="names of derived features: imbalance"):
        FeatureExtractor(derived=True).extract({"imbalance": 1.0})
    assert FeatureExtractor().extract({"imbalance": 1.0}).values == (1.0,)


def test_strict_extraction_of_whole_input() -> None:
    """Under the policy "raise" a whole input passes."""
    assert FeatureExtractor(on_invalid="raise").extract({"a": 1.0}).values == (1.0,)


@pytest.mark.parametrize("price", [1e300, 1e-300, 5e-324])
def test_derived_features_never_overflow(price) -> None:
    """Numbers no market can have are no input for what is derived; the columns keep them."""
    extractor = FeatureExtractor(derived=True)
    for row in (quote(1.0, 2.0, 3.0, 4.0), quote(1.0, price, 1e300, 1e300)):
        features = extractor.extract(row)
    assert features["best_ask"] == price
    assert "mid_price" in features.missing
    assert "imbalance" in features.missing


def test_reset_forgets_the_window() -> None:
    """After a break the next input is a first one."""
    extractor = FeatureExtractor(derived=True)
    extractor.extract(quote(99.0, 101.0, 3.0, 1.0))
    extractor.reset()
    assert "mid_return" in extractor.extract(quote(99.0, 101.0, 3.0, 1.0)).missing


def test_only_proven_books(book) -> None:
    """A value nobody vouches for, or of another kind, is no input for a model."""
    extractor = FeatureExtractor()
    features = extractor.extract_book(book())
    assert features is not None
    assert features.to_dict() == {
        "best_bid": 101.0,
        "best_ask": 100.0,
        "best_bid_quantity": 2.0,
        "best_ask_quantity": 3.0,
        "spread": 0.5,
        "num_exchanges": 2.0,
    }
    assert extractor.extract_book(book(trust=Trust.STALE)) is None
    assert extractor.extract_book(book(data_type="trade")) is None
    assert extractor.extract_book(book(), min_integrity=Integrity.SEQUENCED) is None


VALUES = st.one_of(st.none(), st.floats(), st.integers(), st.booleans())


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(quote(1, 2, 3, 4), VALUES)), min_size=1))
def test_any_input_gives_a_vector(rows) -> None:
    """Whatever the numbers: same columns, never an infinity, and what is NaN is listed."""
    extractor = FeatureExtractor(derived=True, window=3)
    names = None
    for row in rows:
        features = extractor.extract(row)
        names = names or features.names
        assert features.names == names
        array = features.to_numpy()
        assert not np.isinf(array).any()
        nans = {name for name, value in features.to_dict().items() if math.isnan(value)}
        assert nans == set(features.missing)
