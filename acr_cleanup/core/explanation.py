"""
What speaks for and against one tag or one manifest, and what would become of it if nobody used it.

Nothing is decided here: whether something goes is what `plan_repository` says, asked once as things are and once more without the
uses in question (`without`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.plan import RepositoryPlan, plan_repository
from acr_cleanup.core.policy import Evidence, Rule, Scope, eligible_repositories
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import Reason, holds, in_use
from acr_cleanup.core.usage import ImageUse, UsageIndex


class Link(StrEnum):
    """How a use leads to what is asked about, the most direct first."""

    NAME = "name"
    """It names the tag."""
    DIGEST = "digest"
    """It names or runs the digest."""
    FAMILY = "family"
    """It names or runs another digest of the index family."""
    NEIGHBOUR = "neighbour"
    """It uses something that needs the manifest: an index above it, what it is attached to, what is attached to it."""
    OPEN = "open"
    """It names the repository and does not say which image."""


@dataclass(frozen=True, slots=True)
class LinkedUse:
    """A use, and how it leads to what is asked about."""

    use: ImageUse
    link: Link


@dataclass(frozen=True, slots=True)
class Fate:
    """What would become of a tag or a manifest: it goes, or it stays for every one of these reasons."""

    reasons: tuple[Reason, ...] = ()

    @property
    def goes(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class WithoutUses:
    """
    What would become of it without any of its uses; and whether each of them by itself, without the others, would keep it.

    Without them the repository may no longer run anywhere: then it is out of scope, and that keeps all of it, but only until
    something runs another image of it. `in_scope` is what would become of it then; None where it stays in scope anyway.
    """

    fate: Fate
    in_scope: Fate | None
    each_alone: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What hangs together with a manifest; `parents` are the indexes that list it, `subjects` what it is attached to."""

    tags: tuple[Tag, ...]
    parents: tuple[Digest, ...]
    children: tuple[Digest, ...]
    referrers: tuple[Digest, ...]
    """What is attached to it: by its `subject`, or as the manifest of a tag named `sha256-…` after it."""
    subjects: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Everything about one tag, or (`tag` None) one manifest.

    `fate` is None if the registry does not have it; then the uses are of something that is not there.
    """

    name: str
    """What was asked about: the name of the tag, or the digest."""
    digest: Digest | None
    tag: Tag | None
    manifest: Manifest | None
    fate: Fate | None
    manifest_fate: Fate | None
    """Of its manifest; it may stay although the tag goes, by name only."""
    uses: tuple[LinkedUse, ...]
    without_uses: WithoutUses | None
    """None where it goes anyway, is not there, or nobody uses it."""
    around: Surroundings

    @property
    def exists(self) -> bool:
        return self.fate is not None


NOTHING = Surroundings((), (), (), (), ())


def decide(evidence: Evidence) -> RepositoryPlan:
    """The plan for the repository, as a run would make it."""
    return plan_repository(evidence.inventory, evidence.usage, evidence.policy, evidence.now)


def without(evidence: Evidence, uses: Iterable[ImageUse]) -> Evidence:
    """The same, if these uses were not."""
    gone = frozenset(uses)
    name = evidence.inventory.name
    scans = (
        # Those of other repositories have no say here, and there may be very many of them.
        replace(scan, uses=tuple(use for use in scan.uses if use.reference.repository == name and use not in gone))
        for scan in evidence.usage.scans
    )
    usage = UsageIndex.of(scans, evidence.usage.read_at)
    # A use is also a reason to read what it names: what could not be read because of it would not have been tried.
    return replace(evidence, inventory=evidence.inventory.used_by(usage.digests(name)), usage=usage)


def explain_tag(evidence: Evidence, name: str) -> Explanation:
    """All about the tag `name`, be it there or not."""
    plan = decide(evidence)
    inventory = evidence.inventory
    tag = next((tag for tag in inventory.tags if tag.name == name), None)
    if tag is None:
        named = _linked((use, Link.NAME) for use in evidence.usage.of_tag(inventory.name, name))
        return Explanation(name, None, None, None, None, None, named, None, NOTHING)
    fate = tag_fate(plan, name)
    uses = _linked(_uses_of_tag(evidence, tag, fate))
    return Explanation(
        name=name,
        digest=tag.digest,
        tag=tag,
        manifest=inventory.manifests.get(tag.digest),
        fate=fate,
        manifest_fate=manifest_fate(evidence, plan, tag.digest),
        uses=uses,
        without_uses=_without_uses(evidence, fate, uses, lambda each: tag_fate(decide(each), name)),
        around=_around(inventory, tag.digest),
    )


def explain_manifest(evidence: Evidence, digest: Digest) -> Explanation:
    """All about the manifest `digest`, be it there or not."""
    inventory = evidence.inventory
    if digest not in inventory.manifests and digest not in inventory.tags_of:
        named = _linked((use, Link.DIGEST) for use in evidence.usage.of_digest(inventory.name, digest))
        return Explanation(digest, digest, None, None, None, None, named, None, NOTHING)
    fate = manifest_fate(evidence, decide(evidence), digest)
    uses = _linked(_uses_of_manifest(evidence, digest))
    return Explanation(
        name=digest,
        digest=digest,
        tag=None,
        manifest=inventory.manifests.get(digest),
        fate=fate,
        manifest_fate=fate,
        uses=uses,
        without_uses=_without_uses(evidence, fate, uses, lambda each: manifest_fate(each, decide(each), digest)),
        around=_around(inventory, digest),
    )


def tag_fate(plan: RepositoryPlan, name: str) -> Fate:
    """What the plan does with the tag; it must be there."""
    decision = next(decision for decision in plan.decisions if decision.tag.name == name)
    return Fate(tuple(Reason(reason.rule, reason.detail) for reason in decision.reasons))


def going(inventory: RepositoryInventory, plan: RepositoryPlan) -> frozenset[Digest]:
    """
    The manifests that are no more once the plan is carried out.

    Those of its steps, and what is attached to them: the registry removes that together with its subject.
    """
    gone = {manifest.digest for manifest in plan.manifests}
    pending = list(gone)
    while pending:
        for digest in inventory.referrers_of.get(pending.pop(), ()):
            if digest not in gone:
                gone.add(digest)
                pending.append(digest)
    return frozenset(gone)


def manifest_fate(evidence: Evidence, plan: RepositoryPlan, digest: Digest) -> Fate:
    """What becomes of a manifest, told by what stays around it."""
    gone = going(evidence.inventory, plan)
    return Fate() if digest in gone else Fate(tuple(_holds(evidence, plan, digest, gone)))


def _holds(evidence: Evidence, plan: RepositoryPlan, digest: Digest, gone: frozenset[Digest]) -> Iterator[Reason]:
    used = in_use(evidence.inventory, evidence.usage)
    return holds(evidence, used, {decision.tag.name for decision in plan.deletions}, gone, digest)


_Uses = Iterator[tuple[ImageUse, Link]]


def _uses_of_tag(evidence: Evidence, tag: Tag, fate: Fate) -> _Uses:
    """Those that the rule in-use goes by; for what is attached to something kept, those of that."""
    inventory, usage = evidence.inventory, evidence.usage
    yield from ((use, Link.NAME) for use in usage.of_tag(inventory.name, tag.name))
    yield from _uses_of_family(evidence, tag.digest)
    yield from ((use, Link.OPEN) for use in usage.of_any(inventory.name))
    if any(reason.rule is Rule.ATTACHED for reason in fate.reasons):
        manifest = inventory.manifests.get(tag.digest)
        for subject in (tag.subject, manifest.subject if manifest else None):
            if subject is not None:
                yield from ((use, Link.NEIGHBOUR) for use, _ in _uses_of_manifest(evidence, subject))


def _uses_of_manifest(evidence: Evidence, digest: Digest) -> _Uses:
    """Those of the manifest, and those of everything around it that may hold it."""
    inventory, usage = evidence.inventory, evidence.usage
    yield from _uses_by_tag(evidence, digest, Link.NAME)
    yield from _uses_of_family(evidence, digest)
    for ancestor in inventory.ancestors(digest):
        yield from _uses_by_tag(evidence, ancestor, Link.FAMILY)
    for neighbour in _neighbours(inventory, digest):
        yield from _uses_by_tag(evidence, neighbour, Link.NEIGHBOUR)
        yield from ((use, Link.NEIGHBOUR) for use, _ in _uses_of_family(evidence, neighbour))
    yield from ((use, Link.OPEN) for use in usage.of_any(inventory.name))


def _uses_by_tag(evidence: Evidence, digest: Digest, link: Link) -> _Uses:
    inventory = evidence.inventory
    for tag in inventory.tags_of.get(digest, ()):
        yield from ((use, link) for use in evidence.usage.of_tag(inventory.name, tag.name))


def _uses_of_family(evidence: Evidence, digest: Digest) -> _Uses:
    inventory, usage = evidence.inventory, evidence.usage
    for used in inventory.family(digest) & usage.digests(inventory.name):
        link = Link.DIGEST if used == digest else Link.FAMILY
        yield from ((use, link) for use in usage.of_digest(inventory.name, used))


def _neighbours(inventory: RepositoryInventory, digest: Digest) -> frozenset[Digest]:
    """What a manifest may be held by, however far: indexes above, what is attached to them, and what they are attached to."""
    seen = {digest}
    pending = [digest]
    while pending:
        each = pending.pop()
        manifest = inventory.manifests.get(each)
        subjects = [manifest.subject if manifest else None, *(tag.subject for tag in inventory.tags_of.get(each, ()))]
        signers = (tag.digest for tag in inventory.signers_of.get(each, ()))
        for near in (*inventory.parents_of.get(each, ()), *inventory.referrers_of.get(each, ()), *signers, *subjects):
            if near is not None and near not in seen:
                seen.add(near)
                pending.append(near)
    return frozenset(seen) - {digest}


def _linked(found: Iterable[tuple[ImageUse, Link]]) -> tuple[LinkedUse, ...]:
    """Each use once, by its most direct link; these first."""
    order = list(Link)
    best: dict[ImageUse, Link] = {}
    for use, link in found:
        known = best.get(use)
        if known is None or order.index(link) < order.index(known):
            best[use] = link
    uses = sorted(
        best, key=lambda use: (order.index(best[use]), use.workload, use.container, use.field, use.text, use.running)
    )
    return tuple(LinkedUse(use, best[use]) for use in uses)


def _without_uses(
    evidence: Evidence, fate: Fate, linked: Collection[LinkedUse], fate_in: Callable[[Evidence], Fate]
) -> WithoutUses | None:
    if fate.goes or not linked:
        return None
    uses = [each.use for each in linked]
    # To a decision, uses of the same reference are the same.
    kinds = {(use.reference, use.running): use for use in uses}.values()
    nobody = without(evidence, uses)
    otherwise = fate_in(nobody)
    in_scope = None
    if eligible(evidence) and not eligible(nobody):
        in_scope = fate_in(replace(nobody, policy=replace(nobody.policy, scope=Scope.ALL)))

    def alone(use: ImageUse) -> bool:
        return not fate_in(without(evidence, (each for each in uses if each != use))).goes

    return WithoutUses(otherwise, in_scope, all(map(alone, kinds)))


def eligible(evidence: Evidence) -> bool:
    """Is the repository in scope?"""
    name = evidence.inventory.name
    return name in eligible_repositories(evidence.usage, evidence.policy, (name,))


def _around(inventory: RepositoryInventory, digest: Digest) -> Surroundings:
    manifest = inventory.manifests.get(digest)
    tags = inventory.tags_of.get(digest, ())
    by_name = [tag.digest for tag in inventory.signers_of.get(digest, ())]
    subjects = [tag.subject for tag in tags] + [manifest.subject if manifest else None]
    return Surroundings(
        tags=tuple(sorted(tags, key=lambda tag: tag.name)),
        parents=tuple(sorted(inventory.parents_of.get(digest, ()))),
        children=manifest.children if manifest else (),
        referrers=tuple(dict.fromkeys((*sorted(inventory.referrers_of.get(digest, ())), *by_name))),
        subjects=tuple(dict.fromkeys(each for each in subjects if each is not None)),
    )
