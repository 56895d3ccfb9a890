"""
The manifests that may be deleted together with some tags: the largest set on which nothing kept
depends.

Keeping one item keeps its relatives, transitively:

- a kept index keeps its children;
- a kept subject keeps its referrers (by `subject`, or by a tag named `sha256-…` after it) and their
  tags;
- a kept referrer keeps its subject, because the registry deletes referrers together with their
  subject. A referrer image may be no companion of its subject (`is_companion`): a kept subject does
  not keep it, unless it has no tag and is young;
- a subject that is not listed is kept if the registry counts more manifests than it lists;
- a kept tag keeps its manifest, and the manifest it is named after;
- if the registry has a retention policy for untagged manifests, a kept manifest keeps its last tags.

An untagged manifest is deleted only together with an index that lists it or with its subject. If
the policy sets `delete_untagged`, it is also deleted on its own.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.named import NAMED_BY, digests_in_use, named_digests
from acr_cleanup.core.policy import (
    Evidence,
    Rule,
    kept_by_lock,
    scope_reason,
    young_detail,
)
from acr_cleanup.core.probation import probation_of
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.usage import UsageIndex


class Hold(StrEnum):
    """Why a manifest is kept, in addition to the rules that keep tags (`Rule`)."""

    TAGGED = "tagged"
    LISTED = "listed"
    REFERRED = "referred"
    UNTAGGED = "untagged"


class Reason(Struct, frozen=True, gc=False):
    """One reason to keep a tag or a manifest, with its evidence. A `Hold` is only for manifests."""

    rule: Rule | Hold
    detail: str
    due: datetime | None = None
    """For `probation`: when it ends."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Names of tags and digests of manifests to delete."""

    tags: frozenset[str]
    manifests: frozenset[Digest]
    alone: frozenset[Digest]
    """The untagged manifests that are deleted on their own, not with a tagged one."""
    doubtful: frozenset[Digest] = frozenset()
    """Manifests that are kept only because an unreadable manifest may refer to them."""


def prepare(
    inventory: RepositoryInventory,
    usage: UsageIndex,
    policy: RetentionPolicy,
    now: datetime,
    *,
    all_referrers: bool = False,
    retained: frozenset[Digest] = frozenset(),
    orphans: frozenset[Digest] = frozenset(),
) -> RepositoryInventory:
    """
    Mark in the inventory which manifest bodies this decision needs. Call it before reading them.

    all_referrers: read the subjects of deleted manifests, too.
    retained: manifests that this run tried to delete and could not.
    orphans: planned manifests without a tag, whose index this run has deleted.
    """
    named = named_digests(Evidence(inventory, usage, policy, now))
    inventory = inventory.used_by(named, usage.tags(inventory.name))
    untagged = candidates(Evidence(inventory, usage, policy, now))
    return inventory.marked(candidates=untagged, all_referrers=all_referrers, retained=retained, orphans=orphans)


def candidates(evidence: Evidence) -> frozenset[Digest]:
    """The untagged manifests that may be deleted on their own, as judged without their edges."""
    inventory = evidence.inventory
    if not (evidence.policy.delete_untagged and inventory.seen_whole) or any(_repository_reasons(evidence)):
        return frozenset()
    named = named_digests(evidence)
    return frozenset(
        digest
        for digest, traits in inventory.table.traits()
        if digest not in inventory.tags_of
        and digest not in named
        and not kept_by_lock(traits, evidence.policy)
        and not evidence.rules.of_manifest(digest).keep
        and _is_old(inventory.manifests[digest], evidence)
    )


def removable(
    evidence: Evidence, free_tags: Iterable[str], *, provisional: bool = False, waiting: Container[str] = ()
) -> Removal:
    """
    The deletions that are possible if no rule keeps these tags: at most the tags themselves, and the manifests
    no longer needed.

    free_tags: names of tags without any keep reason.
    provisional: also manifests whose referrers are not known yet (subjects.py).
    waiting: untagged manifests that are on probation.
    """
    return RemovableSet(evidence, set(free_tags), waiting).shrink(provisional=provisional)


