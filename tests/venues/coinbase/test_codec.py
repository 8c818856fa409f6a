"""The Exchange codec beyond its golden samples: long requests, chains of refusals, keys, `full`."""

import base64
import hashlib
import hmac
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import ConfigError, DecodeError, UnsupportedChannelError
from crossfeed.model.commands import Acknowledged, Refused, Send, VenueNotice, Want
from crossfeed.model.events import BookDelta, BookSnapshot, OrderEvent, Trade
from crossfeed.model.output import Output
from crossfeed.model.sequencing import SnapshotSource, Verdict
from crossfeed.model.trust import Integrity, Mark, Side, Trust
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.coinbase import VENUE
from crossfeed.venues.coinbase.codec import CoinbaseCodec
from crossfeed.venues.symbols import SymbolTable

KEYS = CodecOptions(api_key="my-key", api_secret="c2VjcmV0", api_passphrase="my-pass")
MATCH = (
    b'{"type":"match","trade_id":%d,"sequence":%d,"maker_order_id":"m","taker_order_id":"t",'
    b'"time":"2026-04-07T14:30:02.789012Z","product_id":"BTC-USD","size":"1","price":"2",'
    b'"side":"sell"}'
)


def codec_of(options: CodecOptions | None = None) -> CoinbaseCodec:
    """Make a codec."""
    codec = CoinbaseCodec(SymbolTable("coinbase", VENUE.builtin()), options or CodecOptions())
    codec.on_open()
    return codec


def feed(codec: CoinbaseCodec, *frames: bytes) -> Output:
    """Decode frames into one output."""
    out = Output()
    for frame in frames:
        codec.receive(frame, 1, 2, out)
    return out


class Server:
    """Answers subscriptions as the venue does: one unknown product spoils its whole request."""

    def __init__(self, bad: set[str]) -> None:
        self.bad = bad
        self.subscribed: set[tuple[str, str]] = set()
        self.requests = 0

    def answer(self, request: bytes) -> list[bytes]:
        """Return the frames that answer one request."""
        self.requests += 1
        message = json.loads(request)
        pairs = [
            (channel["name"], product)
            for channel in message["channels"]
            for product in channel.get("product_ids", [""])
        ]
        frames: list[dict[str, object]] = []
        spoiler = next((product for _, product in pairs if product in self.bad), None)
        if spoiler is not None:
            reason = f"{spoiler} is not a valid product"
            frames.append({"type": "error", "message": "Failed to subscribe", "reason": reason})
        elif message["type"] == "subscribe":
            self.subscribed |= set(pairs)
        else:
            self.subscribed -= set(pairs)
        echo = {"level2_batch": "level2_50", "ticker_batch": "ticker_1000"}
        names = sorted({channel for channel, _ in self.subscribed})
        channels = [
            {
                "name": echo.get(name, name),
                "product_ids": sorted(p for c, p in self.subscribed if c == name and p),
            }
            for name in names
        ]
        frames.append({"type": "subscriptions", "channels": channels})
        return [json.dumps(frame).encode() for frame in frames]


def converse(codec: CoinbaseCodec, server: Server, frames: list[bytes]) -> Output:
    """Play the requests to the server, and its answers back, until both are silent."""
    out = Output()
    waiting = list(frames)
    for _ in range(2000):
        if not waiting:
            return out
        for answer in server.answer(waiting.pop(0)):
            step = feed(codec, answer)
            waiting += [c.payload for c in step.commands if isinstance(c, Send)]
            out.commands += step.commands
    pytest.fail("the conversation does not end")


PRODUCTS = st.sets(st.sampled_from([f"P{n}-USD" for n in range(12)]), min_size=1)


