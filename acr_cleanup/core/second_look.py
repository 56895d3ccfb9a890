"""
Looking once more: what of a plan is still true when it is about to be carried out.

The same repository is read and decided again, and only what both plans delete is done: never more than was planned, and less
wherever the world has moved. What changed is an outcome, not an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Decision, DeleteManifest, ManifestDecision, RepositoryPlan, Step, Untag
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.removal import Hold


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The steps that may be done now, and the outcomes of what may not."""

    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]


def confirm(planned: Iterable[Step], fresh: RepositoryPlan, inventory: RepositoryInventory) -> Confirmed:
    """
    Which of the planned steps does a fresh plan (made from `inventory`) still want?

    `delete manifest` is confirmed only with no tag on the manifest that was not planned; otherwise what is left of it is
    untagged, tag by tag. Locks are those of now: what is put back after a failure must not be older than that. A lock that came
    after the plan means that somebody wants to keep it: it is not taken off, whatever the policy says of locks.
    """
    decisions = {decision.tag.name: decision for decision in fresh.decisions}
    untagged = {decision.manifest.digest: decision for decision in fresh.untagged}
    manifests = {step.digest: step for step in fresh.steps if isinstance(step, DeleteManifest)}
    steps: list[Step] = []
    outcomes: list[Outcome] = []
    for step in planned:
        still = []
        known = {lock.tag for lock in step.locks}
        manifest = inventory.manifests.get(step.digest)
        # A name that goes alone leaves its manifest, and the lock of that, as they are.
        held = isinstance(step, DeleteManifest) and manifest is not None and manifest.locked and None not in known
        for tag in step.tags:
            found = _as_planned(tag, decisions.get(tag.name), held=held, unlocks=tag.name in known)
            if isinstance(found, Tag):
                still.append(found)
            else:
                outcomes.append(Outcome(fresh.repository, tag.digest, tag.name, *found))

        if isinstance(step, DeleteManifest):
            now = manifests.get(step.digest)
            # Each tag that it takes along was planned, and is still the one that was.
            if now is not None and not held and set(still).issuperset(now.tags):
                # What must go first is what the fresh plan says, and never less than what was planned.
                steps.append(replace(now, after=tuple(sorted({*step.after, *now.after}))))
                continue
            going = {tag.name for tag in still}
            staying = [tag.name for tag in inventory.tags_of.get(step.digest, ()) if tag.name not in going]
            lost = bool(step.tags) and not inventory.tags_of.get(step.digest)
            kind, detail = _why_it_stays(manifest, untagged.get(step.digest), staying, lost=lost, held=held)
            outcomes.append(Outcome(fresh.repository, step.digest, None, kind, detail))
        steps += [Untag(tag, locks=(tag.lock,) if tag.lock else ()) for tag in still]
    return Confirmed(tuple(steps), tuple(outcomes))


def _why_it_stays(
    manifest: Manifest | None, left: ManifestDecision | None, staying: Sequence[str], *, lost: bool, held: bool
) -> tuple[OutcomeKind, str]:
    """`staying` are tags of it that do not go, and `lost` says that all it had name something else now."""
    if manifest is None:
        return OutcomeKind.GONE, ""
    if held:
        return OutcomeKind.LOCKED, "it was locked since the plan"
    if left is not None and left.reasons:
        return _outcome_of(left.reasons[0].rule), left.reasons[0].detail
    if staying:
        return OutcomeKind.KEPT, f"its tag {staying[0]} stays"
    if lost:
        return OutcomeKind.KEPT, "it has no tag any more: untagged manifests are left alone"
    return OutcomeKind.KEPT, "something needs it now"


def _as_planned(tag: Tag, now: Decision | None, *, held: bool, unlocks: bool) -> Tag | tuple[OutcomeKind, str]:
    """
    A tag that was planned for deletion, as it is now; or what happened to it since.

    `held` says that its manifest was locked meanwhile, `unlocks` that the plan knew of a lock of the tag.
    """
    if now is None:
        return OutcomeKind.GONE, ""
    if now.tag.digest != tag.digest:
        return OutcomeKind.MOVED, f"names {now.tag.digest} now"
    if now.tag.updated_at != tag.updated_at:
        return OutcomeKind.MOVED, "was pushed again"
    if now.deletes:
        late = held or (now.tag.locked and not unlocks)
        return (OutcomeKind.LOCKED, "it was locked since the plan") if late else now.tag
    reason = now.reasons[0]
    by_whom = f": {reason.uses[0]}" if reason.uses else ""
    return _outcome_of(reason.rule), reason.detail + by_whom


def _outcome_of(rule: Rule | Hold) -> OutcomeKind:
    if rule is Rule.IN_USE:
        return OutcomeKind.IN_USE_NOW
    return OutcomeKind.LOCKED if rule is Rule.LOCKED else OutcomeKind.KEPT
