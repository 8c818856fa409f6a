"""The configuration: the document's names, limits checked with their paths, secrets masked."""

import msgspec
import pytest

from crossfeed.errors import ConfigError
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.reconnect import Refusal


def test_the_documents_defaults() -> None:
    """The document's defaults."""
    config = WebSocketConfig(url="wss://stream.binance.com:9443/ws")
    assert config.heartbeat_interval == 30.0
    assert config.max_reconnect_attempts == 10
    assert config.on_exhausted == "fail"
    assert config.frame_bytes_max == 1024 * 1024
    assert config.label == "stream.binance.com"
    assert config.host == "stream.binance.com:9443"
    assert config.backoff.attempts_max == 10
    assert config.heartbeat.silence_max_s == 30.0
    assert config.make_send_budget().message_wait_ns(0) == 0


def test_it_is_frozen_and_has_keywords_only() -> None:
    """It is frozen and has keywords only."""
    config = WebSocketConfig(url="ws://h")
    with pytest.raises(AttributeError):
        config.url = "ws://other"
    with pytest.raises(TypeError):
        WebSocketConfig("ws://h")


def test_it_can_be_read_from_a_file_and_unknown_fields_are_refused() -> None:
    """It can be read from a file and unknown fields are refused."""
    config = msgspec.convert(
        {"url": "wss://h/", "heartbeat_interval": 20, "close_code_meanings": {4004: "passing"}},
        WebSocketConfig,
    )
    assert config.heartbeat_interval == 20.0
    assert config.close_code_meanings == {4004: Refusal.PASSING}
    with pytest.raises(msgspec.ValidationError, match="unknown field `heartbeat`"):
        msgspec.convert({"url": "wss://h/", "heartbeat": 20}, WebSocketConfig)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("url", {"url": "http://h/"}),
        ("url", {"url": "wss://"}),
        ("url", {"url": "wss://h:0/"}),
        ("url", {"url": "wss://h:99999/"}),
        ("url", {"url": "wss://[::1/"}),
        ("url", {"url": "wss://h/#part"}),
        ("url", {"url": "wss://h/a b"}),
        ("url", {"url": "wss://h/\r\nX: y"}),
        ("url", {"url": "wss://user:hunter2@h/"}),
        ("url", {"url": None}),
        ("alternate_urls[1]", {"alternate_urls": ("wss://a", "ftp://b")}),
        ("proxy", {"proxy": "ftp://h"}),
        ("heartbeat_interval", {"heartbeat_interval": -1}),
        ("heartbeat_interval", {"heartbeat_interval": float("nan")}),
        ("heartbeat_interval", {"heartbeat_interval": True}),
        ("heartbeat_interval", {"heartbeat_interval": 0, "ping_interval_s": 0}),
        ("ping_timeout_s", {"ping_timeout_s": 0}),
        ("max_reconnect_attempts", {"max_reconnect_attempts": -1}),
        ("max_reconnect_attempts", {"max_reconnect_attempts": "10"}),
        ("frame_bytes_max", {"frame_bytes_max": 0}),
        ("connect_timeout_s", {"connect_timeout_s": float("inf")}),
        ("on_exhausted", {"on_exhausted": "retry"}),
        ("decode", {"decode": "xml"}),
        ("backoff_cap_s", {"backoff_base_s": 6, "backoff_cap_s": 5}),
        ("app_ping", {"app_ping": "ping"}),
        ("app_ping", {"app_ping_interval_s": 5}),
        ("headers['a b']", {"headers": {"a b": "c"}}),
        ("headers['X']", {"headers": {"X": "a\r\nEvil: b"}}),
        ("headers['X']", {"headers": {"X": 5}}),
    ],
)
def test_what_cannot_work_is_refused_with_the_path_of_the_field(
    field: str, wrong: dict[str, object]
) -> None:
    """What cannot work is refused with the path of the field."""
    with pytest.raises(ConfigError) as caught:
        WebSocketConfig(**{"url": "wss://h/", **wrong})
    assert caught.value.field == field
    assert str(caught.value).startswith(field)
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.fault("T18")
def test_its_text_shows_no_secret_and_only_what_was_set() -> None:
    """Its text shows no secret and only what was set."""
    config = WebSocketConfig(
        url="wss://h/ws?token=hunter1",
        alternate_urls=("wss://b/ws?apiKey=hunter2",),
        headers={"X-Key": "hunter3"},
        proxy="http://me:hunter4@proxy:8080",
        ping_interval_s=7,
    )
    shown = repr(config)
    assert "hunter" not in shown
    assert "ping_interval_s=7" in shown
    assert "X-Key" in shown
    assert "frame_bytes_max" not in shown
    assert repr(WebSocketConfig(url="ws://h")) == "WebSocketConfig(url='ws://h')"