@given(
    good=PRODUCTS,
    bad=PRODUCTS,
    channels=st.sets(st.sampled_from(["matches", "ticker"]), min_size=1),
)
def test_bad_products_never_cost_the_good_ones(good, bad, channels):
    """However many products are refused, the rest is subscribed, in bounded requests."""
    codec, server = codec_of(), Server(bad)
    wants = [
        Want(channel, product) for product in sorted(good | bad) for channel in sorted(channels)
    ]
    out = converse(codec, server, codec.subscribe(wants, 0))
    acknowledged = [w for c in out.commands if isinstance(c, Acknowledged) for w in c.wants]
    refused = [w for c in out.commands if isinstance(c, Refused) for w in c.wants]
    assert sorted(acknowledged, key=str) == sorted(
        (want for want in wants if want.symbol not in bad), key=str
    )
    assert sorted(refused, key=str) == sorted(
        (want for want in wants if want.symbol in bad), key=str
    )
    assert server.requests <= len(bad) + 1
    assert {want.symbol for want in codec.asked()} == good - bad


def test_resubscription_and_removal_over_the_wire():
    """Unsubscribe and subscribe are confirmed separately; at the end nothing is subscribed."""
    codec, server, want = codec_of(), Server(set()), Want("matches", "BTC-USD")
    frames = codec.subscribe([want], 0)
    frames += codec.unsubscribe([want], 0)
    frames += codec.subscribe([want], 0)
    frames += codec.unsubscribe([want], 0)
    out = converse(codec, server, frames)
    assert [c.is_removal for c in out.commands if isinstance(c, Acknowledged)] == [
        False,
        True,
        False,
        True,
    ]
    assert not server.subscribed


def test_many_products_are_split():
    """A request holds at most 100 channel-product pairs."""
    codec = codec_of()
    wants = [Want("matches", f"P{number}-USD") for number in range(250)]
    frames = [json.loads(frame) for frame in codec.subscribe(wants, 0)]
    sizes = [len(frame["channels"][0]["product_ids"]) for frame in frames]
    assert sizes == [100, 100, 50]


def test_refused_unsubscription_is_a_notice():
    """An error about an unsubscribe refuses nothing that is wanted."""
    codec = codec_of()
    want = Want("matches", "BTC-USD")
    codec.unsubscribe([want, Want("ticker", "BTC-USD")], 0)
    out = feed(codec, b'{"type":"error","message":"Failed to unsubscribe","reason":"matches"}')
    notice, again = out.commands
    assert isinstance(notice, VenueNotice)
    assert isinstance(again, Send)
    assert json.loads(again.payload)["type"] == "unsubscribe"


def test_batch_notice_comes_once():
    """That books come in batches is said on the first acknowledgement only."""
    codec, server = codec_of(), Server(set())
    first = converse(codec, server, codec.subscribe([Want("level2_batch", "BTC-USD")], 0))
    second = converse(codec, server, codec.subscribe([Want("level2_batch", "ETH-USD")], 0))
    codec.on_open()
    third = converse(codec, Server(set()), codec.subscribe(codec.asked(), 0))
    notices = [
        command
        for out in (first, second, third)
        for command in out.commands
        if isinstance(command, VenueNotice)
    ]
    assert [notice.is_error for notice in notices] == [False]


# ── keys ──────────────────────────────────────────────────────────────────────


def test_signature_is_the_documented_one():
    """The signature is over timestamp, GET and the verify path, with the decoded secret."""
    (frame,) = codec_of(KEYS).subscribe([Want("level2", "BTC-USD")], 1_790_000_000_999_999_999)
    message = json.loads(frame)
    digest = hmac.new(b"secret", b"1790000000GET/users/self/verify", hashlib.sha256).digest()
    assert message["signature"] == base64.b64encode(digest).decode()
    assert (message["key"], message["passphrase"]) == ("my-key", "my-pass")


@pytest.mark.parametrize(
    ("secret", "passphrase", "field"),
    [("", "p", "api_key"), ("c2VjcmV0", "", "api_key"), ("no base64!", "p", "api_secret")],
)
def test_incomplete_keys_are_refused(secret, passphrase, field):
    """What is missing is said before anything is sent, and the secret is not repeated."""
    options = CodecOptions(api_key="my-key", api_secret=secret, api_passphrase=passphrase)
    with pytest.raises(ConfigError) as caught:
        codec_of(options)
    assert caught.value.field == field
    assert not secret or secret not in str(caught.value)


