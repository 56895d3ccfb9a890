"""
The reasons for and against deleting one tag or one manifest, and the decision if it were unused.

Nothing is decided here. `plan_repository` is asked twice: with all uses, and without the uses in
question (`excluding_uses`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag, closure
from acr_cleanup.core.mentions import Mention
from acr_cleanup.core.named import digests_in_use, named_digests
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence, Rule, eligible_repositories
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import Reason, reasons_to_keep
from acr_cleanup.core.retention import Scope
from acr_cleanup.core.usage import ImageUse, UsageIndex


class Link(StrEnum):
    """How a use leads to the tag or manifest in question, most direct first."""

    NAME = "name"
    """It names the tag."""
    DIGEST = "digest"
    """It names or runs the digest."""
    FAMILY = "family"
    """It names or runs another digest of the index family."""
    NEIGHBOUR = "neighbour"
    """It uses a related manifest: an index that lists it, its subject, or one of its referrers."""
    OPEN = "open"
    """It names the repository, but not which image."""


@dataclass(frozen=True, slots=True)
class LinkedUse:
    """A use, and how it leads to the tag or manifest in question."""

    use: ImageUse
    link: Link


@dataclass(frozen=True, slots=True)
class ExplainedDecision:
    """
    The decision about a tag or a manifest: every reason to keep it.

    Without a reason, it is deleted.
    """

    reasons: tuple[Reason, ...] = ()

    @property
    def deletes(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class WithoutUses:
    """
    The decision if none of its uses existed.

    in_scope: without its uses, the repository may be out of scope, which keeps all of it until
        another of its images runs. This is the decision from then on. None if the repository is in
        scope anyway.
    each_alone: would each of the uses keep it, even without the other ones?
    """

    decision: ExplainedDecision
    in_scope: ExplainedDecision | None
    each_alone: bool


@dataclass(frozen=True, slots=True)
class RelatedItems:
    """
    The tags and manifests related to one manifest.

    parents: the indexes that list it. subjects: the manifests that it is attached to.
    referrers: the manifests attached to it, by `subject` or by a tag named `sha256-…` after it.
    """

    tags: tuple[Tag, ...] = ()
    parents: tuple[Digest, ...] = ()
    children: tuple[Digest, ...] = ()
    referrers: tuple[Digest, ...] = ()
    subjects: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Everything about one tag or, if `tag` is None, one manifest.

    name: the tag name or digest that was asked about.
    decision: None if the registry does not have it; `uses` then name something that does not exist.
    manifest_decision: the decision about its manifest. A manifest may be kept although the tag is
        deleted.
    mentions: of the tag or, for a manifest, of its tags; of its index family, and of the whole repository.
    without_uses: None if it is deleted anyway, does not exist, or is unused.
    """

    name: str
    digest: Digest | None
    tag: Tag | None
    manifest: Manifest | None
    decision: ExplainedDecision | None
    manifest_decision: ExplainedDecision | None
    uses: tuple[LinkedUse, ...]
    without_uses: WithoutUses | None
    related: RelatedItems
    mentions: tuple[Mention, ...] = ()

    @property
    def exists(self) -> bool:
        return self.decision is not None


def decide(evidence: Evidence) -> RepositoryPlan:
    """The plan of the repository, as a run would make it."""
    return plan_repository(evidence.inventory, evidence.usage, evidence.policy, evidence.now)


def excluding_uses(evidence: Evidence, uses: Iterable[ImageUse]) -> Evidence:
    """The same evidence, as if these uses did not exist."""
    excluded = frozenset(uses)
    name = evidence.inventory.name
    scans = (
        # Uses of other repositories do not matter here, and there may be very many of them.
        replace(scan, uses=tuple(use for use in scan.uses if use.reference.repository == name and use not in excluded))
        for scan in evidence.usage.scans
    )
    usage = UsageIndex.of(scans, evidence.usage.read_at, pulls=evidence.usage.pulls)
    usage = replace(usage, history=evidence.usage.history)
    # A used digest is read because it is used. Without the use it would not be read, so it must not
    # count as unreadable.
    unused = replace(evidence, usage=usage)
    return replace(unused, inventory=evidence.inventory.used_by(named_digests(unused)))


def explain_tag(evidence: Evidence, name: str) -> Explanation:
    """Everything about the tag `name`, whether it exists or not."""
    plan = decide(evidence)
    inventory = evidence.inventory
    tag = next((tag for tag in inventory.tags if tag.name == name), None)
    if tag is None:
        naming_uses = _linked((use, Link.NAME) for use in evidence.usage.of_tag(inventory.name, name))
        return Explanation(name, None, None, None, None, None, naming_uses, None, RelatedItems())
    decision = decision_on_tag(plan, name)
    uses = _linked(_uses_of_tag(evidence, tag, decision))
    return Explanation(
        name=name,
        digest=tag.digest,
        tag=tag,
        manifest=inventory.manifests.get(tag.digest),
        decision=decision,
        manifest_decision=decision_on_manifest(evidence, plan, tag.digest),
        uses=uses,
        without_uses=_without_uses(evidence, decision, uses, lambda other: decision_on_tag(decide(other), name)),
        related=_related(inventory, tag.digest),
        mentions=_mentions(evidence, [tag], tag.digest),
    )