def possible_subjects(inventory: RepositoryInventory, deleted: AbstractSet[Digest]) -> frozenset[Digest]:
    """
    Those of these manifests that may have a kept referrer, because not all subjects are known.

    deleted: the manifests that are deleted. With `all_referrers`, a deleted referrer counts, too.
    """
    referrers = inventory.possible_referrers
    if referrers and not inventory.all_referrers:
        referrers -= deleted
    return frozenset(deleted - inventory.asked) if referrers else frozenset()


class RemovableSet:
    """
    Starts with every tag and manifest that might be deleted and removes the kept ones until nothing
    changes.

    Each edge is visited once, so the time grows linearly with the repository.
    """

    def __init__(self, evidence: Evidence, free_tags: set[str], waiting: Container[str] = ()) -> None:
        self._evidence = evidence
        self._inventory = inventory = evidence.inventory
        self._tags = free_tags
        self._used = digests_in_use(evidence)
        # An orphan is deleted with its index, unless the whole repository is kept since then.
        self._orphans = frozenset() if any(_repository_reasons(evidence)) else inventory.orphans
        alone = candidates(evidence)
        self._alone = {
            digest for digest in alone if _edges_known(inventory.manifests[digest]) and digest not in waiting
        }
        self._tagged_free = {tag.digest for tag in inventory.tags if tag.name in free_tags}
        self._manifests = {digest for digest, traits in inventory.table.traits() if self._is_free(digest, traits)}
        if inventory.unknown or inventory.locked or not inventory.seen_whole:
            # Any manifest might be a child of one that is not listed or could not be read.
            self._manifests.clear()
        self._newly_kept = [digest for digest in inventory.related() if digest not in self._manifests]
        self._newly_kept += inventory.hidden_subjects
        for tag in inventory.tags:
            if tag.name not in free_tags:
                self._keep_tag(tag)

    def shrink(self, *, provisional: bool = False) -> Removal:
        tags_of, orphans = self._inventory.tags_of, self._orphans
        doubtful: set[Digest] = set()
        while True:
            self._keep_relatives()
            if not provisional and (subjects := possible_subjects(self._inventory, self._manifests)):
                doubtful |= subjects
                for digest in subjects:
                    self._keep(digest)
                continue
            if self._keep_last_tags():
                continue
            together = self._relatives_of(
                digest for digest in self._manifests if digest in tags_of or digest in orphans
            )
            alone = self._relatives_of(digest for digest in self._manifests if digest in self._alone) - together
            # Untagged manifests may support only each other: an index that lists its own subject. Keep them.
            unsupported = self._manifests - together - alone
            if not unsupported:
                return Removal(frozenset(self._tags), frozenset(self._manifests), frozenset(alone), frozenset(doubtful))
            for digest in unsupported:
                self._keep(digest)

    def _is_free(self, digest: Digest, traits: Manifest) -> bool:
        inventory, tagged = self._inventory, self._inventory.tags_of.keys()
        # A kept tag keeps its manifest anyway. This way, the set is not larger than what is deleted.
        if digest in tagged and digest not in self._tagged_free:
            return False
        if digest in self._used or digest in inventory.retained or kept_by_lock(traits, self._evidence.policy):
            return False
        if digest in tagged:
            return all(tag.name in self._tags for tag in inventory.tags_of[digest])
        if traits.subject in inventory.manifests:
            return True
        is_child = digest in inventory.parents_of or digest in self._orphans
        return (is_child and _is_old(inventory.manifests[digest], self._evidence)) or digest in self._alone

    def _keep_last_tags(self) -> bool:
        """Keep the tags of kept manifests that would expire without them. Returns whether there are any."""
        inventory = self._inventory
        if not inventory.untagged_expire:
            return False
        last_tags = [
            tag
            for digest, tags in inventory.tags_of.items()
            if digest not in self._manifests and all(tag.name in self._tags for tag in tags)
            for tag in tags
        ]
        for tag in last_tags:
            self._keep_tag(tag)
        return bool(last_tags)

    def _keep_tag(self, tag: Tag) -> None:
        self._tags.discard(tag.name)
        self._keep(tag.digest)
        if tag.subject is not None:
            self._keep(tag.subject)

    def _keep(self, digest: Digest) -> None:
        if digest in self._manifests:
            self._manifests.remove(digest)
            self._newly_kept.append(digest)

    def _keep_relatives(self) -> None:
        inventory = self._inventory
        while self._newly_kept:
            digest = self._newly_kept.pop()
            if (traits := inventory.table.traits_of(digest)) is not None:
                for child in traits.children:
                    self._keep(child)
                if traits.subject is not None:
                    self._keep(traits.subject)
            attached = list(inventory.signers_of.get(digest, ()))
            for referrer in inventory.referrers_of.get(digest, ()):
                if inventory.is_companion(referrer, digest) or not (
                    referrer in inventory.tags_of or _is_old(inventory.manifests[referrer], self._evidence)
                ):
                    self._keep(referrer)
                    attached += inventory.tags_of.get(referrer, ())
            for tag in attached:
                if tag.name in self._tags:
                    self._keep_tag(tag)

    def _relatives_of(self, digests: Iterable[Digest]) -> set[Digest]:
        """The removable children and referrers of these manifests, transitively."""
        inventory = self._inventory
        reached = set(digests)
        pending = list(reached)
        while pending:
            digest = pending.pop()
            for relative in (*inventory.manifests[digest].children, *inventory.referrers_of.get(digest, ())):
                if relative in self._manifests and relative not in reached:
                    reached.add(relative)
                    pending.append(relative)
        return reached


