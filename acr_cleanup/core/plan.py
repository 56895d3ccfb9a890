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

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from acr_cleanup.core.inventory import Lock, Manifest, RepositoryInventory, Tag
from acr_cleanup.core.policy import (
    RULES,
    Evidence,
    KeepReason,
    Limits,
    RetentionPolicy,
    Rule,
    describe_duration,
    keep_reasons,
)
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.removal import Reason, Removal, candidates, holds, in_use, remove
from acr_cleanup.core.space import Space
from acr_cleanup.core.usage import Blocker, UsageIndex
from acr_cleanup.core.verification import Missing


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

    @cached_property
    def tally(self) -> Tally:
        kept = self.kept
        return Tally(
            repository=self.repository,
            tags=len(self.decisions),
            planned=len(self.decisions) - len(kept),
            kept_by=Counter(Rule.IN_USE if each.in_use else each.reasons[0].rule for each in kept),
            locked_alone=sum(len(each.reasons) == 1 and each.reasons[0].rule is Rule.LOCKED for each in kept),
            untagged=len(self.untagged_deletions),
            untagged_decided=len(self.untagged),
            steps=len(self.steps),
            manifests=len(self.manifests),
            size=self.size,
            exact=self.exact,
            read_for_sizes=self.space.read if self.space is not None else None,
            missing=self.missing,
            warnings=self.warnings,
            error=self.error,
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """The plan of one repository in numbers: all that can be told of it without its tags."""

    repository: str
    tags: int = 0
    planned: int = 0
    """Tags that go."""
    kept_by: Mapping[Rule, int] = field(default_factory=dict)
    """The tags that stay, by their strongest reason; what is in use counts as that, whatever else keeps it."""
    locked_alone: int = 0
    """Tags that nothing but a lock keeps."""
    untagged: int = 0
    """Manifests without tags that go for their own sake."""
    untagged_decided: int = 0
    """Manifests without tags that are decided by themselves."""
    steps: int = 0
    manifests: int = 0
    """Manifests that go."""
    size: int = 0
    exact: bool = True
    read_for_sizes: int | None = None
    """Manifests that were read for the sake of exact sizes; None where nobody asked for those."""
    missing: tuple[Missing, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""

    @property
    def kept(self) -> int:
        """Tags that stay."""
        return self.tags - self.planned

    @property
    def in_use(self) -> int:
        return self.kept_by.get(Rule.IN_USE, 0)


class RepositoryPlans(Sequence[RepositoryPlan]):
    """The plans of many repositories, held in some other form than as values; their tallies are at hand."""

    @property
    @abstractmethod
    def tallies(self) -> tuple[Tally, ...]: ...


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
    repositories: Sequence[RepositoryPlan] = ()
    """One plan of each repository. Of a large registry they are made as one asks for them: hold no more than one at a time."""
    blockers: tuple[Blocker, ...] = ()

    @cached_property
    def tallies(self) -> tuple[Tally, ...]:
        """Each repository in numbers, in the same order."""
        if isinstance(self.repositories, RepositoryPlans):
            return self.repositories.tallies
        return tuple(each.tally for each in self.repositories)

    def repository(self, name: str) -> RepositoryPlan:
        """The plan of the repository of this name; raises `KeyError`."""
        return self.repositories[self._places[name]]

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {tally.repository: place for place, tally in enumerate(self.tallies)}

    @property
    def planned(self) -> int:
        """How many tags the plan deletes."""
        return sum(each.planned for each in self.tallies)

    @property
    def untagged(self) -> int:
        """How many manifests without tags the plan deletes for their own sake."""
        return sum(each.untagged for each in self.tallies)

    @property
    def kept(self) -> int:
        return sum(each.kept for each in self.tallies)

    @property
    def in_use(self) -> int:
        return sum(each.in_use for each in self.tallies)

    @property
    def manifests(self) -> int:
        return sum(each.manifests for each in self.tallies)

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What something uses and the registry does not have, in the repositories that were read."""
        return tuple(missing for each in self.tallies for missing in each.missing)

    @property
    def size(self) -> int:
        return sum(each.size for each in self.tallies)

    @property
    def exact(self) -> bool:
        """Was `size` measured, wherever anything goes?"""
        return self.manifests > 0 and all(each.exact for each in self.tallies)

    @property
    def measured(self) -> bool:
        """Was the size of anything measured, exactly or not?"""
        return any(each.read_for_sizes is not None for each in self.tallies)

    @property
    def read_for_sizes(self) -> int:
        """How many manifests were read for the sake of exact sizes."""
        return sum(each.read_for_sizes or 0 for each in self.tallies)


def nothing_to_delete(
    inventory: RepositoryInventory, usage: UsageIndex, policy: RetentionPolicy, now: datetime
) -> bool:
    """
    Is every tag kept whatever the bodies of the manifests say?

    Edges only add reasons to keep, so then there is no need to read any body.
    """
    evidence = Evidence(inventory, usage, policy, now)
    free = {tag.name for tag in inventory.tags}
    for rule in RULES:
        # Whatever is still unread counts as kept only until it is read.
        free.difference_update(tag.name for tag, reason in rule(evidence) if reason.rule is not Rule.UNKNOWN_MANIFEST)
    return not free and not candidates(evidence)


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
    removal = remove(evidence, (tag.name for tag in inventory.tags if tag.name not in reasons))
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
            f"{inventory.name} has {inventory.hidden:,} {_manifests(inventory.hidden)} more than it lists "
            "(unlisted, or pushed this moment). Manifests without tags are left alone there, for they might belong to one of them."
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
    found += [
        f"The plan deletes {each.planned} of {each.tags} tags of {each.repository}, more than "
        f"max-deletion-percent ({limits.percent:g} %). {_CHECK_FIRST} If the plan is what you want, raise the limit."
        for each in plan.tallies
        if limits.percent is not None and each.planned * 100 > limits.percent * each.tags
    ]
    return tuple(found)


def waves(steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
    """
    The steps in groups: those of one group wait for nothing that comes later, and may go side by side.

    Raises `graphlib.CycleError` if they wait for one another.
    """
    steps = tuple(steps)
    waiting = _waiting(steps)
    if not waiting and steps:
        yield steps
        return
    order = TopologicalSorter(waiting)
    order.prepare()
    # Nearly all of a hundred thousand steps wait for nothing, and nothing waits for them: they are no matter of order.
    sorted_out = set(waiting).union(*waiting.values())
    ready = [place for place in range(len(steps)) if place not in sorted_out]
    while ready or order.is_active():
        next_ones = order.get_ready()
        yield tuple(steps[place] for place in sorted((*ready, *next_ones)))
        order.done(*next_ones)
        ready = []


def _waiting(steps: Sequence[Step]) -> dict[int, list[int]]:
    """By their places, the steps that wait for others, and for which."""
    if not any(step.after for step in steps):
        return {}
    places = {step.digest: place for place, step in enumerate(steps) if isinstance(step, DeleteManifest)}
    found = ((place, [places[each] for each in step.after if each in places]) for place, step in enumerate(steps))
    return {place: others for place, others in found if others}


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
        tags = inventory.tags_of.get(digest, ())
        if len(tags) > 1:
            tags = tuple(sorted(tags, key=lambda tag: tag.name))
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


def _manifests(number: int) -> str:
    return "manifest" if number == 1 else "manifests"


def _warnings(inventory: RepositoryInventory) -> tuple[str, ...]:
    if not inventory.unknown:
        return ()
    shown = ", ".join(short(digest) for digest in sorted(inventory.unknown)[:3])
    warning = (
        f"{len(inventory.unknown):,} {_manifests(len(inventory.unknown))} of {inventory.name} cannot be read or understood "
        f"({shown}). Tags are removed by name only and no manifest is deleted there, for it might belong to one of them."
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
