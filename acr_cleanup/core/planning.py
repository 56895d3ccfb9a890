"""
Plan one repository: decide about its tags, then about its manifests.

The tags are decided by the keep reasons of policy.py. The manifests follow from the same values,
with no second read:

- `untag` removes one name and nothing else.
- `delete manifest` removes a manifest and **every** tag on it; it frees space. It is planned only
  if every tag on the manifest is deleted, its digest is unused, it is not locked, every index that
  lists it is deleted, and everything attached to it is deleted.
- An untagged manifest is kept, unless it is a child or referrer of a deleted manifest and nothing
  kept needs it. With `delete_untagged`, old untagged manifests are deleted on their own as well.

removal.py says how keeping one manifest keeps others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import repeat

from acr_cleanup.core.candidates import with_probation
from acr_cleanup.core.inventory import RepositoryInventory, Tag
from acr_cleanup.core.named import digests_in_use
from acr_cleanup.core.plan import Decision, ManifestDecision, RepositoryPlan
from acr_cleanup.core.plan_warnings import (
    PlanWarning,
    UnknownLocks,
    UnknownSubjects,
    Unlisted,
    UnreadableManifests,
)
from acr_cleanup.core.policy import RULES, Evidence, KeepReason, Rule, keep_reasons, listed_images
from acr_cleanup.core.probation import new_since_last_run
from acr_cleanup.core.references import short
from acr_cleanup.core.removal import Removal, candidates, reasons_to_keep
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.steps import Untag, ordered_steps
from acr_cleanup.core.usage import UsageIndex

_HIDDEN = "not listed and may exist"
_EXPIRES = (
    "its manifest is kept, and the registry's retention policy may delete manifests that have no tag "
    "(or that policy could not be read)"
)

EXAMPLES = 3
"""Unreadable manifests named in a warning."""


def nothing_to_delete(
    inventory: RepositoryInventory, usage: UsageIndex, policy: RetentionPolicy, now: datetime
) -> bool:
    """
    Is every tag kept, independent of the bodies of the manifests?

    If so, no body needs to be read: edges between manifests only add reasons to keep.
    """
    evidence = Evidence(inventory, usage, policy, now)
    free = {tag.name for tag in inventory.tags}
    for rule in RULES:
        # An unread manifest keeps its tags only until it is read.
        free.difference_update(tag.name for tag, reason in rule.find(evidence) if _survives_reading(reason))
    return not free and not candidates(evidence)


def plan_repository(
    inventory: RepositoryInventory, usage: UsageIndex, policy: RetentionPolicy, now: datetime
) -> RepositoryPlan:
    """
    Decide about one repository. Pure: the same values give the same plan, in any order.

    inventory: with every body read that `RepositoryInventory.unread` names. A body that is still
        unread is unknown, and no manifest of the repository is then deleted.
    """
    evidence = Evidence(inventory, usage, policy, now)
    # In the order of the tags: a mapping of 200,000 names takes 10 MB, as long as it is needed.
    reasons = list(map(keep_reasons(evidence).get, (tag.name for tag in inventory.tags), repeat(())))
    free = {tag.name for tag, of_tag in zip(inventory.tags, reasons, strict=True) if not of_tag}
    removal, waiting = with_probation(evidence, free)
    unreadable = bool(inventory.unknown)
    if unreadable and _all_kept(reasons) and not candidates(evidence):
        # No decision depends on these manifests, so they may not have been read. Do not report
        # them.
        unreadable = False
        reasons = [tuple(filter(_survives_reading, of_tag)) for of_tag in reasons]
    for place, tag in enumerate(inventory.tags):
        if tag.name in waiting:
            reasons[place] = (waiting[tag.name],)
        elif not reasons[place] and tag.name not in removal.tags:
            reasons[place] = (_attached(inventory, tag, removal),)
    steps = ordered_steps(inventory, removal)
    rule_names = (evidence.rules.of(tag).name for tag in inventory.tags)
    in_any_order = map(Decision, inventory.tags, reasons, rule_names)
    decisions = tuple(sorted(in_any_order, key=lambda decision: decision.tag.name))
    in_use = inventory.reachable(decision.tag.digest for decision in decisions if decision.in_use)
    return RepositoryPlan(
        repository=inventory.name,
        decisions=decisions,
        listed_size=inventory.table.size_of(inventory.manifests),
        used_size=inventory.table.size_of(in_use & inventory.manifests.keys()),
        untagged=tuple(_untagged(evidence, removal)) if policy.delete_untagged else (),
        steps=steps,
        warnings=tuple(_warnings(inventory, policy, removal, unreadable=unreadable, deletes=bool(steps))),
        kept_entries=listed_images(evidence).tags_of_entries,
        unused_rules=frozenset(rule.name for rule in evidence.rules.unused()) if policy.rules else frozenset(),
        new=new_since_last_run(evidence, (decision.tag for decision in decisions if decision.deletes)),
    )


def _survives_reading(reason: KeepReason) -> bool:
    """Would this reason still hold after the unread manifests were read?"""
    return reason.rule is not Rule.UNKNOWN_MANIFEST


def _all_kept(reasons: Iterable[tuple[KeepReason, ...]]) -> bool:
    return all(any(map(_survives_reading, of_tag)) for of_tag in reasons)


def _attached(inventory: RepositoryInventory, tag: Tag, removal: Removal) -> KeepReason:
    """
    The reason to keep a tag that no rule keeps: it belongs to a kept manifest, by its name or by
    `subject`, or it is one of the last tags of a kept manifest.
    """
    manifest = inventory.manifests.get(tag.digest)
    kept = [
        f"belongs to {short(subject)}, which is {'kept' if subject in inventory.manifests else _HIDDEN}"
        for subject in (tag.subject, manifest.subject if manifest else None)
        if subject is not None
        and (subject in inventory.hidden_subjects or subject in inventory.manifests)
        and subject not in removal.manifests
    ]
    return KeepReason(Rule.ATTACHED, kept[0] if kept else _EXPIRES)


def leaves_untagged(inventory: RepositoryInventory, plan: RepositoryPlan) -> bool:
    """Does the plan remove the last tag of a manifest that it keeps?"""
    removed = Counter(step.digest for step in plan.steps if isinstance(step, Untag))
    return any(count == len(inventory.tags_of.get(digest, ())) for digest, count in removed.items())


def _untagged(evidence: Evidence, removal: Removal) -> Iterator[ManifestDecision]:
    """A decision for each untagged manifest, except those deleted together with a tagged one."""
    inventory = evidence.inventory
    used = digests_in_use(evidence)
    for digest in sorted(inventory.manifests.keys() - inventory.tags_of.keys()):
        if digest not in removal.manifests:
            reasons = tuple(reasons_to_keep(evidence, used, removal.tags, removal.manifests, digest))
            yield ManifestDecision(inventory.manifests[digest], reasons)
        elif digest in removal.alone:
            yield ManifestDecision(inventory.manifests[digest])


def _warnings(
    inventory: RepositoryInventory, policy: RetentionPolicy, removal: Removal, *, unreadable: bool, deletes: bool
) -> Iterator[PlanWarning]:
    if unreadable:
        examples = tuple(sorted(inventory.unknown)[:EXAMPLES])
        yield UnreadableManifests(inventory.name, len(inventory.unknown), examples)
    if removal.doubtful:
        yield UnknownSubjects(inventory.name, len(removal.doubtful), len(inventory.possible_referrers))
    if not inventory.seen_whole and (removal.tags or policy.delete_untagged):
        yield Unlisted(inventory.name, inventory.hidden, inventory.hidden_tags)
    if deletes and inventory.unknown_locks:
        yield UnknownLocks(inventory.name, inventory.unknown_locks)
