"""The candidates for deletion, and which of them are on probation."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from acr_cleanup.core.policy import Evidence, KeepReason, Rule
from acr_cleanup.core.probation import probation_of
from acr_cleanup.core.removal import Removal, removable
from acr_cleanup.core.retention import day


def with_probation(
    evidence: Evidence, free_tags: AbstractSet[str], *, provisional: bool = False
) -> tuple[Removal, Mapping[str, KeepReason]]:
    """
    Separate the candidates that may be deleted now from those on probation.

    Returns the removal, and the keep reasons of the others by tag name or digest. Candidates that are
    related to a waiting one wait, too: if a manifest lost its last tag now, no later run would delete
    it. The referrers of a waiting candidate are not requested before it may be deleted.

    free_tags, provisional: see `removable`.
    """
    if not evidence.policy.probation:
        return removable(evidence, free_tags, provisional=provisional), {}
    inventory = evidence.inventory
    candidates = removable(evidence, free_tags, provisional=True)
    tags = [tag for tag in inventory.tags if tag.name in candidates.tags]
    alone = (inventory.manifests[digest] for digest in candidates.alone)
    waiting = probation_of(evidence, (*tags, *alone))
    together = waiting
    while together:
        left = removable(evidence, free_tags - waiting.keys(), provisional=True, waiting=waiting)
        untagged = {
            digest
            for digest in candidates.manifests - left.manifests
            if all(tag.name in left.tags for tag in inventory.tags_of.get(digest, ()))
        }
        last = max(reason.due or evidence.now for reason in waiting.values())
        detail = f"belongs to something on probation, deletable from {day(last, evidence.now)}"
        together = {
            tag.name: KeepReason(Rule.PROBATION, detail, due=last)
            for tag in tags
            if tag.name not in waiting and (tag.name not in left.tags or tag.digest in untagged)
        }
        waiting = waiting | together
    free_now = free_tags - waiting.keys()
    return removable(evidence, free_now, provisional=provisional, waiting=waiting), waiting
