"""
Which manifests go once some tags go: the largest set that nothing which stays has need of.

What stays holds what hangs together with it, and that in turn holds more:

- an index that stays keeps its children;
- a subject that stays keeps its referrers (by `subject`, or by a tag named `sha256-…` after it), and their tags;
- a referrer that stays keeps its subject, for the registry removes it together with that;
- a tag that stays keeps its manifest, and what it is named after.

And a manifest without tags goes only along with an index that lists it or with its subject, unless the policy lets untagged ones
go by themselves.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.policy import Evidence, RetentionPolicy, Rule, describe_duration, held_by_lock, scope_reason
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.usage import UsageIndex


class Hold(StrEnum):
    """Why a manifest stays, beside the rules that keep tags (`Rule`)."""

    TAGGED = "tagged"
    LISTED = "listed"
    REFERRED = "referred"
    UNTAGGED = "untagged"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason to keep a tag (`rule` is a `Rule`) or a manifest (a `Rule` or a `Hold`), and what was seen."""

    rule: Rule | Hold
    detail: str


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes: names of tags, and manifests."""

    tags: frozenset[str]
    manifests: frozenset[Digest]
    alone: frozenset[Digest]
    """Those of `manifests` that go by themselves: without a tag, and not along with something that had one."""


def prepare(
    inventory: RepositoryInventory, usage: UsageIndex, policy: RetentionPolicy, now: datetime, *, backup: bool = False
) -> RepositoryInventory:
    """
    The same inventory, knowing which of its bodies matter to this decision: to be called before they are read.

    With `backup` nothing may go that is not a step of its own.
    """
    inventory = inventory.used_by(usage.digests(inventory.name), usage.tags(inventory.name))
    found = candidates(Evidence(inventory, usage, policy, now))
    return replace(inventory, candidates=found, all_referrers=backup)


def candidates(evidence: Evidence) -> frozenset[Digest]:
    """The manifests without tags that may go by themselves, as far as can be told without their edges."""
    inventory = evidence.inventory
    if not evidence.policy.delete_untagged or inventory.hidden or any(_repository_holds(evidence)):
        return frozenset()
    used = evidence.usage.digests(inventory.name)
    return frozenset(
        digest
        for digest, manifest in inventory.manifests.items()
        if digest not in inventory.tags_of
        and digest not in used
        and not held_by_lock(manifest, evidence.policy)
        and _is_old(manifest, evidence)
    )


def remove(evidence: Evidence, going: Iterable[str]) -> Removal:
    """What goes when these tags (by name) are free to go: no more than them, and the manifests that nothing needs then."""
    tide = _Tide(evidence, set(going))
    return tide.settle()


def in_use(inventory: RepositoryInventory, usage: UsageIndex) -> frozenset[Digest]:
    """Every digest of the index families of what is used: a runtime may report the index or the child that it chose."""
    return inventory.families(usage.digests(inventory.name))


class _Tide:
    """Starts from everything that could go, and takes out what stays until nothing changes: each edge is looked at once."""

    def __init__(self, evidence: Evidence, going: set[str]) -> None:
        self._evidence = evidence
        self._inventory = inventory = evidence.inventory
        self._going = going
        self._used = in_use(inventory, evidence.usage)
        self._own = {digest for digest in candidates(evidence) if _is_proven(inventory.manifests[digest])}
        self._members = {digest for digest, manifest in inventory.manifests.items() if self._may_go(manifest)}
        if inventory.unknown or inventory.locked:
            # Any manifest here might be a child of one whose body nobody could read.
            self._members.clear()
        self._pending = [digest for digest in inventory.manifests if digest not in self._members]
        for tag in inventory.tags:
            if tag.name not in going:
                self._keep(tag)

    def settle(self) -> Removal:
        tagged = self._inventory.tags_of.keys()
        while True:
            self._spread()
            along = self._reached(digest for digest in self._members if digest in tagged)
            alone = self._reached(digest for digest in self._members if digest in self._own) - along
            # Two without tags might hold each other up: an index that lists its own subject.
            idle = self._members - along - alone
            if not idle:
                return Removal(frozenset(self._going), frozenset(self._members), frozenset(alone))
            for digest in idle:
                self._stay(digest)

    def _may_go(self, manifest: Manifest) -> bool:
        inventory = self._inventory
        if manifest.digest in self._used or held_by_lock(manifest, self._evidence.policy):
            return False
        if manifest.digest in inventory.tags_of or manifest.subject in inventory.manifests:
            return True
        listed = manifest.digest in inventory.parents_of and _is_old(manifest, self._evidence)
        return listed or manifest.digest in self._own

    def _keep(self, tag: Tag) -> None:
        self._going.discard(tag.name)
        self._stay(tag.digest)
        if tag.subject is not None:
            self._stay(tag.subject)

    def _stay(self, digest: Digest) -> None:
        if digest in self._members:
            self._members.remove(digest)
            self._pending.append(digest)

    def _spread(self) -> None:
        inventory = self._inventory
        while self._pending:
            digest = self._pending.pop()
            manifest = inventory.manifests[digest]
            for child in manifest.children:
                self._stay(child)
            if manifest.subject is not None:
                self._stay(manifest.subject)
            attached = list(inventory.signers_of.get(digest, ()))
            for referrer in inventory.referrers_of.get(digest, ()):
                self._stay(referrer)
                attached += inventory.tags_of.get(referrer, ())
            for tag in attached:
                if tag.name in self._going:
                    self._keep(tag)

    def _reached(self, seeds: Iterable[Digest]) -> set[Digest]:
        """What goes along with these: children and referrers, however far."""
        inventory = self._inventory
        seen = set(seeds)
        pending = list(seen)
        while pending:
            digest = pending.pop()
            for each in (*inventory.manifests[digest].children, *inventory.referrers_of.get(digest, ())):
                if each in self._members and each not in seen:
                    seen.add(each)
                    pending.append(each)
        return seen


def holds(
    evidence: Evidence, used: Container[Digest], leaving: Container[str], gone: Container[Digest], digest: Digest
) -> Iterator[Reason]:
    """
    Why a manifest stays: every condition of `delete manifest` that it does not meet.

    `used` is `in_use`; `leaving` and `gone` are the tags and the manifests that go.
    """
    inventory = evidence.inventory
    manifest = inventory.manifests.get(digest)
    tags = inventory.tags_of.get(digest, ())
    if digest in used:
        yield Reason(Rule.IN_USE, "a workload runs or pins it, or another manifest of its index family")
    if inventory.locked:
        yield Reason(Rule.LOCKED, "the repository is locked in the registry")
    elif manifest is not None and held_by_lock(manifest, evidence.policy):
        yield Reason(Rule.LOCKED, "it is locked in the registry")
    yield from (Reason(Hold.TAGGED, f"its tag {tag.name} is kept") for tag in tags if tag.name not in leaving)
    parents = (each for each in inventory.parents_of.get(digest, ()) if each not in gone)
    yield from (Reason(Hold.LISTED, f"the index {short(each)} lists it, and stays") for each in parents)
    referrers = (each for each in inventory.referrers_of.get(digest, ()) if each not in gone)
    yield from (Reason(Hold.REFERRED, f"{short(each)} is attached to it, and stays") for each in referrers)
    signers = (tag for tag in inventory.signers_of.get(digest, ()) if tag.name not in leaving and tag not in tags)
    yield from (Reason(Hold.REFERRED, f"the tag {tag.name} belongs to it, and stays") for tag in signers)
    if manifest is not None and not tags:
        yield from _untagged(evidence, manifest, gone)
    if digest in inventory.unknown:
        yield Reason(Rule.UNKNOWN_MANIFEST, "the registry names it and cannot show it, or nobody knows its media type")
    elif inventory.unknown:
        detail = "some manifest of this repository cannot be read or understood, and it might belong to that"
        yield Reason(Rule.UNKNOWN_MANIFEST, detail)


def _untagged(evidence: Evidence, manifest: Manifest, gone: Container[Digest]) -> Iterator[Reason]:
    if manifest.subject is not None and manifest.subject in evidence.inventory.manifests:
        if manifest.subject not in gone:
            yield Reason(Rule.ATTACHED, f"belongs to {short(manifest.subject)}, which is kept")
        return
    if manifest.digest not in evidence.inventory.parents_of:
        if not evidence.policy.delete_untagged:
            yield Reason(Hold.UNTAGGED, "it has no tag: untagged manifests are left alone")
            return
        yield from _repository_holds(evidence)
        if hidden := evidence.inventory.hidden:
            detail = f"the registry counts {hidden:,} more than it lists: it might belong to one of those"
            yield Reason(Rule.UNKNOWN_MANIFEST, detail)
        if not _is_proven(manifest):
            detail = "its body was not read: it might be attached to something that is kept"
            yield Reason(Rule.UNKNOWN_MANIFEST, detail)
    if manifest.updated_at is None:
        yield Reason(Rule.UNKNOWN_AGE, "the registry gives no time of its last push")
    elif not _is_old(manifest, evidence):
        limit = describe_duration(evidence.policy.older_than)
        yield Reason(Rule.YOUNG, f"pushed {manifest.updated_at:%Y-%m-%d}, less than {limit} ago")


def _repository_holds(evidence: Evidence) -> Iterator[Reason]:
    """What keeps everything in the repository, as far as the rules for tags cannot say it of what has none."""
    if (reason := scope_reason(evidence)) is not None:
        yield Reason(reason.rule, reason.detail)
    if evidence.usage.of_any(evidence.inventory.name):
        yield Reason(Rule.IN_USE, "something names its repository without saying which image")


def _is_old(manifest: Manifest, evidence: Evidence) -> bool:
    return manifest.updated_at is not None and evidence.now - manifest.updated_at >= evidence.policy.older_than


def _is_proven(manifest: Manifest) -> bool:
    """Are its edges known, be it because it cannot have any?"""
    return manifest.known or manifest.has_no_edges