def test_secrets_do_not_show():
    """Neither the codec nor what signs for it shows a secret."""
    codec = codec_of(KEYS)
    shown = f"{codec!r} {codec.options!r} {vars(codec)!r}"
    assert "c2VjcmV0" not in shown
    assert "my-pass" not in shown


def test_kinds_and_keys():
    """Books need no key but take the better channel with one; `full` needs one and says so."""
    keyless = CodecOptions()
    for kind in ("book", "book_ticker", "level2"):
        assert VENUE.want(kind, "BTC-USD", keyless) == Want("level2_batch", "BTC-USD")
        assert VENUE.want(kind, "BTC-USD", KEYS) == Want("level2", "BTC-USD")
    assert VENUE.want("level2_batch", "BTC-USD", KEYS) == Want("level2_batch", "BTC-USD")
    assert VENUE.want("status", "BTC-USD", keyless) == Want("status", "")
    assert VENUE.want("full", "BTC-USD", KEYS) == Want("full", "BTC-USD")
    with pytest.raises(UnsupportedChannelError, match=r"api_key.*or use 'book'"):
        VENUE.want("full", "BTC-USD", keyless)


# ── the order-by-order feed ───────────────────────────────────────────────────


def test_match_serves_what_is_asked():
    """With `full` alone a match is an order event, with `matches` alone a trade, else both."""
    full, matches = Want("full", "BTC-USD"), Want("matches", "BTC-USD")
    codec = codec_of(KEYS)
    codec.subscribe([full], 0)
    assert [type(event) for event in feed(codec, MATCH % (1, 1)).events] == [OrderEvent]
    codec.subscribe([matches], 0)
    assert [type(event) for event in feed(codec, MATCH % (2, 2)).events] == [Trade, OrderEvent]
    codec.unsubscribe([full], 0)
    assert [type(event) for event in feed(codec, MATCH % (3, 3)).events] == [Trade]


def test_last_match_is_no_order_event():
    """The trade before the subscription is history for `matches` and nothing for `full`."""
    codec = codec_of(KEYS)
    codec.subscribe([Want("full", "BTC-USD"), Want("matches", "BTC-USD")], 0)
    (event,) = feed(codec, (MATCH % (1, 1)).replace(b"match", b"last_match", 1)).events
    assert isinstance(event, Trade)
    assert event.marks is Mark.HISTORY


def test_match_that_is_no_order_event_changes_nothing():
    """A match without a maker's order is refused whole where `full` needs it."""
    codec = codec_of(KEYS)
    codec.subscribe([Want("full", "BTC-USD"), Want("matches", "BTC-USD")], 0)
    out = Output()
    with pytest.raises(DecodeError):
        codec.receive((MATCH % (1, 1)).replace(b'"sequence":1', b'"sequence":-1'), 1, 2, out)
    assert not out.events


@pytest.mark.parametrize(("timestamp", "ts_ns"), [("", 0), ('"timestamp":12,', 0)])
def test_activation_without_a_time(timestamp, ts_ns):
    """An `activate` whose time is missing or odd has none."""
    codec = codec_of(KEYS)
    codec.subscribe([Want("full", "BTC-USD")], 0)
    frame = f'{{"type":"activate",{timestamp}"product_id":"BTC-USD","order_id":"o","side":"buy"}}'
    (event,) = feed(codec, frame.encode()).events
    assert event.ts_event_ns == ts_ns


def test_activation_with_a_broken_time_is_refused():
    """A time that is no number is refused."""
    codec = codec_of(KEYS)
    codec.subscribe([Want("full", "BTC-USD")], 0)
    frame = (
        b'{"type":"activate","timestamp":"x","product_id":"BTC-USD","order_id":"o","side":"buy"}'
    )
    with pytest.raises(DecodeError):
        feed(codec, frame)


