"""What no rule keeps: the candidates for deletion, and which of them are on probation."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from acr_cleanup.core.durations import day
from acr_cleanup.core.policy import Evidence, KeepReason, Rule
from acr_cleanup.core.probation import probation_of
from acr_cleanup.core.removal import Removal, removable


def with_probation(
    evidence: Evidence, free_tags: AbstractSet[str], *, provisional: bool = False
) -> tuple[Removal, Removal, Mapping[str, KeepReason]]:
    """
    The candidates for deletion; those that may be deleted now; and why the others must wait, by tag name or digest.

    What is kept together with something that waits is waiting, too. If such a manifest lost its last
    tag now, no later run would delete it.

    free_tags, provisional: see `removable`.
    """
    inventory = evidence.inventory
    candidates_now = removable(evidence, free_tags, provisional=provisional)
    tags = [tag for tag in inventory.tags if tag.name in candidates_now.tags]
    alone = (inventory.manifests[digest] for digest in candidates_now.alone)
    waiting = probation_of(evidence, (*tags, *alone))
    removal, together = candidates_now, waiting
    while together:
        removal = removable(evidence, free_tags - waiting.keys(), provisional=provisional, waiting=waiting)
        kept = candidates_now.manifests - removal.manifests
        untagged = {
            digest for digest in kept if all(tag.name in removal.tags for tag in inventory.tags_of.get(digest, ()))
        }
        last = max(reason.due or evidence.now for reason in waiting.values())
        detail = f"belongs to something on probation, deletable from {day(last, evidence.now)}"
        together = {
            tag.name: KeepReason(Rule.PROBATION, detail, due=last)
            for tag in tags
            if tag.name not in waiting and (tag.name not in removal.tags or tag.digest in untagged)
        }
        waiting |= together
    return candidates_now, removal, waiting
