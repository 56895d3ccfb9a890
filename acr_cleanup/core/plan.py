"""
Every decision, made before anything is done.

First the tags: `keep_reasons` of the policy. Then the manifests, inside the same plan, never by looking again in between:

- `untag` removes one name, and nothing else.
- `delete manifest` removes a manifest and **every** tag on it. It is planned only when every tag on it goes, nobody uses
  its digest, it is not locked, every index that lists it goes, and everything that refers to it goes. That is what frees space.
- Untagged manifests are left alone, except the children and referrers of what goes, when nothing else needs them. The policy may
  let them go by themselves (`delete_untagged`).

See removal.py for what hangs together with what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from acr_cleanup.core.inventory import Lock, Manifest, RepositoryInventory, Tag
from acr_cleanup.core.policy import (
    Evidence,
    KeepReason,
    Limits,
    RetentionPolicy,
    Rule,
    describe_duration,
    keep_reasons,
)
from acr_cleanup.core.proof import Missing
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.removal import Reason, Removal, candidates, holds, in_use, remove
from acr_cleanup.core.space import Space
from acr_cleanup.core.usage import Blocker, UsageIndex


@dataclass(frozen=True, slots=True)
class Decision:
    """One tag and every reason to keep it; without any, it goes."""

    tag: Tag
    reasons: tuple[KeepReason, ...] = ()

    @property
    def deletes(self) -> bool:
        return not self.reasons

    @property
    def in_use(self) -> bool:
        return any(reason.rule is Rule.IN_USE for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class ManifestDecision:
    """One manifest without tags and every reason to keep it; without any, it goes. Only with `delete_untagged`."""

    manifest: Manifest
    reasons: tuple[Reason, ...] = ()

    @property
    def deletes(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Untag:
    """
    Remove one name. `after`: digests that must be gone first, otherwise the name stays (a name alone waits for nothing).

    `locks`: as in `DeleteManifest`, of the tag alone.
    """

    tag: Tag
    after: tuple[Digest, ...] = ()
    locks: tuple[Lock, ...] = ()

    @property
    def digest(self) -> Digest:
        return self.tag.digest

    @property
    def tags(self) -> tuple[Tag, ...]:
        return (self.tag,)


@dataclass(frozen=True, slots=True)
class DeleteManifest:
    """
    Remove a manifest and every tag on it (`tags`; none for a child). `after`: digests that must be gone first.

    `locks`: what has to be unlocked right before, and put back if it is not deleted: the manifest and each of these tags, where
    locked. Empty unless the policy says `include_locked`.
    """

    manifest: Manifest
    tags: tuple[Tag, ...] = ()
    after: tuple[Digest, ...] = ()
    locks: tuple[Lock, ...] = ()

    @property
    def digest(self) -> Digest:
        return self.manifest.digest


Step = Untag | DeleteManifest


@dataclass(frozen=True)
class RepositoryPlan:
    """Every decision about one repository, and the steps that carry them out, in an order that may be followed."""

    repository: str
    decisions: tuple[Decision, ...] = ()
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    """Why the repository could not be read; then there are no decisions and all of it is kept."""
    missing: tuple[Missing, ...] = ()
    """What something uses and the registry does not have."""
    space: Space | None = None
    """What the manifests that go take up, where that was read; otherwise the sizes of the listing stand for it."""
    untagged: tuple[ManifestDecision, ...] = ()
    """With `delete_untagged`: every manifest without tags, but those that go along with something tagged."""

    @cached_property
    def deletions(self) -> tuple[Decision, ...]:
        return tuple(decision for decision in self.decisions if decision.deletes)

    @cached_property
    def kept(self) -> tuple[Decision, ...]:
        return tuple(decision for decision in self.decisions if not decision.deletes)

    @cached_property
    def untagged_deletions(self) -> tuple[ManifestDecision, ...]:
        """The manifests without tags that go by themselves."""
        return tuple(decision for decision in self.untagged if decision.deletes)

    @cached_property
    def manifests(self) -> tuple[Manifest, ...]:
        """The manifests that go."""
        return tuple(step.manifest for step in self.steps if isinstance(step, DeleteManifest))

    @property
    def size(self) -> int:
        """Bytes that are freed: `exact` within the repository, or an upper bound as listed, for layers are shared."""
        if self.space is not None and self.exact:
            return self.space.freed(manifest.digest for manifest in self.manifests)
        return sum(manifest.size for manifest in self.manifests)

    @property
    def exact(self) -> bool:
        """Is `size` exact within the repository?"""
        if self.space is None or not self.space.exact:
            return not self.manifests
        # A reviewed plan may name what the plan of now, which was measured, does not.
        return self.space.going.keys() >= {manifest.digest for manifest in self.manifests}


@dataclass(frozen=True)
class Plan:
    """
    What a run would do, complete or not: `blockers` say what could not be seen.

    A plan with blockers is shown like any other, and never applied.
    """

    registry: str
    policy: RetentionPolicy
    created_at: datetime
    usage: UsageIndex
    repositories: tuple[RepositoryPlan, ...] = ()
    blockers: tuple[Blocker, ...] = ()

    @property
    def planned(self) -> int:
        """How many tags the plan deletes."""
        return sum(len(repository.deletions) for repository in self.repositories)

    @property
    def untagged(self) -> int:
        """How many manifests without tags the plan deletes for their own sake."""
        return sum(len(repository.untagged_deletions) for repository in self.repositories)

    @property
    def kept(self) -> int:
        return sum(len(repository.kept) for repository in self.repositories)

    @property
    def in_use(self) -> int:
        return sum(decision.in_use for repository in self.repositories for decision in repository.kept)

    @property
    def manifests(self) -> int:
        return sum(len(repository.manifests) for repository in self.repositories)

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What something uses and the registry does not have, in the repositories that were read."""
        return tuple(missing for repository in self.repositories for missing in repository.missing)

    @property
    def size(self) -> int:
        return sum(repository.size for repository in self.repositories)

    @property
    def exact(self) -> bool:
        """Was `size` measured, wherever anything goes?"""
        return self.manifests > 0 and all(repository.exact for repository in self.repositories)

    @property
    def read_for_sizes(self) -> int:
        """How many manifests were read for the sake of exact sizes."""
        return sum(repository.space.read for repository in self.repositories if repository.space)


