"""The planned tags that a reviewer should look at first: new ones, nearest the limit, largest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from acr_cleanup.core.highlights import PlannedTag
from acr_cleanup.core.retention import describe_duration
from acr_cleanup.reports.view import View

SHOWN = 5
"""Tags in each group."""


@dataclass(frozen=True, slots=True)
class Highlight:
    """A planned tag with its repository. The names are foreign text."""

    repository: str
    tag: PlannedTag


@dataclass(frozen=True, slots=True)
class HighlightGroup:
    """Tags that have one thing in common, the most important first."""

    title: str
    tags: tuple[Highlight, ...]


def highlights(view: View) -> tuple[HighlightGroup, ...]:
    """
    Return the groups that have tags; none after a deletion, or for a reviewed plan.

    A plan of few tags has only the group of the new ones: its reader looks at all of them anyway.
    """
    plan = view.result.plan
    planned = [Highlight(tally.repository, tag) for tally in plan.tallies for tag in tally.highlights]

    def groups() -> Iterator[HighlightGroup]:
        first_seen = sorted((item for item in planned if item.tag.is_new), key=_newest)
        yield HighlightGroup("New since the last run", tuple(first_seen[:SHOWN]))
        if plan.planned > 2 * SHOWN:
            limits = {rule.name: rule.older_than for rule in plan.policy.rules}

            def due(item: Highlight) -> datetime:
                return item.tag.pushed + limits.get(item.tag.governed_by, plan.policy.older_than)

            nearest = sorted(planned, key=lambda item: (-due(item).timestamp(), *_name(item)))
            limit = "of its rule" if limits else describe_duration(plan.policy.older_than)
            yield HighlightGroup(f"Nearest the limit ({limit})", tuple(nearest[:SHOWN]))
            largest = sorted(planned, key=lambda item: (-item.tag.size, *_name(item)))
            # Tags of one size cannot be compared.
            if largest[0].tag.size > largest[-1].tag.size:
                yield HighlightGroup("Frees most", tuple(item for item in largest[:SHOWN] if item.tag.size))

    return () if view.acted or view.bound else tuple(group for group in groups() if group.tags)


def _newest(item: Highlight) -> tuple[float, str, str]:
    return -item.tag.pushed.timestamp(), *_name(item)


def _name(item: Highlight) -> tuple[str, str]:
    return item.repository, item.tag.name
