"""Values that the reports show in tables and lists, and the titles of keep reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from acr_cleanup.core.plan import RepositoryPlan, Untag
from acr_cleanup.core.policy import RetentionPolicy, Rule, describe_duration
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import Hold
from acr_cleanup.core.usage import ImageUse

MISSING_MEANS = (
    "Pods that use these references fail on their next pull. Push the images again, or change the workloads that "
    "name them."
)

# In the order of the rules. Each title completes the sentence "It is kept because it is …".
_TITLES: Mapping[Rule | Hold, str] = {
    Rule.OUT_OF_SCOPE: "out of scope",
    Rule.IN_USE: "in use",
    Rule.LOCKED: "locked in the registry",
    Rule.UNKNOWN_MANIFEST: "on a manifest that cannot be read",
    Rule.UNKNOWN_AGE: "of unknown age",
    Rule.YOUNG: "pushed less than {older_than} ago",
    Rule.EXCLUDED: "excluded by the policy",
    Rule.NEWEST: "among the newest {keep_last}",
    Rule.ATTACHED: "attached to a kept manifest",
    Rule.UNREVIEWED: "not in the reviewed plan",
}

# Titles for untagged manifests.
_UNTAGGED_TITLES: Mapping[Rule | Hold, str] = {
    **_TITLES,
    Rule.LOCKED: "locked",
    Rule.UNKNOWN_MANIFEST: "possibly related to a manifest that cannot be read",
    Rule.YOUNG: "young",
    Hold.LISTED: "listed by a kept index",
    Hold.REFERRED: "the subject of a kept referrer",
    Hold.UNTAGGED: "not selected",
}

_TOLD_BY_TITLE = frozenset({Rule.IN_USE, Rule.YOUNG, Rule.NEWEST})


@dataclass(frozen=True, slots=True)
class Affected:
    """
    A reference that cannot be pulled. Its texts are foreign: escape them before they are shown.
    """

    what: str
    """The tag or digest with its repository, such as `shop/web:1.0`."""
    seen: str
    """What was found wrong. It completes a sentence that begins with `what`."""
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


@dataclass(frozen=True, slots=True)
class KeptTag:
    """
    A kept tag: the evidence of its strongest reason (`detail`, `uses`), and the other rules that
    keep it.
    """

    name: str
    digest: Digest
    updated_at: datetime | None
    detail: str
    uses: tuple[ImageUse, ...]
    also: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """Tags of one repository with the same strongest keep reason, newest first."""

    rule: Rule
    title: str
    tags: tuple[KeptTag, ...]

    @property
    def details(self) -> bool:
        """Must each tag show its own evidence? Ages and users are shown anyway."""
        return self.rule not in _TOLD_BY_TITLE and len({tag.detail for tag in self.tags}) > 1


def newest_first(tags: Iterable[KeptTag]) -> list[KeptTag]:
    """
    Sort tags by age, unknown ages last. Equal ages are sorted by name, descending like version
    numbers.
    """
    return sorted(tags, key=lambda tag: (tag.updated_at.timestamp() if tag.updated_at else 0, tag.name), reverse=True)


def tags_of_kept_manifests(repository: RepositoryPlan) -> frozenset[str]:
    """Names of the planned tags whose manifest is kept. Deleting them frees no space."""
    return frozenset(step.tag.name for step in repository.steps if isinstance(step, Untag))


def title(rule: Rule, policy: RetentionPolicy) -> str:
    """A keep reason in words."""
    return _TITLES[rule].format(older_than=describe_duration(policy.older_than), keep_last=policy.keep_last)


def untagged_title(rule: Rule | Hold) -> str:
    """A reason to keep an untagged manifest, in words."""
    return _UNTAGGED_TITLES[rule]


def group_title(rule: Rule, tags: Iterable[KeptTag], policy: RetentionPolicy) -> str:
    """
    The common evidence of the tags if it is the same for all, otherwise the title of the rule.
    """
    details = {tag.detail for tag in tags}
    return title(rule, policy) if rule in _TOLD_BY_TITLE or len(details) > 1 else details.pop()
