"""The repositories of the registry that a plan left out, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from acr_cleanup.core.own_repositories import is_left_alone
from acr_cleanup.core.policy import in_scope
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.selection import patterns
from acr_cleanup.core.usage import UsageIndex

EXAMPLES = 3
"""Repositories named for each reason."""


class WhyLeftOut(StrEnum):
    """Why a repository is not in the plan, in the order in which it is asked."""

    UNSELECTED = "unselected"
    """The option `repositories` does not select it."""
    OF_AZURE = "of-azure"
    """Azure itself keeps it."""
    OUT_OF_SCOPE = "out-of-scope"
    """It does not run in any cluster, or is not referenced."""
    OTHER_SHARD = "other-shard"
    """Another shard plans it."""


@dataclass(frozen=True, slots=True)
class LeftOutPart:
    """How many repositories were left out for one reason, and the first of them."""

    number: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """
    The part of the registry that was planned.

    repositories: how many the registry has.
    left_out: those that the plan leaves out. All their tags are kept.
    """

    repositories: int
    left_out: Mapping[WhyLeftOut, LeftOutPart]


def planned_part(
    catalog: Iterable[str], planned: Collection[str], usage: UsageIndex, policy: RetentionPolicy
) -> PlannedPart:
    """
    Compare the catalog with the plan.

    catalog: the names of all repositories. planned: those in the plan.
    """
    names = sorted({*catalog, *planned})
    by_reason: dict[WhyLeftOut, list[str]] = {reason: [] for reason in WhyLeftOut}
    selects = patterns(policy.repositories, use_regex=policy.use_regex).select
    scope = in_scope(usage, policy.scope, names)
    for name in names:
        if name in planned:
            continue
        if not selects(name):
            reason = WhyLeftOut.UNSELECTED
        elif is_left_alone(name, policy.repositories):
            reason = WhyLeftOut.OF_AZURE
        elif name not in scope:
            reason = WhyLeftOut.OUT_OF_SCOPE
        else:
            reason = WhyLeftOut.OTHER_SHARD
        by_reason[reason].append(name)
    parts = {
        reason: LeftOutPart(len(left_out), tuple(left_out[:EXAMPLES]))
        for reason, left_out in by_reason.items()
        if left_out
    }
    return PlannedPart(len(names), parts)
