"""What a replay server must know of each venue's protocol: requests, and whose a frame is.

Far less than a codec: requests are acknowledged, frames are sorted by the stream they belong to and
passed on as recorded. Every venue here is one small class; `PROTOCOLS` lists them by feed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

__all__ = ["PROTOCOLS", "HistoryProtocol", "channel_and_symbol", "is_book"]

SUBSCRIPTIONS_MAX: Final = 10_000


class HistoryProtocol(Protocol):
    """One client's side of a venue's protocol. Pure; one per connection.

    Attributes:
        wanted: Keys of the streams the client has subscribed.
    """

    wanted: set[str]

    def on_text(self, payload: bytes) -> Sequence[bytes]:
        """Take a client's message; return the replies."""
        ...

    def keys(self, frame: bytes) -> Sequence[str]:
        """Return the streams a recorded frame belongs to; empty: it answered the recorder alone."""
        ...

    def seal(self, frame: bytes) -> bytes:
        """Make a recorded frame this connection's own."""
        ...


BOOK_CHANNELS: Final = frozenset({"book", "level3", "full"})
"""Channels beside level2... and depth... whose messages make a book."""


def channel_and_symbol(key: str) -> tuple[str, str]:
    """Return channel and symbol of a stream's key, of any venue here."""
    if "@" in key:
        symbol, _, channel = key.partition("@")
        return channel, symbol.upper()
    channel, _, symbol = key.partition("/")
    return channel, symbol


def is_book(key: str) -> bool:
    """Say whether a stream's messages change a book, so that none may be left out."""
    channel, _ = channel_and_symbol(key)
    return channel.startswith(("depth", "level2")) or channel in BOOK_CHANNELS


def _object(payload: bytes) -> dict[str, Any]:
    try:
        value: Any = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return [each for each in listed if isinstance(each, str)][:SUBSCRIPTIONS_MAX]


class _Item(Struct):
    symbol: str = ""
    product_id: str = ""


class _Head(Struct):
    """What sorts a frame, of all venues here."""

    stream: str = ""
    channel: str = ""
    type: str = ""
    product_id: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    events: msgspec.Raw = msgspec.Raw(b"")


_head = msgspec.json.Decoder(_Head).decode
_items = msgspec.json.Decoder(list[_Item]).decode


