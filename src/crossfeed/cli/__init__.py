"""The command line: `crossfeed demo | watch | sim | doctor | config`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

__all__ = ["main"]

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Every expected failure is one clear line on standard error and a non-zero code, never a
    traceback: 2 for what the user typed, 1 for what went wrong on the way.
    """
    from crossfeed.cli.app import app
    from crossfeed.errors import ConfigError, CrossfeedError

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
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if type(error).__module__.startswith("cyclopts"):
            _fail(error)
            return EXIT_USAGE
        raise
    finally:
        logger.setLevel(usual)
    return int(result) if isinstance(result, int) else 0


def _fail(error: BaseException) -> None:
    text = " ".join(str(error).split())
    sys.stderr.write(f"crossfeed: {text}\n")
    for note in getattr(error, "__notes__", ()):
        sys.stderr.write(f"crossfeed: {' '.join(str(note).split())}\n")
