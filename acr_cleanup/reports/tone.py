"""How a verdict is coloured."""

from __future__ import annotations

from enum import StrEnum


class Tone(StrEnum):
    """How the verdict should strike the eye."""

    NEUTRAL = "neutral"
    """A plan, which waits for somebody."""
    GOOD = "good"
    """Done as planned, or nothing to do."""
    STOPPED = "stopped"
    """Stopped on request."""
    WARNING = "warning"
    """Done in part."""
    BAD = "bad"
    """Refused, or failed before it began."""
