"""How do I talk to any WebSocket server? The connection manager and the pool under the clients.

python examples/connections.py [--live] [--seconds 3]
"""

from typing import Any

from _venues import Options, run, venues

from crossfeed import ConnectionState, WebSocketConfig, WebSocketPool

LIVE = {"binance": "wss://stream.binance.com:9443", "kraken": "wss://ws.kraken.com/v2"}
SUBSCRIBE = {
    "binance": {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1},
    "kraken": {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}},
}


def channel_of(message: Any) -> str | None:  # noqa: ANN401 - whatever the server sends
    """Name a message's channel: each venue has its own way."""
    return message.get("e") or message.get("channel")


async def main(options: Options) -> None:
    """Read raw messages of two venues over one pool."""
    async with venues(options, *LIVE) as settings:
        pool = WebSocketPool()
        for name, url in LIVE.items():
            base = settings[name].ws_url or url
            path = "/ws" if name == "binance" else ""
            config = WebSocketConfig(url=base + path, name=name, channel_of=channel_of)
            manager = pool.add_connection(name, config)

            @manager.on_state_change
            def show(old: ConnectionState, new: ConnectionState, name: str = name) -> None:
                print(f"{name}: {old.name} -> {new.name}")

        pool.subscribe("trade", lambda message: print(str(message)[:100]))
        async with pool:
            for name, message in SUBSCRIBE.items():
                await pool[name].send(message)
            await options.wait()
            for name, stats in pool.get_stats().items():
                print(f"{name}: {stats['state']}, {stats['message_count']} messages")


run(main)
