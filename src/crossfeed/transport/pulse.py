"""Runs the heartbeat rule on one connection, and the checks that are due once a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crossfeed.errors import NotConnectedError, SendRejectedError, StaleConnectionError
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.heartbeat import Heartbeat, Pulse
from crossfeed.transport.websocket import WebSocketConnection

__all__ = ["PulseKeeper"]

NS_PER_S: Final = 1_000_000_000
CHECK_INTERVAL_S: Final = 1.0
_PINGS: Final = (Pulse.PING, Pulse.APP_PING)


class PulseKeeper:
    """Keeps one connection's pulse; its `run` is a task of the connection's group."""

    def __init__(
        self,
        connection: WebSocketConnection,
        config: WebSocketConfig,
        on_clock_jump: Callable[[int], None],
    ) -> None:
        """Watch `connection`, which has just been opened."""
        self._connection = connection
        self._config = config
        self._on_clock_jump = on_clock_jump
        self._clock = connection.clock
        self.rule = Heartbeat(config.heartbeat, self._clock.monotonic_ns())
        # Pongs do not wake this: a short ping interval is kept by looking as often.
        self._check_s = min(CHECK_INTERVAL_S, config.ping_interval_s or CHECK_INTERVAL_S)
        connection.on_pong = self.rule.on_pong

    async def run(self) -> None:
        """Ping, watch and check until cancelled or until the connection is given up."""
        connection = self._connection
        while True:
            now_ns = self._clock.monotonic_ns()
            jump_ns = connection.wall.sample()
            if jump_ns:
                self._on_clock_jump(jump_ns)
            connection.check(now_ns)
            pulse = self.rule.poll(now_ns, connection.last_frame_ns)
            if pulse is not Pulse.NOTHING:
                while pulse in _PINGS and (wait_ns := connection.control_wait_ns(now_ns)):
                    await self._clock.sleep(min(CHECK_INTERVAL_S, wait_ns / NS_PER_S))
                    now_ns = self._clock.monotonic_ns()
                if not self._act(pulse, now_ns):
                    return
                continue
            wait_s = self._check_s
            next_ns = self.rule.next_poll_ns(connection.last_frame_ns)
            if next_ns is not None:
                wait_s = min(wait_s, max(0.0, (next_ns - now_ns) / NS_PER_S))
            await self._clock.sleep(wait_s)

    def _act(self, pulse: Pulse, now_ns: int) -> bool:
        """Do what the rule asks; return False when the connection is given up."""
        connection, config = self._connection, self._config
        if pulse is Pulse.DEAD_PING:
            limit_s = config.ping_timeout_s
            return self._give_up(f"no pong and no data within {limit_s:g} s of a ping", limit_s)
        if pulse is Pulse.DEAD_SILENT:
            limit_s = config.heartbeat_interval
            return self._give_up(f"silent for {limit_s:g} s", limit_s)
        try:
            if pulse is Pulse.PING:
                connection.send_ping(self.rule.ping_payload(now_ns))
            else:
                connection.send_text(config.app_ping.encode())
        except SendRejectedError:
            return True  # The peer does not read. The ping counts as sent; its deadline decides.
        except NotConnectedError:
            return False
        return True

    def _give_up(self, text: str, limit_s: float) -> bool:
        where = self._connection.where
        self._connection.fail(StaleConnectionError(text, limit_s=limit_s, where=where))
        return False
