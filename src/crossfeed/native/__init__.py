"""The ordinary way of a message in C, where a compiler was there at install time.

Optional. None of these modules judges: what is not plainly right or not ordinary is declined,
untouched, and the pure code, their reference, decides. Each knows only those that stand before it:

- `_scan.h` and `_crc.h`: reading one JSON value; checksums. `_python`: Python's C API.
- `_ladder`: the levels of a book, in sorted arrays.
- `_tables`: a venue's declarations, laid out for the parser. Only they differ from venue to venue.
- `_names`, `_rows`, `_events`, `_routes`, `_parser`: symbols as sent; levels of a message; its
  values and the events made of them; which table a frame is read by; reading it.
- `_engine`: frames to events, for one connection.
- `_states`, `_books`, `_cells`: what gates and books keep here; a book's ordinary update; the
  ordinary event of one stream on one connection.
- `_step`, `_path`: one frame through the gates; from a frame to the handlers, counted.
- `_hook`: calls them from inside picows.

`crossfeed.runtime.core_choice` says which core is in use and why;
docs/explanation/compiled-core.md how it fits together.
"""

__all__: list[str] = []
