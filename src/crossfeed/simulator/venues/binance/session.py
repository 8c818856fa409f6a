"""One Binance stream connection: control messages in, acknowledgements and streams out.

Source: binance-spot-api-docs web-socket-streams.md, "Live Subscribing/Unsubscribing to streams".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from crossfeed.simulator.framing import CloseCode
from crossfeed.simulator.json_values import as_list, as_object
from crossfeed.simulator.session import Session
from crossfeed.simulator.venues.binance.board import rep_of
from crossfeed.simulator.venues.binance.profile import RULES, STREAMS_MAX
from crossfeed.simulator.venues.binance.streams import parse_stream

if TYPE_CHECKING:
    from crossfeed.simulator.http import Request
    from crossfeed.simulator.venues.binance.exchange import BinanceExchange

__all__ = ["BinanceSession"]

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_ID_TEXT = re.compile(r"[A-Za-z0-9_-]{1,36}")
_INT64_MAX = (1 << 63) - 1
_MS = 1_000_000


class _InvalidError(Exception):
    """A control message the venue refuses."""

    def __init__(self, code: int, text: str, request_id: object = None) -> None:
        self.body: dict[str, Any] = {"code": code, "msg": text}
        if request_id is not None:
            self.body["id"] = request_id
        super().__init__(text)


class BinanceSession(Session):
    """A connection to /ws or /stream."""

    rules = RULES

    def __init__(
        self, exchange: BinanceExchange, number: int, request: Request, now_ns: int
    ) -> None:
        """Build the session; the URL decides mode, unit and first streams."""
        super().__init__(exchange, number, request, now_ns)
        self._venue = exchange
        self.is_combined = request.path.rstrip("/").endswith("/stream")
        unit = request.params.get("timeUnit", "").upper()
        self.is_micro = unit == "MICROSECOND"
        #: Subscribed names, in order, the silent ones included.
        self.names: dict[str, None] = {}

    @property
    def rep(self) -> int:
        """Return the representation of this connection."""
        return rep_of(is_combined=self.is_combined, is_micro=self.is_micro)

    @property
    def div(self) -> int:
        """Return what divides nanoseconds into this connection's unit."""
        return 1_000 if self.is_micro else _MS

    def on_open(self, now_ns: int) -> None:
        """Subscribe the streams of the URL."""
        super().on_open(now_ns)
        path = self.request.path
        names = (
            self.request.params.get("streams", "")
            if self.is_combined
            else path.partition("/ws/")[2]
        )
        self._subscribe([name for name in names.split("/") if name], now_ns)

    def on_text(self, payload: bytes, now_ns: int) -> None:
        """Carry out a control message and answer it."""
        try:
            request = self._parse(payload)
            answer: dict[str, Any] = {"result": self._carry_out(request, now_ns)}
            answer["id"] = request.get("id")
        except _InvalidError as error:
            answer = error.body
        if not self.is_over:
            self.put(msgspec.json.encode(answer))

    @staticmethod
    def _parse(payload: bytes) -> dict[str, Any]:
        """Check the frame of a control message."""
        try:
            decoded: object = json.loads(payload)
        except (ValueError, RecursionError) as error:
            line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
            raise _InvalidError(
                3, f"Invalid JSON: expected value at line {line} column {column}"
            ) from None
        end = f"at line 1 column {len(payload)}"
        request = as_object(decoded)
        if request is None or "method" not in request:
            raise _InvalidError(2, f"Invalid request: missing field `method` {end}")
        if request["method"] not in _METHODS:
            known = ", ".join(f"`{method}`" for method in _METHODS)
            raise _InvalidError(
                2,
                f"Invalid request: unknown variant {request['method']}, "
                f"expected one of {known} at line 1 column 28",
            )
        identity = request.get("id")
        is_fine = (
            (type(identity) is int and abs(identity) <= _INT64_MAX)
            or (isinstance(identity, str) and _ID_TEXT.fullmatch(identity))
            or ("id" in request and identity is None)
        )
        if not is_fine:
            raise _InvalidError(2, "Invalid request: request ID must be an unsigned integer")
        return request

    def _carry_out(self, request: dict[str, Any], now_ns: int) -> object:
        """Do what a well-formed control message asks; return its result."""
        method, params = request["method"], as_list(request.get("params", []))
        if params is None:
            raise _InvalidError(2, "Invalid request: params must be an array")
        if method == "LIST_SUBSCRIPTIONS":
            if params:
                raise _InvalidError(2, "Invalid request: too many parameters")
            return list(self.names)
        if method in {"SUBSCRIBE", "UNSUBSCRIBE"}:
            if not all(isinstance(name, str) for name in params):
                raise _InvalidError(2, "Invalid request: stream names must be strings")
            if method == "SUBSCRIBE":
                self._subscribe(params, now_ns)
            else:
                self._unsubscribe(params)
            return None
        return self._property(method, params, request.get("id"))

    def _property(self, method: str, params: list[Any], request_id: object) -> object:
        """Read or set the only property there is."""
        wanted = 1 if method == "GET_PROPERTY" else 2
        if len(params) > wanted:
            raise _InvalidError(2, "Invalid request: too many parameters")
        if not params or not isinstance(params[0], str):
            raise _InvalidError(2, "Invalid request: property name must be a string")
        if params[0] != "combined":
            raise _InvalidError(0, "Unknown property", request_id)
        if method == "GET_PROPERTY":
            return self.is_combined
        if len(params) < wanted or not isinstance(params[1], bool):
            raise _InvalidError(1, "Invalid value type: expected Boolean")
        self.is_combined = params[1]
        for sub in self.subs.values():
            sub.stream.remove(sub)
            sub.rep = self.rep
            sub.stream.add(sub)
        return None

    def _subscribe(self, names: list[str], now_ns: int) -> None:
        """Subscribe names; those of nothing that exists are accepted and stay silent."""
        for raw in names:
            name = parse_stream(raw)
            if name.name in self.names:
                continue
            if len(self.names) >= STREAMS_MAX:
                self.exchange.violation("streams per connection")
                self.close(CloseCode.POLICY, "Too many streams", now_ns)
                return
            self.names[name.name] = None
            stream = self._venue.open_stream(name)
            if stream is not None:
                self.exchange.subscribe(self, stream, self.rep)

    def _unsubscribe(self, names: list[str]) -> None:
        """Unsubscribe names; unknown ones are acknowledged as well."""
        for raw in names:
            name = parse_stream(raw)
            if name.name not in self.names:
                continue
            del self.names[name.name]
            sub = self.subs.get((name.channel, name.symbol))
            if sub is not None:
                self.exchange.drop(sub)
