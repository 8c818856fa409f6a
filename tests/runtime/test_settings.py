"""Settings: what cannot work is refused with its field, secrets are never shown."""

import pytest
from msgspec.structs import asdict

from crossfeed.errors import ConfigError
from crossfeed.runtime.settings import FeedSettings

SECRETS = {
    "api_key": "a-key-4711",
    "api_secret": "a-secret-4711",
    "api_passphrase": "a-phrase-4711",
    "proxy": "http://user:4711@proxy.example:3128",
    "ws_url": "wss://stream.example.com/ws?token=4711",
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metadata", "sometimes"),
        ("backfill", "maybe"),
        ("lines", 0),
        ("lines", 3),
        ("metadata_deadline_s", 0.0),
        ("connect_deadline_s", -1.0),
        ("poll_interval_s", float("nan")),
        ("breaker_cooldown_s", float("inf")),
        ("reconnect_base_s", 0.0),
        ("reconnect_cap_s", 0.1),
        ("reconnect_attempts_max", -1),
        ("handler_failures_max", 0),
        ("streams_per_connection", -1),
        ("rotate_margin_s", -1.0),
        ("ws_url", "stream.example.com"),
        ("ws_url", "http://stream.example.com"),
        ("ws_url", "wss://"),
        ("rest_url", "wss://api.example.com"),
        ("alternate_ws_urls", ("wss://a.example.com", "b.example.com")),
        ("proxy", "proxy.example:3128"),
        ("api_key", "alone"),
    ],
)
def test_what_cannot_work_is_refused_by_its_field(field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        FeedSettings(**{field: value})
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_defaults_work() -> None:
    settings = FeedSettings()
    assert repr(settings) == "FeedSettings()"
    assert settings.masked() == asdict(settings)


def test_only_what_differs_is_shown() -> None:
    settings = FeedSettings(lines=2, rest_url="http://127.0.0.1:8080")
    assert repr(settings) == "FeedSettings(rest_url='http://127.0.0.1:8080', lines=2)"


def test_secrets_are_masked_wherever_they_are_shown() -> None:
    settings = FeedSettings(**SECRETS)
    shown = repr(settings) + repr(settings.masked())
    assert "4711" not in shown
    assert "proxy.example:3128" in shown
    assert settings.api_secret == SECRETS["api_secret"]


def test_a_mistake_with_a_secret_does_not_tell_it() -> None:
    with pytest.raises(ConfigError) as caught:
        FeedSettings(proxy="ftp://user:4711@proxy.example")
    assert "4711" not in str(caught.value)