def reasons_to_keep(
    evidence: Evidence,
    used: Mapping[Digest, Rule],
    deleted_tags: Container[str],
    deleted_manifests: Container[Digest],
    digest: Digest,
) -> Iterator[Reason]:
    """
    Every condition of `delete manifest` that this manifest does not meet.

    used: the result of `digests_in_use`.
    deleted_tags, deleted_manifests: what the plan deletes.
    """
    inventory = evidence.inventory
    reasons = tuple(_reasons(evidence, used, deleted_tags, deleted_manifests, digest))
    yield from reasons
    if reasons:
        return
    manifest = inventory.manifests.get(digest)
    if manifest is not None and _is_alone(inventory, manifest) and not _edges_known(manifest):
        # A manifest that is kept for another reason need not be read.
        detail = "its body could not be read, so it might be attached to a kept manifest"
        yield Reason(Rule.UNKNOWN_MANIFEST, detail)
    elif manifest is not None and (waiting := probation_of(evidence, (manifest,))):
        # Its referrers are asked for only when it may be deleted.
        yield from (Reason(reason.rule, reason.detail, reason.due) for reason in waiting.values())
    elif possible_subjects(inventory, {digest}):
        detail = "another manifest of this repository cannot be read, and might be attached to it"
        yield Reason(Rule.UNKNOWN_MANIFEST, detail)


def _reasons(
    evidence: Evidence,
    used: Mapping[Digest, Rule],
    deleted_tags: Container[str],
    deleted_manifests: Container[Digest],
    digest: Digest,
) -> Iterator[Reason]:
    inventory = evidence.inventory
    manifest = inventory.manifests.get(digest)
    if (rule := used.get(digest)) is not None:
        yield Reason(rule, f"{NAMED_BY[rule]}, or another manifest of its index family")
    if inventory.locked:
        yield Reason(Rule.LOCKED, "the repository is locked in the registry")
    elif manifest is not None and kept_by_lock(manifest, evidence.policy):
        yield Reason(Rule.LOCKED, f"it is {'put aside' if manifest.put_aside else 'locked'} in the registry")
    yield from _relatives_that_keep(inventory, deleted_tags, deleted_manifests, digest)
    if manifest is not None and digest not in inventory.tags_of:
        yield from _untagged_reasons(evidence, manifest, deleted_manifests)
    if digest in inventory.unknown:
        yield Reason(Rule.UNKNOWN_MANIFEST, "the registry cannot show it, or its media type is unknown")
    elif inventory.unknown:
        detail = "another manifest of this repository cannot be read or understood, and might refer to it"
        yield Reason(Rule.UNKNOWN_MANIFEST, detail)
    if hidden := inventory.hidden:
        detail = f"the registry counts {hidden:,} more manifests than it lists, and they might refer to it"
        yield Reason(Rule.UNKNOWN_MANIFEST, detail)
    if hidden := inventory.hidden_tags:
        detail = f"the registry counts {hidden:,} more tags than it lists, and they might be on it"
        yield Reason(Rule.UNKNOWN_MANIFEST, detail)


