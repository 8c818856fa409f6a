"""REST answers of history: those of a survey of the whole journal, without reading all of it."""

import asyncio
import threading
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest

from crossfeed.errors import ConfigError, JournalError
from crossfeed.journal.compression import Codec
from crossfeed.journal.folder import segment_name
from crossfeed.journal.format import SegmentHead, encode_block, encode_head
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import (
    REPEATED,
    RecordKind,
    encode_json,
    encode_record,
    join_body,
)
from crossfeed.model.commands import RestRequest
from crossfeed.runtime import replay_answers, replay_feed, replay_server, replay_survey
from crossfeed.runtime.replay_answers import Answers
from crossfeed.runtime.replay_server import ReplayServer
from crossfeed.runtime.replay_survey import AnswerReader, Surveyor, recorded_answer
from crossfeed.runtime.seek import warm_up_for
from crossfeed.simulator.http import Request
from crossfeed.transport.http import HttpClient

NS = 1_000_000_000
HOUR_NS = 3_600 * NS
WINDOW = 400
BLOCK_RECORDS_MAX = 200
VENUES = ["binance", "coinbase", "kraken"]


@pytest.fixture
def small_window(monkeypatch):
    """Let a recording of seconds be a long one."""
    for module in (replay_survey, replay_feed):
        monkeypatch.setattr(module, "WINDOW_RECORDS", WINDOW)
    monkeypatch.setattr(replay_server, "QUIET_S", 0.0)


def asked(request, **changed):
    query = urlencode({**dict(request.query), **changed})
    return Request("GET", request.path, query, {})


async def answer_of(feed, request):
    said = feed.handle(request, "test", 0)
    return await said if asyncio.iscoroutine(said) else said


def answered_with(feed, answers, request):
    """Return what a feed's server answers if it has these answers."""
    own, feed.answers = feed.answers, answers
    try:
        return feed.handle(request, "test", 0)
    finally:
        feed.answers = own


def surveyed_fully(folder, feed, start_ns):
    """Read the whole journal; return all answers, and where each request was answered first."""
    answers, places, place = Answers(start_ns), {}, 0
    begin = warm_up_for(Journal(folder), start_ns) if start_ns else SimpleNamespace(segment=0)
    for record in Journal(folder).records(first_segment=begin.segment):
        if record.kind == RecordKind.REST_ANSWER and record.feed == feed:
            found = recorded_answer(record)
            answers.keep(found.request, found.at_ns, found.status, found.body)
            # Of those before the moment the last one stands.
            places.setdefault((found.request.path, found.request.query), (found.request, place))
        place += 1
    return answers, list(places.values()), place


def moment_in(folder, share):
    begin_ns, end_ns = Journal(folder).span()
    return round(begin_ns + share * (end_ns - begin_ns)) if share else 0


@pytest.mark.usefixtures("small_window")
@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
async def test_answers_are_those_of_a_full_survey(live, monkeypatch, venue, share):
    """At each moment of history, to all that is asked around it, and to what beginners ask."""
    start_ns = moment_in(live.folder, share)
    full, asked_at, records = surveyed_fully(live.folder, venue, start_ns)
    compared, kept = set(), []

    async def compare(feed, session):
        for number, (request, place) in enumerate(asked_at):
            # What the survey met stands for ever; the rest comes and goes.
            reach = WINDOW - BLOCK_RECORDS_MAX
            if abs(place - session.passed) < reach or request.purpose == "instruments":
                wanted = answered_with(feed, full, asked(request))
                assert await answer_of(feed, asked(request)) == wanted
                compared.add(number)
        kept.append(sum(len(each) for each in feed.answers._by_path.values()))

    play = ReplayServer._play_block

    async def played(self, feed, session, block):
        await compare(feed, session)
        is_on = await play(self, feed, session, block)
        await compare(feed, session)
        return is_on

    monkeypatch.setattr(ReplayServer, "_play_block", played)
    async with ReplayServer(live.folder, speed=0.0, start=start_ns) as server:
        feed = server._served[venue]
        for request, place in asked_at[:3]:
            if place < WINDOW - BLOCK_RECORDS_MAX:
                for each in (asked(request), asked(request, limit="7")):
                    assert await answer_of(feed, each) == answered_with(feed, full, each)
        session = feed.connect(Request("GET", "/stream", "", {}), "test", 0)
        feed.begun.add(session)
        await server._play(feed, session)
    assert session.passed == records
    assert compared == set(range(len(asked_at)))
    if venue != "kraken" and not share:
        assert max(kept) < len(asked_at)  # what comes later was not read, what is past is gone


