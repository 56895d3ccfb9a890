"""
The questions about subjects that precede the deletion of manifests.

The registry deletes every referrer together with its subject, and any OCI manifest may have a
subject, images too. So before a manifest is deleted, its referrers must be known. Two kinds of
requests tell them:

- the body of each manifest that is kept and may have a subject;
- the registry's list of the referrers of each manifest that is deleted.

The kind that needs fewer requests is used. A registry without OCI manifests needs none. A manifest
that is deleted by its own rules need not be read: whether it has a subject changes no decision. An
exception is a child of a deleted index that shares another child with a kept one. It may be an
attestation of that child.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from acr_cleanup.core.candidates import with_probation
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.policy import Evidence, keep_reasons
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import possible_subjects


@dataclass(frozen=True, slots=True)
class SubjectQuestions:
    """Manifests whose body to read, or whose referrers to list. False if nothing must be asked."""

    bodies: tuple[Digest, ...] = ()
    referrers: tuple[Digest, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.bodies or self.referrers)


def open_questions(evidence: Evidence) -> SubjectQuestions:
    """
    The next questions about subjects. Ask again after the answers: they may change what is deleted.

    A question without an answer is not asked twice. If it stays open, `removable` keeps the manifests
    that depend on it.
    """
    inventory = evidence.inventory
    if not inventory.possible_referrers:
        return SubjectQuestions()
    reasons = keep_reasons(evidence)
    free_tags = {tag.name for tag in inventory.tags if tag.name not in reasons}
    deleted = with_probation(evidence, free_tags, provisional=True)[0].manifests
    if siblings := _siblings_of_kept(inventory, deleted):
        return SubjectQuestions(bodies=tuple(sorted(siblings)))
    subjects = possible_subjects(inventory, deleted)
    if not subjects:
        return SubjectQuestions()
    referrers = inventory.possible_referrers - (frozenset() if inventory.all_referrers else deleted)
    aside = frozenset(digest for digest in referrers if inventory.manifests[digest].put_aside)
    bodies = referrers - inventory.unreadable - aside
    lists = subjects - inventory.unlistable
    # A body that cannot be read leaves all subjects open. Lists that fail leave only theirs open.
    by_bodies = bodies == referrers and (len(bodies) <= len(lists) or lists != subjects)
    if by_bodies or not lists:
        return SubjectQuestions(bodies=tuple(sorted(bodies)))
    return SubjectQuestions(referrers=tuple(sorted(lists)))


def _siblings_of_kept(inventory: RepositoryInventory, deleted: AbstractSet[Digest]) -> AbstractSet[Digest]:
    """Deleted children, without a tag, of a deleted index of which another child is kept."""
    families = (inventory.manifests[digest].children for digest in deleted)
    siblings = {
        child
        for children in families
        if any(child in inventory.manifests and child not in deleted for child in children)
        for child in children
        if child in deleted and child not in inventory.tags_of
    }
    return siblings & inventory.possible_referrers - inventory.unreadable
