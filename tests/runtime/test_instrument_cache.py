"""The instrument cache: a convenience that can never hurt."""

from pathlib import Path

import pytest

from crossfeed.model.instrument import Instrument
from crossfeed.runtime.instrument_cache import InstrumentCache, cache_folder
from crossfeed.venues.registry import find_venue

NOW_NS = 1_800_000_000_000_000_000
DAY_NS = 24 * 3600 * 10**9
URL = "https://api.example.com"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("CROSSFEED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def instruments() -> list[Instrument]:
    """Some real instruments."""
    return list(find_venue("binance").builtin())


def test_what_is_saved_is_loaded_for_a_day(instruments) -> None:
    cache = InstrumentCache("binance", URL)
    assert cache.load(NOW_NS) is None
    assert cache.save(instruments, NOW_NS)
    assert list(cache.load(NOW_NS) or ()) == instruments
    assert cache.load(NOW_NS + DAY_NS - 1) is not None
    assert cache.load(NOW_NS + DAY_NS) is None
    assert cache.load(NOW_NS - 1) is None  # the clock was set back: nothing is known


def test_venues_and_hosts_are_kept_apart(instruments) -> None:
    InstrumentCache("binance", URL).save(instruments, NOW_NS)
    assert InstrumentCache("binance", "https://api.example.us").load(NOW_NS) is None
    assert InstrumentCache("kraken", URL).load(NOW_NS) is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:5"])
def test_simulators_are_never_cached(instruments, folder: Path, url: str) -> None:
    cache = InstrumentCache("binance", url)
    assert not cache.save(instruments, NOW_NS)
    assert cache.load(NOW_NS) is None
    assert not folder.exists()


def test_nothing_is_saved_for_nothing(folder: Path) -> None:
    assert not InstrumentCache("binance", URL).save([], NOW_NS)
    assert not folder.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":2,"ts_saved_ns":1,"instr'])
def test_a_spoilt_file_is_as_good_as_none(instruments, folder: Path, content: bytes) -> None:
    cache = InstrumentCache("binance", URL)
    cache.save(instruments, NOW_NS)
    (file,) = folder.rglob("*.json")
    file.write_bytes(content)
    assert cache.load(NOW_NS) is None
    assert cache.save(instruments, NOW_NS)
    assert cache.load(NOW_NS) is not None


def test_another_version_is_as_good_as_none(instruments, folder: Path) -> None:
    cache = InstrumentCache("binance", URL)
    cache.save(instruments, NOW_NS)
    (file,) = folder.rglob("*.json")
    file.write_bytes(file.read_bytes().replace(b'"version":1', b'"version":2'))
    assert cache.load(NOW_NS) is None


def test_a_folder_that_cannot_be_written_is_no_mistake(instruments, folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    assert not InstrumentCache("binance", URL).save(instruments, NOW_NS)
    assert InstrumentCache("binance", URL).load(NOW_NS) is None


def test_no_half_written_file_is_left(instruments, folder: Path) -> None:
    InstrumentCache("binance", URL).save(instruments, NOW_NS)
    assert len(list(folder.rglob("*"))) == 2  # the folder and the one file


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    assert cache_folder() == folder
    monkeypatch.delenv("CROSSFEED_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "crossfeed"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "crossfeed"


def test_what_cannot_be_put_in_place_leaves_nothing(instruments, folder: Path) -> None:
    """The name is taken by a folder: the file is written, and cannot be put in its place."""
    cache = InstrumentCache("binance", URL)
    assert cache.save(instruments, NOW_NS)
    (name,) = (folder / "instruments").iterdir()
    name.unlink()
    (name / "taken").mkdir(parents=True)
    assert not cache.save(instruments, NOW_NS)
    assert [path.name for path in (folder / "instruments").iterdir()] == [name.name]
