"""What every source of events offers its users: callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, overload

from crossfeed.clients.arguments import check_data_types
from crossfeed.runtime.delivery import DeliveryMode, Router, Subscription
from crossfeed.runtime.queues import OverflowPolicy

__all__ = ["ALL", "Listening"]

ALL = "*"
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Listening:
    """The callbacks of a client and of a replay. Mixed into them.

    Attributes:
        router: Finds the subscribers of each event; made by the owner.
        queue_capacity: Events that may wait for a queued handler or a stream.
    """

    router: Router
    queue_capacity: ClassVar[int]

    def _listeners_changed(self) -> None:
        """Learn that somebody listens to something new."""

    def _own_name(self, symbol: str) -> str:
        """Return the name under which events carry a symbol."""
        return symbol

    @overload
    def on(self, data_type: str, handler: Handler, symbol: str = ...) -> Handler: ...

    @overload
    def on(
        self, data_type: str, handler: None = ..., symbol: str = ...
    ) -> Callable[[Handler], Handler]: ...

    def on(
        self, data_type: str, handler: Callable[..., Any] | None = None, symbol: str = ALL
    ) -> Callable[..., Any]:
        """Call `handler` with each event of `data_type` ("trade", "gap", "feed_status", "*").

        Sync handlers run inline in the feed, async ones from a bounded queue. Returns the handler;
        without one, a decorator: `@client.on("trade")`.
        """
        if handler is None:

            def decorate(given: Handler) -> Handler:
                return self.on(data_type, given, symbol)

            return decorate
        self.add_handler(data_type, handler, symbol)
        return handler

    def add_handler(
        self,
        data_type: str,
        handler: Callable[..., Any],
        symbol: str = ALL,
        *,
        mode: DeliveryMode | None = None,
        capacity: int | None = None,
        policy: OverflowPolicy = OverflowPolicy.DROP_OLDEST,
    ) -> Subscription:
        """Subscribe `handler` with a mode of delivery; the returned subscription can be closed.

        Args:
            data_type: As for `on`.
            handler: A function or coroutine function of one event.
            symbol: The venue's own or unified; "*": all of them.
            mode: Default: inline for functions, queued for coroutine functions.
            capacity: Events that may wait for it; default: `queue_capacity`.
            policy: What becomes of those that do not fit.

        Raises:
            UnsupportedChannelError: No event has such a data type.
            TypeError: The handler cannot be called.
        """
        check_data_types([data_type])
        subscription = self.router.subscribe(
            data_type,
            self._own_name(symbol),
            handler,
            mode=mode,
            capacity=self.queue_capacity if capacity is None else capacity,
            policy=policy,
        )
        self._listeners_changed()
        return subscription

    def on_error(self, handler: Callable[[BaseException], Any]) -> Callable[[BaseException], Any]:
        """Call `handler` with every error: lost connections, refused frames, failed handlers.

        It may be a coroutine function; like all `on_...` this stands as a decorator.
        """
        self.router.on_error(handler)
        return handler

    def on_gap(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call `handler` with each `Gap`: found, repaired or lost."""
        self.on("gap", handler)
        return handler

    def on_feed_status(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call `handler` with each `FeedStatus`: a stream's trust changed."""
        self.on("feed_status", handler)
        return handler