def _sorted_by(frame: bytes) -> _Head:
    try:
        return _head(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _Head()


class _Binance:
    """Streams by name; combined ("/stream") or bare ("/ws").

    Source: developers.binance.com, Spot WebSocket Streams, "Live subscribing" (checked 2026-11).
    """

    def __init__(self, path: str, query: str) -> None:
        self.is_bare = path.startswith("/ws")
        named = path.removeprefix("/ws").strip("/").split("/")
        if not self.is_bare:
            named = dict(parse_qsl(query)).get("streams", "").split("/")
        self.wanted: set[str] = {name for name in named if name}

    def on_text(self, payload: bytes) -> Sequence[bytes]:
        """SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS."""
        request = _object(payload)
        names, number = _texts(request.get("params")), request.get("id")
        method, result = request.get("method"), None
        if method == "SUBSCRIBE":
            self.wanted.update(names)
        elif method == "UNSUBSCRIBE":
            self.wanted.difference_update(names)
        elif method == "LIST_SUBSCRIPTIONS":
            result = sorted(self.wanted)
        else:
            error = {"code": 2, "msg": "Invalid request"}
            return [msgspec.json.encode({"error": error, "id": number})]
        return [msgspec.json.encode({"result": result, "id": number})]

    def keys(self, frame: bytes) -> Sequence[str]:
        """Recorded frames are combined ones."""
        name = _sorted_by(frame).stream
        return (name,) if name else ()

    def seal(self, frame: bytes) -> bytes:
        """Unwrap for a bare connection."""
        return bytes(_sorted_by(frame).data) if self.is_bare else frame


class _Kraken:
    """Channel and symbol; one acknowledgement each.

    Source: docs.kraken.com/api/docs/websocket-v2 (checked 2026-11).
    """

    def __init__(self, path: str, query: str) -> None:
        del path, query
        self.wanted: set[str] = {"heartbeat/", "status/"}

    def on_text(self, payload: bytes) -> Sequence[bytes]:
        """Subscribe, unsubscribe, ping."""
        request = _object(payload)
        method, params = request.get("method"), request.get("params")
        tail = {"req_id": request["req_id"]} if "req_id" in request else {}
        if method == "ping":
            return [msgspec.json.encode({"method": "pong"} | tail)]
        if method not in {"subscribe", "unsubscribe"} or not isinstance(params, dict):
            error = {"method": method, "error": "Malformed request", "success": False}
            return [msgspec.json.encode(error | tail)]
        asked = cast("dict[str, Any]", params)
        channel, replies = str(asked.get("channel")), list[bytes]()
        for symbol in _texts(asked.get("symbol")) or [""]:
            key = f"{channel}/{symbol}"
            (self.wanted.add if method == "subscribe" else self.wanted.discard)(key)
            result = {k: v for k, v in asked.items() if k != "token"} | {"symbol": symbol}
            said = {"method": method, "result": result, "success": True}
            replies.append(msgspec.json.encode(said | tail))
        return replies

    def keys(self, frame: bytes) -> Sequence[str]:
        """Channel and the symbols in the data."""
        head = _sorted_by(frame)
        if head.channel in {"heartbeat", "status"}:
            return (f"{head.channel}/",)
        if not head.channel or not bytes(head.data):
            return ()
        try:
            return tuple({f"{head.channel}/{item.symbol}" for item in _items(head.data)})
        except msgspec.MsgspecError:
            return ()

    def seal(self, frame: bytes) -> bytes:
        """As recorded."""
        return frame


_COINBASE_CHANNELS: Final[dict[str, tuple[str, ...]]] = {
    "ticker": ("ticker", "ticker_batch"),
    "match": ("matches", "full"),
    "last_match": ("matches",),
    "snapshot": ("level2", "level2_batch", "level2_50"),
    "l2update": ("level2", "level2_batch", "level2_50"),
    "heartbeat": ("heartbeat",),
    "status": ("status",),
    **dict.fromkeys(("received", "open", "done", "change", "activate"), ("full",)),
}


class _Coinbase:
    """Channels with products; each answer lists all of them.

    Source: docs.cdp.coinbase.com/exchange/websocket-feed (checked 2026-11).
    """

    def __init__(self, path: str, query: str) -> None:
        del path, query
        self.wanted: set[str] = set()

    def on_text(self, payload: bytes) -> Sequence[bytes]:
        """Subscribe, unsubscribe."""
        request = _object(payload)
        verb = request.get("type")
        if verb not in {"subscribe", "unsubscribe"}:
            error = {"type": "error", "message": "Malformed JSON", "reason": "type"}
            return [msgspec.json.encode(error)]
        products = _texts(request.get("product_ids"))
        channels = request.get("channels")
        for listed in cast("list[object]", channels) if isinstance(channels, list) else []:
            named = cast("dict[str, Any]", listed) if isinstance(listed, dict) else {"name": listed}
            name = named.get("name")
            for product in _texts(named.get("product_ids")) or products or [""]:
                change = self.wanted.add if verb == "subscribe" else self.wanted.discard
                change(f"{name}/{'' if name == 'status' else product}")
        grouped: dict[str, list[str]] = {}
        for key in sorted(self.wanted):
            name, _, product = key.partition("/")
            grouped.setdefault(name, []).extend([product] if product else [])
        said = [{"name": name, "product_ids": own} for name, own in grouped.items()]
        return [msgspec.json.encode({"type": "subscriptions", "channels": said})]

    def keys(self, frame: bytes) -> Sequence[str]:
        """A type of message may belong to several channels."""
        head = _sorted_by(frame)
        names = _COINBASE_CHANNELS.get(head.type, ())
        return tuple(f"{name}/{head.product_id}" for name in names)

    def seal(self, frame: bytes) -> bytes:
        """As recorded."""
        return frame


_ADVANCED_NAMES: Final = {"l2_data": "level2"}
_NUMBER: Final = re.compile(rb'"sequence_num":\s*\d+')


class _CoinbaseAdvanced:
    """Channels with products; frames are numbered per connection, so that they are numbered anew.

    Source: docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket (checked 2026-11).
    """

    def __init__(self, path: str, query: str) -> None:
        del path, query
        self.wanted: set[str] = set()
        self._next = 0

    def _numbered(self) -> int:
        self._next += 1
        return self._next - 1

    def on_text(self, payload: bytes) -> Sequence[bytes]:
        """Subscribe, unsubscribe."""
        request = _object(payload)
        verb, channel = request.get("type"), str(request.get("channel"))
        if verb not in {"subscribe", "unsubscribe"}:
            return [msgspec.json.encode({"type": "error", "message": "Malformed request"})]
        for product in _texts(request.get("product_ids")) or [""]:
            change = self.wanted.add if verb == "subscribe" else self.wanted.discard
            change(f"{channel}/{'' if channel == 'heartbeats' else product}")
        grouped: dict[str, list[str]] = {}
        for key in sorted(self.wanted):
            name, _, product = key.partition("/")
            grouped.setdefault(name, []).extend([product] if product else [])
        said = {
            "channel": "subscriptions",
            "client_id": "",
            "timestamp": "1970-01-01T00:00:00Z",
            "sequence_num": self._numbered(),
            "events": [{"subscriptions": grouped}],
        }
        return [msgspec.json.encode(said)]

    def keys(self, frame: bytes) -> Sequence[str]:
        """Channel and the products in the events."""
        head = _sorted_by(frame)
        name = _ADVANCED_NAMES.get(head.channel, head.channel)
        if name in {"", "subscriptions"}:
            return ()
        if name == "heartbeats":
            return ("heartbeats/",)
        found = set(re.findall(rb'"product_id":\s*"([^"]{1,40})"', bytes(head.events)))
        return tuple(f"{name}/{product.decode()}" for product in found)

    def seal(self, frame: bytes) -> bytes:
        """Number it."""
        return _NUMBER.sub(b'"sequence_num":%d' % self._numbered(), frame, count=1)


class ProtocolMaker(Protocol):
    """Makes the protocol of one connection from the address it asked for."""

    def __call__(self, path: str, query: str) -> HistoryProtocol:
        """Make it."""
        ...


PROTOCOLS: Final[dict[str, ProtocolMaker]] = {
    "binance": _Binance,
    "coinbase": _Coinbase,
    "coinbase_advanced": _CoinbaseAdvanced,
    "kraken": _Kraken,
}
