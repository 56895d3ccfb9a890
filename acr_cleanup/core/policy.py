"""
The keep rules: which tags are kept, and why.

A tag is deleted when all three hold:

1. its repository is in scope (by default: it *runs* in a configured cluster);
2. no use or mention names the tag, its digest, or another digest of its index family;
3. its last push is at least `older_than` ago.

The code states the inverse. Each rule looks at one repository and yields **reasons to keep** tags;
a tag without any reason is deleted. A rule cannot delete anything or remove a reason, so one more
rule, cluster or use can only make the tool delete less.

To add a rule: add its identifier to `Rule`, write its function, and add one entry to `RULES`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property

from msgspec import Struct

from acr_cleanup.core.history import NO_USES, PastUses
from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.keep_list import KeptImages, kept_images
from acr_cleanup.core.mentions import NO_MENTIONS, Mention, RepositoryMentions
from acr_cleanup.core.newest import counted_with, may_count, newest_tags
from acr_cleanup.core.own_repositories import is_left_alone, own_folder
from acr_cleanup.core.pulls import RepositoryPulls
from acr_cleanup.core.references import Digest
from acr_cleanup.core.retention import RetentionPolicy, Scope, describe_duration
from acr_cleanup.core.rule_pulls import pulls_that_keep
from acr_cleanup.core.rule_set import PolicyRule, RepositoryRules
from acr_cleanup.core.rule_words import in_words
from acr_cleanup.core.selection import patterns
from acr_cleanup.core.shard import part_of
from acr_cleanup.core.usage import ImageUse, UsageIndex

# The details of `locked`. Each kind of lock is removed in its own way, so reports tell them apart.
REPOSITORY_LOCKED = "the repository is locked in the registry"
TAG_LOCKED = "the tag is locked in the registry"
MANIFEST_LOCKED = "its manifest is locked in the registry"
_PUT_ASIDE = "put aside in the registry: reading it is disabled (readEnabled: false)"


class Rule(StrEnum):
    """
    The identifiers of the keep rules.

    Reports and documentation contain them, so they must not change.
    """

    OUT_OF_SCOPE = "out-of-scope"
    IN_USE = "in-use"
    USED_RECENTLY = "used-recently"
    MENTIONED = "mentioned"
    KEEP_LIST = "keep-list"
    KEPT_BY_RULE = "kept-by-rule"
    PULLED = "pulled"
    LOCKED = "locked"
    UNKNOWN_MANIFEST = "unknown-manifest"
    UNKNOWN_AGE = "unknown-age"
    YOUNG = "young"
    EXCLUDED = "excluded"
    NEWEST = "newest"
    ATTACHED = "attached"
    PROBATION = "probation"
    UNREVIEWED = "unreviewed"


class KeepReason(Struct, frozen=True, gc=False):
    """Why a tag is kept: the rule, its evidence, for `in-use` the uses, for `probation` when it ends."""

    rule: Rule
    detail: str
    uses: tuple[ImageUse, ...] = ()
    due: datetime | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything that a rule may look at. The clock is a value (`now`), so that a decision can be repeated."""

    inventory: RepositoryInventory
    usage: UsageIndex
    policy: RetentionPolicy
    now: datetime

    @cached_property
    def rules(self) -> RepositoryRules:
        """The rules of the policy, for this repository."""
        policy = self.policy
        return RepositoryRules(policy.rules, policy.top, self.inventory, use_regex=policy.use_regex)

    @cached_property
    def pulls(self) -> RepositoryPulls:
        """The pulls of this repository that are in the windows of the rules."""
        return pulls_that_keep(self.usage.pulls.pulls_of(self.inventory), self.rules, self.now)

    @property
    def mentions(self) -> RepositoryMentions:
        """The mentions of this repository."""
        return self.usage.mentions(self.inventory)

    @property
    def past_uses(self) -> PastUses:
        """The uses in earlier runs, less than `used_within` ago."""
        within = self.policy.used_within
        return self.usage.history.uses(self.inventory.name).within(within, self.now) if within else NO_USES


KeptTags = Iterator[tuple[Tag, KeepReason]]
"""The results of a rule: tags of the repository, each with the reason to keep it."""


def keep_reasons(evidence: Evidence) -> dict[str, tuple[KeepReason, ...]]:
    """Tag name -> every reason to keep it, strongest first. Tags without a reason are absent."""
    reasons: dict[str, tuple[KeepReason, ...]] = {}
    for rule in RULES:
        # Tags share a tuple of the same single reason. It keeps the reason, so no other has its id.
        alone: dict[int, tuple[KeepReason, ...]] = {}
        for tag, reason in rule.find(evidence):
            known = reasons.get(tag.name)
            reasons[tag.name] = alone.setdefault(id(reason), (reason,)) if known is None else (*known, reason)
    return reasons


