"""A running feed's control socket.

One JSON object in, one out, for the same user on the same machine.

A Unix socket in a folder only its owner can enter; no network, no password. Used by `crossfeed
gaps` and `crossfeed resync`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from crossfeed.errors import ConnectFailedError, CrossfeedError, DeadlineError, VenueError

__all__ = ["ControlServer", "ask", "running_sockets"]

LINE_BYTES_MAX: Final = 64 << 10
ANSWER_BYTES_MAX: Final = 64 << 20
REQUEST_DEADLINE_S: Final = 5.0
CLIENTS_MAX: Final = 8

Handler = Callable[[Mapping[str, Any]], object]


class ControlServer:
    """Answers requests on `<folder>/<pid>.sock`. An async context manager; closes twice safely.

    Args:
        folder: Made with mode 0700 if it is not there.
        handlers: By the request's `do`; a CrossfeedError becomes the answer's `error`.
    """

    def __init__(self, folder: Path, handlers: Mapping[str, Handler]) -> None:
        """Prepare; nothing is opened yet."""
        self._folder = folder
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._clients = 0
        self.path = folder / f"{os.getpid()}.sock"

    async def start(self) -> bool:
        """Listen; say whether that worked (a system without Unix sockets goes without)."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(
                self._serve, str(self.path), limit=LINE_BYTES_MAX
            )
        except (OSError, NotImplementedError, AttributeError):
            return False
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients <= CLIENTS_MAX:
                async with asyncio.timeout(REQUEST_DEADLINE_S):
                    writer.write(self._answer(await reader.readline()) + b"\n")
                    await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            return
        finally:
            self._clients -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _answer(self, line: bytes) -> bytes:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
            handler = self._handlers.get(str(request.get("do")))
            if handler is None:
                known = ", ".join(self._handlers)
                return msgspec.json.encode({"error": f"unknown request (there are: {known})"})
            return msgspec.json.encode({"answer": handler(request)})
        except (msgspec.MsgspecError, CrossfeedError, ValueError) as error:
            return msgspec.json.encode({"error": " ".join(str(error).split())})

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()
            self.path.unlink(missing_ok=True)

    async def __aenter__(self) -> ControlServer:  # noqa: PYI034 - not meant for subclasses
        """Listen."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()


def running_sockets(folder: Path) -> dict[int, Path]:
    """Return the sockets of the processes that still run, by process id.

    Forget those of dead ones.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.glob("*.sock")):
        if not path.stem.isdigit():
            continue
        try:
            os.kill(int(path.stem), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue
        else:
            found[int(path.stem)] = path
    return found


async def ask(path: Path, request: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON of any shape
    """Send one request to a running feed; return its answer.

    Raises:
        ConnectFailedError: Nobody listens there.
        DeadlineError: No answer in time.
        VenueError: The feed refused; its own words.
    """
    try:
        async with asyncio.timeout(REQUEST_DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=ANSWER_BYTES_MAX)
            writer.write(msgspec.json.encode(request) + b"\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
    except TimeoutError:
        raise DeadlineError("no answer", limit_s=REQUEST_DEADLINE_S, where=path.stem) from None
    except OSError as error:
        raise ConnectFailedError(f"cannot be asked: {error.strerror}", where=path.stem) from error
    answer: dict[str, Any] = msgspec.json.decode(line or b'{"error": "no answer"}')
    if "error" in answer:
        raise VenueError(f"process {path.stem}", str(answer["error"]))
    return answer["answer"]
