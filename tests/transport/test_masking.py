"""Text for logs: escaped, masked, limited."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.transport.masking import LogLimiter, escape, mask_url


@pytest.mark.fault("C05", "D12")
@given(text=st.one_of(st.text(), st.binary()))
def test_escaped_text_is_one_short_printable_line(text: str | bytes) -> None:
    """Escaped text is one short printable line."""
    shown = escape(text, 80)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 80


def test_escaping_is_readable() -> None:
    """Escaping is readable, done once or twice."""
    assert escape("ok\nERROR forged") == "ok\\x0aERROR forged"
    assert escape(escape("twice\n")) == "twice\\x0a"
    assert escape("x" * 100, 10) == "xxxxxxx..."
    assert escape("\ud800") == "\\xed\\xa0\\x80"


@pytest.mark.fault("T18")
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://host/ws", "wss://host/ws"),
        ("http://user:hunter2@proxy:3128", "http://***@proxy:3128"),
        (
            "wss://host/ws?listenKey=abc&streams=btcusdt@trade/x",
            "wss://host/ws?listenKey=***&streams=btcusdt@trade/x",
        ),
        ("wss://host/ws?signature=abc&timestamp=1", "wss://host/ws?signature=***&timestamp=1"),
        ("wss://host/ws?TOKEN=a%20b", "wss://host/ws?TOKEN=***"),
        ("http://[broken", "(malformed URL)"),
        ("wss://host/a\nb", "wss://host/ab"),
    ],
)
def test_secrets_in_urls_are_masked(url: str, shown: str) -> None:
    """Secrets in urls are masked."""
    assert mask_url(url) == shown


def test_lines_are_limited_and_the_rest_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Lines are limited and the rest counted."""
    log = LogLimiter(logging.getLogger("test.transport"), lines_max=3)
    lines = [f"line {number}" for number in range(100)]
    with caplog.at_level(logging.INFO, "test.transport"):
        log.log(logging.DEBUG, "not enabled", 0)
        for number in range(100):
            log.log(logging.INFO, lines[number], number)
        assert log.suppressed == 97
        log.log(logging.INFO, "forged\nline", 10**9)
    assert caplog.messages == [
        "line 0",
        "line 1",
        "line 2",
        "(97 lines were held back)",
        "forged\\x0aline",
    ]