def eligible_repositories(usage: UsageIndex, policy: RetentionPolicy, catalog: Iterable[str] = ()) -> tuple[str, ...]:
    """
    The repositories in scope, sorted.

    catalog: all names in the registry; needed only for the scope `all`.
    """
    select = patterns(policy.repositories, use_regex=policy.use_regex).select
    selected = filter(select, in_scope(usage, policy.scope, catalog))
    named = (name for name in selected if not is_left_alone(name, policy.repositories))
    return tuple(sorted(filter(policy.shard.includes, named)))


def in_scope(usage: UsageIndex, scope: Scope, catalog: Iterable[str]) -> frozenset[str]:
    """The repositories of a scope, before patterns and shard."""
    if scope is Scope.ALL:
        return frozenset(catalog)
    return usage.running if scope is Scope.RUNNING else usage.repositories


def out_of_scope(evidence: Evidence) -> KeptTags:
    """Keep every tag of a repository that is out of scope."""
    if (reason := scope_reason(evidence)) is not None:
        yield from ((tag, reason) for tag in evidence.inventory.tags)


def scope_reason(evidence: Evidence) -> KeepReason | None:
    """Why the whole repository is kept; None if it is in scope."""
    name, policy = evidence.inventory.name, evidence.policy
    if not patterns(policy.repositories, use_regex=policy.use_regex).select(name):
        return KeepReason(Rule.OUT_OF_SCOPE, "its repository is not among the selected ones")
    if is_left_alone(name, policy.repositories):
        detail = f"Azure itself uses the repositories in {own_folder(name)}, and repositories does not name them"
        return KeepReason(Rule.OUT_OF_SCOPE, detail)
    if name not in in_scope(evidence.usage, policy.scope, (name,)):
        return KeepReason(Rule.OUT_OF_SCOPE, f"its repository is not {policy.scope} in any configured cluster")
    # Last: a reason that applies in every shard is more useful than "belongs to another shard".
    if not policy.shard.includes(name):
        of, part = policy.shard.of, policy.shard.part
        detail = f"its repository belongs to shard {part_of(name, of)} of {of}, and this run is {part}"
        return KeepReason(Rule.OUT_OF_SCOPE, detail)
    return None


def in_use(evidence: Evidence) -> KeptTags:
    """
    Keep a tag if a use names it, its digest or another digest of its index family, or is an open
    reference.

    Both tag and digest count: the tag may have moved since the kubelet pulled it, the digest has
    not. A runtime may report the index or the child that it chose, so a use of either is a use of
    the family.
    """
    inventory, usage = evidence.inventory, evidence.usage
    by_family: defaultdict[Digest, list[ImageUse]] = defaultdict(list)
    for used in sorted(usage.digests(inventory.name)):
        for digest in inventory.family(used):
            by_family[digest].extend(usage.of_digest(inventory.name, used))
    any_image, names = usage.of_any(inventory.name), usage.tags(inventory.name)
    for tag in inventory.tags:
        by_name = usage.of_tag(inventory.name, tag.name) if tag.name in names else ()
        by_digest = tuple(by_family.get(tag.digest, ()))
        if by_name:
            yield tag, KeepReason(Rule.IN_USE, "a workload names this tag", by_name + by_digest + any_image)
        elif by_digest:
            yield tag, KeepReason(Rule.IN_USE, "a workload runs or pins its digest", by_digest + any_image)
        elif any_image:
            yield tag, KeepReason(Rule.IN_USE, "something names its repository without saying which image", any_image)


def mentioned(evidence: Evidence) -> KeptTags:
    """Keep a tag that an object names together with its repository, and one on or named after a digest in it."""
    inventory, mentions = evidence.inventory, evidence.mentions
    if mentions is NO_MENTIONS:
        return
    by_family: defaultdict[Digest, list[Mention]] = defaultdict(list)
    for named, of_digest in mentions.by_digest.items():
        for digest in inventory.family(named):
            by_family[digest].extend(of_digest)
        if named not in inventory.manifests:
            for signer in inventory.signers_of.get(named, ()):
                by_family[signer.digest].extend(of_digest)
    for tag in inventory.tags:
        reasons = (*mentions.by_tag.get(tag.name, ()), *by_family.get(tag.digest, ()), *mentions.of_any)
        if reasons:
            more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
            yield tag, KeepReason(Rule.MENTIONED, f"{reasons[0]}{more}")


