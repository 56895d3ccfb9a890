"""
The second look: which planned steps are still valid right before they are carried out.

The repository is read and decided again. Only what both plans delete is deleted: never more than
was planned, and less wherever something changed. A change is an outcome, not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from msgspec import structs

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Decision, ManifestDecision, RepositoryPlan
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.removal import Hold, Reason
from acr_cleanup.core.steps import DeleteManifest, Step, Untag, has_cycle

_LOCKED_SINCE = "it was locked since the plan"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The steps that may be carried out now, and the outcomes of the other planned items."""

    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]


def confirm(
    planned: Iterable[Step],
    fresh: RepositoryPlan,
    inventory: RepositoryInventory,
    reasons_of: Callable[[Digest], tuple[Reason, ...]] = lambda _: (),
    *,
    earlier: Collection[Digest] = (),
) -> Confirmed:
    """
    Which of the planned steps does a fresh plan still contain?

    - `delete manifest` is confirmed only if every tag now on the manifest was planned, and so was
      everything that is now attached to it. Otherwise its planned tags are untagged one by one.
    - Locks are taken from the fresh plan: a restored lock must not be older than that.
    - A lock set after the plan means that the item is to be kept. It is not removed, even with
      `include_locked`.

    inventory: the values from which `fresh` was made.
    reasons_of: the reasons for which `fresh` keeps a manifest, for the outcome of a kept one.
    earlier: further manifests that the plan deletes.
    """
    planned = tuple(planned)
    digests = {step.digest for step in planned if isinstance(step, DeleteManifest)}
    look = _SecondLook(planned_only(fresh, planned), inventory, reasons_of, frozenset(digests.union(earlier)))
    confirmed = [look.confirm(step) for step in planned]
    return Confirmed(
        look.in_order(tuple(step for result in confirmed for step in result.steps)),
        tuple(outcome for result in confirmed for outcome in result.outcomes),
    )


def still_planned(
    planned: Iterable[Step], fresh: RepositoryPlan, inventory: RepositoryInventory, digests: frozenset[Digest]
) -> Iterator[tuple[Step, DeleteManifest | None]]:
    """
    Each planned step, with the deletion that a fresh plan contains for it.

    None if anything about it has changed, and for an untag.

    digests: every manifest that the plan deletes.
    """
    planned = tuple(planned)
    look = _SecondLook(planned_only(fresh, planned), inventory, lambda _: (), digests)
    for step in planned:
        confirmed = look.confirm(step)
        now = confirmed.steps[0] if len(confirmed.steps) == 1 and not confirmed.outcomes else None
        yield step, now if isinstance(now, DeleteManifest) else None


def planned_only(fresh: RepositoryPlan, planned: Iterable[Step]) -> RepositoryPlan:
    """A fresh plan with the decisions about the tags of these steps, and those that delete."""
    names = {tag.name for step in planned for tag in step.tags}
    decisions = (decision for decision in fresh.decisions if decision.deletes or decision.tag.name in names)
    return replace(fresh, decisions=tuple(decisions))


