"""The configuration file: every mistake names its path, secrets come from the environment."""

from pathlib import Path

import pytest

from crossfeed.errors import ConfigError, UnknownSymbolError, UnknownVenueError
from crossfeed.runtime.config import FileConfig, load_config, resolved_settings

GOOD = """
metrics_port = 9090
[aggregator]
exchanges = ["binance", "kraken"]
symbols = ["BTC/USD"]
update_interval = 0.5
[venues.binance]
endpoint = "market-data"
[venues.coinbase]
api_key = "key-in-file"
api_secret = "secret-in-file"
proxy = "http://user:4711@proxy.example:3128"
"""


@pytest.fixture
def write(tmp_path: Path):
    """Write a file and return its path."""

    def made(text: str | bytes) -> Path:
        path = tmp_path / "crossfeed.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return made


def test_an_empty_file_is_the_defaults(write) -> None:
    assert load_config(write(""), {}) == FileConfig()


def test_what_is_given_is_taken(write) -> None:
    config = load_config(write(GOOD), {})
    assert config.metrics_port == 9090
    assert config.aggregator.exchanges == ["binance", "kraken"]
    assert config.aggregator.update_interval == 0.5
    assert config.venues["binance"].endpoint == "market-data"
    assert config.venues["coinbase"].api_secret == "secret-in-file"


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("venues = 3", "venues", ["table", "3"]),
        ("[venues]\nkraken = 3", "venues.kraken", ["table"]),
        ("aggregator = []", "aggregator", ["object"]),
        ("[venues.krakn]", "venues.krakn", ["did you mean kraken"]),
        ('[venues."a.b"]', "venues.a.b", ["binance, coinbase"]),
        ("[venues.kraken]\nlinez = 2", "venues.kraken.linez", ["did you mean lines"]),
        ("[venues.kraken]\nxyz = 2", "venues.kraken.xyz", ["there are: endpoint, ws_url"]),
        ("[venues.kraken]\nlines = 3", "venues.kraken.lines", ["1 or 2, not 3"]),
        ('[venues.kraken]\nlines = "2"', "venues.kraken.lines", ["`int`, got `str`"]),
        ("[venues.kraken.parameters]\na = 1", "venues.kraken.parameters.*", ["`str`"]),
        ('[venues.kraken]\nendpoint = "moon"', "venues.kraken.endpoint", ["'moon'", "production"]),
        ('[venues.kraken]\nws_url = "kraken.com"', "venues.kraken.ws_url", ["wss://"]),
        ('[venues.kraken]\napi_key = "x"', "venues.kraken.api_key", ["belong together"]),
        ("aggregatr = 1", "aggregatr", ["did you mean aggregator"]),
        ("metrics_port = 70000", "metrics_port", ["70000", "65535"]),
        ('metrics_port = "x"', "metrics_port", ["`int`"]),
        (
            '[aggregator]\nstrategy = "median"',
            "aggregator.strategy",
            ["there are: exchanges, symbols, aggregation_strategy"],
        ),
        ('[aggregator]\nupdate_interval = "fast"', "aggregator.update_interval", ["`float`"]),
        ("[aggregator]\nupdate_interval = -1", "aggregator.update_interval", ["-1.0"]),
        ("[aggregator]\nbuffer_size = 0", "aggregator.buffer_size", ["0"]),
        (
            '[aggregator]\naggregation_strategy = "medium"',
            "aggregator.aggregation_strategy",
            ["did you mean 'median'"],
        ),
        ('[aggregator]\nexchanges = ["binanse"]', "aggregator.exchanges[0]", ["mean binance"]),
        (
            '[aggregator]\nexchanges = ["coinbase", "coinbase_advanced"]',
            "aggregator.exchanges[1]",
            ["one venue"],
        ),
        ('[aggregator]\nsymbols = ["BTCUSD"]', "aggregator.symbols[0]", ["BTC/USD"]),
        (
            '[aggregator.quote_basis]\n"USDT/USD" = "kraken"',
            "aggregator.quote_basis.USDT/USD",
            ["kraken:USDT/USD"],
        ),
    ],
)
def test_every_mistake_names_its_path(write, text, path, words) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(text), {})
    assert caught.value.field == path
    assert str(caught.value).startswith(f"{path}: ")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_class_of_a_mistake_survives(write) -> None:
    with pytest.raises(UnknownVenueError):
        load_config(write('[aggregator]\nexchanges = ["ftx"]'), {})
    with pytest.raises(UnknownSymbolError):
        load_config(write('[aggregator]\nsymbols = ["BTCUSD"]'), {})


