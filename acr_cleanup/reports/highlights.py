"""The planned tags that a reviewer should look at first: new ones, nearest the limit, largest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from acr_cleanup.core.highlights import PlannedTag
from acr_cleanup.core.retention import describe_duration
from acr_cleanup.reports.view import View

SHOWN = 5
"""Tags in each group."""
MOST_OF_ONE = 2
"""Tags of one repository in each group, if there are several repositories."""


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
        yield HighlightGroup("New since the last run", _first(first_seen))
        if plan.planned > 2 * SHOWN:

            def due(item: Highlight) -> datetime:
                return item.tag.pushed + plan.policy.rule(item.tag.governed_by).older_than

            nearest = sorted(planned, key=lambda item: (-due(item).timestamp(), *_name(item)))
            limit = "of its rule" if plan.policy.rules else describe_duration(plan.policy.older_than)
            yield HighlightGroup(f"Nearest the limit ({limit})", _first(nearest))
            sized = (item for item in planned if item.tag.size)
            largest = sorted(sized, key=lambda item: (-item.tag.size, *_name(item)))
            # Tags of one size cannot be compared.
            if len({item.tag.size for item in largest}) > 1:
                yield HighlightGroup("Frees most", _first(largest))

    return () if view.acted or view.bound else tuple(group for group in groups() if group.tags)


def _first(items: Sequence[Highlight]) -> tuple[Highlight, ...]:
    """The first items; of several repositories, not all of the same one."""
    most = MOST_OF_ONE if len({item.repository for item in items}) > 1 else SHOWN
    number = Counter[str]()
    shown = []
    for item in items:
        number[item.repository] += 1
        if number[item.repository] <= most:
            shown.append(item)
    return tuple(shown[:SHOWN])


def _newest(item: Highlight) -> tuple[float, str, str]:
    return -item.tag.pushed.timestamp(), *_name(item)


def _name(item: Highlight) -> tuple[str, str]:
    return item.repository, item.tag.name
