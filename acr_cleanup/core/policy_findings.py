"""
Findings about the policy itself: entries of the keep list that ended, and rules and
entries that have no effect, or keep everything.

`reports.policy_words` writes the findings as sentences.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

from acr_cleanup.core.coverage import covers
from acr_cleanup.core.keep_list import KeepEntry, entry_patterns
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.core.selection import patterns
from acr_cleanup.core.tally import Tally

ANNOUNCED_DAYS = 14
"""How many days before its last day an entry of the keep list is announced."""


@dataclass(frozen=True, slots=True)
class EndedEntry:
    """An entry of the keep list whose last day is over. It keeps nothing."""

    entry: KeepEntry


@dataclass(frozen=True, slots=True)
class EndingEntry:
    """An entry of the keep list that soon ends; `days` is 0 on its last day."""

    entry: KeepEntry
    days: int


@dataclass(frozen=True, slots=True)
class UnmatchedEntry:
    """
    An entry of the keep list that no image of the registry matches.

    similar: a repository of the registry with a similar name.
    """

    entry: KeepEntry
    similar: str = ""


@dataclass(frozen=True, slots=True)
class KeepsEverything:
    """An entry of the keep list or a rule that alone keeps every tag that was read."""

    source: KeepEntry | PolicyRule
    tags: int
    repositories: int


@dataclass(frozen=True, slots=True)
class UnreachableRule:
    """A rule that never governs a tag, because one rule before it matches everything that it matches."""

    rule: PolicyRule
    earlier: PolicyRule


@dataclass(frozen=True, slots=True)
class OvershadowedRule:
    """A rule that matches tags, each of which an earlier rule governs."""

    rule: PolicyRule


@dataclass(frozen=True, slots=True)
class UnmatchedRule:
    """A rule that matches no tag that was read."""

    rule: PolicyRule
    repositories: int


@dataclass(frozen=True, slots=True)
class RepeatedName:
    """A rule with the name of an earlier one."""

    rule: PolicyRule


PolicyFinding = (
    EndedEntry
    | EndingEntry
    | UnmatchedEntry
    | KeepsEverything
    | UnreachableRule
    | OvershadowedRule
    | UnmatchedRule
    | RepeatedName
)


def findings(
    policy: RetentionPolicy, tallies: Sequence[Tally], catalog: Collection[str] | None, now: datetime
) -> tuple[PolicyFinding, ...]:
    """
    Everything to tell about the policy after a plan was made.

    catalog: the names of all repositories of the registry; None if they are not known.
    """
    return (*_of_rules(policy, tallies, catalog), *_of_keep_list(policy.keep, tallies, catalog, now))


def _of_rules(
    policy: RetentionPolicy, tallies: Sequence[Tally], catalog: Collection[str] | None
) -> Iterator[PolicyFinding]:
    tags, read = sum(tally.tags for tally in tallies), sum(not tally.error for tally in tallies)
    for number, rule in enumerate(policy.rules):
        if rule.name_taken:
            yield RepeatedName(rule)
        governed = sum(tally.governed.get(rule.name, 0) for tally in tallies)
        earlier = next((other for other in policy.rules[:number] if _covers(other, rule, policy)), None)
        if earlier is not None:
            yield UnreachableRule(rule, earlier)
        elif governed and rule.keep and governed == tags:
            yield KeepsEverything(rule, tags, read)
        elif not governed and any(rule.name in tally.unused_rules for tally in tallies):
            yield OvershadowedRule(rule)
        elif not governed and not _may_match_unread(rule, policy, tallies, catalog):
            yield UnmatchedRule(rule, read)


def _covers(earlier: PolicyRule, rule: PolicyRule, policy: RetentionPolicy) -> bool:
    return all(
        covers(outer, inner, use_regex=policy.use_regex)
        for outer, inner in ((earlier.repositories, rule.repositories), (earlier.tags, rule.tags))
    )


def _may_match_unread(
    rule: PolicyRule, policy: RetentionPolicy, tallies: Sequence[Tally], catalog: Collection[str] | None
) -> bool:
    """May the rule match in a repository that could not be read, or in another shard?"""
    selects = patterns(rule.repositories, use_regex=policy.use_regex).select
    if any(tally.error and selects(tally.repository) for tally in tallies):
        return True
    return not policy.shard.is_whole and (catalog is None or any(map(selects, catalog)))


def _of_keep_list(
    entries: Sequence[KeepEntry], tallies: Sequence[Tally], catalog: Collection[str] | None, now: datetime
) -> Iterator[PolicyFinding]:
    read = {tally.repository: tally for tally in tallies if not tally.error}
    tags = sum(tally.tags for tally in read.values())
    today = now.astimezone(UTC).date()
    for entry in dict.fromkeys(entries):
        if entry.expired(now):
            yield EndedEntry(entry)
            continue
        if entry.until is not None and (days := (entry.until - today).days) < ANNOUNCED_DAYS:
            yield EndingEntry(entry, days)
        kept = [tally.kept_entries[entry] for tally in tallies if entry in tally.kept_entries]
        if tags and sum(kept) == tags:
            yield KeepsEverything(entry, tags, len(read))
        if not kept and _all_read(entry, read.keys(), catalog):
            similar = get_close_matches(entry.repository, [*(catalog or read)], 1)
            yield UnmatchedEntry(entry, "".join(name for name in similar if name != entry.repository))


def _all_read(entry: KeepEntry, read: Collection[str], catalog: Collection[str] | None) -> bool:
    """Was every repository read that the entry may mean? An unread one may have what it names."""
    if catalog is None:
        return entry.repository in read
    selects = entry_patterns(entry.repository).select
    return all(name in read for name in catalog if selects(name))
