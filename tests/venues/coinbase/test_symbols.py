"""Products ↔ instruments, both ways, for any listing."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from crossfeed.venues.coinbase import VENUE
from crossfeed.venues.symbols import SymbolTable

CURRENCIES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=6)
PAIRS = st.tuples(CURRENCIES, st.sampled_from(["USD", "USDC", "USDT", "EUR", "BTC"]))
STATES = st.sampled_from(["online", "delisted", "offline"])
SCALES = st.integers(0, 12)


@example({("1", "USD"): ("delisted", 0, 0), ("1", "USDC"): ("delisted", 0, 0)})
@given(st.dictionaries(PAIRS, st.tuples(STATES, SCALES, SCALES)))
def test_any_listing_round_trips(listing):
    """Every product is found by its id, its aliases and its unified name, and by nothing else's."""
    body = [
        {
            "id": f"{base}-{quote}",
            "base_currency": base,
            "quote_currency": quote,
            "quote_increment": f"{10.0**-tick:.12f}",
            "base_increment": f"{10.0**-lot:.12f}",
            "status": status,
        }
        for (base, quote), (status, tick, lot) in listing.items()
    ]
    instruments = VENUE.parse_instruments(200, json.dumps(body).encode())
    table = SymbolTable("coinbase", instruments)
    for instrument in instruments:
        _, tick, lot = listing[instrument.base, instrument.quote]
        assert (instrument.price_scale, instrument.size_scale) == (tick, lot)
        for name in (instrument.symbol, instrument.unified, *instrument.aliases):
            assert table.find(name) is instrument
    for (base, quote), (status, *_) in listing.items():
        found = table.get(f"{base}-{quote}")
        if (
            quote == "USDC"
            and status == "delisted"
            and listing.get((base, "USD"), ("delisted",))[0] != "delisted"
        ):
            assert found is not None
            assert found.symbol == f"{base}-USD"
        else:
            assert found is not None
            assert found.symbol == f"{base}-{quote}"


def test_usdc_is_another_name_of_the_usd_book():
    """BTC-USDC is found without network, as BTC-USD; USDT-USDC is a book of its own."""
    table = SymbolTable("coinbase", VENUE.builtin())
    assert table.find("BTC-USDC").symbol == "BTC-USD"
    assert table.find("USDT-USDC").symbol == "USDT-USDC"
