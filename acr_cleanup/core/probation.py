"""
Probation: a candidate for deletion waits until several runs have found it to be one.

Reports announce each waiting tag with its date. A use, a moved tag and a new push start the time anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.policy import Evidence, KeepReason, Rule
from acr_cleanup.core.retention import day


def probation_of(evidence: Evidence, items: Iterable[Tag | Manifest]) -> dict[str, KeepReason]:
    """
    Why each of these candidates must wait, by tag name or digest. Those that may be deleted now are absent.

    While the records reach back less than `used_within`, every candidate waits: a use may have been missed.
    """
    policy, history, now = evidence.policy, evidence.usage.history, evidence.now
    if not policy.probation:
        return {}
    complete = _complete(evidence)
    # One reason per time: there may be a million tags.
    by_time: dict[datetime, KeepReason] = {}
    waiting: dict[str, KeepReason] = {}
    for item in items:
        since = history.candidate_since(evidence.inventory.name, item) or now
        due = max(since + policy.probation, complete)
        if due > now:
            if since not in by_time:
                detail = f"on probation since {day(since, now)}, deletable from {day(due, now)}"
                by_time[since] = KeepReason(Rule.PROBATION, detail, due=due)
            waiting[item.name if isinstance(item, Tag) else item.digest] = by_time[since]
    return waiting


def new_since_last_run(evidence: Evidence, tags: Iterable[Tag]) -> frozenset[str] | None:
    """The names of the tags to delete that the last run would not have deleted; None if that is not known."""
    history, probation = evidence.usage.history, evidence.policy.probation
    last = history.last_run
    if history.since is None or last is None:
        return None
    complete = _complete(evidence) if probation else history.since
    started = ((tag.name, history.candidate_since(evidence.inventory.name, tag)) for tag in tags)
    return frozenset(
        name for name, since in started if since is None or max(since + (probation or timedelta()), complete) > last
    )


def _complete(evidence: Evidence) -> datetime:
    """The time at which the records cover `used_within`."""
    return (evidence.usage.history.since or evidence.now) + (evidence.policy.used_within or timedelta())
