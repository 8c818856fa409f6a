"""A log sink that blocks or fails costs lines, counted; it never costs time."""

import logging
import threading

import pytest

import crossfeed
from crossfeed.runtime import log_handler

DEADLINE_S = 10.0


class Sink(logging.Handler):
    """Keeps texts; blocks or fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.entered, self.free, self.came = (threading.Event() for _ in range(3))
        self.free.set()
        self.failures = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        assert self.free.wait(DEADLINE_S)
        if record.getMessage() == "bad":
            raise OSError(28, "No space left on device")
        self.texts.append(record.getMessage())
        self.came.set()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the library's
        self.failures += 1


@pytest.fixture
def logger():
    """Return a logger of our own that passes nothing on."""
    own = logging.getLogger("crossfeed.test_log_handler")
    own.propagate = False
    own.setLevel(logging.INFO)
    yield own
    own.handlers.clear()


def test_lines_arrive_in_order_with_their_text_made_at_once(logger):
    sink = Sink()
    handler = crossfeed.BackgroundLogHandler(sink)
    logger.addHandler(handler)
    value = [1]
    logger.info("value %s", value)
    value.append(2)
    logger.debug("below the level")
    logger.info("second")
    handler.close()
    assert sink.texts == ["value [1]", "second"]
    assert (handler.written, handler.dropped) == (2, 0)


@pytest.mark.fault("P12")
def test_a_sink_that_blocks_holds_nobody_up_and_its_lost_lines_are_counted(logger):
    sink = Sink()
    sink.free.clear()
    handler = crossfeed.BackgroundLogHandler(sink, capacity=10)
    logger.addHandler(handler)
    logger.info("first")
    assert sink.entered.wait(DEADLINE_S)  # the thread hangs in the sink
    for number in range(1_000):
        logger.info("line %d", number)
    assert handler.dropped == 990
    sink.free.set()
    handler.close()
    assert sink.texts == [
        "first",
        *(f"line {number}" for number in range(10)),
        "990 log lines were dropped: the sink did not keep up",
    ]


@pytest.mark.fault("P12")
def test_a_sink_that_blocks_for_ever_does_not_keep_the_process_from_ending(logger, monkeypatch):
    monkeypatch.setattr(log_handler, "CLOSE_DEADLINE_S", 0.05)
    sink = Sink()
    sink.free.clear()
    handler = crossfeed.BackgroundLogHandler(sink)
    logger.addHandler(handler)
    logger.info("stuck")
    assert sink.entered.wait(DEADLINE_S)
    handler.close()
    logger.info("after the end")
    assert handler.dropped == 1
    sink.free.set()


def test_a_sink_that_fails_is_told_and_used_again(logger):
    sink = Sink()
    handler = crossfeed.BackgroundLogHandler(sink)
    logger.addHandler(handler)
    logger.info("bad")
    logger.info("good")
    handler.close()
    handler.close()
    assert (sink.texts, sink.failures) == (["good"], 1)


def test_the_level_of_the_target_holds(logger):
    sink = Sink()
    sink.setLevel(logging.ERROR)
    handler = crossfeed.BackgroundLogHandler(sink)
    logger.addHandler(handler)
    logger.info("too low")
    logger.error("high enough")
    handler.close()
    assert sink.texts == ["high enough"]
