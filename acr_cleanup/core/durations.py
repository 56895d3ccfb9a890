"""Durations and days as the options and the messages write them."""

from __future__ import annotations

from datetime import date, datetime, timedelta

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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


def day(moment: date, now: datetime) -> str:
    """
    A day, with the year if it is not that of `now`.

    >>> day(datetime(2026, 11, 19), datetime(2026, 11, 12)), day(datetime(2027, 1, 2), datetime(2026, 11, 12))
    ('19 Nov', '2 Jan 2027')
    """
    year = "" if moment.year == now.year else f" {moment.year}"
    return f"{moment.day} {_MONTHS[moment.month - 1]}{year}"
