"""The machine: where events go, what it counts, and what the time does."""

from datetime import UTC, datetime

import pytest

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.errors import ConfigError, UnknownSymbolError, UnsupportedChannelError
from crossfeed.model.events import Heartbeat
from crossfeed.model.status import GapState
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.model.unified import MarketData

NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)


def by_hand(exchange: str, symbol: str, data_type: str, **data):
    """Make an event as the document does."""
    return MarketData(
        exchange=exchange,
        symbol=symbol,
        data_type=data_type,
        timestamp=NOON,
        data=data,
        raw_message={},
    )


def test_documents_events_are_taken(make) -> None:
    """Hand-made events aggregate like any other, and stand in source_data as they were made."""
    aggregator = make.aggregator()
    trade = by_hand(
        "binance", "BTCUSDT", "trade", price=45000.0, quantity=0.5, trade_id=1, is_buyer_maker=False
    )
    (value,) = aggregator.on_event(trade, 5, make.wall_ns)
    assert value.source_data == [trade]
    assert value.source_data[0] is trade
    assert (value.data["price"], value.data["volume"]) == (45000.0, 0.5)
    ticker = by_hand("coinbase", "BTC-USD", "ticker", last_price=45000, volume_24h=10)
    (value,) = aggregator.on_event(ticker, 6, make.wall_ns)
    assert (value.data["price"], value.data["volume_24h"]) == (45000.0, 10.0)
    quote = by_hand(
        "kraken", "BTC/USD", "book_ticker", bid_price=1.0, bid_size=2, ask_price=3.0, ask_size=4
    )
    (value,) = aggregator.on_event(quote, 7, make.wall_ns)
    assert (value.data["best_bid_quantity"], value.data["best_ask_quantity"]) == (2.0, 4.0)
    assert value.ts_source_mono_ns == 7
    assert len(aggregator.on_event(quote, 8, make.wall_ns)) == 1


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"price": float("nan"), "quantity": 1},
        {"price": None, "quantity": 1},
        {"price": True, "quantity": 1},
        {"price": "45000", "quantity": 1},
        {"price": 10**400, "quantity": 1},
        {"price": 1.0},
        {"price": 1.0, "quantity": 0},
    ],
)
def test_hand_made_nonsense_is_refused(make, data) -> None:
    """Nothing a hand can write raises or enters."""
    aggregator = make.aggregator()
    assert not aggregator.on_event(by_hand("binance", "BTCUSDT", "trade", **data), 1, make.wall_ns)
    assert aggregator.stats(1).refused == 1


def test_what_is_not_aggregated_is_counted(make) -> None:
    """Other kinds, venues and symbols are left alone, and the books of events balance."""
    aggregator = make.aggregator()
    shared = ("binance", "BTCUSDT", "BTC/USDT", 0, 0, 1, 1, Mark.NONE)
    heartbeat = Heartbeat(*shared, Integrity.NONE, Trust.SOUND, None, 0, 1, 1)
    events = [
        heartbeat,
        by_hand("binance", "BTCUSDT", "kline", close=1.0),
        make.trade("okx", 100.0),
        make.trade("binance", 100.0, symbol="ETHUSDT"),
        make.status("binance", Trust.SOUND),
        make.gap("binance", 1, GapState.OPEN),
        make.trade("binance", 100.0),
        make.trade("binance", float("nan")),
        make.trade("binance", 1.0, marks=Mark.HISTORY),
    ]
    published = make.feed(aggregator, events)
    stats = aggregator.stats(1)
    assert len(published) == stats.updates_published == 1
    assert (stats.messages_received, stats.unrouted, stats.controls) == (9, 4, 2)
    assert (stats.refused, stats.ignored, stats.taken) == (1, 1, 1)
    assert (stats.symbols, stats.exchanges_active) == (1, 1)


