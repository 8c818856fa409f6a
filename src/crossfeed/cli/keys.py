"""Single keys from the terminal, as they are pressed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Generator
from importlib.util import find_spec
from typing import Final

__all__ = ["has_keys", "pressed_keys", "read_lines"]

READ_BYTES: Final = 64


def has_keys() -> bool:
    """Say whether single keys can be read: from a terminal, where there is termios."""
    return bool(find_spec("termios") and sys.stdin and sys.stdin.isatty())


@contextlib.contextmanager
def pressed_keys(take: Callable[[str], None]) -> Generator[None]:
    """Call `take` with each key; the terminal is as it was afterwards. Needs `has_keys`."""
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = os.read(handle, READ_BYTES)
        if not data:
            loop.remove_reader(handle)
        for key in data.decode("utf-8", "replace"):
            take(key)

    tty.setcbreak(handle)
    loop.add_reader(handle, read)
    try:
        yield
    finally:
        loop.remove_reader(handle)
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


@contextlib.contextmanager
def read_lines(take: Callable[[bool], None]) -> Generator[None]:
    """Call `take(True)` for each line of standard input, `take(False)` at its end."""
    handle = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = os.read(handle, READ_BYTES)
        for _ in range(data.count(b"\n")):
            take(True)  # noqa: FBT003 - named in the contract
        if not data:
            loop.remove_reader(handle)
            take(False)  # noqa: FBT003 - as above

    try:
        loop.add_reader(handle, read)
    except PermissionError:  # a plain file is always ready: epoll does not take it
        with open(handle, "rb", closefd=False) as file:
            for _ in file:
                take(True)  # noqa: FBT003 - as above
        take(False)  # noqa: FBT003 - as above
        yield
        return
    try:
        yield
    finally:
        loop.remove_reader(handle)
