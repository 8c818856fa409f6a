"""Stage 2: frames → events. One folder per venue, found by walking; nothing else names a venue."""

from __future__ import annotations