def test_gaps_are_counted_while_open(make) -> None:
    """A gap is open until it is repaired or given up; direct calls count as the stream does."""
    aggregator = make.aggregator()
    for gap_id in (1, 2):
        aggregator.on_gap(make.gap("binance", gap_id, GapState.OPEN))
    aggregator.on_gap(make.gap("coinbase", 1, GapState.OPEN))
    assert aggregator.stats(0).gaps_open == 3
    aggregator.on_event(make.gap("binance", 1, GapState.BACKFILLED), 0, make.wall_ns)
    aggregator.on_gap(make.gap("binance", 2, GapState.LOST))
    aggregator.on_gap(make.gap("kraken", 9, GapState.LOST))
    stats = aggregator.stats(0)
    assert (stats.gaps_open, stats.controls, stats.messages_received) == (1, 6, 6)


def test_open_gaps_are_bounded(make, monkeypatch) -> None:
    """However many gaps are reported, the memory for them has a limit."""
    monkeypatch.setattr("crossfeed.aggregation.aggregator.GAPS_MAX", 2)
    aggregator = make.aggregator()
    for gap_id in range(5):
        aggregator.on_gap(make.gap("binance", gap_id, GapState.OPEN))
    assert aggregator.stats(0).gaps_open == 2


def test_plain_list_finds_streams_by_their_metadata(make) -> None:
    """Without a mapping an event belongs where its unified name says; the first symbol stays."""
    aggregator = Aggregator(AggregatorConfig(exchanges=["kraken"], symbols=["BTC/USD", "ETH/USD"]))
    assert len(make.feed(aggregator, [make.trade("kraken", 100.0)])) == 1
    assert make.feed(aggregator, [make.trade("kraken", 100.0, symbol="XBT/USD")]) == []
    assert make.feed(aggregator, [make.trade("kraken", 100.0, unified="ETH/EUR", symbol="E")]) == []
    assert aggregator.symbols == ("BTC/USD", "ETH/USD")


def test_resolved_symbols_from_the_client(make) -> None:
    """What the client found in the venues' metadata takes the configuration's place."""
    config = AggregatorConfig(exchanges=["binance", "kraken"], symbols=["BTC/USD"])
    aggregator = Aggregator(config, symbols={"BTC/USD": make.venues})
    values = make.feed(
        aggregator, [make.quote("binance", 1.0, 2.0), make.quote("kraken", 1.0, 2.0)]
    )
    assert values[-1].exchanges == ["binance", "kraken"]
    assert values[-1].quote_mismatch


def test_venue_without_the_symbol_is_not_listed(make) -> None:
    """A venue that does not have a symbol is not left out of it: it has no part in it."""
    symbols = {"BTC/USD": {"kraken": "BTC/USD"}, "ETH/USD": {"binance": "ETHUSDT"}}
    aggregator = make.aggregator(exchanges=["binance", "kraken"], symbols=symbols)
    (value,) = make.feed(aggregator, [make.trade("kraken", 100.0)])
    assert value.excluded == ()


def test_one_instrument_may_serve_two_symbols(make) -> None:
    """BTCUSDT can stand for BTC/USD and be BTC/USDT; the count of deliveries says so."""
    symbols = {"BTC/USD": {"binance": "BTCUSDT"}, "BTC/USDT": {"binance": "BTCUSDT"}}
    aggregator = make.aggregator(exchanges=["binance"], symbols=symbols)
    events = [make.trade("binance", 100.0), make.trade("binance", 100.0, at_s=1)]
    values = make.feed(aggregator, events)
    assert [value.symbol for value in values] == ["BTC/USD", "BTC/USDT"] * 2
    stats = aggregator.stats(0)
    assert (stats.messages_received, stats.doubled, stats.taken) == (2, 2, 4)


def test_coinbase_is_one_venue(make) -> None:
    """Its two APIs never both enter an aggregate; one of them carries the venue's name."""
    symbols = {"BTC/USD": {"coinbase": "BTC-USD", "coinbase_advanced": "BTC-USD"}}
    with pytest.raises(ConfigError, match="one venue"):
        make.config(exchanges=["coinbase", "coinbase_advanced"], symbols=symbols)
    aggregator = make.aggregator(exchanges=["coinbase_advanced"], symbols=symbols)
    values = make.feed(
        aggregator, [make.trade("coinbase", 1.0), make.trade("coinbase_advanced", 1.0)]
    )
    assert [value.exchanges for value in values] == [["coinbase"], ["coinbase"]]


