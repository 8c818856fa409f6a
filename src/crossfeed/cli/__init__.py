"""The command line: `crossfeed demo | watch | record | replay | doctor | ...`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

__all__ = ["EXIT_ERROR", "EXIT_INTERRUPTED", "EXIT_USAGE", "main"]

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Every expected failure is one clear line on standard error and a non-zero code, never a
    traceback: 2 for what the user typed, 1 for what went wrong on the way, 130 for Ctrl-C before
    there was anything to show.
    """
    try:
        return _run(arguments)
    except KeyboardInterrupt:  # the imports take a while: whoever gives up then gets no traceback
        return EXIT_INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    import logging

    from crossfeed.cli.app import app
    from crossfeed.errors import ConfigError, CrossfeedError

    for stream in (sys.stdout, sys.stderr):
        _write_anything(stream)
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    # What the feed says of outages is shown in the view; the console stays readable.
    logger = logging.getLogger("crossfeed")
    usual = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        result = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except ConfigError as error:
        _fail(error)
        return EXIT_USAGE
    except (CrossfeedError, OSError) as error:
        _fail(error)
        return EXIT_ERROR
    except Exception as error:
        if type(error).__module__.startswith("cyclopts"):
            _fail(error)
            return EXIT_USAGE
        raise
    finally:
        logger.setLevel(usual)
    return int(result) if isinstance(result, int) else 0


def _write_anything(stream: object) -> None:
    """Let a stream whose encoding lacks a sign write "?" for it."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def _fail(error: BaseException) -> None:
    from crossfeed.journal.files import said

    text = " ".join(said(error).split())
    sys.stderr.write(f"crossfeed: {text}\n")
    for note in getattr(error, "__notes__", ()):
        sys.stderr.write(f"crossfeed: {' '.join(str(note).split())}\n")
