"""The front doors: what a user of the library holds in hand."""

from __future__ import annotations
