"""A venue's status tells its books whether a crossed top is an auction or an error."""

import pytest
from msgspec.structs import replace

from crossfeed.integrity.gaps import GapLedger
from crossfeed.model.events import VenueStatus
from crossfeed.model.instrument import InstrumentStatus
from crossfeed.model.output import Output
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.streams import StreamSet
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.registry import find_venue


class Books:
    """The streams of one venue with a book of its first instrument, on one line."""

    def __init__(self, venue, status=InstrumentStatus.ONLINE):
        self.venue = find_venue(venue)
        found = next(i for i in self.venue.builtin() if i.unified == "BTC/USD")
        self.instrument = replace(found, status=status)
        self.streams = StreamSet(self.venue, GapLedger(), FeedSettings())
        options = CodecOptions(api_key="k", api_secret="cw==", api_passphrase="p")
        self.options = options if venue == "coinbase" else CodecOptions()
        self.wants = []
        self.open("book")

    def open(self, kind):
        """Open one stream and bring its line up."""
        want = self.venue.want(kind, self.instrument.symbol, self.options)
        self.streams.open(want, kind, self.instrument)
        self.wants.append(want)
        self.line("one")

    def line(self, name):
        """Bring a line up."""
        self.streams.line_up(name, self.wants, 0, 0, Output())

    def say(self, system="", line="one", **product):
        """Let the venue tell its state."""
        product = {"id": self.instrument.symbol, **product} if product else {}
        event = VenueStatus(
            exchange=self.venue.profile.exchange,
            symbol="",
            unified="",
            ts_event_ns=0,
            ts_sent_ns=0,
            ts_recv_ns=0,
            ts_mono_ns=0,
            marks=Mark.NONE,
            integrity=Integrity.SELF_CONTAINED,
            trust=Trust.SOUND,
            raw=None,
            raw_index=0,
            system=system,
            products=[product] if product else [],
        )
        self.streams.table(line)[VenueStatus, ""].admit(event, Output())

    @property
    def trusts(self):
        """What is said of the market of each stream."""
        return {trust.complaint("market") for trust in self.streams.trusts()}

    @property
    def allowed(self):
        """What each book of the symbol has been told."""
        flow = self.streams.book_flow(self.instrument.symbol)
        orders = self.streams.order_book(self.instrument.symbol)
        told = {sync.allows_crossed for sync in flow.syncs()}
        return told if orders is None else told | {orders.allows_crossed}


@pytest.mark.fault("S13")
@pytest.mark.parametrize("flag", ["auction_mode", "post_only"])
def test_a_flag_of_the_product(flag) -> None:
    books = Books("coinbase")
    books.open("full")
    assert books.allowed == {False}
    books.say(status="online", **{flag: True})
    assert books.allowed == {True}
    books.line("two")  # its books are told as well
    assert books.allowed == {True}
    books.say(status="online", **{flag: False})
    assert books.allowed == {False}


@pytest.mark.fault("S13")
def test_a_book_opened_during_the_auction_is_told() -> None:
    books = Books("coinbase")
    books.say(status="online", auction_mode=True)
    books.open("full")
    assert books.allowed == {True}


@pytest.mark.fault("S13")
def test_the_state_of_a_pair_and_of_the_system() -> None:
    books = Books("kraken")
    books.say(status="post_only")
    books.say(system="post_only")
    books.say(status="online")
    assert books.allowed == {True}
    books.say(system="online")
    assert books.allowed == {False}


def test_another_product_and_another_venue_say_nothing() -> None:
    books = Books("coinbase")
    books.say(id="ETH-USD", status="online", auction_mode=True)
    assert books.allowed == {False}
    assert find_venue("binance").profile.auction_states == ()


@pytest.mark.fault("S13")
def test_restricted_orders_in_the_instrument_list_explain_a_crossed_book() -> None:
    """Known without the status channel; that channel has the last word."""
    books = Books("coinbase", InstrumentStatus.LIMITED)
    books.open("full")
    assert books.allowed == {True}
    books.say(status="online")
    assert books.allowed == {False}


@pytest.mark.fault("S19")
def test_a_closed_market_stays_closed_for_what_comes_later_and_opens_for_all() -> None:
    """New lines and streams hear of it; tables built anew do not forget it."""
    books = Books("kraken")
    books.say(status="work_in_progress")
    assert books.trusts == {Trust.CLOSED}
    books.open("trade")
    books.line("two")
    assert books.trusts == {Trust.CLOSED}
    books.say(system="online")
    assert books.trusts == {Trust.CLOSED}, "the venue is up, the market is not"
    books.say(system="maintenance")
    assert books.trusts == {Trust.UNAVAILABLE}
    books.say(system="online")
    assert books.trusts == {Trust.CLOSED}
    books.say(line="two", status="online")
    assert books.trusts == {Trust.SOUND}


@pytest.mark.fault("C09")
@pytest.mark.parametrize("system", ["maintenance", "cancel_only"])
def test_a_venue_that_trades_nothing_has_no_market(system) -> None:
    books = Books("kraken")
    books.say(system=system)
    assert books.trusts == {Trust.UNAVAILABLE}
    books.say(system="post_only")
    assert books.trusts == {Trust.SOUND}


@pytest.mark.fault("S19")
@pytest.mark.parametrize(
    ("venue", "closed", "opened"),
    [
        ("kraken", {"status": "cancel_only"}, {"status": "limit_only"}),
        ("kraken", {"status": "maintenance"}, {"status": "a word of next year"}),
        ("coinbase", {"status": "internal"}, {"status": "online", "limit_only": True}),
        ("coinbase", {"status": "online", "cancel_only": True}, {"status": "online"}),
        ("coinbase_advanced", {"status": "offline"}, {"status": "online"}),
    ],
)
def test_a_market_is_closed_in_the_venues_own_states_and_open_in_all_others(
    venue, closed, opened
) -> None:
    """A state in which orders are merely restricted opens it too, and so does an unknown one."""
    books = Books(venue)
    books.say(**closed)
    assert books.trusts == {Trust.CLOSED}
    books.say(**opened)
    assert books.trusts == {Trust.SOUND}


def test_what_was_said_of_a_market_goes_with_who_said_it() -> None:
    """Nobody would tell that it has opened, without the status channel; the venue's state stays."""
    books = Books("kraken")
    books.open("status")
    books.say(status="maintenance")
    books.say(system="maintenance")
    books.streams.close(books.wants[-1], "status")
    books.line("two")
    assert books.trusts == {Trust.UNAVAILABLE}
    books.say(system="online")
    assert books.trusts == {Trust.SOUND}


def test_a_price_band_goes_with_the_last_stream_of_its_symbol() -> None:
    """What is asked for again another day begins with the prices of that day; counts stay."""
    books = Books("kraken")
    books.open("trade")
    books.open("ticker")
    band = books.streams.band(books.instrument.symbol)
    band.suspects = 3
    for want, kind in zip(books.wants, ("book", "trade", "ticker"), strict=True):
        assert books.streams.band(books.instrument.symbol) is band
        books.streams.close(want, kind)
    assert books.streams.stats()["suspect"] == 3
    assert books.streams.band(books.instrument.symbol) is not band