def nothing_to_delete(
    inventory: RepositoryInventory, usage: UsageIndex, policy: RetentionPolicy, now: datetime
) -> bool:
    """
    Is every tag kept whatever the bodies of the manifests say?

    Edges only add reasons to keep, so then there is no need to read any body.
    """
    evidence = Evidence(inventory, usage, policy, now)
    return _all_kept(inventory, keep_reasons(evidence)) and not candidates(evidence)


def _all_kept(inventory: RepositoryInventory, reasons: Mapping[str, tuple[KeepReason, ...]]) -> bool:
    # Whatever is still unread counts as kept only until it is read.
    return all(
        any(reason.rule is not Rule.UNKNOWN_MANIFEST for reason in reasons.get(tag.name, ())) for tag in inventory.tags
    )


def plan_repository(
    inventory: RepositoryInventory, usage: UsageIndex, policy: RetentionPolicy, now: datetime
) -> RepositoryPlan:
    """
    Decide about one repository. Pure: the same values give the same plan, in whatever order they come.

    `inventory` holds the edges of every manifest that could have any (`RepositoryInventory.unread` is empty), or what is
    unread stays unknown, and then no manifest of the repository is deleted.
    """
    evidence = Evidence(inventory, usage, policy, now)
    reasons = keep_reasons(evidence)
    removal = remove(evidence, {tag.name for tag in inventory.tags} - reasons.keys())
    warnings = _warnings(inventory)
    if warnings and _all_kept(inventory, reasons) and not candidates(evidence):
        # Nobody needed to know: so nobody may have tried, and it is no reason for anything.
        warnings = ()
        reasons = {
            name: tuple(reason for reason in found if reason.rule is not Rule.UNKNOWN_MANIFEST)
            for name, found in reasons.items()
        }
    if policy.delete_untagged and inventory.hidden:
        hidden = (
            f"{inventory.name} has {inventory.hidden:,} manifest(s) more than it lists (unlisted, or pushed this moment). "
            "Manifests without tags are left alone there, for they might belong to one of them."
        )
        warnings = (*warnings, hidden)
    for tag in inventory.tags:
        if tag.name not in reasons and tag.name not in removal.tags:
            reasons[tag.name] = (_attached(inventory, tag, removal),)
    tags = sorted(inventory.tags, key=lambda tag: tag.name)
    return RepositoryPlan(
        repository=inventory.name,
        decisions=tuple(Decision(tag, reasons.get(tag.name, ())) for tag in tags),
        untagged=tuple(_untagged(evidence, removal)) if policy.delete_untagged else (),
        steps=_steps(inventory, removal),
        warnings=warnings,
    )


def _attached(inventory: RepositoryInventory, tag: Tag, removal: Removal) -> KeepReason:
    """Why a tag that no rule keeps stays: it belongs, by its name or by the `subject` of its manifest, to something that does."""
    manifest = inventory.manifests.get(tag.digest)
    subjects = (tag.subject, manifest.subject if manifest else None)
    stays = [
        each for each in subjects if each is not None and each in inventory.manifests and each not in removal.manifests
    ]
    return KeepReason(Rule.ATTACHED, f"belongs to {short(stays[0])}, which is kept")


def _untagged(evidence: Evidence, removal: Removal) -> Iterator[ManifestDecision]:
    inventory = evidence.inventory
    used = in_use(inventory, evidence.usage)
    for digest in sorted(inventory.manifests.keys() - inventory.tags_of.keys()):
        if digest not in removal.manifests:
            reasons = tuple(holds(evidence, used, removal.tags, removal.manifests, digest))
            yield ManifestDecision(inventory.manifests[digest], reasons)
        elif digest in removal.alone:
            yield ManifestDecision(inventory.manifests[digest])


