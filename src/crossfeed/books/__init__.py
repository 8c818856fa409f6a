"""Stage 3b: deltas → trusted books. Ladder, synchronisation, checksums, reading; pure."""

from __future__ import annotations
