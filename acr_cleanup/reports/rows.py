"""Values that the reports show in tables and lists, and the titles of keep reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec import Struct

from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.core.policy import Rule, keep_rule
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import Hold
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.core.steps import Untag
from acr_cleanup.core.usage import ClusterScan, ImageUse

MISSING_MEANS = (
    "Pods that use these references fail on their next pull. Push the images again, or change the workloads that "
    "name them."
)

# Titles for untagged manifests, where they differ from the titles in `RULES`.
_UNTAGGED_TITLES: Mapping[Rule | Hold, str] = {
    Rule.LOCKED: "locked",
    Rule.UNKNOWN_MANIFEST: "possibly related to a manifest that cannot be read",
    Rule.YOUNG: "young",
    Hold.LISTED: "listed by a kept index",
    Hold.REFERRED: "the subject of a kept referrer",
    Hold.UNTAGGED: "not selected",
}


UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)
"""Where tags of unknown age are sorted."""


@dataclass(frozen=True, slots=True)
class Affected:
    """
    A reference that cannot be pulled. Its texts are foreign: escape them before they are shown.
    """

    what: str
    """The tag or digest with its repository, such as `shop/web:1.0`."""
    seen: str
    """The fault. It completes a sentence that begins with `what`."""
    who: str
    """The workloads that use it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One repository in the table of repositories. The numbers count tags, except `bytes`."""

    repository: str
    tags: int
    gone: int
    """Deleted, or in a plan to be deleted."""
    left: int
    """Planned but not deleted."""
    kept: int
    in_use: int
    bytes: int
    error: str = ""


class KeptTag(Struct, frozen=True, gc=False):
    """
    A kept tag: the evidence of its strongest reason (`detail`, `uses`), and the other rules that
    keep it. There may be 200,000 at once, so it holds no copies.
    """

    decision: Decision

    @property
    def name(self) -> str:
        return self.decision.tag.name

    @property
    def digest(self) -> Digest:
        return self.decision.tag.digest

    @property
    def updated_at(self) -> datetime | None:
        return self.decision.tag.updated_at

    @property
    def detail(self) -> str:
        return self.decision.reasons[0].detail

    @property
    def uses(self) -> tuple[ImageUse, ...]:
        return self.decision.reasons[0].uses

    @property
    def also(self) -> tuple[Rule, ...]:
        return tuple(reason.rule for reason in self.decision.reasons[1:])

    @property
    def governed_by(self) -> str:
        return self.decision.governed_by


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """
    Tags of one repository with the same strongest keep reason, newest first.

    If that reason depends on the rule of the policy that governs a tag, one rule governs all.
    """

    rule: Rule
    title: str
    tags: tuple[KeptTag, ...]

    @property
    def details(self) -> bool:
        """Must each tag show its own evidence? Ages and users are shown anyway."""
        return not said_by_title(self.rule) and len({tag.detail for tag in self.tags}) > 1


def newest_first(tags: Iterable[KeptTag]) -> list[KeptTag]:
    """
    Sort tags by age, unknown ages last. Equal ages are sorted by name, descending like version
    numbers.
    """
    # Sorted twice, by the times themselves: 200,000 pairs as keys take 20 MB, and numbers 5 MB.
    ordered = sorted(tags, key=lambda tag: tag.name, reverse=True)
    ordered.sort(key=lambda tag: tag.updated_at or UNKNOWN_TIME, reverse=True)
    return ordered


def tags_of_kept_manifests(repository: RepositoryPlan) -> frozenset[str]:
    """Names of the planned tags whose manifest is kept. Deleting them frees no space."""
    return frozenset(step.tag.name for step in repository.steps if isinstance(step, Untag))


def untagged_title(rule: Rule | Hold, policy: RetentionPolicy) -> str:
    """A reason to keep an untagged manifest, in words."""
    return _UNTAGGED_TITLES.get(rule) or keep_rule(rule).describe(policy, policy.top)


def group_title(rule: Rule, tags: Iterable[KeptTag], policy: RetentionPolicy, governing: PolicyRule) -> str:
    """
    The common evidence of the tags if it is the same for all, otherwise the title of the keep rule.

    governing: the rule of the policy that governs these tags, if the keep rule depends on it.
    """
    details = {tag.detail for tag in tags}
    if len(details) == 1 and not said_by_title(rule):
        return details.pop()
    return title(rule, policy, governing)


def title(rule: Rule, policy: RetentionPolicy, governing: PolicyRule) -> str:
    """A keep rule in words, with the rule of the policy that governs the tags if it depends on it."""
    return f"{keep_rule(rule).describe(policy, governing)}{governing.note if depends_on_rule(rule) else ''}"


def depends_on_rule(rule: Rule) -> bool:
    """Does the rule of the policy that governs a tag decide whether this keep rule keeps it?"""
    return rule in (Rule.YOUNG, Rule.NEWEST, Rule.KEPT_BY_RULE)


def said_by_title(rule: Rule) -> bool:
    """Does the title of the rule say enough, without the evidence of each tag?"""
    return keep_rule(rule).title_suffices


def in_order(scans: Iterable[ClusterScan]) -> list[ClusterScan]:
    """The clusters, then the services; those with blockers first."""
    return sorted(scans, key=lambda scan: (not scan.blockers, scan.is_service, scan.cluster))


def most_used(scan: ClusterScan) -> list[str]:
    """The repositories that a cluster or service uses, those with most uses first. The names are foreign text."""
    return [name for name, _ in Counter(use.reference.repository for use in scan.uses).most_common()]
