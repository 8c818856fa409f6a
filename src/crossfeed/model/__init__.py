"""The nouns: what every stage may know. No I/O, no clock, no venue."""

from __future__ import annotations