def explain_manifest(evidence: Evidence, digest: Digest) -> Explanation:
    """Everything about the manifest `digest`, whether it exists or not."""
    inventory = evidence.inventory
    if digest not in inventory.manifests and digest not in inventory.tags_of:
        naming_uses = _linked((use, Link.DIGEST) for use in evidence.usage.of_digest(inventory.name, digest))
        return Explanation(digest, digest, None, None, None, None, naming_uses, None, RelatedItems())
    decision = decision_on_manifest(evidence, decide(evidence), digest)
    uses = _linked(_uses_of_manifest(evidence, digest))
    return Explanation(
        name=digest,
        digest=digest,
        tag=None,
        manifest=inventory.manifests.get(digest),
        decision=decision,
        manifest_decision=decision,
        uses=uses,
        without_uses=_without_uses(
            evidence, decision, uses, lambda other: decision_on_manifest(other, decide(other), digest)
        ),
        related=_related(inventory, digest),
        mentions=_mentions(evidence, inventory.tags_of.get(digest, ()), digest),
    )


def _mentions(evidence: Evidence, tags: Iterable[Tag], digest: Digest) -> tuple[Mention, ...]:
    """Each mention of these tags and of this manifest once, by object and field."""
    mentions, family = evidence.mentions, evidence.inventory.in_whose_family(digest)
    of_tags = (mention for tag in tags for mention in mentions.by_tag.get(tag.name, ()))
    of_family = (mention for named, of in mentions.by_digest.items() if named in family for mention in of)
    return tuple(sorted({*of_tags, *of_family, *mentions.of_any}))


def decision_on_tag(plan: RepositoryPlan, name: str) -> ExplainedDecision:
    """The decision of the plan about an existing tag."""
    decision = next(decision for decision in plan.decisions if decision.tag.name == name)
    return ExplainedDecision(tuple(Reason(reason.rule, reason.detail) for reason in decision.reasons))


def deleted_manifests(inventory: RepositoryInventory, plan: RepositoryPlan) -> frozenset[Digest]:
    """
    The manifests that no longer exist after the plan was carried out.

    These are the manifests of its steps and everything attached to them: the registry deletes
    referrers together with their subject.
    """
    deleted = {manifest.digest for manifest in plan.manifests}
    pending = list(deleted)
    while pending:
        for digest in inventory.referrers_of.get(pending.pop(), ()):
            if digest not in deleted:
                deleted.add(digest)
                pending.append(digest)
    return frozenset(deleted)


def deleted_with(evidence: Evidence, plan: RepositoryPlan, digest: Digest) -> tuple[Manifest, ...]:
    """The manifest and everything below it that the plan deletes: children, and what is attached to them."""
    inventory = evidence.inventory
    deleted = deleted_manifests(inventory, plan)

    def below(current: Digest) -> Iterator[Digest]:
        manifest = inventory.manifests.get(current)
        children = manifest.children if manifest is not None else ()
        signers = (tag.digest for tag in inventory.signers_of.get(current, ()))
        return filter(deleted.__contains__, (*children, *inventory.referrers_of.get(current, ()), *signers))

    reached = closure((digest,), below) & deleted & inventory.manifests.keys()
    return tuple(inventory.manifests[member] for member in sorted(reached))


def decision_on_manifest(evidence: Evidence, plan: RepositoryPlan, digest: Digest) -> ExplainedDecision:
    """The decision of the plan about a manifest, with the kept tags and manifests that keep it."""
    return ManifestReasons(evidence, plan).decision_on(digest)


class ManifestReasons:
    """The decisions of one plan about its manifests, with the kept tags and manifests that keep them."""

    def __init__(self, evidence: Evidence, plan: RepositoryPlan) -> None:
        self._evidence = evidence
        self._plan = plan

    @cached_property
    def _deleted(self) -> frozenset[Digest]:
        return deleted_manifests(self._evidence.inventory, self._plan)

    @cached_property
    def _deleted_tags(self) -> frozenset[str]:
        return frozenset(decision.tag.name for decision in self._plan.deletions)

    @cached_property
    def _used(self) -> Mapping[Digest, Rule]:
        return digests_in_use(self._evidence)

    def decision_on(self, digest: Digest) -> ExplainedDecision:
        """The decision about this manifest."""
        if digest in self._deleted:
            return ExplainedDecision()
        reasons = reasons_to_keep(self._evidence, self._used, self._deleted_tags, self._deleted, digest)
        return ExplainedDecision(tuple(reasons))


