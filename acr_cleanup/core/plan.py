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
from acr_cleanup.core.references import Digest
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
    """Remove one name. `after`: digests that must be gone first, otherwise the name stays. `locks`: see `DeleteManifest`."""

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
    untagged: tuple[ManifestDecision, ...] = ()
    """With `delete_untagged`: every manifest without tags, but those that go along with something tagged."""
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    """Why the repository could not be read; then there are no decisions and all of it is kept."""
    missing: tuple[Missing, ...] = ()
    """What something uses and the registry does not have."""
    space: Space | None = None
    """What the manifests that go take up, where that was read; otherwise the sizes of the listing stand for it."""

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
    def is_empty(self) -> bool:
        """Is there nothing to do?"""
        return not any(repository.steps for repository in self.repositories)

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
    # Whatever is still unread counts as kept only until it is read.
    kept = keep_reasons(Evidence(inventory, usage, policy, now))
    return all(
        any(reason.rule is not Rule.UNKNOWN_MANIFEST for reason in kept.get(tag.name, ())) for tag in inventory.tags
    )


def plan_repository(
    inventory: RepositoryInventory, usage: UsageIndex, policy: RetentionPolicy, now: datetime
) -> RepositoryPlan:
    """
    Decide about one repository. Pure: the same values give the same plan, in whatever order they come.

    `inventory` holds the edges of every manifest that could have any (`RepositoryInventory.unread` is empty), or what is
    unread stays unknown, and then no manifest of the repository is deleted.
    """
    reasons = keep_reasons(Evidence(inventory, usage, policy, now))
    going = frozenset(tag.name for tag in inventory.tags) - reasons.keys()
    removable = _removable(inventory, usage, policy, now, going)

    # What is attached to a kept manifest is kept with it; that may in turn keep more, so look until nothing changes.
    while attached := _attached(inventory, going, removable):
        reasons |= attached
        going -= attached.keys()
        removable = _removable(inventory, usage, policy, now, going)

    tags = sorted(inventory.tags, key=lambda tag: tag.name)
    return RepositoryPlan(
        repository=inventory.name,
        decisions=tuple(Decision(tag, reasons.get(tag.name, ())) for tag in tags),
        steps=_steps(inventory, going, removable),
        warnings=_warnings(inventory),
    )


def refusals(plan: Plan, limits: Limits) -> tuple[str, ...]:
    """Why these limits forbid the whole plan; empty if they do not. Each says what was seen and what to do."""
    found = []
    if limits.deletions is not None and plan.planned > limits.deletions:
        found.append(
            f"The plan deletes {plan.planned} tags, more than max-deletions ({limits.deletions}). "
            "Read the plan; if it is what you want, raise max-deletions."
        )
    for repository in plan.repositories:
        total = len(repository.decisions)
        if limits.percent is not None and len(repository.deletions) * 100 > limits.percent * total:
            found.append(
                f"The plan deletes {len(repository.deletions)} of {total} tags of {repository.repository}, more than "
                f"max-deletion-percent ({limits.percent:g} %). Read the plan; if it is what you want, raise the limit."
            )
    return tuple(found)


def _removable(
    inventory: RepositoryInventory,
    usage: UsageIndex,
    policy: RetentionPolicy,
    now: datetime,
    going: frozenset[str],
) -> frozenset[Digest]:
    """
    The manifests that nothing needs once these tags are gone: the largest set in which every member's parents and referrers are
    members too.
    """
    if inventory.unknown:
        # Any manifest here might be a child of one whose body nobody could read.
        return frozenset()
    used = {digest for each in usage.digests(inventory.name) for digest in inventory.family(each)}

    def may_go(manifest: Manifest) -> bool:
        if manifest.locked or manifest.digest in used:
            return False
        tags = inventory.tags_of.get(manifest.digest)
        if tags:
            return all(tag.name in going for tag in tags)
        if manifest.subject is not None:
            return True
        old = manifest.updated_at is not None and now - manifest.updated_at >= policy.older_than
        return old and manifest.digest in inventory.parents_of

    members = {digest for digest, manifest in inventory.manifests.items() if may_go(manifest)}

    def belongs(digest: Digest) -> bool:
        parents, referrers = inventory.parents_of.get(digest, ()), inventory.referrers_of.get(digest, ())
        if not (members.issuperset(parents) and members.issuperset(referrers)):
            return False
        # Without a tag it goes only with an index that lists it or the subject that it is attached to.
        return digest in inventory.tags_of or bool(parents) or inventory.manifests[digest].subject in members

    while leaving := {digest for digest in members if not belongs(digest)}:
        members -= leaving
    return frozenset(members)