def _relatives_that_keep(
    inventory: RepositoryInventory,
    deleted_tags: Container[str],
    deleted_manifests: Container[Digest],
    digest: Digest,
) -> Iterator[Reason]:
    """Its kept tags, the kept indexes that list it, and everything kept that is attached to it."""
    tags = inventory.tags_of.get(digest, ())
    for tag in tags:
        if tag.name not in deleted_tags:
            yield Reason(Hold.TAGGED, f"its tag {tag.name} is kept")
    for parent in inventory.parents_of.get(digest, ()):
        if parent not in deleted_manifests:
            yield Reason(Hold.LISTED, f"the index {short(parent)} lists it and is kept")
    for referrer in inventory.referrers_of.get(digest, ()):
        if referrer not in deleted_manifests:
            yield Reason(Hold.REFERRED, f"{short(referrer)} is attached to it and is kept")
    for tag in inventory.signers_of.get(digest, ()):
        if tag.name not in deleted_tags and tag not in tags:
            yield Reason(Hold.REFERRED, f"the tag {tag.name} belongs to it and is kept")


def _untagged_reasons(evidence: Evidence, manifest: Manifest, deleted_manifests: Container[Digest]) -> Iterator[Reason]:
    """The reasons to keep an untagged manifest that do not apply to tagged ones."""
    if manifest.subject is not None and manifest.subject in evidence.inventory.manifests:
        if manifest.subject not in deleted_manifests:
            yield Reason(Rule.ATTACHED, f"belongs to {short(manifest.subject)}, which is kept")
        return
    if _is_alone(evidence.inventory, manifest):
        if not evidence.policy.delete_untagged:
            yield Reason(Hold.UNTAGGED, "it has no tag, and delete-untagged is not set")
            return
        yield from _repository_reasons(evidence)
        if (rule := evidence.rules.of_manifest(manifest.digest)).keep:
            yield Reason(Rule.KEPT_BY_RULE, f"the rule `{rule.name}` keeps it")
    if manifest.updated_at is None:
        yield Reason(Rule.UNKNOWN_AGE, "the registry gives no time of its last push")
    elif not _is_old(manifest, evidence):
        yield Reason(Rule.YOUNG, young_detail(manifest.updated_at, evidence.rules.of_manifest(manifest.digest)))


def _is_alone(inventory: RepositoryInventory, manifest: Manifest) -> bool:
    """Is this a manifest without a tag, a known subject and an index? It is then deleted only with `delete_untagged`."""
    digest = manifest.digest
    related = digest in inventory.tags_of or digest in inventory.parents_of or digest in inventory.orphans
    return not (related or manifest.subject in inventory.manifests)


def _repository_reasons(evidence: Evidence) -> Iterator[Reason]:
    """Repository-wide reasons to keep untagged manifests: out of scope, or an open reference."""
    if (reason := scope_reason(evidence)) is not None:
        yield Reason(reason.rule, reason.detail)
    if evidence.mentions.of_any:
        yield Reason(Rule.MENTIONED, "an object of a cluster names its repository without saying which tag")
    if evidence.pulls.of_any:
        yield Reason(Rule.PULLED, "the log of the registry has a pull from its repository without saying of what")
    if evidence.past_uses.of_any is not None:
        yield Reason(Rule.USED_RECENTLY, str(evidence.past_uses.of_any))
    if evidence.usage.of_any(evidence.inventory.name):
        yield Reason(Rule.IN_USE, "something names its repository without saying which image")


def _is_old(manifest: Manifest, evidence: Evidence) -> bool:
    rule = evidence.rules.of_manifest(manifest.digest)
    return manifest.updated_at is not None and evidence.now - manifest.updated_at >= rule.older_than


def _edges_known(manifest: Manifest) -> bool:
    """Was its body read, or is it of a kind that cannot have edges?"""
    return manifest.known or manifest.has_no_edges
