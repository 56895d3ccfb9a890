"""Durations as the options accept them."""

from __future__ import annotations

from datetime import timedelta


def describe_duration(duration: timedelta) -> str:
    """
    The shortest form that the options accept: `30d`, `12h`, `2d3h`.

    >>> describe_duration(timedelta(days=2, hours=3))
    '2d3h'
    """
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0d"