def test_feeds_of_one_exchange_by_the_profiles(make) -> None:
    """The client hands in what the venues' profiles say about feeds and exchanges."""
    config = make.config(exchanges=["binance", "kraken"])
    with pytest.raises(ConfigError, match="one venue"):
        Aggregator(config, exchange_of={"kraken": "binance"})


def test_fixed_rate_converts(make) -> None:
    """With a basis prices are comparable: no mismatch, all in the symbol's quote currency."""
    aggregator = make.aggregator(quote_basis={"USDT/USD": 0.5}, aggregation_strategy="average")
    quotes = [make.quote("binance", 200.0, 220.0), make.quote("coinbase", 90.0, 105.0, 0.1)]
    value = make.feed(aggregator, quotes)[-1]
    assert (value.data["best_bid"], value.data["best_ask"]) == (100.0, 105.0)
    assert not value.quote_mismatch
    trades = [make.trade("binance", 200.0), make.trade("coinbase", 300.0, at_s=0.1)]
    assert make.feed(aggregator, trades)[-1].data["price"] == 200.0
    tickers = [make.ticker("binance", 200.0), make.ticker("coinbase", 300.0, at_s=0.1)]
    assert make.feed(aggregator, tickers)[-1].data["price_range"] == [100.0, 300.0]


@pytest.mark.parametrize("kind", ["ticker", "trade", "quote", "by hand"])
def test_live_rate_converts(make, kind) -> None:
    """A live rate follows its instrument; without it the venue is left out: "quote"."""
    aggregator = make.aggregator(
        quote_basis={"USDT/USD": "kraken:USDT/USD"},
        rate_age_limit_s=10,
        age_limits_s={"book_ticker": 100},
    )
    part = {"symbol": "USDT/USD", "unified": "USDT/USD"}
    source = {
        "ticker": make.ticker("kraken", 0.5, at_s=1, **part),
        "trade": make.trade("kraken", 0.5, at_s=1, **part),
        "quote": make.quote("kraken", 0.4, 0.6, 1, **part),
        "by hand": by_hand("kraken", "USDT/USD", "ticker", price=0.5),
    }[kind]
    assert make.feed(aggregator, [make.quote("binance", 200.0, 220.0)]) == []
    published = aggregator.on_event(source, make.ns(1), make.wall_ns)
    assert not published  # a rate is no aggregate
    (value,) = make.feed(aggregator, [make.quote("binance", 200.0, 220.0, 2)])
    assert value.data["best_bid"] == 100.0
    published = make.feed(aggregator, [make.quote("coinbase", 1.0, 300.0, 12)])
    assert [left.reason for left in published[-1].excluded] == ["quote", "no_data"]


def test_live_rate_is_taken_only_from_sound_streams(make) -> None:
    """A rate nobody vouches for is no rate, and an unsound source takes its last one with it."""
    aggregator = make.aggregator(quote_basis={"USDT/USD": "kraken:USDT/USD"})
    part = {"symbol": "USDT/USD", "unified": "USDT/USD"}
    doubtful = [{"trust": Trust.UNSOUND}, {"marks": Mark.SUSPECT}]
    make.feed(aggregator, [make.ticker("kraken", 0.5, **part, **parts) for parts in doubtful])
    make.feed(aggregator, [by_hand("kraken", "USDT/USD", "kline", close=0.5)])
    assert aggregator.rates.rates[0].value is None
    shared = ("kraken", "USDT/USD", "USDT/USD", 0, 0, 1, 1, Mark.NONE, Integrity.NONE)
    make.feed(aggregator, [Heartbeat(*shared, Trust.SOUND, None, 0, 1, 1)])
    assert aggregator.rates.rates[0].value is None
    make.feed(aggregator, [make.ticker("kraken", 0.5, **part)])
    assert aggregator.rates.rates[0].value == 0.5
    aggregator.on_status(make.status("binance", Trust.UNSOUND), 1, make.wall_ns)
    assert aggregator.rates.rates[0].value == 0.5
    aggregator.on_status(make.status("kraken", Trust.UNSOUND), 1, make.wall_ns)
    assert aggregator.rates.rates[0].value is None
    assert make.feed(aggregator, [make.trade("binance", 200.0)]) == []


