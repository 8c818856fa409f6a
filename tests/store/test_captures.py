"""Sessions that others recorded: imported, replayed, compacted, and asked for their known facts."""

import gzip
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from crossfeed.cli import main
from crossfeed.clients.replay import Replay
from crossfeed.store.query import Store, exact

pytestmark = pytest.mark.trust

VENUES = {
    "binance_spot": "binance",
    "coinbase_exchange": "coinbase",
    "coinbase_advanced": "coinbase_advanced",
    "kraken_v2": "kraken",
}
EXCHANGES = VENUES | {"coinbase_advanced": "coinbase"}
SMALL = "binance_spot/btcusdt_small_deltas.jsonl"
FULL = "coinbase_exchange/full_20170625.jsonl"
SESSIONS = [
    "binance_spot/btc_eth_20260707.ndjson.gz",
    "binance_spot/btc_eth_dot_20210404.cf2.txt.gz",
    "binance_spot/btcusdt_20240808.hft.gz",
    "binance_spot/four_pairs_20211012.cf3.jsonl.gz",
    "binance_spot/us_four_pairs_20211012.cf3.jsonl.gz",
    SMALL,
    "coinbase_advanced/btc_eth_20260809.cf3.jsonl.gz",
    "coinbase_exchange/btc_eth_20260707.ndjson.gz",
    FULL,
    "coinbase_exchange/six_products_20210417.cf2.txt.gz",
    "kraken_v2/btc_d10_resubscribes_20260801.cbcap.gz",
    "kraken_v2/btc_d25_20260802.cbcap.gz",
    "kraken_v2/btc_eth_d10_20260707.ndjson.gz",
]
NO_SESSION = frozenset({"plain", "http_only", "singles"})
"""Checks of expected.json for files that hold single answers or messages."""


def facts(captures: Path) -> dict[str, dict]:
    return json.loads((captures / "expected.json").read_text("utf-8"))


def session(captures: Path, tmp_path: Path, name: str) -> Path:
    """Return the file; the one whose image lies beside it is joined with it."""
    if name != SMALL:
        return captures / name
    image = json.loads((captures / name.replace("deltas.jsonl", "snapshot.json")).read_text())
    lines = (captures / name).read_bytes().splitlines(keepends=True)
    joined = tmp_path / "session.jsonl"
    joined.write_bytes(b"".join([lines[0], json.dumps(image).encode(), b"\n", *lines[1:]]))
    return joined


def rows_expected(known: dict) -> dict[str, int]:
    """Return the rows that each table must hold."""
    counts, check = Counter(known["counts"]), known["check"]
    markets = known.get("symbols") or known.get("products")
    if check == "binance":
        return {
            "trades": counts["trade"],
            "agg_trades": counts["aggTrade"],
            "quotes": counts["bookTicker"],
            "candles": counts["kline"],
            "changes": sum(each.get("diffs_applied", 0) for each in markets.values()),
        }
    if check == "coinbase_exchange":
        trades, changes = counts["match"] + counts["last_match"], counts["l2update"]
        return {"trades": trades, "changes": changes, "tickers": counts["ticker"]}
    if check == "coinbase_advanced":
        changes = counts["l2_data/update"]
        return {"trades": sum(each["trades"] for each in markets.values()), "changes": changes}
    if check == "kraken_v2":
        return {
            "trades": sum(each["trades"] for each in markets.values()),
            "changes": counts["book/update"],
        }
    return {"trades": 0, "changes": 0}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SESSIONS)
def test_session_to_sql(
    captures: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts by kind and the final top of every book, by SQL, after all four steps."""
    known = facts(captures)[name]
    journal, history = tmp_path / "journal", tmp_path / "history"
    file = session(captures, tmp_path, name)
    assert main(["import", "capture", str(file), "--into", str(journal), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (done,) = report["files"]
    assert done["venue"] == VENUES[name.partition("/")[0]]
    assert done["refused"] == 0
    assert done["records"] == done["frames"] + done["images"] + done["unused"]
    replayed = Counter()
    replay = Replay(journal)
    replay.on("*", lambda event: replayed.update([event.data_type]))
    replay.play()
    assert main(["compact", str(journal), "--store", str(history), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["refused"] == 0
    expected = rows_expected(known)
    with Store(history) as store:
        found = {
            kind: store.sql(f"FROM {kind}").num_rows
            for kind in ("trades", "agg_trades", "quotes", "candles", "tickers")
            if kind in expected
        }
        found["changes"] = changes(store, known)
        assert found == expected
        assert found["trades"] == replayed["trade"]
        assert store.gaps().num_rows == 0
        if name != FULL:
            assert_books(store, EXCHANGES[name.partition("/")[0]], known)


def changes(store: Store, known: dict) -> int:
    """Count the changes that went into books.

    What came before the first image is stored too, but marked; what of it was applied to that image
    is known by its number.
    """
    images = {
        symbol: each.get("snapshot_lastUpdateId", 2**62)
        for symbol, each in (known.get("symbols") or known.get("products")).items()
    }
    rows = store.sql(
        "SELECT DISTINCT symbol, event, last, trust FROM books WHERE NOT is_snapshot"
    ).to_pylist()
    return sum(row["trust"] == "sound" or row["last"] > images[row["symbol"]] for row in rows)


def assert_books(store: Store, venue: str, known: dict) -> None:
    """Compare each book's last top and its number of levels with what is known."""
    markets = known.get("symbols") or known.get("products")
    for symbol, each in markets.items():
        if "final" not in each:
            assert store.book(symbol, 2**62, venue=venue).num_rows == 0, symbol
            continue
        final = each["final"]
        book = store.book(symbol, 2**62, venue=venue)
        sides = {side: [] for side in ("buy", "sell")}
        levels = zip(
            book["side"].to_pylist(), exact(book, "price"), exact(book, "quantity"), strict=True
        )
        for side, *level in levels:
            sides[side].append(level)
        assert sides["buy"][0] == [Decimal(text) for text in final["best_bid"]], symbol
        assert sides["sell"][0] == [Decimal(text) for text in final["best_ask"]], symbol
        for side, count in (("buy", final["bid_levels"]), ("sell", final["ask_levels"])):
            # Of Binance's books, levels beyond the image are kept only where they are proven.
            assert 0 <= count - len(sides[side]) <= 2 * (venue == "binance"), symbol


def test_every_session_is_looked_at(captures: Path) -> None:
    """A recording of a venue spoken here is in the list, or holds no session."""
    named = {
        name
        for name, known in facts(captures).items()
        if name.partition("/")[0] in VENUES
        and known.get("check") not in NO_SESSION
        and not name.endswith("singles.jsonl")
    }
    assert named == set(SESSIONS)


def test_capture_cut_off_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the line; and no journal is left that looks whole."""
    file = tmp_path / "x.hft.gz"
    good = b'1723161253937085768 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,'
    good += b'"s":"BTCUSDT","t":1,"p":"61837.63","q":"0.02","T":1723161255342,"m":true}}\n'
    file.write_bytes(gzip.compress(good + b"no time\n"))
    assert main(["import", "capture", str(file), "--into", str(tmp_path / "journal")]) == 1
    assert "x.hft.gz:2" in capsys.readouterr().err
    assert not (tmp_path / "journal").exists()