@pytest.mark.usefixtures("small_window")
async def test_a_client_that_begins_later_gets_what_others_have_passed(live):
    full, asked_at, _ = surveyed_fully(live.folder, "coinbase", 0)
    async with ReplayServer(live.folder, speed=0.0) as server:
        feed = server._served["coinbase"]
        before = feed.answers.instruments()
        for _ in range(2):
            session = feed.connect(Request("GET", "/", "", {}), "test", 0)
            feed.begun.add(session)
            await server._play(feed, session)
            session.finish("over", 0)
        late = feed.connect(Request("GET", "/", "", {}), "test", 0)
        feed.begun.add(late)
        request, place = next(each for each in asked_at if each[1] > WINDOW + BLOCK_RECORDS_MAX)
        seen = []

        async def look(_feed, session, _block):
            if abs(place - session.passed) < BLOCK_RECORDS_MAX:
                seen.append(await answer_of(feed, asked(request)))
            return True

        server._play_block = look
        await server._play(feed, late)
        assert feed.answers.instruments() is before
    assert set(map(repr, seen)) == {repr(answered_with(feed, full, asked(request)))}


def test_only_blocks_with_answers_are_taken_apart(live):
    everything = [
        record
        for record in Journal(live.folder).records()
        if record.kind in {RecordKind.REST_ANSWER, RecordKind.CONFIG}
    ]
    reader = AnswerReader(live.folder)
    assert [each for _, block in reader.blocks() for each in block] == everything
    assert reader.passed == sum(1 for _ in Journal(live.folder).records())


@pytest.mark.usefixtures("small_window")
def test_survey_reads_a_window_and_no_more(live, monkeypatch):
    """Whatever the length of the journal."""
    monkeypatch.setattr(replay_survey, "OPENING_RECORDS", 10)
    read, reader = [], AnswerReader._decode

    def decode(self, raw, count, *rest):
        read.append(count)
        return reader(self, raw, count, *rest)

    monkeypatch.setattr(AnswerReader, "_decode", decode)
    told = []
    survey = Surveyor(live.folder, 0, 0, lambda *each: told.append(each)).take()
    assert list(survey.venues) == VENUES
    assert sum(read) < WINDOW + 5 * BLOCK_RECORDS_MAX < live.stats.records / 2
    assert told[-1][0] <= told[-1][1]


def store(folder, number, run, *records):
    """Store the segment of one hour."""
    head = SegmentHead(number=number, run=run, wall_ns=number * HOUR_NS, mono_ns=number * HOUR_NS)
    blocks = [
        encode_block(record, 1, place, number * HOUR_NS, head.seed, Codec.ZLIB)
        for place, record in enumerate(records)
    ]
    (folder / segment_name(number)).write_bytes(encode_head(head) + b"".join(blocks))


def configured(feed, number, venue="", flags=0):
    config = {"role": "feed", "venue": venue or feed}
    at_ns = number * HOUR_NS
    return encode_json(RecordKind.CONFIG, feed.encode(), config, at_ns, at_ns, flags)


def listed(feed, number, body):
    request = RestRequest(purpose="instruments", path="/products")
    payload = join_body({"request": request, "status": 200}, body)
    at_ns = number * HOUR_NS
    return encode_record(RecordKind.REST_ANSWER, feed.encode(), payload, at_ns, at_ns)


