"""What became of a plan: the outcome of every step, and the result of a whole run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from acr_cleanup.core.plan import Plan, Tally
from acr_cleanup.core.references import Digest
from acr_cleanup.core.usage import Blocker
from acr_cleanup.core.verification import Broken, Proof


class OutcomeKind(StrEnum):
    """What happened to one tag or manifest. Only `failed` is a failure: the others are the world having moved."""

    DELETED = "deleted"
    GONE = "gone"
    """Somebody else had deleted it."""
    MOVED = "moved"
    """The tag names another digest now, or was pushed again."""
    IN_USE_NOW = "in use now"
    LOCKED = "locked"
    KEPT = "kept"
    """Another reason to keep it has come up since the plan."""
    FAILED = "failed"
    NOT_ATTEMPTED = "not attempted"
    """The run was stopped, or what had to go first stayed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one tag, or (with `tag` None) to one manifest."""

    repository: str
    digest: Digest
    tag: str | None
    kind: OutcomeKind
    detail: str = ""
    size: int = 0
    """For a manifest, its bytes as listed."""

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag is not None else f"{self.repository}@{self.digest}"


class Verdict(StrEnum):
    """The run in one word."""

    PLANNED = "planned"
    """Planned only: nothing was to be deleted."""
    APPLIED = "applied"
    """Everything that was still true of the plan was done; also when there was nothing to do."""
    PARTIAL = "partial"
    """Some items failed, or some of the registry could not be read."""
    REFUSED = "refused"
    """Nothing was deleted, because of a blocker or a limit."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Counts:
    """The totals of a run. All count tags, but `deleted_manifests` and `bytes` (of the manifests that went, or would go)."""

    deleted: int
    planned: int
    kept: int
    in_use: int
    failed: int
    deleted_manifests: int
    bytes: int


@dataclass(frozen=True, slots=True)
class AppliedPlan:
    """Which reviewed plan an apply was bound to: the file as the user named it, when it was made, and its hash."""

    path: str
    created_at: datetime
    hash: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Whether what is deleted could be brought back: `text` says it in one sentence, empty where nobody asked."""

    text: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """
    One run, whole: what every report renders.

    `refusals` say why nothing was (or would be) deleted, blockers aside; `blockers` include those of the second look.
    `dry_run` says that applying was never asked for. With `applied_plan`, nothing beyond that reviewed plan was asked for, and
    `plan` is it, seen from now.
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
    """Whether what is (or would be) deleted could be brought back, in one sentence; empty where nothing is planned."""
    applied_plan: AppliedPlan | None = None
    proof: Proof | None = None
    """What a look afterwards has come to; None without one, because nothing was deleted or nobody asked for it."""

    @cached_property
    def counts(self) -> Counts:
        tags = [outcome for outcome in self.outcomes if outcome.tag is not None]
        manifests = [outcome for outcome in self.outcomes if outcome.tag is None]
        gone = [outcome for outcome in manifests if outcome.kind is OutcomeKind.DELETED]
        return Counts(
            deleted=count(tags, OutcomeKind.DELETED),
            planned=self.plan.planned,
            kept=self.plan.kept,
            in_use=self.plan.in_use,
            failed=count(tags, OutcomeKind.FAILED),
            deleted_manifests=len(gone),
            bytes=self.plan.size if self.dry_run else sum(map(self.freed, self.plan.tallies)),
        )

    @property
    def broken(self) -> tuple[Broken, ...]:
        """What could be pulled before the run, and cannot be any more."""
        return self.proof.broken if self.proof is not None else ()

    def freed(self, tally: Tally) -> int:
        """Bytes that were freed there: exact within the repository, where that was measured, otherwise an upper bound."""
        gone = self._deleted.get(tally.repository, {})
        if gone and tally.exact and (space := self.plan.repository(tally.repository).space) is not None:
            return space.freed(gone)
        return sum(gone.values())

    @cached_property
    def _deleted(self) -> Mapping[str, Mapping[Digest, int]]:
        found: defaultdict[str, dict[Digest, int]] = defaultdict(dict)
        for outcome in self.outcomes:
            if outcome.tag is None and outcome.kind is OutcomeKind.DELETED:
                found[outcome.repository][outcome.digest] = outcome.size
        return found


def count(outcomes: Iterable[Outcome], kind: OutcomeKind) -> int:
    return sum(outcome.kind is kind for outcome in outcomes)
