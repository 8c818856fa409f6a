"""Wiring: the one place that knows all stages. `pipeline.py` shows the way of a message."""

from __future__ import annotations