def _attached(
    inventory: RepositoryInventory, going: frozenset[str], removable: frozenset[Digest]
) -> dict[str, tuple[KeepReason, ...]]:
    """Signatures, attestations and the like (by tag name or by `subject`) of manifests that stay."""
    found: dict[str, tuple[KeepReason, ...]] = {}
    for tag in inventory.tags:
        manifest = inventory.manifests.get(tag.digest)
        subjects = [tag.subject, manifest.subject if manifest else None]
        stays = [
            each for each in subjects if each is not None and each in inventory.manifests and each not in removable
        ]
        if tag.name in going and stays:
            found[tag.name] = (KeepReason(Rule.ATTACHED, f"belongs to {short(stays[0])}, which is kept"),)
    return found


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


def _steps(inventory: RepositoryInventory, going: frozenset[str], removable: frozenset[Digest]) -> tuple[Step, ...]:
    """An index before its children, a subject before the tags that sign it: what stays must not lose its signature."""
    try:
        steps = _unordered_steps(inventory, going, removable, removable)
        return tuple(step for wave in waves(steps) for step in wave)
    except CycleError:
        # Content addressing forbids cycles among indexes, but a tag may be *named* like the signature of anything.
        steps = _unordered_steps(inventory, going, removable, frozenset())
        return tuple(step for wave in waves(steps) for step in wave)


def _unordered_steps(
    inventory: RepositoryInventory,
    going: frozenset[str],
    removable: frozenset[Digest],
    signed: frozenset[Digest],
) -> Iterator[Step]:
    def after(tags: Iterable[Tag], parents: Iterable[Digest] = ()) -> tuple[Digest, ...]:
        subjects = {tag.subject for tag in tags if tag.subject is not None}
        return tuple(sorted({*parents, *(subjects & signed)}))

    for tag in sorted(inventory.tags, key=lambda tag: tag.name):
        if tag.name in going and tag.digest not in removable:
            yield Untag(tag, after((tag,)))
    for digest in sorted(removable):
        manifest = inventory.manifests[digest]
        tags = tuple(sorted(inventory.tags_of.get(digest, ()), key=lambda tag: tag.name))
        parents = inventory.parents_of.get(digest, ())
        if not tags and not parents and not manifest.children:
            # It is attached to a subject that goes: the registry removes it together with that.
            continue
        subject = () if tags or manifest.subject is None else (manifest.subject,)
        yield DeleteManifest(manifest, tags, after(tags, (*parents, *subject)))


def _warnings(inventory: RepositoryInventory) -> tuple[str, ...]:
    if not inventory.unknown:
        return ()
    shown = ", ".join(short(digest) for digest in sorted(inventory.unknown)[:3])
    warning = (
        f"{len(inventory.unknown)} manifest(s) of {inventory.name} are listed but cannot be read ({shown}). "
        "Tags are removed by name only and no manifest is deleted there, for it might belong to one of them."
    )
    return (warning,)


def short(digest: Digest) -> str:
    """
    A digest as people read it.

    >>> short(Digest("sha256:" + "0123456789abcdef" * 4))
    'sha256:0123456789ab'
    """
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}:{value[:12]}"


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
        **({"keep-last-by": policy.keep_last_by} if policy.keep_last_by else {}),
        **({"use-regex": "true"} if policy.use_regex else {}),
        **({"delete-untagged": "true"} if policy.delete_untagged else {}),
        **({"include-locked": "true"} if policy.include_locked else {}),
    }
