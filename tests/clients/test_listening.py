"""Callbacks and streams: who listens to what can never come is told at once."""

import pytest

from crossfeed import UnknownSymbolError


async def test_once_connected_a_symbol_that_is_not_listed_is_refused_at_once(
    binance, connect
) -> None:
    client = connect(binance)
    client.on("trade", print, "NOPE/USD")  # before that nobody knows what the venue lists
    async with client:
        with pytest.raises(UnknownSymbolError, match="NOPE/USD"):
            client.stream("trade", symbol="NOPE/USD")
        with pytest.raises(UnknownSymbolError, match="NOPE/USD"):
            client.on("trade", print, "NOPE/USD")
        client.stream("trade", symbol="ETH/USD").close()  # nothing of it is subscribed yet


async def test_a_client_that_nobody_closed_warns(binance, connect) -> None:
    clients = [connect(binance)]
    await clients[0].connect()
    session = clients[0]._session
    with pytest.warns(ResourceWarning, match="binance: never closed"):
        clients.clear()
    await session.close()
