"""
The plan of a run: every decision, made before anything is deleted.

planning.py makes the plan of one repository. A dry run and an apply make the same plan.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property

from msgspec import Struct

from acr_cleanup.core.highlights import highlights
from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.left_out import PlannedPart
from acr_cleanup.core.limits import LimitRefusal, Limits
from acr_cleanup.core.plan_warnings import PlanWarning
from acr_cleanup.core.policy import KeepReason, Rule
from acr_cleanup.core.policy_findings import PolicyFinding
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.space import Space
from acr_cleanup.core.steps import DeleteManifest, Step
from acr_cleanup.core.tally import Tally
from acr_cleanup.core.usage import Blocker, UsageIndex
from acr_cleanup.core.verification import Missing


class Decision(Struct, frozen=True, gc=False):
    """One tag and every reason to keep it. A tag with no reason is deleted."""

    tag: Tag
    reasons: tuple[KeepReason, ...] = ()
    governed_by: str = ""
    """The name of the rule of the policy that governs it; empty for the options at the top level."""

    @property
    def deletes(self) -> bool:
        return not self.reasons

    @property
    def in_use(self) -> bool:
        return is_use(self.reasons)


def is_use(reasons: Iterable[KeepReason]) -> bool:
    """Do these reasons keep a tag because it is in use?"""
    return any(reason.rule is Rule.IN_USE for reason in reasons)


class ManifestDecision(Struct, frozen=True, gc=False):
    """
    One untagged manifest and every reason to keep it.

    Made only if the policy sets `delete_untagged`.
    """

    manifest: Manifest
    reasons: tuple[Reason, ...] = ()

    @property
    def deletes(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class RepositoryPlan:
    """Every decision about one repository, and the steps that carry them out, in a safe order."""

    repository: str
    decisions: tuple[Decision, ...] = ()
    steps: tuple[Step, ...] = ()
    warnings: tuple[PlanWarning, ...] = ()
    error: str = ""
    """
    Why the repository could not be read.

    If set, there are no decisions and everything in it is kept.
    """
    missing: tuple[Missing, ...] = ()
    """Tags and digests that are used, but not in the registry."""
    space: Space | None = None
    """The measured space of the manifests to delete; None if it was not measured."""
    listed_size: int = 0
    """Bytes of all manifests, as listed. A shared layer counts more than once."""
    used_size: int = 0
    """The part of `listed_size` in manifests of tags in use, with everything that they list."""
    untagged: tuple[ManifestDecision, ...] = ()
    """
    With `delete_untagged`: a decision for each untagged manifest.

    Manifests deleted together with a tagged one are absent.
    """
    kept_entries: Mapping[KeepEntry, int] = field(default_factory=dict)
    """The entries of the keep list that match here, and how many tags each of them keeps."""
    unused_rules: frozenset[str] = frozenset()
    """The rules that match a tag here, but govern none."""
    vanished: frozenset[str] = frozenset()
    """Planned tags of a reviewed plan that no longer exist, or name another manifest."""
    new: frozenset[str] | None = None
    """Tags that the last run would not have deleted; None if that is not known."""

    @cached_property
    def deletions(self) -> tuple[Decision, ...]:
        return tuple(decision for decision in self.decisions if decision.deletes)

    @cached_property
    def kept(self) -> tuple[Decision, ...]:
        return tuple(decision for decision in self.decisions if not decision.deletes)

    @cached_property
    def untagged_deletions(self) -> tuple[ManifestDecision, ...]:
        """The untagged manifests to delete on their own."""
        return tuple(decision for decision in self.untagged if decision.deletes)

    @cached_property
    def manifests(self) -> tuple[Manifest, ...]:
        """The manifests to delete."""
        return tuple(step.manifest for step in self.steps if isinstance(step, DeleteManifest))

    @property
    def size(self) -> int:
        """
        Bytes that the steps free within the repository, if `exact`.

        Otherwise an upper bound: the sum of the listed sizes, which count a shared layer more than
        once.
        """
        if self.space is not None and self.exact:
            return self.space.freed(manifest.digest for manifest in self.manifests)
        return sum(manifest.size for manifest in self.manifests)

    @property
    def exact(self) -> bool:
        """Is `size` exact within the repository?"""
        if self.space is None or not self.space.exact:
            return not self.manifests
        # A reviewed plan may delete a manifest that the fresh, measured plan does not.
        return self.space.planned.keys() >= {manifest.digest for manifest in self.manifests}

    @cached_property
    def tally(self) -> Tally:
        kept, new = self.kept, self.new
        return Tally(
            repository=self.repository,
            tags=len(self.decisions),
            planned=len(self.decisions) - len(kept),
            kept_by=Counter(Rule.IN_USE if decision.in_use else decision.reasons[0].rule for decision in kept),
            locked_alone=sum(
                len(decision.reasons) == 1 and decision.reasons[0].rule is Rule.LOCKED for decision in kept
            ),
            untagged=len(self.untagged_deletions),
            untagged_decided=len(self.untagged),
            steps=len(self.steps),
            manifests=len(self.manifests),
            size=self.size,
            exact=self.exact,
            listed_size=self.listed_size,
            used_size=self.used_size,
            read_for_sizes=self.space.read if self.space is not None else None,
            missing=self.missing,
            waiting=_due(kept),
            untagged_waiting=_due(decision for decision in self.untagged if decision.reasons),
            warnings=self.warnings,
            error=self.error,
            kept_entries=self.kept_entries,
            governed=Counter(decision.governed_by for decision in self.decisions if decision.governed_by),
            governed_planned=Counter(decision.governed_by for decision in self.deletions if decision.governed_by),
            unused_rules=self.unused_rules,
            vanished=len(self.vanished),
            new=None if new is None else sum(decision.tag.name in new for decision in self.deletions),
            highlights=highlights(
                ((decision.tag, decision.governed_by) for decision in self.deletions), self.manifests, new or ()
            ),
        )


def _due(kept: Iterable[Decision | ManifestDecision]) -> Mapping[date, int]:
    """How many of these are on probation, by the day on which it ends."""
    reasons = (decision.reasons[0] for decision in kept)
    return dict(sorted(Counter(reason.due.date() for reason in reasons if reason.due is not None).items()))


class RepositoryPlans(Sequence[RepositoryPlan]):
    """The plans of many repositories in a compact form, with their tallies unpacked."""

    @property
    @abstractmethod
    def tallies(self) -> tuple[Tally, ...]: ...

    @abstractmethod
    def to_apply(self, place: int) -> RepositoryPlan:
        """One plan with its steps, but without its decisions."""


@dataclass(frozen=True, slots=True)
class Obstacles:
    """
    The reasons not to apply a plan. True if there is any.

    blockers: what could not be read. refusals: limits that the plan exceeds.
    """

    blockers: tuple[Blocker, ...] = ()
    refusals: tuple[LimitRefusal, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.blockers or self.refusals)


@dataclass(frozen=True)
class Plan:
    """
    Every decision of a run.

    A plan with blockers is shown like any other, but never applied: see `obstacles`.
    """

    registry: str
    policy: RetentionPolicy
    created_at: datetime
    usage: UsageIndex
    repositories: Sequence[RepositoryPlan] = ()
    """
    One plan per repository.

    `RepositoryPlans` makes each on access: hold one at a time to save memory.
    """
    blockers: tuple[Blocker, ...] = ()
    findings: tuple[PolicyFinding, ...] = ()
    part: PlannedPart | None = None
    """The part of the registry that was planned; None if its repositories are not known."""

    def obstacles(self, limits: Limits) -> Obstacles:
        """
        Every reason not to apply this plan. `if not plan.obstacles(limits)` it may be applied.

        A plan may be applied if everything was read and no limit is exceeded.
        """
        return Obstacles(self.blockers, limits.exceeded_by(self.tallies))

    @property
    def has_changes(self) -> bool:
        """Would applying the plan delete anything?"""
        return bool(self.planned or self.manifests)

    @cached_property
    def tallies(self) -> tuple[Tally, ...]:
        """The totals of each repository, in the order of `repositories`."""
        if isinstance(self.repositories, RepositoryPlans):
            return self.repositories.tallies
        return tuple(repository.tally for repository in self.repositories)

    def repository(self, name: str) -> RepositoryPlan:
        """The plan of the repository of this name; raises `KeyError`."""
        return self.repositories[self._places[name]]

    def to_apply(self, name: str) -> RepositoryPlan:
        """
        The plan of the repository of this name without its decisions, of which there may be a
        hundred times as many as steps.
        """
        place = self._places[name]
        if isinstance(self.repositories, RepositoryPlans):
            return self.repositories.to_apply(place)
        return replace(self.repositories[place], decisions=(), untagged=())

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {tally.repository: place for place, tally in enumerate(self.tallies)}

    @property
    def planned(self) -> int:
        """How many tags the plan deletes."""
        return sum(tally.planned for tally in self.tallies)

    @property
    def untagged(self) -> int:
        """How many untagged manifests the plan deletes on their own."""
        return sum(tally.untagged for tally in self.tallies)

    @property
    def kept(self) -> int:
        """How many tags the plan keeps."""
        return sum(tally.kept for tally in self.tallies)

    @property
    def in_use(self) -> int:
        """How many tags are kept and in use."""
        return sum(tally.in_use for tally in self.tallies)

    @property
    def manifests(self) -> int:
        """How many manifests the plan deletes."""
        return sum(tally.manifests for tally in self.tallies)

    @property
    def missing(self) -> tuple[Missing, ...]:
        """
        Tags and digests that are used, but not in the registry.

        Unread repositories are not checked.
        """
        return tuple(missing for tally in self.tallies for missing in tally.missing)

    @property
    def size(self) -> int:
        """Bytes that the plan frees; an upper bound unless `exact`."""
        return sum(tally.size for tally in self.tallies)

    @property
    def exact(self) -> bool:
        """Was `size` measured in every repository that loses a manifest?"""
        return self.manifests > 0 and all(tally.exact for tally in self.tallies)

    @property
    def measured(self) -> bool:
        """Was the size measured in any repository, exactly or not?"""
        return any(tally.read_for_sizes is not None for tally in self.tallies)

    @property
    def read_for_sizes(self) -> int:
        """How many manifests were read to measure exact sizes."""
        return sum(tally.read_for_sizes or 0 for tally in self.tallies)
