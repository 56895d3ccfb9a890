"""
Check whether the decision of the last full look is still valid.

A full look lists the whole repository. Between two of them, the newest entries and the counts of
the registry show the changes:

- A tag that is new, moved or pushed again, a new index and a new referrer have a new time.
- A tag or manifest that another client deleted is missing in the counts.

Locks change neither. The registry itself refuses to delete what is locked, so a lock matters only
to the relatives of the locked manifest. Only steps without relatives are therefore carried out on
a standing decision (`independent`); the others wait for a full look.

The decision is valid if no step depends on a change. It is not made again: any doubt needs a full
look. docs/decisions/0014 says which changes this cannot show.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from acr_cleanup.core.changed_set import ChangedSet
from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.references import Digest
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.steps import DeleteManifest, Step


@dataclass(frozen=True, slots=True)
class RecentChanges:
    """
    The newest entries of a repository, and its counts.

    tags, manifests: every one pushed since some moment; new manifests with their edges.
    tag_count, manifest_count: of the whole repository.
    """

    tags: tuple[Tag, ...]
    manifests: tuple[Manifest, ...]
    tag_count: int
    manifest_count: int
    locked: bool = False


def independent(steps: Iterable[Step]) -> frozenset[Digest]:
    """
    The manifests that these steps delete without a relative: no other step waits for their deletion,
    and it waits for none.
    """
    steps = tuple(steps)
    awaited = {digest for step in steps for digest in step.after}
    return frozenset(
        step.digest
        for step in steps
        if isinstance(step, DeleteManifest)
        and step.tags
        and not (step.after or step.locks)
        and step.digest not in awaited
    )


@dataclass
class StandingDecision:
    """
    The entries on which the confirmed independent steps of one repository depend.

    since: entries pushed since then are compared. It is earlier than the first request of the look.
    keeps_newest: does the policy keep the newest images? Fewer of them save older ones.
    """

    since: datetime
    keeps_newest: bool
    names: ChangedSet[str]
    digests: ChangedSet[Digest]
    recent: dict[str, Digest]
    """The tags since `since`, with the digest that each names."""
    subjects: frozenset[Digest]
    """Digests that a listed manifest has as its subject, present or not."""
    planned: dict[Digest, DeleteManifest] = field(default_factory=dict)
    planned_tags: dict[str, Tag] = field(default_factory=dict)
    named: set[Digest] = field(default_factory=set)
    """Digests that a planned manifest or tag refers to, present or not."""

    @classmethod
    def of(
        cls, inventory: RepositoryInventory, steps: Iterable[DeleteManifest], policy: RetentionPolicy, since: datetime
    ) -> StandingDecision:
        """The decision from which these independent deletions were confirmed."""
        recent = {tag.name: tag.digest for tag in inventory.tags if tag.updated_at is None or tag.updated_at >= since}
        keeps_newest = policy.keep_last > 0 or any(rule.keep_last > 0 for rule in policy.rules)
        subjects = frozenset(inventory.referrers_of)
        names, digests = ChangedSet(inventory.named), ChangedSet(inventory.listed)
        standing = cls(since, keeps_newest, names, digests, recent, subjects)
        for step in steps:
            standing.planned[step.digest] = step
            standing.planned_tags.update((tag.name, tag) for tag in step.tags)
            standing.named.update(step.manifest.children)
            standing.named.update(filter(None, (step.manifest.subject, *(tag.subject for tag in step.tags))))
        return standing

    def deleted(self, step: Step) -> None:
        """Note that this step was carried out, or that another client did the same."""
        self.names.remove_all(tag.name for tag in step.tags)
        if isinstance(step, DeleteManifest):
            self.digests.remove_all((step.digest,))
            if self.planned.pop(step.digest, None) is not None:
                for tag in step.tags:
                    del self.planned_tags[tag.name]

    def accepts(self, changes: RecentChanges) -> bool:
        """
        Does no planned step depend on these changes? If so, note them.

        The result is final only if the counts agree, too (`agrees`).
        """
        if changes.locked:
            return False
        new = {manifest.digest for manifest in changes.manifests if manifest.digest not in self.digests}
        for manifest in changes.manifests:
            if not (self._may_come(manifest) if manifest.digest in new else self._is_as_planned(manifest)):
                return False
        if not all(self._may_name(tag, new) for tag in changes.tags):
            return False
        self.digests.add_all(new)
        self.names.add_all(tag.name for tag in changes.tags)
        self.recent.update((tag.name, tag.digest) for tag in changes.tags)
        return True

    def agrees(self, changes: RecentChanges) -> bool:
        """
        Does the registry count what is known? If not, another client has deleted something, or
        something is not listed.
        """
        return changes.tag_count == len(self.names) and changes.manifest_count == len(self.digests)

    def _is_as_planned(self, manifest: Manifest) -> bool:
        step = self.planned.get(manifest.digest)
        if step is None:
            return True
        planned = step.manifest
        return (manifest.updated_at, manifest.locked) == (planned.updated_at, planned.locked)

    def _may_come(self, manifest: Manifest) -> bool:
        """Is a new manifest, which is kept, no reason to keep anything that is planned?"""
        if manifest.hides_subject or not (manifest.known or manifest.has_no_edges):
            return False
        if manifest.digest in self.named or manifest.subject in self.planned:
            return False
        if self.keeps_newest and (manifest.children or manifest.digest in self.subjects):
            # Several of the newest may count as one now, or its referrer no longer counts.
            return False
        return self.planned.keys().isdisjoint(manifest.children)

    def _may_name(self, tag: Tag, new: set[Digest]) -> bool:
        """Is this tag no reason to keep anything that is planned? `new`: the new manifests."""
        planned = self.planned_tags.get(tag.name)
        if planned is not None:
            return tag == planned
        if tag.digest in self.planned or tag.subject in self.planned:
            return False
        if self.recent.get(tag.name) == tag.digest:
            return True
        if self.keeps_newest:
            # A tag that moves, and one on an index, may free a place among the newest.
            return tag.digest in new and tag.name not in self.names
        # It may name a manifest that is not listed. Then a full look asks for it.
        return tag.digest in self.digests or tag.digest in new
