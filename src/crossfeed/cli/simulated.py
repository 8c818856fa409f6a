"""The simulator as a process beside us: started, asked for its ledger, ended."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from crossfeed.errors import ConfigError, ConnectFailedError, DeadlineError
from crossfeed.runtime.settings import FeedSettings
from crossfeed.transport.http import HttpClient

__all__ = ["SimulatedVenues"]

START_DEADLINE_S: Final = 20.0
END_DEADLINE_S: Final = 5.0
DRAIN_DEADLINE_S: Final = 30.0
POLL_S: Final = 0.1


class SimulatedVenues:
    """A simulator process of our own. An async context manager; it never outlives us.

    Args:
        venues: Names of the feeds to serve.
        symbols: Unified symbols.
        rate_per_s: Market actions a second per venue.
        seed: The same seed gives the same markets.
        faults: A fault profile or the path of a schedule; "none" for none.
    """

    def __init__(
        self,
        venues: Sequence[str],
        symbols: Sequence[str],
        *,
        rate_per_s: float,
        seed: int,
        faults: str = "none",
    ) -> None:
        """Prepare; nothing is started yet."""
        served = list(venues)
        if "coinbase_advanced" in served and "coinbase" not in served:
            served.append("coinbase")  # one order book: Advanced repairs trades by the other's REST
        self._arguments = [
            "--venues", ",".join(served),
            "--symbols", ",".join(symbols),
            "--rate", str(rate_per_s),
            "--seed", str(seed),
            "--faults", faults,
            "--control-port", "0",
            "--ends-with-stdin",
            "--json",
        ]  # fmt: skip
        self._process: asyncio.subprocess.Process | None = None
        self._control: HttpClient | None = None
        self._urls: dict[str, dict[str, str]] = {}

    async def __aenter__(self) -> Self:
        """Start the process and wait until it listens.

        Raises:
            ConfigError: The simulator refused its options; its own words.
            DeadlineError: It did not come up in time.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crossfeed.simulator", *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._process = process
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                line = await process.stdout.readline()
                words = b"" if line else await process.stderr.read()
        except TimeoutError:
            await self._end()
            msg = "the simulator did not start"
            raise DeadlineError(msg, limit_s=START_DEADLINE_S) from None
        except BaseException:
            await self._end()
            raise
        if not line:
            await self._end()
            refusal = words.decode("utf-8", "replace").strip().removeprefix("simulator: ")
            raise ConfigError(refusal or "the simulator ended at once")
        said: dict[str, Any] = msgspec.json.decode(line)
        self._urls = said["venues"]
        self._control = HttpClient(said["control"], name="simulator")
        return self

    def settings(self, venue: str) -> FeedSettings:
        """Return the settings that lead a client to the simulated venue."""
        urls = self._urls[venue]
        parameters = {"time_unit": "MICROSECOND"} if venue == "binance" else {}
        exchange = self._urls.get("coinbase", {}).get("rest", "")
        return FeedSettings(
            ws_url=urls["ws"],
            rest_url=urls["rest"],
            rest_bases={"exchange": exchange} if venue == "coinbase_advanced" else {},
            parameters=parameters,
        )

    async def calm(self) -> None:
        """End all faults; the market goes on."""
        await self._post("/calm")

    async def drain(self) -> None:
        """Let faults stop and every earlier loss become visible, then let the market stop."""
        await self._post("/drain?grace_s=2")
        async with asyncio.timeout(DRAIN_DEADLINE_S):
            while (await self._get("/status"))["phase"] != "drained":  # noqa: ASYNC110 - another process
                await asyncio.sleep(POLL_S)

    async def pause(self) -> None:
        """Stop the market."""
        await self._post("/pause")

    async def ledger(self) -> dict[str, Any]:
        """Return the simulator's own account of what it sent."""
        return await self._get("/ledger")

    async def _get(self, path: str) -> dict[str, Any]:
        assert self._control is not None, "the simulator runs"
        answer = await self._control.get(path)
        found: dict[str, Any] = msgspec.json.decode(answer.body)
        return found

    async def _post(self, path: str) -> None:
        assert self._control is not None, "the simulator runs"
        answer = await self._control.request("POST", path)
        if answer.status != 200:  # noqa: PLR2004 - HTTP OK
            raise ConnectFailedError(f"the simulator answered {answer.status} to {path}")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process and wait for it."""
        if self._control is not None:
            await self._control.close()
        await self._end()

    async def _end(self) -> None:
        """Close its standard input (it ends with that); kill it if it does not listen."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(END_DEADLINE_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
