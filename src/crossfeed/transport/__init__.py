"""Stage 1: sockets → frames. In: addresses, what to send. Out: whole messages, receive times."""

from __future__ import annotations
