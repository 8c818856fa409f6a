"""`crossfeed replay --serve`: the recorded venues, as any client knows them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from crossfeed.cli.session import interruptible, print_json
from crossfeed.errors import ConfigError
from crossfeed.runtime.replay_control import moment_of
from crossfeed.runtime.replay_server import ReplayServer

if TYPE_CHECKING:
    from crossfeed.cli.replay import ReplayOptions

__all__ = ["run_served"]


async def run_served(options: ReplayOptions, speed: float) -> int:
    """Serve until Ctrl-C.

    Raises:
        ConfigError: Not exactly one folder, or no feed in it that can be served.
        JournalError: The folder cannot be read.
    """
    if len(options.folders) != 1:
        raise ConfigError("one journal at a time can be served", field="folders")
    server = ReplayServer(
        options.folders[0],
        speed=speed,
        start=moment_of(options.start, "from"),
        end=moment_of(options.end, "to"),
        host=options.host,
        port=options.port,
        faults=None if options.faults == "none" else options.faults,
        control_port=None if options.control_port < 0 else options.control_port,
    )
    async with server:
        urls = {
            name: {"ws": server.ws_url(name), "rest": server.rest_url(name)}
            for name in server.feeds
        }
        if options.is_json:
            said = {"venues": urls, "skipped": server.skipped, "control": server.control_url}
            print_json(said)
        else:
            for name, each in urls.items():
                print(f"{name}: {each['ws']}  {each['rest']}")
            for name in server.skipped:
                print(f"{name}: its protocol cannot be served")
            if server.control_url:
                print(f"control: {server.control_url}/status (pause, resume, speed, seek, faults)")
            print("each connection plays the recording from its beginning; Ctrl-C ends", flush=True)
        over = asyncio.Event()
        with interruptible(over):
            await over.wait()
    return 0
