"""Stage 6b: figures and events → whoever asks (others pull)."""

from __future__ import annotations
