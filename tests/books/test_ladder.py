"""Levels: order, exactness, cutting, window, scales."""

from decimal import Decimal

import pytest

from crossfeed.books.ladder import Ladder

WIDE = Decimal("9007199254740993.5")  # no float can hold it
WIDE_FLOAT = 9007199254740993.5


def ladder_of(bids=(), asks=(), **scales):
    """Return a ladder loaded with levels."""
    ladder = Ladder(**scales)
    assert ladder.load(list(bids), list(asks))
    ladder.check()
    return ladder


def test_an_empty_ladder_has_no_top():
    """Nor any depth."""
    ladder = Ladder()
    assert ladder.best() is None
    assert ladder.depth(5) == ([], [])
    assert ladder.top_units(5) == ([], [])
    ladder.apply([(1.0, 1.0)], [])
    assert ladder.best() is None, "one side is not a top"
    assert "1 bids, 0 asks" in repr(ladder)


def test_levels_come_best_first_whatever_their_order():
    """A snapshot in any order."""
    ladder = ladder_of([(1.0, 5.0), (3.0, 6.0), (2.0, 7.0)], [(9.0, 1.0), (7.0, 2.0), (8.0, 3.0)])
    assert ladder.best() == (3.0, 6.0, 7.0, 2.0)
    assert ladder.depth(2) == ([(3.0, 6.0), (2.0, 7.0)], [(7.0, 2.0), (8.0, 3.0)])
    assert ladder.depth(99)[0] == [(3.0, 6.0), (2.0, 7.0), (1.0, 5.0)]


def test_apply_sets_inserts_and_removes():
    """Sizes are absolute, 0 removes."""
    ladder = ladder_of([(1.0, 5.0), (3.0, 6.0)], [(7.0, 2.0), (9.0, 1.0)])
    assert ladder.apply([(3.0, 0.0), (2.0, 4.0), (1.0, 8.0)], [(7.0, 0.0), (8.0, 1.5)])
    ladder.check()
    assert ladder.depth(9) == ([(2.0, 4.0), (1.0, 8.0)], [(8.0, 1.5), (9.0, 1.0)])


@pytest.mark.fault("S14")
def test_removing_an_unknown_price_is_accepted_and_counted():
    """Normal on every venue: no exception."""
    ladder = ladder_of([(1.0, 1.0)], [(2.0, 1.0)])
    assert ladder.apply([(0.5, 0.0)], [(3.0, 0.0), (4.0, 0.0)])
    assert ladder.unknown_removals == 3
    assert ladder.best() == (1.0, 1.0, 2.0, 1.0)