@dataclass
class _SecondLook:
    fresh: RepositoryPlan
    inventory: RepositoryInventory
    reasons_of: Callable[[Digest], tuple[Reason, ...]]
    planned: frozenset[Digest]

    @cached_property
    def _tags(self) -> dict[str, Decision]:
        return {decision.tag.name: decision for decision in self.fresh.decisions}

    @cached_property
    def _untagged(self) -> dict[str, ManifestDecision]:
        return {decision.manifest.digest: decision for decision in self.fresh.untagged}

    @cached_property
    def _manifest_steps(self) -> dict[str, DeleteManifest]:
        return {step.digest: step for step in self.fresh.steps if isinstance(step, DeleteManifest)}

    def confirm(self, step: Step) -> Confirmed:
        manifest = self.inventory.manifests.get(step.digest)
        locked_since = _locked_since(step, manifest)
        tags, outcomes = self._confirm_tags(step, locked_since=locked_since)
        if isinstance(step, DeleteManifest):
            fresh_step = self._manifest_steps.get(step.digest)
            # Deleting the manifest deletes every tag on it and all its referrers: each must have been
            # planned, and the tags must be unchanged.
            unplanned = self._unplanned(fresh_step)
            if fresh_step is not None and not (locked_since or unplanned or set(fresh_step.tags) - set(tags)):
                # Keep the order of both plans: never fewer dependencies than were planned.
                after = tuple(sorted({*step.after, *fresh_step.after}))
                return Confirmed((structs.replace(fresh_step, after=after),), tuple(outcomes))
            kind, detail = self._why_manifest_is_kept(step, manifest, tags, locked_since=locked_since)
            outcomes.append(Outcome(self.fresh.repository, step.digest, None, kind, detail))
        untags = tuple(Untag(tag, locks=(tag.lock,) if tag.lock else ()) for tag in tags)
        return Confirmed(untags, tuple(outcomes))

    def in_order(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """
        Return the steps with the order of both plans, or of the fresh one if both form a cycle.

        A tag may be named after any digest. A plan ignores the names that contradict the subjects
        that it has read, and the fresh plan may have read more subjects.
        """
        fresh = tuple(
            structs.replace(step, after=self._manifest_steps[step.digest].after)
            if isinstance(step, DeleteManifest) and step.after
            else step
            for step in steps
        )
        return fresh if fresh != steps and has_cycle(steps) else steps

    def _unplanned(self, fresh: DeleteManifest | None) -> list[Digest]:
        """The manifests that `fresh` deletes before this one, and the plan does not."""
        return [digest for digest in fresh.after if digest not in self.planned] if fresh is not None else []

    def _confirm_tags(self, step: Step, *, locked_since: bool) -> tuple[list[Tag], list[Outcome]]:
        """The tags of the step that may still be deleted, and the outcomes of the other ones."""
        planned_locks = {lock.tag for lock in step.locks}
        confirmed, outcomes = [], []
        for tag in step.tags:
            result = _confirm_tag(
                tag, self._tags.get(tag.name), manifest_locked=locked_since, unlocks=tag.name in planned_locks
            )
            if isinstance(result, Tag):
                confirmed.append(result)
            else:
                outcomes.append(Outcome(self.fresh.repository, tag.digest, tag.name, *result))
        return confirmed, outcomes

    def _why_manifest_is_kept(
        self, step: DeleteManifest, manifest: Manifest | None, deleted: list[Tag], *, locked_since: bool
    ) -> tuple[OutcomeKind, str]:
        if manifest is None:
            return OutcomeKind.GONE, ""
        if locked_since:
            return OutcomeKind.LOCKED, _LOCKED_SINCE
        decision = self._untagged.get(step.digest)
        if decision is not None and decision.reasons:
            return _outcome_of(decision.reasons[0].rule), decision.reasons[0].detail
        tags_now = self.inventory.tags_of.get(step.digest, ())
        deleted_names = {tag.name for tag in deleted}
        kept_names = [tag.name for tag in tags_now if tag.name not in deleted_names]
        if kept_names:
            return OutcomeKind.KEPT, f"its tag {kept_names[0]} is kept"
        if step.tags and not tags_now:
            return OutcomeKind.KEPT, "its tags were moved or deleted since the plan, and untagged manifests are kept"
        if unplanned := self._unplanned(self._manifest_steps.get(step.digest)):
            return OutcomeKind.KEPT, f"{short(unplanned[0])} refers to it since the plan"
        for reason in self.reasons_of(step.digest):
            return _outcome_of(reason.rule), reason.detail
        return OutcomeKind.KEPT, "a kept manifest or tag needs it now"


def _locked_since(step: Step, manifest: Manifest | None) -> bool:
    """
    Was the manifest locked after the plan was made?

    An untag leaves the manifest and its lock unchanged, so the lock does not matter to it.
    """
    if not isinstance(step, DeleteManifest) or manifest is None:
        return False
    return manifest.locked and all(lock.tag is not None for lock in step.locks)


def _confirm_tag(
    tag: Tag, now: Decision | None, *, manifest_locked: bool, unlocks: bool
) -> Tag | tuple[OutcomeKind, str]:
    """
    The planned tag as it is now, if it may still be deleted; otherwise what changed.

    now: the fresh decision; None if the tag no longer exists.
    manifest_locked: its manifest was locked after the plan.
    unlocks: the plan removes the lock of the tag.
    """
    if now is None:
        return OutcomeKind.GONE, ""
    if now.tag.digest != tag.digest:
        return OutcomeKind.MOVED, f"names {now.tag.digest} now"
    if now.tag.updated_at != tag.updated_at:
        return OutcomeKind.MOVED, "was pushed again"
    if now.deletes:
        locked_since = manifest_locked or (now.tag.locked and not unlocks)
        return (OutcomeKind.LOCKED, _LOCKED_SINCE) if locked_since else now.tag
    reason = now.reasons[0]
    user = f": {reason.uses[0]}" if reason.uses else ""
    return _outcome_of(reason.rule), reason.detail + user


def _outcome_of(rule: Rule | Hold) -> OutcomeKind:
    if rule is Rule.IN_USE:
        return OutcomeKind.IN_USE_NOW
    return OutcomeKind.LOCKED if rule is Rule.LOCKED else OutcomeKind.KEPT
