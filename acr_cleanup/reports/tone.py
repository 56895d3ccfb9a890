"""The tone of a verdict. Each format has a colour or a sign for it."""

from __future__ import annotations

from enum import StrEnum


class Tone(StrEnum):
    """How a verdict is highlighted."""

    NEUTRAL = "neutral"
    """A plan that was not applied yet."""
    GOOD = "good"
    """Done as planned, or nothing to do."""
    STOPPED = "stopped"
    """Cancelled by a signal."""
    WARNING = "warning"
    """Partly done."""
    BAD = "bad"
    """Refused, or failed before it began."""