def test_feeds_and_instruments_are_found_where_recorders_began(tmp_path):
    """Also of a moment long after; those of the moment's own run come first."""
    first, second, third = (bytes([number] * 16) for number in (1, 2, 3))
    frame = encode_record(RecordKind.FRAME_IN, b"kraken/1", b"{}", 5 * HOUR_NS + 1, 5 * HOUR_NS + 1)
    store(tmp_path, 1, first, configured("kraken", 1), listed("kraken", 1, b"old"))
    store(tmp_path, 2, first, configured("kraken", 1, flags=REPEATED))
    store(tmp_path, 3, second, configured("kraken", 3), listed("kraken", 3, b"own"))
    store(tmp_path, 4, second, frame)
    again = (configured(feed, 4, flags=REPEATED) for feed in ("kraken", "coinbase"))
    store(tmp_path, 5, second, *again, frame)
    store(tmp_path, 6, third, configured("moon", 6), listed("coinbase", 6, b"later"))
    (tmp_path / segment_name(7)).write_bytes(b"no segment")
    survey = Surveyor(tmp_path, 5 * HOUR_NS + 1, 0, lambda *_: None).take()
    assert survey.first_segment == 4  # with its margin
    assert survey.venues == {"kraken": "kraken", "coinbase": "coinbase", "moon": "moon"}
    found = {name: answers.instruments().body for name, answers in survey.answers.items()}
    assert found == {"kraken": b"own", "coinbase": b"later"}


async def test_what_cannot_be_read_ahead_leaves_what_is_known(live, monkeypatch):
    async def unreadable(_ahead, _passed):
        raise JournalError("Input/output error")

    monkeypatch.setattr(replay_survey.Lookahead, "reach", unreadable)
    async with ReplayServer(live.folder) as server:
        feed = server._served["kraken"]
        session = feed.connect(Request("GET", "/", "", {}), "test", 0)
        feed.begun.add(session)
        session.passed = 1
        async with HttpClient(server.rest_url("kraken"), name="x") as http:
            assert (await http.get("/nothing")).status == 404
            assert (await http.get("/0/public/AssetPairs", query=(("x", "1"),))).status == 200


# ── what is kept ──────────────────────────────────────────────────────────────


def request_of(number, path="/trades"):
    return RestRequest(purpose="backfill", path=path, query=(("fromId", str(number)),))


def bodies(answers, path="/trades"):
    return [answer.body for answer in answers.all_for(path)]


def test_last_answer_before_the_moment_stands_else_the_first():
    answers = Answers(10)
    for at_ns, body in ((5, b"a"), (10, b"b"), (15, b"c")):
        answers.keep(request_of(1), at_ns, 200, body)
    for at_ns, body in ((15, b"d"), (20, b"e")):
        answers.keep(request_of(2), at_ns, 200, body)
    assert bodies(answers) == [b"b", b"d"]
    answers.keep_late(request_of(1), 30, 200, b"f", 0)
    answers.keep_late(request_of(3), 9, 200, b"g", 0)
    assert bodies(answers) == [b"b", b"d"]


def test_late_answers_come_by_their_place_and_go_when_all_have_passed():
    answers = Answers(0)
    answers.keep_late(request_of(1), 50, 200, b"second", 500)
    answers.keep_late(request_of(1), 60, 200, b"third", 600)
    answers.keep_late(request_of(1), 40, 200, b"first", 400)
    answers.keep_late(request_of(2), 70, 200, b"other", 700)
    assert bodies(answers) == [b"first", b"other"]
    answers.forget_passed(450)
    assert bodies(answers) == [b"first", b"other"]  # read after one that is still ahead
    answers.forget_passed(501)
    assert bodies(answers) == [b"other"]
    answers.forget_passed(701)
    assert answers.all_for("/x/trades") == []
    assert answers.left_out == 0


def test_what_does_not_fit_is_counted(monkeypatch):
    """The beginning stands; of the rest what was read longest ago goes."""
    monkeypatch.setattr(replay_answers, "ANSWERS_BYTES_MAX", 10)
    answers = Answers(0)
    answers.keep(request_of(0), 1, 200, b"1234")
    answers.keep(request_of(9), 1, 200, b"1234567")
    assert (bodies(answers), answers.left_out) == ([b"1234"], 1)
    for number in (1, 2, 3):
        answers.keep_late(request_of(number), 5, 200, b"abc", number)
    assert (bodies(answers), answers.left_out) == ([b"1234", b"abc", b"abc"], 2)
    answers.keep_late(request_of(4), 5, 200, b"too long", 4)
    assert (bodies(answers), answers.left_out) == ([b"1234"], 5)