_Uses = Iterator[tuple[ImageUse, Link]]


def _uses_of_tag(evidence: Evidence, tag: Tag, decision: ExplainedDecision) -> _Uses:
    """
    The uses that the rule `in-use` sees.

    For a tag kept as `attached`, also the uses of its subject.
    """
    inventory, usage = evidence.inventory, evidence.usage
    yield from ((use, Link.NAME) for use in usage.of_tag(inventory.name, tag.name))
    yield from _uses_of_family(evidence, tag.digest)
    yield from ((use, Link.OPEN) for use in usage.of_any(inventory.name))
    if any(reason.rule is Rule.ATTACHED for reason in decision.reasons):
        manifest = inventory.manifests.get(tag.digest)
        for subject in (tag.subject, manifest.subject if manifest else None):
            if subject is not None:
                yield from ((use, Link.NEIGHBOUR) for use, _ in _uses_of_manifest(evidence, subject))


def _uses_of_manifest(evidence: Evidence, digest: Digest) -> _Uses:
    """The uses of the manifest, and the uses of every related manifest that may keep it."""
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
    for used in inventory.in_whose_family(digest) & usage.digests(inventory.name):
        link = Link.DIGEST if used == digest else Link.FAMILY
        yield from ((use, link) for use in usage.of_digest(inventory.name, used))


def _neighbours(inventory: RepositoryInventory, digest: Digest) -> frozenset[Digest]:
    """
    The manifests that may keep this one: indexes that list it, referrers, subjects; transitively.
    """
    reached = {digest}
    pending = [digest]
    while pending:
        current = pending.pop()
        manifest = inventory.manifests.get(current)
        subjects = [
            manifest.subject if manifest else None,
            *(tag.subject for tag in inventory.tags_of.get(current, ())),
        ]
        signers = (tag.digest for tag in inventory.signers_of.get(current, ()))
        parents, referrers = inventory.parents_of.get(current, ()), inventory.referrers_of.get(current, ())
        for neighbour in (*parents, *referrers, *signers, *subjects):
            if neighbour is not None and neighbour not in reached:
                reached.add(neighbour)
                pending.append(neighbour)
    return frozenset(reached) - {digest}


def _linked(uses: Iterable[tuple[ImageUse, Link]]) -> tuple[LinkedUse, ...]:
    """Each use once, by its most direct link; the most direct links first."""
    order = list(Link)
    best: dict[ImageUse, Link] = {}
    for use, link in uses:
        known = best.get(use)
        if known is None or order.index(link) < order.index(known):
            best[use] = link
    ordered = sorted(
        best, key=lambda use: (order.index(best[use]), use.workload, use.container, use.field, use.text, use.running)
    )
    return tuple(LinkedUse(use, best[use]) for use in ordered)


def _without_uses(
    evidence: Evidence,
    decision: ExplainedDecision,
    linked: Collection[LinkedUse],
    decide_with: Callable[[Evidence], ExplainedDecision],
) -> WithoutUses | None:
    if decision.deletes or not linked:
        return None
    uses = [linked_use.use for linked_use in linked]
    unused = excluding_uses(evidence, uses)
    in_scope = None
    if eligible(evidence) and not eligible(unused):
        in_scope = decide_with(replace(unused, policy=replace(unused.policy, scope=Scope.ALL)))

    def keeps_alone(use: ImageUse) -> bool:
        others = (other for other in uses if other != use)
        return not decide_with(excluding_uses(evidence, others)).deletes

    # Uses of the same reference lead to the same decision: try one of each.
    distinct = {(use.reference, use.running): use for use in uses}.values()
    return WithoutUses(decide_with(unused), in_scope, all(map(keeps_alone, distinct)))


def eligible(evidence: Evidence) -> bool:
    """Is the repository in scope?"""
    name = evidence.inventory.name
    return name in eligible_repositories(evidence.usage, evidence.policy, (name,))


def _related(inventory: RepositoryInventory, digest: Digest) -> RelatedItems:
    manifest = inventory.manifests.get(digest)
    tags = inventory.tags_of.get(digest, ())
    by_name = [tag.digest for tag in inventory.signers_of.get(digest, ())]
    subjects = [tag.subject for tag in tags] + [manifest.subject if manifest else None]
    return RelatedItems(
        tags=tuple(sorted(tags, key=lambda tag: tag.name)),
        parents=tuple(sorted(inventory.parents_of.get(digest, ()))),
        children=manifest.children if manifest else (),
        referrers=tuple(dict.fromkeys((*sorted(inventory.referrers_of.get(digest, ())), *by_name))),
        subjects=tuple(dict.fromkeys(subject for subject in subjects if subject is not None)),
    )
