"""The plan of one repository in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from acr_cleanup.core.highlights import PlannedTag
from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.plan_warnings import PlanWarning
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.verification import Missing


@dataclass(frozen=True, slots=True)
class Tally:
    """
    Totals of one repository, so that reports and limits need not load its tags.

    A registry may hold a million tags; its tallies are small.
    """

    repository: str
    tags: int = 0
    planned: int = 0
    """Tags to delete."""
    kept_by: Mapping[Rule, int] = field(default_factory=dict)
    """
    Kept tags by their strongest reason.

    A tag in use counts as in use, even if a stronger rule keeps it too.
    """
    locked_alone: int = 0
    """Tags kept only by a lock."""
    untagged: int = 0
    """Untagged manifests to delete on their own, not together with a tagged manifest."""
    untagged_decided: int = 0
    """Untagged manifests with a decision of their own, kept ones included."""
    steps: int = 0
    manifests: int = 0
    """Manifests to delete."""
    size: int = 0
    """Bytes to be freed; see `RepositoryPlan.size`."""
    exact: bool = True
    listed_size: int = 0
    """Bytes of all manifests; see `RepositoryPlan.listed_size`."""
    used_size: int = 0
    """The part of it that is in use."""
    read_for_sizes: int | None = None
    """Manifests read to measure exact sizes; None if exact sizes were not requested."""
    missing: tuple[Missing, ...] = ()
    waiting: Mapping[date, int] = field(default_factory=dict)
    """Tags on probation, by the day from which they may be deleted."""
    untagged_waiting: Mapping[date, int] = field(default_factory=dict)
    """The same for untagged manifests."""
    warnings: tuple[PlanWarning, ...] = ()
    error: str = ""
    kept_entries: Mapping[KeepEntry, int] = field(default_factory=dict)
    """The entries of the keep list that match here, and how many tags each of them keeps."""
    governed: Mapping[str, int] = field(default_factory=dict)
    """The tags by the rule of the policy that governs them."""
    governed_planned: Mapping[str, int] = field(default_factory=dict)
    """Those of them that are deleted."""
    unused_rules: frozenset[str] = frozenset()
    """The rules that match a tag, but govern none."""
    vanished: int = 0
    """Planned tags that no longer exist as reviewed; see `RepositoryPlan.vanished`."""
    new: int | None = None
    """Planned tags that the last run would not have deleted; None if that is not known."""
    highlights: tuple[PlannedTag, ...] = ()
    """The planned tags that a reviewer should look at first."""

    @property
    def deletable(self) -> int:
        """Planned tags that still exist."""
        return self.planned - self.vanished

    @property
    def kept(self) -> int:
        """Kept tags."""
        return self.tags - self.planned

    @property
    def in_use(self) -> int:
        """Kept tags that are in use."""
        return self.kept_by.get(Rule.IN_USE, 0)
