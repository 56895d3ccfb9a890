"""Rows and groups that the reports show: repositories, kept tags, affected references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from acr_cleanup.core.plan import RepositoryPlan, Untag
from acr_cleanup.core.policy import RetentionPolicy, Rule, describe_duration
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import Hold
from acr_cleanup.core.usage import ImageUse

MISSING_MEANS = "What starts from these fails on its next pull: push them again, or change who names them."

# In the order of the rules; each finishes the sentence "kept because it is …".
_TITLES: Mapping[Rule | Hold, str] = {
    Rule.OUT_OF_SCOPE: "out of scope",
    Rule.IN_USE: "in use",
    Rule.LOCKED: "locked in the registry",
    Rule.UNKNOWN_MANIFEST: "on a manifest that cannot be read",
    Rule.UNKNOWN_AGE: "of unknown age",
    Rule.YOUNG: "pushed less than {older_than} ago",
    Rule.EXCLUDED: "excluded by the policy",
    Rule.NEWEST: "among the newest {keep_last}",
    Rule.ATTACHED: "attached to something kept",
    Rule.UNREVIEWED: "not in the reviewed plan",
}

# The same of manifests without tags.
_UNTAGGED_TITLES: Mapping[Rule | Hold, str] = {
    **_TITLES,
    Rule.LOCKED: "locked",
    Rule.UNKNOWN_MANIFEST: "where something cannot be read",
    Rule.YOUNG: "young",
    Hold.LISTED: "listed by an index that stays",
    Hold.REFERRED: "with something attached that stays",
    Hold.UNTAGGED: "not asked for",
}

_TOLD_BY_TITLE = frozenset({Rule.IN_USE, Rule.YOUNG, Rule.NEWEST})


@dataclass(frozen=True, slots=True)
class Affected:
    """
    Something that cannot be pulled: what (as one writes it), what was seen of it, and who uses it. Nothing of it is harmless yet.
    """

    what: str
    seen: str
    who: str


@dataclass(frozen=True, slots=True)
class Row:
    """One repository in the table. `gone` counts tags deleted (or that would be), `left` those planned and not deleted."""

    repository: str
    tags: int
    gone: int
    left: int
    kept: int
    in_use: int
    bytes: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class KeptTag:
    """A tag that stays: the reason of its group (`detail`, `uses`), and the other rules that would keep it too."""

    name: str
    digest: Digest
    updated_at: datetime | None
    detail: str
    uses: tuple[ImageUse, ...]
    also: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """The tags of one repository that stay for the same (strongest) reason, newest first."""

    rule: Rule
    title: str
    tags: tuple[KeptTag, ...]

    @property
    def details(self) -> bool:
        """Must each tag say for itself what the title cannot? Ages and users are shown anyway."""
        return self.rule not in _TOLD_BY_TITLE and len({tag.detail for tag in self.tags}) > 1


def newest_first(tags: Iterable[KeptTag]) -> list[KeptTag]:
    """Unknown ages last; names break ties, downwards, as versions count upwards."""
    return sorted(tags, key=lambda tag: (tag.updated_at.timestamp() if tag.updated_at else 0, tag.name), reverse=True)


def by_name_only(repository: RepositoryPlan) -> frozenset[str]:
    """The tags that lose only their name, because their manifest stays: they free nothing."""
    return frozenset(step.tag.name for step in repository.steps if isinstance(step, Untag))


def title(rule: Rule, policy: RetentionPolicy) -> str:
    """A keep reason in words."""
    return _TITLES[rule].format(older_than=describe_duration(policy.older_than), keep_last=policy.keep_last)


def untagged_title(rule: Rule | Hold) -> str:
    """A reason to keep an untagged manifest, in words."""
    return _UNTAGGED_TITLES[rule]


def group_title(rule: Rule, tags: Iterable[KeptTag], policy: RetentionPolicy) -> str:
    """What the rule saw, if it saw the same in all of them."""
    same = {tag.detail for tag in tags}
    return title(rule, policy) if rule in _TOLD_BY_TITLE or len(same) > 1 else same.pop()
