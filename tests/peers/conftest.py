"""What other people's clients need to connect to us instead of to the venue."""

import pytest


@pytest.fixture
def ccxt_client():
    """Return a function that makes a ccxt pro client of a venue, aimed at a server of ours."""
    ccxt = pytest.importorskip("ccxt.pro", reason="needs the extra `peers`")

    def make(server, venue: str):
        ws, rest = server.ws_url(venue), server.rest_url(venue)
        if venue == "binance":
            client = ccxt.binance({"options": {"fetchMarkets": {"types": ["spot"]}}})
            client.has["fetchCurrencies"] = False
            client.urls["api"]["public"] = f"{rest}/api/v3"
            client.urls["api"]["ws"]["spot"] = f"{ws}/ws"
        elif venue == "kraken":
            client = ccxt.kraken()
            client.urls["api"]["public"] = rest
            client.urls["api"]["ws"]["publicV2"] = ws
        else:
            client = ccxt.coinbaseexchange()
            client.urls["api"]["public"] = rest
            client.urls["api"]["ws"] = ws
        return client

    return make
