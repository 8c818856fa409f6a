"""Stage 6a: events → databases and other systems; we push."""

from __future__ import annotations
