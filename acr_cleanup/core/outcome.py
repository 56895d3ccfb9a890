"""The outcome of every planned step, and the result of a whole run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from acr_cleanup.core.plan import Plan
from acr_cleanup.core.references import Digest
from acr_cleanup.core.tally import Tally
from acr_cleanup.core.usage import Blocker
from acr_cleanup.core.verification import Broken, Proof


class OutcomeKind(StrEnum):
    """
    The outcome of one planned tag or manifest.

    Only `failed` is a failure; most others are changes since the plan.
    """

    DELETED = "deleted"
    GONE = "gone"
    """It was already deleted by someone else."""
    MOVED = "moved"
    """The tag names another digest now, or was pushed again."""
    IN_USE_NOW = "in use now"
    LOCKED = "locked"
    KEPT = "kept"
    """There is another reason to keep it that did not exist when the plan was made."""
    FAILED = "failed"
    NOT_ATTEMPTED = "not attempted"
    """The run was stopped, or an item that had to be deleted first was kept."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The result for one tag or, if `tag` is None, for one manifest.

    size: the listed bytes of a manifest; 0 for a tag.
    """

    repository: str
    digest: Digest
    tag: str | None
    kind: OutcomeKind
    detail: str = ""
    size: int = 0

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag is not None else f"{self.repository}@{self.digest}"


TAKEN = "it was kept, and the registry deleted it together with a manifest of this run"


class Verdict(StrEnum):
    """The run in one word."""

    PLANNED = "planned"
    """A dry run: nothing was to be deleted."""
    APPLIED = "applied"
    """Every step that was still valid was carried out, or there was nothing to do."""
    PARTIAL = "partial"
    """Some items failed, or a part of the registry could not be read."""
    REFUSED = "refused"
    """Nothing was deleted, because of a blocker or a limit."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Counts:
    """
    The totals of a run. All count tags, except `deleted_manifests` and `bytes`.

    bytes: freed by the deleted manifests; in a dry run, by the planned ones.
    """

    deleted: int
    planned: int
    kept: int
    in_use: int
    failed: int
    deleted_manifests: int
    bytes: int


@dataclass(frozen=True, slots=True)
class AppliedPlan:
    """The reviewed plan of an apply: its file as the user named it, its time and its hash."""

    path: str
    created_at: datetime
    hash: str


@dataclass(frozen=True, slots=True)
class Undo:
    """
    Can deleted items be restored?

    `text` answers in one sentence; empty if this was not checked.
    final: nothing keeps deleted manifests.
    """

    text: str = ""
    warnings: tuple[str, ...] = ()
    final: bool = False


@dataclass(frozen=True)
class Result:
    """
    One whole run: the value that every report renders.

    blockers: those of the plan and of the second look.
    refusals: sentences on why nothing was (or would be) deleted, in addition to the blockers.
    undo: one sentence on whether the deletions can be restored; empty if nothing is planned.
    final: nothing keeps deleted manifests, so `undo` is a warning.
    applied_plan: the reviewed plan to which the run was bound; `plan` is then that plan, with the
        decisions of now.
    proof: the verification after the deletions; None if nothing was deleted or it was not
        requested.
    ledger: one sentence on what is known of earlier runs; empty without a ledger.
    incomplete: what this run saw could not be kept for the next one.
    """

    plan: Plan
    verdict: Verdict
    dry_run: bool
    started_at: datetime
    finished_at: datetime
    outcomes: tuple[Outcome, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    undo: str = ""
    final: bool = False
    applied_plan: AppliedPlan | None = None
    proof: Proof | None = None
    ledger: str = ""
    incomplete: bool = False

    @cached_property
    def counts(self) -> Counts:
        tags = [outcome for outcome in self.outcomes if outcome.tag is not None]
        manifests = [outcome for outcome in self.outcomes if outcome.tag is None]
        deleted_manifests = [outcome for outcome in manifests if outcome.kind is OutcomeKind.DELETED]
        return Counts(
            deleted=count(tags, OutcomeKind.DELETED),
            planned=self.plan.planned,
            kept=self.plan.kept,
            in_use=self.plan.in_use,
            failed=count(tags, OutcomeKind.FAILED),
            deleted_manifests=len(deleted_manifests),
            bytes=self.plan.size if self.dry_run else sum(map(self.freed, self.plan.tallies)),
        )

    @property
    def broken(self) -> tuple[Broken, ...]:
        """References that could be pulled before the run and cannot be pulled now."""
        return self.proof.broken if self.proof is not None else ()

    def freed(self, tally: Tally) -> int:
        """Bytes freed in one repository; an upper bound if its space was not measured."""
        sizes = self._deleted_sizes.get(tally.repository, {})
        if sizes and tally.exact and (space := self.plan.repository(tally.repository).space) is not None:
            return space.freed(sizes)
        return sum(sizes.values())

    @cached_property
    def _deleted_sizes(self) -> Mapping[str, Mapping[Digest, int]]:
        """Repository -> its deleted manifests -> their listed bytes."""
        sizes: defaultdict[str, dict[Digest, int]] = defaultdict(dict)
        for outcome in self.outcomes:
            if outcome.tag is None and outcome.kind is OutcomeKind.DELETED:
                sizes[outcome.repository][outcome.digest] = outcome.size
        return sizes


def outcomes_of_taken(proof: Proof | None) -> tuple[Outcome, ...]:
    """An outcome for each kept tag and manifest that the registry deleted because of this run."""
    taken = [broken for broken in (proof.broken if proof is not None else ()) if broken.taken is not None]
    manifests = dict.fromkeys((broken.repository, broken.taken) for broken in taken if broken.taken is not None)
    return tuple(
        Outcome(repository, digest, tag, OutcomeKind.DELETED, TAKEN)
        for repository, digest in manifests
        for tag in (
            *(broken.name for broken in taken if (broken.repository, broken.taken) == (repository, digest)),
            None,
        )
        if tag != digest
    )


def count(outcomes: Iterable[Outcome], kind: OutcomeKind) -> int:
    return sum(outcome.kind is kind for outcome in outcomes)


def verdict_of(
    plan: Plan,
    outcomes: Sequence[Outcome],
    blockers: Sequence[Blocker],
    refused: Sequence[str],
    proof: Proof | None = None,
    *,
    dry_run: bool,
    cancelled: bool,
) -> Verdict:
    """
    The run in one word.

    A dry run that exceeds a limit is still planned. A dry run with blockers is refused, because its
    plan is not reliable.
    """
    if cancelled:
        return Verdict.CANCELLED
    deleted = any(outcome.kind is OutcomeKind.DELETED for outcome in outcomes)
    if (blockers or (refused and not dry_run)) and not deleted:
        return Verdict.REFUSED
    failed = any(outcome.kind is OutcomeKind.FAILED for outcome in outcomes)
    failed = failed or not (proof is None or proof.holds)
    if blockers or failed or any(tally.error for tally in plan.tallies):
        return Verdict.PARTIAL
    return Verdict.PLANNED if dry_run else Verdict.APPLIED
