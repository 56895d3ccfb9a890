"""
What to retain. The whole rule, in one sentence:

A tag is deleted when its repository is in scope (it *runs* in a configured cluster), nothing uses the tag or its digest,
and its last push is at least `older_than` ago.

Everything here says it from the other side: each rule looks at one repository and yields **reasons to keep** tags. A rule can
neither remove a reason nor delete anything, so one more rule, cluster or use can only make us delete less. A tag without
any reason is deleted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.references import DEFAULT_TAG, Digest
from acr_cleanup.core.selection import captured, patterns
from acr_cleanup.core.shard import WHOLE, Shard, part_of
from acr_cleanup.core.usage import ImageUse, UsageIndex


class Scope(StrEnum):
    """Which repositories may lose tags at all."""

    RUNNING = "running"
    """Those that a container of a pod names, in at least one cluster."""
    REFERENCED = "referenced"
    """Those that anything in a cluster names, scaled to zero or suspended included."""
    ALL = "all"
    """Every repository of the registry."""


# What `locked` saw: each is unlocked by itself, and in another way.
REPOSITORY_LOCKED = "the repository is locked in the registry"
TAG_LOCKED = "the tag is locked in the registry"
MANIFEST_LOCKED = "its manifest is locked in the registry"


class Rule(StrEnum):
    """The identifiers of the keep reasons: stable, for they are in reports and documentation."""

    OUT_OF_SCOPE = "out-of-scope"
    IN_USE = "in-use"
    LOCKED = "locked"
    UNKNOWN_MANIFEST = "unknown-manifest"
    UNKNOWN_AGE = "unknown-age"
    YOUNG = "young"
    EXCLUDED = "excluded"
    NEWEST = "newest"
    ATTACHED = "attached"
    UNREVIEWED = "unreviewed"
    """It would go, and is not in the reviewed plan that is applied."""


@dataclass(frozen=True, slots=True)
class KeepReason:
    """Why a tag is kept: which rule, what it saw, and for `in-use` who uses it."""

    rule: Rule
    detail: str
    uses: tuple[ImageUse, ...] = ()


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """
    What the user asked for.

    `repositories`, `include_tags` and `exclude_tags` are globs (`*`, `?`, `[…]`; `*` crosses slashes) or, with `use_regex`,
    regular expressions of RE2; in the first two, what begins with `!` takes names away. `keep_last` counts the newest tags of a
    repository over all its tags, signatures aside; with `keep_last_by`, a regular expression with one group, for each text that the
    group captures. `shard` is the part of the registry that this run looks at. `delete_untagged` and `include_locked` let more go;
    whatever else is said here lets only more stay.
    """

    older_than: timedelta = timedelta(days=30)
    scope: Scope = Scope.RUNNING
    repositories: tuple[str, ...] = ("*",)
    include_tags: tuple[str, ...] = ("*",)
    exclude_tags: tuple[str, ...] = (DEFAULT_TAG,)
    keep_last: int = 0
    keep_last_by: str = ""
    use_regex: bool = False
    delete_untagged: bool = False
    include_locked: bool = False
    shard: Shard = WHOLE


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Bounds that stop a whole apply before its first deletion; they never shorten it.

    `deletions` counts tags over the whole run; `percent` is of the tags of each repository. None: no limit.
    """

    deletions: int | None = 500
    percent: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a rule may look at. The clock is a value here."""

    inventory: RepositoryInventory
    usage: UsageIndex
    policy: RetentionPolicy
    now: datetime


def eligible_repositories(usage: UsageIndex, policy: RetentionPolicy, catalog: Iterable[str] = ()) -> tuple[str, ...]:
    """The repositories in scope, sorted. `catalog` (all names in the registry) is needed only for the scope `all`."""
    selected = patterns(policy.repositories, use_regex=policy.use_regex)
    found = filter(selected.select, _in_scope(usage, policy.scope, catalog))
    return tuple(sorted(filter(policy.shard.holds, found)))


def _in_scope(usage: UsageIndex, scope: Scope, catalog: Iterable[str]) -> frozenset[str]:
    """The repositories that a scope means, whatever patterns say."""
    if scope is Scope.ALL:
        return frozenset(catalog)
    return usage.running if scope is Scope.RUNNING else usage.repositories


def keep_reasons(evidence: Evidence) -> dict[str, tuple[KeepReason, ...]]:
    """Tag name -> every reason to keep it, strongest first. Tags without any are absent."""
    found: dict[str, tuple[KeepReason, ...]] = {}
    for rule in RULES:
        for tag, reason in rule(evidence):
            found[tag.name] = (*found.get(tag.name, ()), reason)
    return found


def out_of_scope(evidence: Evidence) -> Iterator[tuple[Tag, KeepReason]]:
    """The repository is not one that may lose tags."""
    if (reason := scope_reason(evidence)) is not None:
        yield from ((tag, reason) for tag in evidence.inventory.tags)


def scope_reason(evidence: Evidence) -> KeepReason | None:
    """Why the repository may lose nothing at all; None if it may."""
    name, policy = evidence.inventory.name, evidence.policy
    if not patterns(policy.repositories, use_regex=policy.use_regex).select(name):
        return KeepReason(Rule.OUT_OF_SCOPE, "its repository is not among those that were selected")
    if name not in _in_scope(evidence.usage, policy.scope, (name,)):
        return KeepReason(Rule.OUT_OF_SCOPE, f"its repository is not {policy.scope} in any configured cluster")
    # Last: what keeps it in every part says more than that another one has the say.
    if not policy.shard.holds(name):
        part = part_of(name, policy.shard.of)
        detail = f"its repository belongs to shard {part} of {policy.shard.of}, and this run is {policy.shard.part}"
        return KeepReason(Rule.OUT_OF_SCOPE, detail)
    return None


def in_use(evidence: Evidence) -> Iterator[tuple[Tag, KeepReason]]:
    """
    A use names the tag, its digest, a digest of the same index family, or may mean any image of the repository.

    The tag may have moved since the kubelet pulled it, the digest has not: both count. What runs from an index may be
    reported as the index or as the child that was chosen, so one use of either is a use of the whole family.
    """
    inventory, usage = evidence.inventory, evidence.usage
    by_family: defaultdict[Digest, list[ImageUse]] = defaultdict(list)
    for used in sorted(usage.digests(inventory.name)):
        for digest in inventory.family(used):
            by_family[digest].extend(usage.of_digest(inventory.name, used))
    any_image = usage.of_any(inventory.name)
    for tag in inventory.tags:
        by_name = usage.of_tag(inventory.name, tag.name)
        by_digest = tuple(by_family.get(tag.digest, ()))
        if by_name:
            yield tag, KeepReason(Rule.IN_USE, "a workload names this tag", by_name + by_digest + any_image)
        elif by_digest:
            yield tag, KeepReason(Rule.IN_USE, "a workload runs or pins its digest", by_digest + any_image)
        elif any_image:
            detail = "something names its repository without saying which image"
            yield tag, KeepReason(Rule.IN_USE, detail, any_image)


def locked(evidence: Evidence) -> Iterator[tuple[Tag, KeepReason]]:
    """The registry forbids deleting or writing the repository, the tag or its manifest; of these, the first is never unlocked."""
    inventory, policy = evidence.inventory, evidence.policy
    for tag in inventory.tags:
        manifest = inventory.manifests.get(tag.digest)
        if inventory.locked:
            yield tag, KeepReason(Rule.LOCKED, REPOSITORY_LOCKED)
        elif held_by_lock(tag, policy):
            yield tag, KeepReason(Rule.LOCKED, TAG_LOCKED)
        elif manifest is not None and held_by_lock(manifest, policy):
            yield tag, KeepReason(Rule.LOCKED, MANIFEST_LOCKED)


def held_by_lock(item: Tag | Manifest, policy: RetentionPolicy) -> bool:
    """Does a lock keep it? With `include_locked` only one that could not be put back."""
    return item.locked and not (policy.include_locked and item.lock is not None)


def unknown_manifest(evidence: Evidence) -> Iterator[tuple[Tag, KeepReason]]:
    """The registry names a digest whose manifest it cannot show, or nobody can read: nobody knows what hangs on it."""
    inventory = evidence.inventory
    for tag in inventory.tags:
        if tag.digest in inventory.unknown:
            manifest = inventory.manifests.get(tag.digest)
            if manifest is not None and manifest.media_type and not manifest.is_understood:
                detail = f"nobody knows the media type of its manifest ({manifest.media_type})"
            else:
                detail = "the registry lists its manifest but cannot show it"
            yield tag, KeepReason(Rule.UNKNOWN_MANIFEST, detail)


def young(evidence: Evidence) -> Iterator[tuple[Tag, KeepReason]]:
    """Its last push is less than `older_than` ago, lies in the future, or is not known."""
    limit = describe_duration(evidence.policy.older_than)
    # One reason for all that was pushed on the same day: there may be a million tags.
    pushed: dict[date, KeepReason] = {}
    for tag in evidence.inventory.tags:
        if tag.updated_at is None:
            yield tag, KeepReason(Rule.UNKNOWN_AGE, "the registry gives no time of its last push")
        elif evidence.now - tag.updated_at < evidence.policy.older_than:
            day = tag.updated_at.date()
            if day not in pushed:
                pushed[day] = KeepReason(Rule.YOUNG, f"pushed {day:%Y-%m-%d}, less than {limit} ago")
            yield tag, pushed[day]


def excluded(evidence: Evidence) -> Iterator[tuple[Tag, KeepReason]]:
    """The user named it as one to keep, or did not name it as one that may go."""
    policy = evidence.policy
    stay = patterns(policy.exclude_tags, use_regex=policy.use_regex)
    may_go = patterns(policy.include_tags, use_regex=policy.use_regex)
    for tag in evidence.inventory.tags:
        pattern = stay.matching(tag.name) or may_go.denying(tag.name)
        if pattern is not None:
            yield tag, KeepReason(Rule.EXCLUDED, f"excluded by `{pattern}`")
        elif may_go.matching(tag.name) is not None:
            continue
        # A signature lives and dies with what it signs; only by its own name could it be kept here.
        elif tag.subject == tag.digest or tag.subject not in evidence.inventory.manifests:
            yield tag, KeepReason(Rule.EXCLUDED, "not among the included tags")


def newest(evidence: Evidence) -> Iterator[tuple[Tag, KeepReason]]:
    """It is one of the newest `keep_last` of those that it is counted with, whatever else keeps them."""
    policy = evidence.policy
    if policy.keep_last <= 0:
        return
    groups: defaultdict[str, list[Tag]] = defaultdict(list)
    for tag in evidence.inventory.tags:
        # Signatures would push out the versions they sign.
        if tag.subject is None and tag.updated_at is not None:
            groups[counted_with(policy, tag.name)].append(tag)
    for group, tags in groups.items():
        # Names break ties, so that input order does not matter.
        tags.sort(key=lambda tag: (tag.updated_at, tag.name), reverse=True)
        reason = KeepReason(Rule.NEWEST, f"one of the newest {policy.keep_last} of {group}")
        yield from ((tag, reason) for tag in tags[: policy.keep_last])


def counted_with(policy: RetentionPolicy, name: str) -> str:
    """The group of tags within which `keep_last` counts a tag of this name, in words; no two groups have the same."""
    if not policy.keep_last_by:
        return "its repository"
    text = captured(policy.keep_last_by, name)
    return "those in which keep-last-by finds nothing" if text is None else f"`{text}`"


RULES: tuple[Callable[[Evidence], Iterator[tuple[Tag, KeepReason]]], ...] = (
    out_of_scope,
    in_use,
    locked,
    unknown_manifest,
    young,
    excluded,
    newest,
)


def describe_duration(duration: timedelta) -> str:
    """
    The shortest way to write it as the user would: `30d`, `12h`, `2d3h`.

    >>> describe_duration(timedelta(days=2, hours=3))
    '2d3h'
    """
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0d"
