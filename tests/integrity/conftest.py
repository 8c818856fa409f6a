"""What the tests of stage 3 share."""

import pytest

from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.status import Stream
from crossfeed.model.trust import Integrity

STREAM = Stream("binance", "trade", "BTCUSDT")


@pytest.fixture
def ledger():
    """Return an empty ledger."""
    return GapLedger()


@pytest.fixture
def trust(ledger):
    """Return the trust of a numbered trade stream."""
    return StreamTrust(STREAM, ledger, unified="BTC/USDT", integrity=Integrity.SEQUENCED)


@pytest.fixture
def trust_of(ledger):
    """Return a maker of further trusts on the same ledger."""

    def make(channel, symbol="BTCUSDT"):
        return StreamTrust(Stream("binance", channel, symbol), ledger)

    return make
