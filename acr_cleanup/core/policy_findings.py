"""
What a plan shows about the policy itself: entries of the keep list that ended, or that keep
nothing, or everything.

`reports.policy_words` writes the findings as sentences.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

from acr_cleanup.core.keep_list import KeepEntry, entry_patterns
from acr_cleanup.core.retention import RetentionPolicy
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
    """An entry of the keep list that alone keeps every tag that was read."""

    entry: KeepEntry
    tags: int
    repositories: int


PolicyFinding = EndedEntry | EndingEntry | UnmatchedEntry | KeepsEverything


def findings(
    policy: RetentionPolicy, tallies: Sequence[Tally], catalog: Collection[str] | None, now: datetime
) -> tuple[PolicyFinding, ...]:
    """
    Everything to tell about the policy after a plan was made.

    catalog: the names of all repositories of the registry; None if they are not known.
    """
    return tuple(_of_keep_list(policy.keep, tallies, catalog, now))


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