@pytest.mark.parametrize(
    "content", [b"x = [[[", b"\xff\xfe", b"a = 1\na = 2", b"[" * 5000, b"\0", b"#" * (1 << 21)]
)
def test_what_is_no_configuration_is_refused_by_its_name(write, content) -> None:
    path = write(content)
    with pytest.raises(ConfigError, match=r"crossfeed\.toml"):
        load_config(path, {})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_config(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path, {})


# ── secrets and origins ───────────────────────────────────────────────────────


def test_the_environment_wins_for_secrets(write) -> None:
    environment = {
        "CROSSFEED_COINBASE_API_KEY": "key-in-environment",
        "CROSSFEED_COINBASE_LINES": "2",  # only secrets are read from there
        "CROSSFEED_KRAKEN_API_KEY": "of a venue that the file does not name",
    }
    config = load_config(write(GOOD), environment)
    assert config.venues["coinbase"].api_key == "key-in-environment"
    assert config.venues["coinbase"].api_secret == "secret-in-file"
    assert config.venues["coinbase"].lines == 1
    assert config.venues.keys() == {"binance", "coinbase"}


def test_every_setting_has_an_origin_and_no_secret_is_shown(write) -> None:
    environment = {"CROSSFEED_COINBASE_API_KEY": "key-in-environment"}
    found = {each.path: each for each in resolved_settings(write(GOOD), environment)}
    assert found["metrics_port"].origin == "file"
    assert found["aggregator.update_interval"].origin == "file"
    assert found["aggregator.buffer_size"].origin == "default"
    assert found["venues.binance.endpoint"].value == "market-data"
    assert found["venues.coinbase.api_key"].origin == "CROSSFEED_COINBASE_API_KEY"
    assert found["venues.coinbase.api_secret"].origin == "file"
    assert found["venues.coinbase.api_passphrase"].value == ""
    shown = "".join(repr(each) for each in found.values())
    assert not any(
        secret in shown
        for secret in ("key-in-environment", "key-in-file", "secret-in-file", "4711")
    )


def test_without_a_file_everything_is_a_default() -> None:
    found = list(resolved_settings(None, {}))
    assert {each.origin for each in found} == {"default"}
    assert "aggregator.aggregation_strategy" in {each.path for each in found}


# ── [record] ──────────────────────────────────────────────────────────────────

RECORD = """
[record]
directory = "journal"
kinds = ["trade"]
segment_mb = 10.0
keep_days = 2.0
synced = true
[[record.sinks]]
type = "postgres"
dsn = "postgresql://me:s3cret@db/x"
[[record.sinks]]
type = "sqlite"
path = "events.db"
kinds = ["trade", "gap"]
"""


def test_record_table_makes_the_journals_options(write) -> None:
    section = load_config(write(RECORD), {}).record
    options = section.journal()
    assert (options.segment_bytes, options.keep_s) == (10_000_000, 172_800.0)
    assert (options.profile, options.flush_ms) == ("synced", 100.0)
    assert [sink.type for sink in section.sinks] == ["postgres", "sqlite"]
    shown = {each.path: each for each in resolved_settings(write(RECORD), {})}
    assert shown["record.keep_days"].origin == "file"
    assert shown["record.flush_ms"].origin == "default"
    assert "s3cret" not in repr(shown)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("record = 3", "record", "table"),
        ("[record]\nflush_ms = 0.0", "record.flush_ms", "above zero"),
        ("[record]\nkeep_day = 3", "record.keep_day", "did you mean keep_days"),
        ('[record]\nvenues = ["krakn"]', "record.venues[0]", "did you mean kraken"),
        ('[[record.sinks]]\ntype = "x"', "record.sinks.type", "sqlite or postgres"),
        ('[[record.sinks]]\ntype = "sqlite"', "record.sinks.path", "path of its file"),
        ('[[record.sinks]]\ntype = "sqlite"\npth = ""', "record.sinks[0].pth", "mean path"),
        (
            '[[record.sinks]]\ntype = "sqlite"\npath = "x"\npolicy = "block"',
            "record.sinks.policy",
            "drop_oldest",
        ),
    ],
)
def test_mistakes_in_the_record_table_are_named(write, text, path, words) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(write(text), {})
    assert caught.value.field == path
