"""Stage 1b: everything that enters a core → files, and files → records for replay."""

from __future__ import annotations