_CHECK_FIRST = (
    "Check first whether every cluster that uses this registry is configured, and whether older-than and the patterns "
    "are as meant."
)


def refusals(plan: Plan, limits: Limits) -> tuple[str, ...]:
    """Why these limits forbid the whole plan; empty if they do not. Each says what was seen and what to do."""
    found = []
    if limits.deletions is not None and plan.planned + plan.untagged > limits.deletions:
        untagged = f" and {plan.untagged} manifests without tags, which count as well," if plan.untagged else ","
        found.append(
            f"The plan deletes {plan.planned} tags{untagged} more than max-deletions ({limits.deletions}). "
            f"{_CHECK_FIRST} If the plan is what you want, raise max-deletions."
        )
    for repository in plan.repositories:
        total = len(repository.decisions)
        if limits.percent is not None and len(repository.deletions) * 100 > limits.percent * total:
            found.append(
                f"The plan deletes {len(repository.deletions)} of {total} tags of {repository.repository}, more than "
                f"max-deletion-percent ({limits.percent:g} %). {_CHECK_FIRST} If the plan is what you want, raise the limit."
            )
    return tuple(found)


def waves(steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
    """
    The steps in groups: those of one group wait for nothing that comes later, and may go side by side.

    Raises `graphlib.CycleError` if they wait for one another.
    """
    steps = tuple(steps)
    places = {step.digest: place for place, step in enumerate(steps) if isinstance(step, DeleteManifest)}
    order = TopologicalSorter(
        {place: [places[digest] for digest in step.after if digest in places] for place, step in enumerate(steps)}
    )
    order.prepare()
    while order.is_active():
        ready = order.get_ready()
        yield tuple(steps[place] for place in sorted(ready))
        order.done(*ready)


def _steps(inventory: RepositoryInventory, removal: Removal) -> tuple[Step, ...]:
    """An index before its children, a referrer before its subject, be it one by `subject` or by the name of its tag."""
    try:
        steps = _unordered_steps(inventory, removal, inventory.signers_of)
        return tuple(step for wave in waves(steps) for step in wave)
    except CycleError:
        # Content addressing forbids cycles of indexes and subjects, but a tag may be *named* after anything.
        steps = _unordered_steps(inventory, removal, {})
        return tuple(step for wave in waves(steps) for step in wave)


def _unordered_steps(
    inventory: RepositoryInventory, removal: Removal, signers_of: Mapping[Digest, tuple[Tag, ...]]
) -> Iterator[Step]:
    for tag in sorted(inventory.tags, key=lambda tag: tag.name):
        if tag.name in removal.tags and tag.digest not in removal.manifests:
            yield Untag(tag, locks=_locks(tag))
    for digest in sorted(removal.manifests):
        manifest = inventory.manifests[digest]
        tags = tuple(sorted(inventory.tags_of.get(digest, ()), key=lambda tag: tag.name))
        first = {
            *inventory.parents_of.get(digest, ()),
            *inventory.referrers_of.get(digest, ()),
            *(tag.digest for tag in signers_of.get(digest, ())),
        }
        after = tuple(sorted((first & removal.manifests) - {digest}))
        yield DeleteManifest(manifest, tags, after, _locks(manifest, *tags))


def _locks(*items: Manifest | Tag) -> tuple[Lock, ...]:
    """What is locked of these. They are to go, so the policy lets them be unlocked."""
    return tuple(lock for item in items if (lock := item.lock) is not None)


def _warnings(inventory: RepositoryInventory) -> tuple[str, ...]:
    if not inventory.unknown:
        return ()
    shown = ", ".join(short(digest) for digest in sorted(inventory.unknown)[:3])
    warning = (
        f"{len(inventory.unknown)} manifest(s) of {inventory.name} cannot be read or understood ({shown}). "
        "Tags are removed by name only and no manifest is deleted there, for it might belong to one of them."
    )
    return (warning,)


def describe_policy(policy: RetentionPolicy) -> Mapping[str, str]:
    """The policy in the words of the inputs, for reports."""
    return {
        "older-than": describe_duration(policy.older_than),
        "scope": str(policy.scope),
        "keep-last": str(policy.keep_last),
        "repositories": ", ".join(policy.repositories),
        "include-tags": ", ".join(policy.include_tags),
        "exclude-tags": ", ".join(policy.exclude_tags) or "(none)",
        # What nobody asked for needs no line.
        **({} if policy.shard.is_whole else {"shard": str(policy.shard)}),
        **({"keep-last-by": policy.keep_last_by} if policy.keep_last_by else {}),
        **({"use-regex": "true"} if policy.use_regex else {}),
        **({"delete-untagged": "true"} if policy.delete_untagged else {}),
        **({"include-locked": "true"} if policy.include_locked else {}),
    }