@pytest.mark.fault("S16")
def test_one_price_twice_in_a_message_is_taken_in_order():
    """The last mention wins, also when it removes or puts back."""
    ladder = ladder_of()
    ladder.apply([(1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (2.0, 0.0)], [(5.0, 0.0), (5.0, 3.0)])
    ladder.check()
    assert ladder.depth(5) == ([(1.0, 2.0)], [(5.0, 3.0)])


@pytest.mark.fault("S15")
def test_cut_keeps_the_best_levels_of_each_side():
    """Kraken does not send removals for what falls out of depth."""
    ladder = ladder_of([(p, 1.0) for p in range(1, 8)], [(p, 1.0) for p in range(10, 13)])
    assert ladder.cut(4) == 3
    ladder.check()
    assert [price for price, _ in ladder.depth(9)[0]] == [7, 6, 5, 4]
    assert [price for price, _ in ladder.depth(9)[1]] == [10, 11, 12]
    assert ladder.cut(4) == 0


def test_a_window_drops_what_lies_outside_and_keeps_it_out():
    """What lies beyond a cut image cannot be proven."""
    ladder = ladder_of([(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)], [(4.0, 1.0), (5.0, 1.0), (6.0, 1.0)])
    assert not ladder.has_window
    ladder.limit_window(2.0, 5.0)
    ladder.check()
    assert ladder.has_window
    assert ladder.depth(9) == ([(3.0, 1.0), (2.0, 1.0)], [(4.0, 1.0), (5.0, 1.0)])
    assert ladder.apply([(1.5, 9.0), (2.0, 9.0)], [(5.5, 9.0), (5.0, 9.0), (6.0, 0.0)])
    ladder.apply_exact([(Decimal("1.5"), Decimal(9))], [(Decimal("5.5"), Decimal(9))])
    ladder.check()
    assert ladder.depth(9) == ([(3.0, 1.0), (2.0, 9.0)], [(4.0, 1.0), (5.0, 9.0)])
    assert ladder.out_of_window == 4
    ladder.clear()
    assert not ladder.has_window


def test_units_are_exact_integers():
    """What a checksum is made of."""
    ladder = ladder_of(
        [(45283.5, 0.1), (0.00002288, 11947.13445094)], [(45285.2, 0.001)], price_scale=8
    )
    bids, asks = ladder.top_units(10)
    assert bids == [(4528350000000, 10000000), (2288, 1194713445094)]
    assert asks == [(4528520000000, 100000)]


@pytest.mark.fault("S20")
def test_scales_rise_when_a_number_needs_more_decimals():
    """A finer tick is no error: precision comes from the number."""
    ladder = ladder_of([(100.125, 1.0)], [(101.0, 1.00005)], price_scale=1, size_scale=2)
    assert ladder.top_units(5) == ([(100125, 100000)], [(101000, 100005)])
    assert (ladder.price_scale, ladder.size_scale) == (3, 5)
    assert not ladder.raise_scales([(Decimal("1.5"), Decimal("1.5"))])


def test_scales_can_be_adopted_from_what_is_written():
    """Kraken writes every number at full precision: more or fewer decimals are the pair's."""
    ladder = Ladder(5, 8)
    ladder.adopt_scales([(Decimal("100.10"), Decimal("1.0000")), (Decimal(99), Decimal(5))])
    assert (ladder.price_scale, ladder.size_scale) == (2, 4)
    ladder.adopt_scales([])
    assert (ladder.price_scale, ladder.size_scale) == (2, 4)
    with pytest.raises(AssertionError):
        ladder.set_scales(19, 0)
    with pytest.raises(AssertionError):
        ladder.set_scales(0, -1)


def test_a_number_no_float_can_hold_asks_for_the_exact_path():
    """`apply` says so; the exact decimals then give the right book from the start."""
    for bids, asks in (
        ([(1.0, 1.0), (2.0, WIDE_FLOAT)], []),
        ([], [(3.0, WIDE_FLOAT)]),
        ([(WIDE_FLOAT, 1.0)], []),
        ([], [(WIDE_FLOAT, 1.0)]),
    ):
        ladder = Ladder(0, 0)
        assert not ladder.apply(bids, asks)
        exact = Ladder(1, 1)
        exact.apply_exact(
            *[[(Decimal(repr(p)), Decimal(repr(q))) for p, q in s] for s in (bids, asks)]
        )
        exact.check()


def test_wide_numbers_keep_every_digit():
    """They stand as decimals among the floats, in order, and read as floats where asked."""
    ladder = Ladder(1, 1)
    ladder.apply_exact(
        [(Decimal(5), WIDE), (Decimal(6), Decimal(1)), (Decimal(7), Decimal(0))],
        [(WIDE, Decimal(2)), (Decimal(8), Decimal(3))],
    )
    ladder.check()
    assert ladder.has_wide
    assert ladder.depth_exact(5) == (
        [(Decimal("6.0"), Decimal("1.0")), (Decimal("5.0"), WIDE)],
        [(Decimal("8.0"), Decimal("3.0")), (WIDE, Decimal("2.0"))],
    )
    assert ladder.top_units(5)[0][1] == (50, 90071992547409935)
    assert ladder.best() == (6.0, 1.0, 8.0, 3.0)
    bids, asks = ladder.depth(5)
    assert all(type(number) is float for level in bids + asks for number in level)
    ladder.apply_exact([(Decimal(6), Decimal(0))], [(WIDE, Decimal(0))])
    ladder.check()
    assert [price for price, _ in ladder.depth(5)[1]] == [8.0]
    assert ladder.best()[1] == float(WIDE)


def test_a_wide_snapshot_is_loaded_exactly():
    """As with updates: False, then the decimals."""
    ladder = Ladder(0, 0)
    assert not ladder.load([(1.0, WIDE_FLOAT)], [])
    assert not ladder.load([], [(WIDE_FLOAT, 1.0)])
    ladder.load_exact([(Decimal(1), WIDE)], [(Decimal(2), Decimal(1))])
    ladder.check()
    assert ladder.depth_exact(1)[0] == [(Decimal("1.0"), WIDE)]
    assert ladder.load([(1.0, 1.0), (2.0, 0.0)], [])
    assert ladder.depth(5) == ([(1.0, 1.0)], []), "a new snapshot replaces all"
    assert not ladder.has_wide


def test_shortest_decimals_of_floats():
    """Without the frame these are the venue's own numbers up to 15 digits."""
    assert Ladder.shortest([(0.1, 5.1e-05)]) == [(Decimal("0.1"), Decimal("0.000051"))]


def test_check_finds_every_kind_of_damage():
    """The invariants are checked, not assumed."""

    def damaged(damage):
        ladder = ladder_of([(1.0, 1.0), (2.0, 1.0)], [(3.0, 1.0)])
        damage(ladder)
        with pytest.raises(AssertionError):
            ladder.check()

    damaged(lambda ladder: ladder.bids.append(5.0))
    damaged(lambda ladder: ladder.bids.reverse())
    damaged(lambda ladder: ladder.bid_sizes.__setitem__(2.0, 0.0))
    damaged(lambda ladder: ladder.asks.__setitem__(0, 3.0))
