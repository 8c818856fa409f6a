"""A frame that is not understood: whose value is not known to be true any more, and whose is."""

import pytest

from crossfeed.integrity.gaps import GapLedger
from crossfeed.model.commands import Resubscribe
from crossfeed.model.events import Quote
from crossfeed.model.output import Output
from crossfeed.model.trust import Trust
from crossfeed.runtime.native_core import make_core
from crossfeed.runtime.pipeline import PureCore
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.streams import StreamSet
from crossfeed.testing.events import EPOCH_NS
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.registry import find_venue
from crossfeed.venues.symbols import SymbolTable

SECOND_NS = 1_000_000_000
QUOTE = '{"stream":"%s@bookTicker","data":{"u":%d,"s":"%s","b":"%s","B":"1","a":"2.5","A":"1"}}'
LEVELS = '{"type":"%s","product_id":"%s",%s}'
IMAGE = '"bids":[["99","1"]],"asks":[["101","1"]]'


class Rig:
    """One connection of a venue, with all that comes of its frames."""

    def __init__(self, name, kinds, symbols, make):
        venue = find_venue(name)
        table, options = SymbolTable(name, venue.builtin()), CodecOptions()
        self.ledger = GapLedger()
        self.streams = StreamSet(venue, self.ledger, FeedSettings())
        self.core = make(venue.make_codec(table, options), self.streams, "line")
        wants = []
        for symbol in symbols:
            for kind in kinds:
                wants.append(venue.want(kind, symbol, options))
                self.streams.open(wants[-1], kind, table.get(symbol))
        self.out = Output()
        self.mono_ns = SECOND_NS
        self.streams.line_up("line", wants, EPOCH_NS, 0, self.out)
        self.core.codec.subscribe(wants, EPOCH_NS)

    def feed(self, *frames):
        for frame in frames:
            self.mono_ns += SECOND_NS // 10
            out = self.core.feed(frame.encode(), EPOCH_NS + self.mono_ns, self.mono_ns)
            self.out.events += out.events
            self.out.commands += out.commands
        return self

    def wait(self, seconds):
        self.mono_ns += int(seconds * SECOND_NS)
        self.streams.on_timer(EPOCH_NS + self.mono_ns, self.mono_ns, self.out)
        return self

    @property
    def trusts(self):
        return {
            (t.stream.channel, t.stream.symbol): (t.current.name, t.cause)
            for t in self.streams.trusts()
        }

    @property
    def asked(self):
        return [c.symbol for c in self.out.commands if isinstance(c, Resubscribe)]


@pytest.fixture(params=[PureCore, make_core], ids=["pure", "chosen"])
def rig_of(request):
    """Return a function that makes a connection, with the pure core and with the chosen one."""
    return lambda name, kinds, *symbols: Rig(name, kinds, symbols, request.param)


def quote(number, symbol="BTCUSDT", bid="2.4"):
    return QUOTE % (symbol.lower(), number, symbol, bid)


@pytest.mark.fault("D02")
def test_a_quote_with_an_empty_side_withdraws_the_last_one(rig_of):
    """Binance writes 0 for it: half a quote is none, but the whole one before it is over."""
    rig = rig_of("binance", ["book_ticker", "trade"], "BTCUSDT", "ETHUSDT")
    rig.feed(quote(1), quote(2, "ETHUSDT"))
    rig.feed(quote(3, bid="0.00000000"), quote(4, bid="0.00000000"))
    assert rig.trusts["book_ticker", "BTCUSDT"] == ("UNSOUND", "refused_gap")
    assert rig.trusts["book_ticker", "ETHUSDT"][0] == "SOUND"
    assert [(r.cause, str(r.state)) for r in rig.ledger.records()] == [("refused", "open")]
    rig.feed(quote(5))
    assert rig.trusts["book_ticker", "BTCUSDT"][0] == "SOUND"
    assert rig.out.events[-1].trust is Trust.SOUND
    assert [(r.cause, str(r.state)) for r in rig.ledger.records()] == [("refused", "snapshot")]


@pytest.mark.fault("D11")
@pytest.mark.parametrize(
    "lost",
    [
        LEVELS % ("l2update", "BTC-USD", '"changes":[["buy","99","NaN"]]'),
        LEVELS % ("l2update", "BTC-USD", '"changes":[["buy","-99","1"]]'),
        (LEVELS % ("l2update", "BTC-USD", '"changes":[["buy","99","1"]]'))[:-8],
    ],
)
def test_a_lost_change_of_an_unnumbered_book_starts_it_over(rig_of, lost):
    """Nothing that follows would tell: the book would be wrong, and called SOUND."""
    rig = rig_of("coinbase", ["book", "ticker", "trade"], "BTC-USD", "ETH-USD")
    images = [LEVELS % ("snapshot", symbol, IMAGE) for symbol in ("BTC-USD", "ETH-USD")]
    rig.feed(*images, lost)
    assert rig.trusts["book", "BTC-USD"] == ("UNSOUND", "refused")
    assert rig.trusts["book", "ETH-USD"][0] == "SOUND"
    assert rig.asked == ["BTC-USD"]
    rig.feed(images[0])
    assert rig.trusts["book", "BTC-USD"][0] == "SOUND"


def test_a_venue_that_is_not_understood_any_more_is_not_flooded(rig_of):
    """Each image is spoilt by the next update: after three at once it is asked ever more rarely."""
    rig = rig_of("coinbase", ["book"], "BTC-USD")
    image = LEVELS % ("snapshot", "BTC-USD", IMAGE)
    answered = -1
    for _ in range(600):
        rig.wait(0.1)
        if len(rig.asked) > answered:
            answered = len(rig.asked)
            rig.feed(image, LEVELS % ("l2update", "BTC-USD", '"changes":[["buy","99",[]]]'))
    assert 16 <= len(rig.asked) <= 20, "four at once, then after 0.25 s, 0.5 s ... 5 s"
    assert rig.trusts["book", "BTC-USD"] == ("UNSOUND", "refused")


@pytest.mark.parametrize(
    "frame",
    [
        '{"stream":"btcusdt@trade","data":{"s":"BTCUSDT","t":"x"}}',
        '{"stream":"btcusdt@depth@100ms","data":{"s":"BTCUSDT","U":"x"}}',
        '{"stream":"btcusdt@unheard","data":{"s":"BTCUSDT"}}',
        quote(9, "SOLUSDT", "0"),
        "BTCUSDT",
        "{",
    ],
)
def test_what_shows_by_itself_or_is_not_for_us_withdraws_nothing(rig_of, frame):
    """Numbers tell of a hole, with its range; unknown messages and symbols lose us nothing."""
    rig = rig_of("binance", ["trade", "depth", "book", "book_ticker"], "BTCUSDT")
    before = rig.feed(quote(1)).trusts
    rig.feed(frame)
    assert rig.streams.counters.invalid == 1
    assert rig.trusts == before
    assert list(rig.ledger.records()) == []


def test_a_gate_that_fails_spoils_no_later_frame() -> None:
    """What it failed at is not admitted again, with every frame from then on."""
    rig = Rig("binance", ["book_ticker"], ["BTCUSDT"], PureCore)
    gates = rig.core.gates
    gate, gates[Quote, "BTCUSDT"] = gates[Quote, "BTCUSDT"], object()
    with pytest.raises(AttributeError):
        rig.feed(quote(1))
    gates[Quote, "BTCUSDT"] = gate
    rig.feed(quote(2))
    assert [event.update_id for event in rig.out.events if isinstance(event, Quote)] == [2]
