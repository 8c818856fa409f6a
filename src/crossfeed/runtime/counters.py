"""Plain integers that the data path counts with; metrics read them when they are asked."""

from __future__ import annotations

from crossfeed.errors import DecodeError

__all__ = ["Counters"]

REASONS_MAX = 64


class Counters:
    """What happened to the frames and events of one session.

    frames = understood + invalid; events = admitted by their gates + unasked (+ duplicates dropped
    whole).

    Attributes:
        frames: Frames received.
        messages: Frames that carried data of streams asked for.
        events: Events decoded.
        invalid: Frames refused, all reasons together.
        unasked: Events of streams nobody asked for (after an unsubscribe, before an
            acknowledgement).
        duplicates: Events of frames that came twice on a numbered connection.
        invalid_by_reason: Refused frames by the decoder's reason.
        last_invalid: The newest refusal, for people.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.frames = 0
        self.messages = 0
        self.events = 0
        self.invalid = 0
        self.unasked = 0
        self.duplicates = 0
        self.invalid_by_reason: dict[str, int] = {}
        self.last_invalid: DecodeError | None = None

    def refuse(self, error: DecodeError) -> None:
        """Count one refused frame."""
        self.invalid += 1
        reasons = self.invalid_by_reason
        reason = error.reason if error.reason in reasons or len(reasons) < REASONS_MAX else "other"
        reasons[reason] = reasons.get(reason, 0) + 1
        self.last_invalid = error