def test_frames_are_let_go():
    """With keep_raw off no event keeps its frame."""
    codec = codec_of(msgspec.structs.replace(KEYS, keep_raw=False))
    codec.subscribe([Want("full", "BTC-USD"), Want("matches", "BTC-USD")], 0)
    trade, order = feed(codec, MATCH % (1, 1)).events
    assert trade.raw is order.raw is None
    assert order.data["price"] == "2"


def test_orders_are_fetched_for_full_only():
    """The stream brings the books; only `full` begins with a REST snapshot."""
    codec = codec_of(KEYS)
    codec.subscribe([Want("level2", "BTC-USD")], 0)
    assert codec.snapshot_request("BTC-USD", 1, 0) is None
    codec.subscribe([Want("full", "ETH-USD")], 0)
    request = codec.snapshot_request("ETH-USD", 7, 0)
    assert request is not None
    assert (request.path, request.query) == ("/products/ETH-USD/book", (("level", "3"),))
    assert (request.epoch, request.channel) == (7, "full")


# ── book rules ────────────────────────────────────────────────────────────────


def header():
    """Return the first fields of an event made by hand."""
    return ("coinbase", "BTC-USD", "", 0, 0, 0, 0, Mark.NONE, Integrity.NONE, Trust.SOUND, None, 0)


def test_level2_rule_takes_everything():
    """Nothing is numbered: every update after a snapshot counts."""
    rule = VENUE.book_rule(Want("level2_batch", "BTC-USD"))
    snapshot = BookSnapshot(*header(), [], [], 0, None)
    delta = BookDelta(*header(), [], [], 0, 0, 0, None)
    assert (rule.integrity, rule.snapshot_source) == (Integrity.NONE, SnapshotSource.STREAM)
    assert rule.bridge(snapshot, delta) is rule.follow(0, delta) is Verdict.APPLY
    assert rule.verify(None, None) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "bridged", "followed"),
    [
        (9, Verdict.OLD, Verdict.OLD),
        (10, Verdict.OLD, Verdict.OLD),
        (11, Verdict.APPLY, Verdict.APPLY),
        (12, Verdict.EARLY, Verdict.GAP),
    ],
)
def test_full_rule_counts(number, bridged, followed):
    """Numbers run by one from the snapshot's."""
    rule = VENUE.book_rule(Want("full", "BTC-USD"))
    snapshot = BookSnapshot(*header(), [], [], 10, None)
    delta = BookDelta(*header(), [], [], number, number, 0, None)
    assert (rule.integrity, rule.snapshot_source) == (Integrity.SEQUENCED, SnapshotSource.REST)
    assert rule.depth_limit == 0
    assert rule.bridge(snapshot, delta) is bridged
    assert rule.follow(10, delta) is followed
    assert rule.verify(None, None) is None  # type: ignore[arg-type]


# ── numbers ───────────────────────────────────────────────────────────────────


@given(
    price=st.decimals("0.00000001", "9999999", places=8),
    size=st.decimals("0.00000001", "9999999", places=8),
    side=st.sampled_from(["buy", "sell"]),
)
def test_numbers_survive(price, size, side):
    """The float is the nearest one, `exact` is the text, the side is the taker's."""
    codec = codec_of()
    codec.subscribe([Want("matches", "BTC-USD")], 0)
    frame = {
        "type": "match",
        "trade_id": 1,
        "side": side,
        "size": f"{size:f}",
        "price": f"{price:f}",
        "product_id": "BTC-USD",
        "time": "2026-04-07T14:30:02.789012Z",
    }
    (event,) = feed(codec, json.dumps(frame).encode()).events
    assert isinstance(event, Trade)
    assert (event.price, event.quantity) == (float(price), float(size))
    assert event.exact == {"price": price, "quantity": size}
    assert event.side is (Side.SELL if side == "buy" else Side.BUY)
