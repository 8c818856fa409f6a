"""The matching market: everything it tells is consistent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfeed.simulator.instruments import Grid, Instrument
from crossfeed.simulator.market import Ids, Market
from crossfeed.simulator.orderflow import OrderFlow, lots_mean_of
from crossfeed.simulator.reference import ReferencePrice

START_NS = 1_782_000_000_000_000_000


def make_market(level=64_000.0, price_decimals=2, lot_decimals=5, start_ns=START_NS):
    grid = Grid(price_decimals, lot_decimals)
    instrument = Instrument(
        symbol="BTCUSDT", unified="BTC/USD", base="BTC", quote="USDT", grid=grid, level=level
    )
    mean = lots_mean_of(level, instrument.lots)
    ids = Ids(trade=1_000, update=5_000, sequence=9_000, order=10)
    return Market(instrument, ids, "seed", start_ns, lots_mean=mean)


def make_flow(market, seed="flow", taker_share=0.35):
    reference = ReferencePrice(market.instrument.level, seed, market.now_ns)
    mean = lots_mean_of(market.instrument.level, market.instrument.lots)
    flow = OrderFlow(
        market,
        reference,
        seed,
        basis=1.0,
        taker_share=taker_share,
        orders_wanted=100,
        lots_mean=mean,
    )
    flow.open_book(market.now_ns)
    return flow


@settings(max_examples=15, deadline=None)
@given(seed=st.text(min_size=1, max_size=8), taker_share=st.floats(0.0, 1.0))
def test_actions_are_consistent(seed, taker_share):
    market = make_market()
    flow = make_flow(market, seed, taker_share)
    bids, asks = (dict(side) for side in market.book.depth(1 << 30))
    ids = market.ids
    trade, update, sequence = ids.trade, ids.update, ids.sequence
    count, lots = market.trade_count, market.lots_traded
    market.is_feed_wanted = True
    now_ns = START_NS
    for _ in range(150):
        now_ns += 7_000_000
        flow.act(now_ns)
        # Trades: contiguous ids, at prices that existed, best first.
        assert [one.id for one in market.fills] == list(range(trade + 1, ids.trade + 1))
        trade = ids.trade
        # Levels: the changes, applied to the book before, give the book after.
        for side, changes in ((bids, market.bid_changes), (asks, market.ask_changes)):
            for price, size in changes.items():
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
        assert (sorted(bids.items(), reverse=True), sorted(asks.items())) == market.book.depth(
            1 << 30
        )
        assert ids.update == update + len(market.bid_changes) + len(market.ask_changes)
        update = ids.update
        # The feed: contiguous, and it tells the same trades.
        assert [one.sequence for one in market.feed] == list(range(sequence + 1, ids.sequence + 1))
        sequence = ids.sequence
        assert [one.trade for one in market.feed if one.kind == "match"] == market.fills
        # Never crossed.
        bid, _, ask, _ = market.top
        assert not bid or not ask or bid < ask
        count += len(market.fills)
        lots += sum(one.lots for one in market.fills)
    assert (market.trade_count, market.lots_traded) == (count, lots)


def test_the_feed_rebuilds_the_orders():
    market = make_market()
    flow = make_flow(market)
    orders = {order.id: order.lots for order in market.book.orders}
    market.is_feed_wanted = True
    for step in range(600):
        flow.act(START_NS + step)
        for event in market.feed:
            if event.kind == "open":
                orders[event.order_id] = event.lots
            elif event.kind == "match":
                orders[event.trade.maker_id] -= event.trade.lots
            elif event.kind == "change":
                assert event.lots_before == orders[event.order_id]
                orders[event.order_id] = event.lots
            elif event.kind == "done":
                left = orders.pop(event.order_id, None)
                if left is not None:
                    assert left == event.lots
                    assert event.is_filled == (left == 0)
    assert orders == {order.id: order.lots for order in market.book.orders}


def test_price_time_priority():
    market = make_market()
    market.begin(START_NS)
    market.limit(100, 5, is_buy=False)
    market.limit(101, 5, is_buy=False)
    market.limit(100, 5, is_buy=False)
    first, second, third = (order.id for order in market.book.orders)
    market.end()
    market.begin(START_NS + 1)
    market.take(12, is_buy=True)
    market.end()
    assert [(one.maker_id, one.price, one.lots) for one in market.fills] == [
        (first, 100, 5),
        (third, 100, 5),
        (second, 101, 2),
    ]
    assert [(one.price, one.lots) for one in market.fill_groups] == [(100, 10), (101, 2)]
    assert market.top == (0, 0, 101, 3)


def test_a_limit_order_rests_with_what_is_left():
    market = make_market()
    market.begin(START_NS)
    market.limit(100, 3, is_buy=False)
    market.limit(100, 5, is_buy=True)
    market.end()
    assert market.top == (100, 2, 0, 0)
    assert market.fills[0].is_limit


def test_market_order_on_an_empty_side_is_cancelled():
    market = make_market()
    market.is_feed_wanted = True
    market.begin(START_NS)
    market.take(3, is_buy=True)
    market.end()
    assert not market.fills
    assert [(one.kind, one.is_filled) for one in market.feed] == [
        ("received", False),
        ("done", False),
    ]


def test_a_market_of_takers_only_does_not_run_dry():
    market = make_market()
    flow = make_flow(market, taker_share=1.0)
    for step in range(2_000):
        flow.act(START_NS + step * 1_000_000)
        assert market.fills
    assert len(market.book.orders) > 50


def test_the_price_follows_the_reference():
    market = make_market()
    flow = make_flow(market)
    for step in range(2_000):
        flow.act(START_NS + step * 50_000_000)
        bid, _, ask, _ = market.top
        fair = flow._fair(market.now_ns)
        assert abs((bid + ask) / 2 - fair) < fair * 0.004
    assert 50 <= len(market.book.orders) <= 150


@pytest.mark.parametrize(
    ("level", "price_decimals", "lot_decimals"), [(64_000.0, 1, 8), (0.18, 5, 0), (0.00002, 7, 0)]
)
def test_cheap_and_dear_instruments_work(level, price_decimals, lot_decimals):
    market = make_market(level, price_decimals, lot_decimals)
    flow = make_flow(market)
    for step in range(300):
        flow.act(START_NS + step * 1_000_000)
        assert all(order.lots > 0 and order.price > 0 for order in market.book.orders)
    assert market.trade_count > 60


def test_the_truth_at_every_recent_id():
    market = make_market()
    flow = make_flow(market)
    states = {}
    for step in range(3_000):
        flow.act(START_NS + step * 1_000_000)
        bids, asks = market.book.depth(1 << 30)
        states[market.ids.update] = (dict(bids), dict(asks), market.now_ns)
    for update_id, (bids, asks, now_ns) in list(states.items())[::97]:
        state = market.history.at(update_id)
        assert state is not None
        assert (state.bids, state.asks, state.update_id) == (bids, asks, update_id)
        assert market.history.at_time(now_ns).top() == state.top()
    assert market.history.at(1) is None
    assert market.history.at_time(1) is None


def test_ids_can_begin_anew():
    market = make_market()
    flow = make_flow(market)
    market.restart_ids()
    flow.trade_once(START_NS + 1)
    assert market.fills[0].id == 1
    assert market.trades_from(1, 5) == list(market.fills)
    assert market.epoch == 1


def test_trades_are_paged_by_id():
    market = make_market()
    flow = make_flow(market, taker_share=1.0)
    for step in range(50):
        flow.act(START_NS + step)
    newest, oldest = market.ids.trade, market.trades[0].id
    assert [one.id for one in market.trades_from(newest - 2, 10)] == [
        newest - 2,
        newest - 1,
        newest,
    ]
    assert [one.id for one in market.trades_from(1, 2)] == [oldest, oldest + 1]
    assert [one.id for one in market.trades_between(1, oldest + 1)] == [oldest, oldest + 1]
    assert market.trades_between(newest + 1, newest + 5) == []
    assert market.trades_from(newest, 0) == []