def pulled(evidence: Evidence) -> KeptTags:
    """Keep a tag that was pulled, or whose index family was. The log holds only pulls that count."""
    found = evidence.usage.pulls.kept_tags(evidence.inventory, evidence.pulls)
    return ((tag, KeepReason(Rule.PULLED, detail)) for tag, detail in found)


def used_recently(evidence: Evidence) -> KeptTags:
    """Keep a tag that an earlier run saw in use less than `used_within` ago."""
    for tag, use in evidence.past_uses.of_tags(evidence.inventory):
        yield tag, KeepReason(Rule.USED_RECENTLY, str(use))


def keep_listed(evidence: Evidence) -> KeptTags:
    """Keep a tag if the keep list names it, or a digest of its index family."""
    listed = listed_images(evidence).tags
    for tag in evidence.inventory.tags:
        if tag.name in listed:
            yield tag, KeepReason(Rule.KEEP_LIST, listed[tag.name][0].evidence)


def listed_images(evidence: Evidence) -> KeptImages:
    """The tags and manifests that the keep list keeps in the repository."""
    return kept_images(evidence.policy.keep, evidence.inventory, evidence.now)


def kept_by_rule(evidence: Evidence) -> KeptTags:
    """Keep a tag if the rule that governs it says `keep`."""
    if not any(rule.keep for rule in evidence.rules.all):
        return
    for tag in evidence.inventory.tags:
        if (rule := evidence.rules.of(tag)).keep:
            yield tag, KeepReason(Rule.KEPT_BY_RULE, f"the rule `{rule.name}` keeps it")


def locked(evidence: Evidence) -> KeptTags:
    """
    Keep a tag if the repository, the tag or its manifest is locked, or was put aside.

    Neither a locked repository nor anything that was put aside is ever unlocked.
    """
    inventory, policy = evidence.inventory, evidence.policy
    for tag in inventory.tags:
        manifest = inventory.table.traits_of(tag.digest)
        if inventory.locked:
            detail = f"the repository is {_PUT_ASIDE}" if inventory.put_aside else REPOSITORY_LOCKED
        elif kept_by_lock(tag, policy):
            detail = f"the tag is {_PUT_ASIDE}" if tag.put_aside else TAG_LOCKED
        elif manifest is not None and kept_by_lock(manifest, policy):
            detail = f"its manifest is {_PUT_ASIDE}" if manifest.put_aside else MANIFEST_LOCKED
        else:
            continue
        yield tag, KeepReason(Rule.LOCKED, detail)


def kept_by_lock(item: Tag | Manifest, policy: RetentionPolicy) -> bool:
    """Does its lock keep it? With `include_locked`, only a lock that could not be restored does."""
    return item.locked and not (policy.include_locked and item.lock is not None)


def unknown_manifest(evidence: Evidence) -> KeptTags:
    """Keep a tag if its manifest cannot be read or understood: it may then refer to anything."""
    inventory = evidence.inventory
    for tag in inventory.tags if inventory.unknown else ():
        if tag.digest in inventory.unknown:
            manifest = inventory.manifests.get(tag.digest)
            if manifest is not None and manifest.media_type and not manifest.is_understood:
                detail = f"the media type of its manifest is unknown ({manifest.media_type})"
            else:
                detail = "the registry lists its manifest but cannot show it"
            yield tag, KeepReason(Rule.UNKNOWN_MANIFEST, detail)


def unknown_age(evidence: Evidence) -> KeptTags:
    """Keep a tag if the registry does not say when it was pushed last."""
    for tag in evidence.inventory.tags:
        if tag.updated_at is None:
            yield tag, KeepReason(Rule.UNKNOWN_AGE, "the registry gives no time of its last push")


def young(evidence: Evidence) -> KeptTags:
    """Keep a tag if its last push is less than the `older_than` of its rule ago, or in the future."""
    # One reason per day: there may be a million tags.
    by_day: dict[tuple[date, str], KeepReason] = {}
    for tag in evidence.inventory.tags:
        rule = evidence.rules.of(tag)
        if tag.updated_at is not None and not rule.keep and evidence.now - tag.updated_at < rule.older_than:
            day = tag.updated_at.date(), rule.name
            if day not in by_day:
                by_day[day] = KeepReason(Rule.YOUNG, young_detail(tag.updated_at, rule))
            yield tag, by_day[day]


def young_detail(pushed: datetime, rule: PolicyRule) -> str:
    """The evidence of the rule `young`."""
    return f"pushed {pushed:%Y-%m-%d}, less than {describe_duration(rule.older_than)} ago{rule.note}"


