"""The player: hostile and broken records, losses, unknown feeds, old and new versions."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfeed.errors import ConfigError
from crossfeed.journal.format import SegmentHead, encode_block, encode_head
from crossfeed.journal.records import REPEATED, Loss, Record, RecordKind, encode_json, encode_record
from crossfeed.model.commands import Want
from crossfeed.model.trust import Trust
from crossfeed.runtime.player import Player, PlayerHooks
from crossfeed.runtime.replay import settings_of
from crossfeed.runtime.settings import FeedSettings
from crossfeed.testing.journal import RUN

NOW, MONO = 1_700_000_000_000_000_000, 5_000_000_000
WANT = Want("trade", "BTC/USD")
TRADE = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":64000.1,'
    b'"qty":0.5,"ord_type":"market","trade_id":%d,"timestamp":"2023-11-14T22:13:20.000000Z"}]}'
)
CONFIG = {"role": "feed", "venue": "kraken", "settings": {"backfill": "off"}}


class Heard(PlayerHooks):
    """Keeps what the player tells."""

    def __init__(self):
        self.events = []
        self.runs = 0

    def on_event(self, event):
        self.events.append(event)

    def on_run(self):
        self.runs += 1


def step(call, line="kraken-1", record_kind=RecordKind.CONTROL, **arguments):
    source = f"kraken/{line}" if line else "kraken"
    value = {"call": call, "now_ns": NOW, "mono_ns": MONO, **arguments}
    return encode_json(record_kind, source.encode(), value, NOW, MONO)


def frame(number, source=b"kraken/kraken-1"):
    return encode_record(RecordKind.FRAME_IN, source, TRADE % number, NOW + number, MONO + number)


def opening(line="kraken-1"):
    """Return the records that open one stream on one line."""
    instrument = {"venue": "kraken", "symbol": "BTC/USD", "base": "BTC", "quote": "USD"}
    return [
        encode_json(RecordKind.CONFIG, b"kraken", CONFIG, NOW, MONO),
        step("stream_open", "", want=WANT, kind="trade", instrument=instrument),
        step("core_open", line, record_kind=RecordKind.OPEN),
        step("line_up", line, wants=[WANT]),
        step("watch", line, want=WANT),
        step("subscribe", line, wants=[WANT]),
        step("subscribed", "", want=WANT),
    ]


def repeated(record):
    """Return a record as a later segment carries it."""
    return record[:2] + REPEATED.to_bytes(2, "little") + record[4:]


def journal(folder, records, *, number=1, run=RUN):
    """Store a segment with these records."""
    head = SegmentHead(number=number, run=run, wall_ns=NOW, mono_ns=MONO)
    block = encode_block(b"".join(records), len(records), 0, NOW, head.seed, 0)
    (folder / f"segment-{number:010d}.cfj").write_bytes(encode_head(head) + block)


def play(folder, **options):
    heard = Heard()
    player = Player(folder, heard, **options)
    for block in player.blocks():
        for record in block:
            player.play(record)
    return heard, player


def kinds(heard):
    return [event.data_type for event in heard.events]


def test_frames_of_an_open_stream_become_events(tmp_path):
    journal(tmp_path, [*opening(), frame(1), frame(2)])
    heard, player = play(tmp_path)
    assert kinds(heard).count("trade") == 2
    assert player.now_ns == NOW + 2
    assert player.feeds["kraken"].refused == 0


def test_loss_opens_a_gap_and_is_never_passed_over(tmp_path):
    loss = Loss(cause="overflow", first_ns=NOW, last_ns=NOW + 2, records=1, bytes=1)
    lost = encode_json(RecordKind.LOSS, b"", loss, NOW + 2, MONO + 2)
    journal(tmp_path, [*opening(), frame(1), lost, frame(3)])
    heard, player = play(tmp_path)
    assert player.interruptions == 1
    assert "gap" in kinds(heard)
    (gap,) = player.feeds["kraken"].gaps.records()
    assert (gap.first, gap.last) == (2, 2)
    assert player.losses == [loss]


def test_crash_of_the_run_before_interrupts_nothing(tmp_path):
    lost = encode_json(RecordKind.LOSS, b"", Loss(cause="crash"), NOW, MONO)
    journal(tmp_path, [lost, *opening(), frame(1)])
    assert play(tmp_path)[1].interruptions == 0


@pytest.mark.fault("F03")
def test_segments_that_are_gone_open_a_gap_and_are_never_passed_over(tmp_path):
    """The run goes on behind them, on a connection that was opened in what is gone."""
    journal(tmp_path, [*opening(), frame(1)])
    other = b"kraken/kraken-2"
    carried = [repeated(record) for record in opening(line="kraken-2")]
    journal(tmp_path, [*carried, frame(4, other), frame(5, other)], number=3)
    heard, player = play(tmp_path)
    assert (heard.runs, player.runs, player.interruptions) == (1, 1, 1)
    (gap,) = player.feeds["kraken"].gaps.records()
    assert (gap.first, gap.last) == (2, 3)
    told = [event for event in heard.events if event.data_type == "feed_status"]
    assert "journal_damage" in {status.cause for status in told}
    assert kinds(heard).count("trade") == 3
    trusts = [each.current for each in player.feeds["kraken"].streams.trusts()]
    assert trusts == [Trust.SOUND]
    (damage,) = [each for each in player.damages if each.reason == "segments missing"]
    assert damage.path == str(tmp_path / "segment-0000000002.cfj")
    assert (damage.after_ns, damage.before_ns) == (NOW + 1, NOW)


def test_run_that_ends_closes_its_streams(tmp_path):
    journal(tmp_path, [*opening(), frame(1)])
    journal(tmp_path, [*opening(), frame(9)], number=2, run=bytes(16))
    heard, player = play(tmp_path)
    assert heard.runs == player.runs == 2
    told = [event for event in heard.events if event.data_type == "feed_status"]
    assert "recorder_ended" in {status.cause for status in told}
    assert Trust.SOUND in {status.current for status in told}


def test_only_chosen_feeds_are_played(tmp_path):
    journal(tmp_path, [*opening(), frame(1), frame(2, b"stranger/x")])
    heard, player = play(tmp_path, feeds=["binance"])
    assert heard.events == []
    assert player.feeds == {}


@pytest.mark.fault("F09")
@pytest.mark.parametrize(
    "record",
    [
        step("no_such_step"),
        step("line_up"),
        step("line_up", wants="all"),
        step("__init__", wants=[WANT]),
        step("stream_open", want=WANT, kind="no_such_kind", instrument=None),
        step("refused", "", want={"channel": 5}, reason="x"),
        encode_record(RecordKind.CONTROL, b"kraken", b"[" * 100_000, NOW, MONO),
        encode_record(RecordKind.CONTROL, b"kraken", b"[]", NOW, MONO),
        encode_record(RecordKind.REST_ANSWER, b"kraken/x", b"\xff" * 9, NOW, MONO),
        encode_record(RecordKind.INSTRUMENTS, b"kraken", b"{}", NOW, MONO),
        encode_json(RecordKind.CONFIG, b"other", {"role": "feed", "venue": "../x"}, NOW, MONO),
        encode_record(200, b"kraken/kraken-1", b"", NOW, MONO),
    ],
)
def test_records_that_cannot_be_played_are_refused_alone(tmp_path, record):
    """A hostile or newer record costs itself, never the rest."""
    journal(tmp_path, [*opening(), frame(1), record, frame(2)])
    heard, player = play(tmp_path)
    assert kinds(heard).count("trade") == 2
    assert player.records == len(opening()) + 3


@pytest.mark.fault("F09")
@settings(max_examples=40)
@given(
    st.integers(0, 255),
    st.sampled_from([b"", b"kraken", b"kraken/kraken-1", b"kraken/\xff", b"aggregator"]),
    st.binary(max_size=60)
    | st.dictionaries(st.text(max_size=6), st.integers()).map(msgspec.json.encode),
)
def test_garbage_records_raise_nothing(tmp_path_factory, kind, source, payload):
    folder = tmp_path_factory.mktemp("g")
    journal(folder, [*opening(), encode_record(kind, source, payload, NOW, MONO), frame(1)])
    heard, _ = play(folder)
    assert "trade" in kinds(heard)


def test_settings_of_other_versions_are_understood():
    made = settings_of({"lines": 2, "from_the_future": 1, "api_key": "***"})
    assert made == FeedSettings(lines=2)
    assert settings_of(None) == FeedSettings()
    with pytest.raises(ConfigError):
        settings_of({"lines": "many"})


def test_kind_numbers_never_change():
    """They stand in every journal there is."""
    assert [(kind.name, kind.value) for kind in RecordKind] == [
        ("FRAME_IN", 1), ("FRAME_OUT", 2), ("REST_REQUEST", 3), ("REST_ANSWER", 4), ("OPEN", 5),
        ("CLOSE", 6), ("TIMER", 7), ("INSTRUMENTS", 8), ("CONFIG", 9), ("LOSS", 10),
        ("CONTROL", 11), ("END", 12),
    ]  # fmt: skip
    assert Record(1, "a", b"", 0, 0).flags == 0
