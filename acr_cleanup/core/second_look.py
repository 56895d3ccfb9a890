"""
Looking once more: what of a plan is still true when it is about to be carried out.

The same repository is read and decided again, and only what both plans delete is done: never more than was planned, and less
wherever the world has moved. What changed is an outcome, not an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from acr_cleanup.core.inventory import RepositoryInventory, Tag
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Decision, DeleteManifest, RepositoryPlan, Step, Untag
from acr_cleanup.core.policy import Rule


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The steps that may be done now, and the outcomes of what may not."""

    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]


def confirm(planned: Iterable[Step], fresh: RepositoryPlan, inventory: RepositoryInventory) -> Confirmed:
    """
    Which of the planned steps does a fresh plan (made from `inventory`) still want?

    `delete manifest` is confirmed only with no tag on the manifest that was not planned; otherwise what is left of it is
    untagged, tag by tag.
    """
    decisions = {decision.tag.name: decision for decision in fresh.decisions}
    manifests = {step.digest: step for step in fresh.steps if isinstance(step, DeleteManifest)}
    steps: list[Step] = []
    outcomes: list[Outcome] = []
    for step in planned:
        still = []
        for tag in step.tags:
            kind, detail = _change(tag, decisions.get(tag.name))
            if kind is None:
                still.append(tag)
            else:
                outcomes.append(Outcome(fresh.repository, tag.digest, tag.name, kind, detail))

        # What must go first is what the fresh plan says, and never less than what was planned.
        now = manifests.get(step.digest)
        after = tuple(sorted({*step.after, *(now.after if now else ())}))
        if isinstance(step, DeleteManifest):
            planned_names = {tag.name for tag in step.tags}
            if now is not None and planned_names.issuperset(tag.name for tag in now.tags):
                steps.append(DeleteManifest(now.manifest, tuple(still), after))
                continue
            present = step.digest in inventory.manifests
            kind = OutcomeKind.KEPT if present else OutcomeKind.GONE
            detail = "something needs it now" if present else ""
            outcomes.append(Outcome(fresh.repository, step.digest, None, kind, detail))
        steps += [Untag(tag, after) for tag in still]
    return Confirmed(tuple(steps), tuple(outcomes))


def _change(tag: Tag, now: Decision | None) -> tuple[OutcomeKind | None, str]:
    """What happened to a tag since it was planned for deletion; None if nothing did."""
    if now is None:
        return OutcomeKind.GONE, ""
    if now.tag.digest != tag.digest:
        return OutcomeKind.MOVED, f"names {now.tag.digest} now"
    if now.tag.updated_at != tag.updated_at:
        return OutcomeKind.MOVED, "was pushed again"
    if now.deletes:
        return None, ""
    reason = now.reasons[0]
    special = {Rule.IN_USE: OutcomeKind.IN_USE_NOW, Rule.LOCKED: OutcomeKind.LOCKED}
    by_whom = f": {reason.uses[0]}" if reason.uses else ""
    return special.get(reason.rule, OutcomeKind.KEPT), reason.detail + by_whom
