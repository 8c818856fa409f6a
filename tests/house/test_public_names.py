"""The public names: complete, importable, documented, and the same wherever they are listed."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import crossfeed

ROOT = Path(__file__).resolve().parents[2]
# The names users were promised; taking one away breaks them.
CONTRACT = {
    "connection": "WebSocketManager WebSocketConfig ConnectionState WebSocketPool",
    "binance": "BinanceConfig BinanceStream BinanceWebSocket",
    "coinbase": "CoinbaseConfig CoinbaseChannel CoinbaseWebSocket",
    "events": "MarketData UnifiedMarketData",
    "aggregation": "AggregatorConfig AggregationStrategy MarketDataAggregator",
    "uses": "PriceMonitor ArbitrageDetector FeatureExtractor PriceValidator CircuitBreaker"
    " validate_data validate_price rate_limit",
    "errors": "ConnectionLostError SubscriptionRejectedError",
    "running": "run",
}
NAMES = sorted(set(crossfeed.__all__) - {"__version__"})
DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def documented(pages: list[str]) -> set[str]:
    """Return what the reference pages render: single names, and all names of whole modules."""
    rendered = {target for page in pages for target in DIRECTIVE.findall(page)}
    whole = {target for target in rendered if target.rpartition(".")[2].islower()}
    names = {target.rpartition(".")[2] for target in rendered}
    for module in whole - {"crossfeed.run"}:
        try:
            names |= set(getattr(import_module(module), "__all__", ()))
        except ModuleNotFoundError:
            continue
    return names


@pytest.mark.parametrize("area", CONTRACT)
def test_contract_names_are_public(area: str) -> None:
    """Every promised name is listed."""
    assert set(CONTRACT[area].split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_public_name_is_there(name: str) -> None:
    """A listed name can be imported and is what its home module calls by that name."""
    value = getattr(crossfeed, name)
    home = import_module(value.__module__)
    assert getattr(home, value.__name__) is value


def test_unknown_name_is_refused() -> None:
    """What is not listed is not there, with the error that `hasattr` and tools expect."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = crossfeed.no_such_name


def test_names_are_listed_once_and_in_order() -> None:
    """`__all__` has no repeats, and `dir()` shows it."""
    assert len(crossfeed.__all__) == len(set(crossfeed.__all__))
    assert set(dir(crossfeed)) == set(crossfeed.__all__)


def test_type_checkers_see_the_same_names() -> None:
    """The imports under TYPE_CHECKING bring exactly the names that are imported late."""
    source = Path(crossfeed.__file__).read_text("utf-8")
    block = source.split("if TYPE_CHECKING:\n")[1].split("\n__all__")[0]
    imports = re.sub(r"from [\w.]+ import", "", block)
    assert set(re.findall(r"\w+", imports)) == set(NAMES)


def test_version_is_the_package_s() -> None:
    """The version in the code is the version of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert crossfeed.__version__ == project["version"]


def test_every_public_name_is_documented() -> None:
    """Each public name is rendered on some page of the reference."""
    pages = [page.read_text("utf-8") for page in (ROOT / "docs" / "reference").rglob("*.md")]
    assert set(NAMES) - documented(pages) == set()


def test_missing_documentation_is_found() -> None:
    """A page counts for what it renders and nothing else."""
    found = documented(
        ["text WebSocketPool\n\n::: crossfeed.VenueClient\n\n::: crossfeed.errors\n"]
    )
    assert {"VenueClient", "ConfigError"} <= found
    assert "WebSocketPool" not in found
