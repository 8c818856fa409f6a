"""Stage 3: events → proven events. Continuity, gaps, lines, freshness, trust; pure."""

from __future__ import annotations
