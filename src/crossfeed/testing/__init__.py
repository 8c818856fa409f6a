"""The public test kit: a manual clock for anything that takes a `Clock`."""

from __future__ import annotations