def test_lost_rate_takes_its_venues_out_at_once(make) -> None:
    """When the source of a rate loses its trust, prices converted by it are not good any more."""
    aggregator = make.aggregator(quote_basis={"USDT/USD": "kraken:USDT/USD"})
    part = {"symbol": "USDT/USD", "unified": "USDT/USD"}
    make.feed(aggregator, [make.ticker("kraken", 0.5, at_s=1, **part)])
    make.feed(
        aggregator, [make.quote("binance", 200.0, 220.0, 2), make.quote("kraken", 1.0, 9e9, 3)]
    )
    status = make.status("kraken", Trust.UNSOUND, "ticker", symbol="USDT/USD")
    (value,) = aggregator.on_status(status, make.ns(4), make.wall_ns)
    assert value.exchanges == ["kraken"]
    assert value.excluded[0].reason == "quote"


def test_unwanted_drops_what_waits(make) -> None:
    """What nobody wants is not published later, and its trades are not counted later."""
    aggregator = make.aggregator(update_interval=1.0)
    for kind in (make.trade, make.ticker):
        make.feed(aggregator, [kind("binance", 1.0, at_s=at) for at in (0.1, 0.2)])
    make.feed(aggregator, [make.quote("binance", 1.0, 2.0, at) for at in (0.1, 0.2)])
    for kind in ("trade", "ticker", "book_ticker"):
        aggregator.set_wanted("*", kind, is_wanted=False)
    assert make.wait(aggregator, 2.0) == []
    aggregator.set_wanted("*", "trade", is_wanted=True)
    (value,) = make.feed(aggregator, [make.trade("binance", 1.0, at_s=3)])
    assert value.data["num_trades"] == 1


def test_wanted_checks_its_names(make) -> None:
    """A subscription to what cannot be is refused and says what there is."""
    aggregator = make.aggregator()
    with pytest.raises(UnsupportedChannelError, match="trade, ticker, book_ticker"):
        aggregator.set_wanted("BTC/USD", "depth", is_wanted=True)
    with pytest.raises(UnknownSymbolError, match="there are: BTC/USD"):
        aggregator.set_wanted("ETH/USD", "trade", is_wanted=True)


def test_time_never_falls(make) -> None:
    """An event that was held back belongs to the present, whatever its own time says."""
    aggregator = make.aggregator(update_interval=1.0)
    make.feed(aggregator, [make.quote("binance", 1.0, 2.0, 5.0)])
    held = make.quote("kraken", 1.0, 2.0, 3.0)
    assert not aggregator.on_event(held, held.ts_mono_ns, make.wall_ns)
    (value,) = make.wait(aggregator, 6.0)
    assert value.exchanges == ["binance", "kraken"]
    assert not aggregator.on_timer(make.ns(1), make.wall_ns)


def test_timer_before_its_time(make) -> None:
    """A timer that comes early does nothing and stays due."""
    aggregator = make.aggregator(update_interval=1.0)
    assert aggregator.next_due_ns is None
    assert not aggregator.on_timer(0, make.wall_ns)
    make.feed(aggregator, [make.trade("binance", 1.0), make.trade("binance", 2.0, at_s=0.5)])
    assert not aggregator.on_timer(make.ns(0.9), make.wall_ns)
    assert aggregator.next_due_ns == make.ns(1.0)


def test_stamps_of_a_value(make) -> None:
    """Wall time to the microsecond, aware UTC; monotonic times of publication and newest source."""
    aggregator = make.aggregator()
    event = make.trade("binance", 1.0, at_s=1)
    wall_ns = 1_790_000_000_123_456_789
    (value,) = aggregator.on_event(event, make.ns(2), wall_ns)
    assert value.timestamp == datetime(2026, 9, 21, 14, 13, 20, 123456, tzinfo=UTC)
    assert (value.ts_mono_ns, value.ts_source_mono_ns) == (make.ns(2), make.ns(1))


def test_repr(make) -> None:
    """The repr is a status line."""
    aggregator = make.aggregator()
    assert repr(aggregator) == (
        "Aggregator(best_bid_ask, 1 symbols, binance, coinbase, kraken, 0 received)"
    )
