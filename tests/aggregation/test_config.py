"""The configuration: what it takes, what it refuses, and that it says where."""

import msgspec
import pytest

from crossfeed.aggregation.config import (
    AGE_LIMITS_S,
    AggregationStrategy,
    AggregatorConfig,
)
from crossfeed.errors import ConfigError, UnknownSymbolError
from crossfeed.model.trust import Integrity

MAPPED = {"BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD"}}


def made(**parts) -> AggregatorConfig:
    """Make a configuration of two venues."""
    parts.setdefault("exchanges", ["binance", "coinbase"])
    parts.setdefault("symbols", MAPPED)
    return AggregatorConfig(**parts)


def test_document_keywords() -> None:
    """The document's own example is taken as it stands."""
    config = AggregatorConfig(
        exchanges=["binance", "coinbase"],
        symbols={
            "BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD"},
            "ETH/USD": {"binance": "ETHUSDT", "coinbase": "ETH-USD"},
        },
        aggregation_strategy=AggregationStrategy.BEST_BID_ASK,
        update_interval=1.0,
        buffer_size=50,
    )
    assert config.symbol_map["ETH/USD"] == {"binance": "ETHUSDT", "coinbase": "ETH-USD"}
    assert config.aggregation_strategy is AggregationStrategy.BEST_BID_ASK


def test_document_members() -> None:
    """The strategies are those of the document, and their texts their names in lower case."""
    names = ["FIRST", "LAST", "AVERAGE", "MEDIAN", "WEIGHTED", "BEST_BID_ASK"]
    assert [member.name for member in AggregationStrategy] == names
    assert [str(member) for member in AggregationStrategy] == [name.lower() for name in names]


def test_same_from_a_file() -> None:
    """A decoded configuration equals one made in code."""
    text = (
        b'{"exchanges": ["binance", "coinbase"], "aggregation_strategy": "MEDIAN",'
        b' "symbols": {"BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD"}},'
        b' "min_integrity": "sequenced", "quote_basis": {"USDT/USD": "kraken:USDT/USD"}}'
    )
    decoded = msgspec.json.decode(text, type=AggregatorConfig)
    assert decoded == made(
        aggregation_strategy=AggregationStrategy.MEDIAN,
        min_integrity=Integrity.SEQUENCED,
        quote_basis={"USDT/USD": "kraken:USDT/USD"},
    )
    assert decoded.rate_sources == (("kraken", "USDT/USD"),)


def test_unknown_field_in_a_file_is_refused() -> None:
    """A misspelt field never passes silently."""
    with pytest.raises(msgspec.ValidationError, match="unknown field `interval`"):
        msgspec.convert({"exchanges": ["a"], "symbols": ["A/B"], "interval": 1}, AggregatorConfig)


def test_plain_list_of_symbols() -> None:
    """Unified symbols alone are enough: the venues' own are found later."""
    assert made(symbols=["BTC/USD", "ETH/USD"]).symbol_map == {"BTC/USD": {}, "ETH/USD": {}}


def test_venues_beyond_exchanges_are_left_out() -> None:
    """One mapping may serve several aggregators."""
    wide = {"BTC/USD": MAPPED["BTC/USD"] | {"kraken": "BTC/USD"}}
    assert made(symbols=wide).symbol_map == MAPPED


def test_age_limits_keep_their_defaults() -> None:
    """Only what is named changes."""
    config = made(age_limits_s={"trade": 1.5})
    assert config.age_limit_ns("trade") == 1_500_000_000
    assert config.age_limit_ns("ticker") == AGE_LIMITS_S["ticker"] * 1e9


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"exchanges": []}, "exchanges"),
        ({"exchanges": "binance"}, "exchanges"),
        ({"exchanges": ["binance", ""]}, "exchanges[1]"),
        ({"exchanges": ["binance", 3]}, "exchanges[1]"),
        ({"exchanges": ["binance", "binance"]}, "exchanges[1]"),
        ({"exchanges": ["coinbase", "coinbase_advanced"]}, "exchanges[1]"),
        ({"exchanges": ["binance", "conbase"]}, "exchanges[1]"),
        ({"exchanges": ["okx"]}, "symbols.BTC/USD"),
        ({"symbols": {}}, "symbols"),
        ({"symbols": []}, "symbols"),
        ({"symbols": "BTC/USD"}, "symbols"),
        ({"symbols": 5}, "symbols"),
        ({"symbols": ["BTC/USD", "BTCUSD"]}, "symbols[1]"),
        ({"symbols": ["BTC/USD", None]}, "symbols[1]"),
        ({"symbols": ["BTC/USD", "BTC/USD"]}, "symbols"),
        ({"symbols": {"BTCUSD": {"binance": "BTCUSDT"}}}, "symbols.BTCUSD"),
        ({"symbols": {"BTC/USD": "BTCUSDT"}}, "symbols.BTC/USD"),
        ({"symbols": {"BTC/USD": {"binance": ""}}}, "symbols.BTC/USD.binance"),
        ({"aggregation_strategy": "medain"}, "aggregation_strategy"),
        ({"aggregation_strategy": None}, "aggregation_strategy"),
        ({"update_interval": -0.1}, "update_interval"),
        ({"update_interval": float("nan")}, "update_interval"),
        ({"update_interval": float("inf")}, "update_interval"),
        ({"update_interval": 10**400}, "update_interval"),
        ({"update_interval": True}, "update_interval"),
        ({"update_interval": "1"}, "update_interval"),
        ({"buffer_size": 0}, "buffer_size"),
        ({"buffer_size": 1.5}, "buffer_size"),
        ({"buffer_size": True}, "buffer_size"),
        ({"buffer_size": 10_000_000}, "buffer_size"),
        ({"age_limits_s": {"trades": 1}}, "age_limits_s.trades"),
        ({"age_limits_s": {"trade": -1}}, "age_limits_s.trade"),
        ({"age_limits_s": 5}, "age_limits_s"),
        ({"min_integrity": "sequencd"}, "min_integrity"),
        ({"min_integrity": 17}, "min_integrity"),
        ({"min_integrity": True}, "min_integrity"),
        ({"sound_only": 1}, "sound_only"),
        ({"quote_basis": {"USDT": 1.0}}, "quote_basis.USDT"),
        ({"quote_basis": {"USDT/USD": 0}}, "quote_basis.USDT/USD"),
        ({"quote_basis": {"USDT/USD": float("nan")}}, "quote_basis.USDT/USD"),
        ({"quote_basis": {"USDT/USD": "kraken"}}, "quote_basis.USDT/USD"),
        ({"rate_age_limit_s": -1}, "rate_age_limit_s"),
        ({"fees_percent": {"kraken": 0.1}}, "fees_percent.kraken"),
        ({"fees_percent": {"binance": "0.1"}}, "fees_percent.binance"),
        ({"fees_percent": 0.1}, "fees_percent"),
    ],
)
def test_refusals_name_the_field(parts, field) -> None:
    """Whatever cannot work is refused at once, and the error names the path of the field."""
    with pytest.raises(ConfigError) as caught:
        made(**parts)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_refusals_name_the_nearest_valid_one() -> None:
    """A misspelling is answered with what was probably meant."""
    with pytest.raises(ConfigError, match="did you mean 'median'"):
        made(aggregation_strategy="medain")
    with pytest.raises(ConfigError, match="did you mean 'coinbase'"):
        made(exchanges=["binance", "conbase"])
    with pytest.raises(UnknownSymbolError, match="write it like BTC/USD"):
        made(symbols=["BTCUSD"])
