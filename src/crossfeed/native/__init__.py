"""Stage 2, accelerated: frames → events, in C, where a compiler was there at install time.

Optional. `_engine` reads frames by tables that are made from the venues' declarations; it names no
venue. It never judges: whatever is not plainly right it declines, and the pure decoder, its
reference, decides. `_hook` calls it from inside picows. `crossfeed.runtime.core_choice` says which
core is in use and why.
"""

__all__: list[str] = []