def excluded(evidence: Evidence) -> KeptTags:
    """Keep a tag if a pattern excludes it, or if no pattern includes it."""
    policy = evidence.policy
    exclude = patterns(policy.exclude_tags, use_regex=policy.use_regex)
    include = patterns(policy.include_tags, use_regex=policy.use_regex)
    for tag in evidence.inventory.tags:
        pattern = exclude.matching(tag.name) or include.denying(tag.name)
        if pattern is not None:
            yield tag, KeepReason(Rule.EXCLUDED, f"excluded by `{pattern}`")
        elif include.matching(tag.name) is not None:
            continue
        # A signature is kept or deleted together with its subject. Its own name need not match.
        elif tag.subject == tag.digest or tag.subject not in evidence.inventory.manifests:
            yield tag, KeepReason(Rule.EXCLUDED, "not among the included tags")


def newest(evidence: Evidence) -> KeptTags:
    """Keep the newest `keep_last` tags of each rule and group, also those that other rules keep."""
    counted = evidence.policy.keep_last_of
    if not any(rule.keep_last > 0 for rule in evidence.rules.all):
        return
    groups: defaultdict[tuple[PolicyRule, str], list[Tag]] = defaultdict(list)
    for tag in evidence.inventory.tags:
        rule = evidence.rules.of(tag)
        if rule.keep_last > 0 and may_count(evidence.inventory, tag, counted):
            groups[rule, counted_with(rule.keep_last_by, tag.name)].append(tag)
    for (rule, group), tags in groups.items():
        reason = KeepReason(Rule.NEWEST, f"one of the newest {rule.keep_last} of {group}{rule.note}")
        yield from ((tag, reason) for tag in newest_tags(evidence.inventory, tags, rule.keep_last, counted))


def decided_later(_: Evidence) -> KeptTags:
    """Yield nothing: planning.py adds `attached` and `probation`, and reviewed.py adds `unreviewed`."""
    yield from ()


@dataclass(frozen=True, slots=True)
class KeepRule:
    """
    One rule, with the words that every report uses for it.

    id: stable; reports contain it.
    find: yields the tags that the rule keeps.
    title: completes "kept because it is …". `{…}` is a field of the policy.
    label: names the opposite, where `explain` lists the rules that do not apply. Empty: not listed.
    title_suffices: reports do not repeat the evidence of each tag.
    """

    id: Rule
    find: Callable[[Evidence], KeptTags]
    title: str
    label: str = ""
    title_suffices: bool = False

    def describe(self, policy: RetentionPolicy, *governing: PolicyRule) -> str:
        """The title, with the values of this policy, or of the rules of it that govern the tags."""
        return in_words(self.title, policy, *governing)


RULES: tuple[KeepRule, ...] = (
    KeepRule(Rule.OUT_OF_SCOPE, out_of_scope, "out of scope", "in scope"),
    KeepRule(Rule.IN_USE, in_use, "in use", "not in use", title_suffices=True),
    KeepRule(Rule.USED_RECENTLY, used_recently, "used in the last {used_within}", "not used recently"),
    KeepRule(Rule.MENTIONED, mentioned, "named by an object of a cluster", "not named by any object"),
    KeepRule(Rule.KEEP_LIST, keep_listed, "on the keep list", "not on the keep list"),
    KeepRule(Rule.KEPT_BY_RULE, kept_by_rule, "kept by a rule", "not kept by a rule"),
    KeepRule(Rule.PULLED, pulled, "pulled in the last {pulled_within}", "not pulled"),
    KeepRule(Rule.LOCKED, locked, "locked in the registry", "not locked"),
    KeepRule(Rule.UNKNOWN_MANIFEST, unknown_manifest, "on a manifest that cannot be read"),
    KeepRule(Rule.UNKNOWN_AGE, unknown_age, "of unknown age"),
    KeepRule(Rule.YOUNG, young, "pushed less than {older_than} ago", "old enough", title_suffices=True),
    KeepRule(Rule.EXCLUDED, excluded, "excluded by the policy", "not excluded"),
    KeepRule(Rule.NEWEST, newest, "among the newest {keep_last}", "not newest", title_suffices=True),
    KeepRule(Rule.ATTACHED, decided_later, "attached to a kept manifest", "not attached"),
    KeepRule(Rule.PROBATION, decided_later, "on probation for {probation}", "not on probation"),
    KeepRule(Rule.UNREVIEWED, decided_later, "not in the reviewed plan"),
)
"""Every keep rule, strongest first. Reports list reasons and groups in this order."""


def keep_rule(rule: str) -> KeepRule:
    """The entry of a rule in `RULES`."""
    return next(entry for entry in RULES if entry.id == rule)
