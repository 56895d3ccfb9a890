"""
The policy: the values of the options that keep or delete, and their form in words.

The command line imports this module for `--help`, so it imports nothing that is slow to load.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.references import DEFAULT_TAG
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.core.shard import WHOLE, Shard


class Scope(StrEnum):
    """The repositories that may lose tags."""

    RUNNING = "running"
    """Those named by a container of a pod, in at least one cluster."""
    REFERENCED = "referenced"
    """Those named by any object of a cluster, even if it is scaled to zero or suspended."""
    ALL = "all"
    """Every repository of the registry."""


class KeepLastOf(StrEnum):
    """The items that `keep_last` counts."""

    IMAGES = "images"
    """
    Tags of one digest count once, and are kept together. So are the tags of an index and of its
    children. Signatures and companions do not count.
    """
    TAGS = "tags"
    """Each tag counts, except signatures by the name of their tag."""


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """
    The options of the user that keep or delete. Reports list the options in the order of the fields.

    `delete_untagged` and `include_locked` let the tool delete more. Every other option can only
    keep more.

    older_than: minimum age since the last push.
    repositories, include_tags, exclude_tags: globs (`*`, `?`, `[…]`; `*` crosses slashes) or, with
        `use_regex`, RE2 expressions. In the first two, `!` at the start takes names away.
    keep_last: how many of the newest images or tags (`keep_last_of`) to keep.
    keep_last_by: a regular expression with one group; `keep_last` then applies separately to each
        distinct text that the group captures.
    pulled_within: what the log shows as pulled in this time is kept.
    used_within, probation: how long a past use keeps, and how long a tag must have been a candidate.
    shard: the part of the registry that this run works on.
    keep: the keep list.
    rules: the rules for some tags. The first one that matches a tag governs it instead of
        `older_than`, `keep_last` and `keep_last_by`.
    """

    older_than: timedelta = timedelta(days=30)
    scope: Scope = Scope.RUNNING
    keep_last: int = 0
    repositories: tuple[str, ...] = ("*",)
    include_tags: tuple[str, ...] = ("*",)
    exclude_tags: tuple[str, ...] = (DEFAULT_TAG,)
    shard: Shard = WHOLE
    keep_last_by: str = ""
    keep_last_of: KeepLastOf = KeepLastOf.IMAGES
    keep: tuple[KeepEntry, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
    pulled_within: timedelta | None = None
    used_within: timedelta | None = None
    probation: timedelta | None = None
    use_regex: bool = False
    delete_untagged: bool = False
    include_locked: bool = False

    @property
    def top(self) -> PolicyRule:
        """The options at the top level, as the last rule."""
        return PolicyRule(
            "",
            older_than=self.older_than,
            keep_last=self.keep_last,
            keep_last_by=self.keep_last_by,
            pulled_within=self.pulled_within,
        )

    def rule(self, name: str) -> PolicyRule:
        """The rule of this name; the last one if no rule has it."""
        return next((rule for rule in self.rules if rule.name == name), self.top)


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
