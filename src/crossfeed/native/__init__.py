"""The ordinary way of a message in C, where a compiler was there at install time.

Optional. `_engine` reads frames by tables that are made from the venues' declarations; it names no
venue. `_ladder` keeps the levels of books, `_path` is what stands between the decoder and the
handlers: gates, books, dispatch, counters. None of them judges: what is not plainly right or not
ordinary is declined, untouched, and the pure code, their reference, decides. `_hook` calls them
from inside picows. `crossfeed.runtime.core_choice` says which core is in use and why;
docs/explanation/compiled-core.md how it fits together.
"""

__all__: list[str] = []