# ── seeking ───────────────────────────────────────────────────────────────────


class Held:
    """Lets surveys wait until they are let go; they must be in another thread."""

    def __init__(self, monkeypatch):
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.taken, take = [], Surveyor.take

        def held(surveyor):
            assert threading.current_thread() is not threading.main_thread()
            self.taken.append(surveyor)
            self.begun.release()
            assert self.go.acquire(timeout=20)
            return take(surveyor)

        monkeypatch.setattr(Surveyor, "take", held)

    async def wait(self):
        assert await asyncio.to_thread(self.begun.acquire, timeout=20)


async def test_seeks_come_one_after_the_other_and_hold_nobody_up(calm, monkeypatch):
    first_ns, second_ns = moment_in(calm.folder, 0.3), moment_in(calm.folder, 0.6)
    async with ReplayServer(calm.folder) as server:
        feed = server._served["coinbase"]
        early = feed.connect(Request("GET", "/", "", {}), "test", 0)
        held = Held(monkeypatch)
        seeks = [asyncio.ensure_future(server.seek(ns)) for ns in (first_ns, second_ns)]
        await held.wait()
        assert len(held.taken) == 1
        assert server.start_ns == 0
        before = feed.answers
        during = feed.connect(Request("GET", "/", "", {}), "test", 0)  # where the others are
        held.go.release()
        await seeks[0]
        assert server.start_ns == first_ns
        assert (early.is_over, during.is_over) == (True, True)
        assert feed.answers is not before
        between = feed.connect(Request("GET", "/", "", {}), "test", 0)
        await held.wait()
        held.go.release()
        await seeks[1]
        assert (server.start_ns, between.is_over) == (second_ns, True)


async def test_a_seek_that_fails_moves_nobody(calm, monkeypatch):
    _, end_ns = Journal(calm.folder).span()
    async with ReplayServer(calm.folder) as server:
        feed = server._served["kraken"]
        client = feed.connect(Request("GET", "/", "", {}), "test", 0)
        before = feed.answers
        with pytest.raises(ConfigError, match="nothing was recorded then"):
            await server.seek(end_ns + NS)

        def unreadable(surveyor):
            raise JournalError(f"{surveyor._folder}: Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(Surveyor, "take", unreadable)
            with pytest.raises(JournalError):
                await server.seek(end_ns)
        assert (server.start_ns, client.is_over) == (0, False)
        assert feed.answers is before
        await server.seek(end_ns)  # the next one is not held up
        assert (server.start_ns, client.is_over) == (end_ns, True)


async def test_whoever_closes_during_a_seek_does_not_wait_for_it(calm, monkeypatch):
    server = ReplayServer(calm.folder, control_port=0)
    async with server:
        held = Held(monkeypatch)
        reader, writer = await asyncio.open_connection("127.0.0.1", server._control.port)
        writer.write(b"POST /seek?to=%d HTTP/1.1\r\nHost: x\r\n\r\n" % moment_in(calm.folder, 0.5))
        await held.wait()
    assert held.taken[0]._over.is_set()
    assert await reader.read() == b""
    assert server.start_ns == 0
    writer.close()
    held.go.release()


async def test_surveys_are_shown_while_they_are_taken(calm):
    shown = []

    class Bar:
        def __enter__(self):
            shown.append("begin")
            return lambda done, total: shown.append((done, total))

        def __exit__(self, *_):
            shown.append("end")

    async with ReplayServer(calm.folder, progress=Bar) as server:
        assert (shown[0], shown[-1]) == ("begin", "end")
        assert (1, 1) in shown or len(shown) > 3
        shown.clear()
        await server.seek(moment_in(calm.folder, 0.5))
        assert (shown[0], shown[-1]) == ("begin", "end")
