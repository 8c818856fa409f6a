"""How do I notice an outage and switch to something else? Follows the connection's state.

Offline the simulated venue refuses two handshakes after a cut, so that the breaker opens. While
it is open, the client polls the venue's REST side by itself and marks what that yields.

    python examples/state_changes.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues
from msgspec.structs import replace

from crossfeed import ConnectionState, Mark, Ticker, VenueClient
from crossfeed.simulator import FaultRule

OUTAGE = (
    FaultRule(kind="cut", mode="reset", at_s=(1.0,), limit=1),
    FaultRule(kind="handshake", status=503, after_s=0.9, limit=2),
)


async def main(options: Options) -> None:
    """Print where the data comes from, whenever that changes."""
    async with venues(options, "binance", faults=OUTAGE) as settings:
        quick = replace(
            settings["binance"],
            reconnect_base_s=0.05,
            reconnect_attempts_max=2,
            breaker_cooldown_s=0.5,
            poll_interval_s=0.1,
        )
        client = VenueClient("binance", symbols=["BTC/USD"], kinds=["ticker"], settings=quick)

        @client.on_state_change
        def handle_state_change(old: ConnectionState, new: ConnectionState) -> None:
            if new == ConnectionState.OPEN:
                print(f"{old.name} -> OPEN: too many failures, REST stands in")
            elif new == ConnectionState.CONNECTED:
                print(f"{old.name} -> CONNECTED: WebSocket data again")

        @client.on("ticker")
        def show(ticker: Ticker) -> None:
            source = "REST" if ticker.marks & Mark.REST else "stream"
            print(f"{ticker.symbol} {ticker.price} from {source}")

        async with client:
            await options.wait()


run(main)
