"""Building levels from messages: depth, exact numbers, bridging."""

from decimal import Decimal

import pytest

from crossfeed.books.assembly import Assembler
from crossfeed.books.ladder import Ladder
from crossfeed.books.rebuild import BookLimits
from crossfeed.model.sequencing import Verdict
from crossfeed.testing.events import delta, snapshot
from crossfeed.venues.binance.sequencing import SPOT_BOOK, SpotBookRule

WIDE = Decimal("900719925474099.3")


class DeepRule(SpotBookRule):
    """A numbered book that the venue keeps two levels deep."""

    depth_limit = 2


def test_a_book_is_built_from_an_image_and_what_carries_on():
    """Cut to depth after each message, exact where floats are not."""
    assembler = Assembler(DeepRule(), BookLimits(), None)
    like = Ladder(1, 1)
    image = snapshot(5, [(3.0, 1.0), (2.0, 1.0), (1.0, 1.0)], [(9.0, 1.0)])
    updates = [delta(6, 6, [(4.0, float(WIDE))]), delta(7, 7, [(3.5, 2.0)])]
    ladder = assembler.build(like, image, updates)
    ladder.check()
    assert ladder.depth_exact(9)[0] == [
        (Decimal("4.0"), Decimal(repr(float(WIDE)))),
        (Decimal("3.5"), Decimal("2.0")),
    ]
    assert ladder.price_scale == 1
    assert like.best() is None, "the model of the scales is not touched"


def test_exact_levels_of_another_message_are_not_taken():
    """A reader that does not give this message's levels is not believed."""
    assembler = Assembler(SPOT_BOOK, BookLimits(), lambda _: ([], []))
    event = delta(1, 1, [(0.1, 0.2)], [(0.3, 0.0)])
    assert assembler.exact(event) == (
        [(Decimal("0.1"), Decimal("0.2"))],
        [(Decimal("0.3"), Decimal("0.0"))],
    )
    right = ([(Decimal("0.10"), Decimal("0.20"))], [(Decimal("0.30"), Decimal(0))])
    assert Assembler(SPOT_BOOK, BookLimits(), lambda _: right).exact(event) == right


def test_bridging_finds_what_carries_on():
    """Old ones are passed over, a hole among the kept ones makes the image useless."""
    assembler = Assembler(SPOT_BOOK, BookLimits(), None)
    kept = [delta(1, 3), delta(4, 6), delta(7, 9)]
    image = snapshot(5)
    assert assembler.bridge(image, kept) == (Verdict.APPLY, kept[1:])
    assert assembler.bridge(snapshot(50), kept) == (Verdict.APPLY, [])
    assert assembler.bridge(image, [delta(9, 9)]) == (Verdict.EARLY, [])
    assert assembler.bridge(image, [delta(6, 6), delta(9, 9)]) == (Verdict.EARLY, [])
    assert assembler.bridge(image, [delta(6, 6), delta(6, 6), delta(7, 7)])[1] == [
        delta(6, 6),
        delta(7, 7),
    ]


def test_without_a_checksum_there_is_nothing_to_compare():
    """Always right."""
    assembler = Assembler(SPOT_BOOK, BookLimits(), None)
    assert assembler.is_verified(Ladder(), delta(1, 1))
    assert assembler.is_verified(Ladder(), delta(1, 1, checksum=5)), "nor without a rule for it"


@pytest.mark.fault("D17")
def test_a_full_side_of_empty_levels_is_an_empty_side():
    """Nothing is known of a window without a level in it."""
    assembler = Assembler(SPOT_BOOK, BookLimits(window_levels=3), None)
    image = snapshot(5, [(3.0, 0.0), (2.0, 0.0), (1.0, 0.0)], [(9.0, 0.0)] * 3)
    ladder = assembler.build(Ladder(1, 1), image, [])
    assert ladder.counts == (0, 0)
    assert not ladder.has_window


def test_an_image_that_no_ladder_can_hold_builds_none():
    """Nor is a live book compared with it."""
    long = Decimal("123456789012345678901234567890.5")
    assembler = Assembler(SPOT_BOOK, BookLimits(), lambda _: ([(long, Decimal(1))], []))
    image = snapshot(5, [(float(long), 1.0)], [])
    assert assembler.build(Ladder(1, 1), image, []) is None
    assert assembler.compare(Ladder(1, 1), 5, image, []) is None
    assert assembler.take(Ladder(1, 1), image) == "number"
