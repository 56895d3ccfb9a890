"""
The keep list: images that the user asked to keep, each with a reason, an owner and a last day.

An entry keeps the tags that it names, and the whole index family of each digest that it names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from acr_cleanup.core.references import Digest
from acr_cleanup.core.selection import EVERYTHING, Patterns, patterns

if TYPE_CHECKING:
    # `--help` imports this module, and the inventory is slow to load.
    from acr_cleanup.core.inventory import RepositoryInventory


@dataclass(frozen=True, slots=True)
class KeepEntry:
    """
    One entry of the keep list.

    image: as the user wrote it, without the host of the registry.
    repository, tag, digest: globs. An empty one names nothing.
    until: the last day (UTC) on which the entry keeps anything; None: no end.
    """

    image: str
    repository: str
    tag: str = ""
    digest: str = ""
    reason: str = ""
    owner: str = ""
    until: date | None = None

    def expired(self, now: datetime) -> bool:
        return self.until is not None and now.astimezone(UTC).date() > self.until

    @property
    def evidence(self) -> str:
        """Why it keeps an image, as reports show it."""
        notes = [self.reason] if self.reason else []
        notes += [f"owner {self.owner}"] if self.owner else []
        notes += [f"until {self.until}"] if self.until else []
        listed = f"`{self.image}` is on the keep list"
        return f"{listed} ({', '.join(notes)})" if notes else listed


@dataclass(frozen=True, slots=True)
class KeptImages:
    """The entries of the keep list that match each tag and each digest of one repository."""

    tags: Mapping[str, tuple[KeepEntry, ...]]
    digests: Mapping[Digest, tuple[KeepEntry, ...]]

    @property
    def tags_of_entries(self) -> Mapping[KeepEntry, int]:
        """Each entry that matches, and how many tags it keeps."""
        numbers = Counter(entry for entries in self.tags.values() for entry in entries)
        return dict(numbers) | {entry: numbers[entry] for entries in self.digests.values() for entry in entries}


NOTHING_KEPT = KeptImages({}, {})


def entry_patterns(glob: str) -> Patterns:
    return patterns((glob,))


def kept_images(entries: Iterable[KeepEntry], inventory: RepositoryInventory, now: datetime) -> KeptImages:
    """
    Match the entries against one repository.

    A digest has its own entries and those of every digest of its index family. A tag has the
    entries that name it, and those of its digest.
    """
    name = inventory.name
    here = [entry for entry in entries if not entry.expired(now) and entry_patterns(entry.repository).select(name)]
    if not here:
        return NOTHING_KEPT
    digests: dict[Digest, tuple[KeepEntry, ...]] = {}
    tags: dict[str, tuple[KeepEntry, ...]] = {}
    known = sorted(inventory.manifests.keys() | inventory.tags_of.keys())
    for entry in here:
        named = [digest for digest in known if entry.digest and entry_patterns(entry.digest).select(digest)]
        family = known if entry.digest == EVERYTHING else inventory.families(named)
        for digest in family:
            digests[digest] = (*digests.get(digest, ()), entry)
    for tag in inventory.tags:
        by_name = (entry for entry in here if entry.tag and entry_patterns(entry.tag).select(tag.name))
        if matching := tuple(dict.fromkeys((*by_name, *digests.get(tag.digest, ())))):
            tags[tag.name] = matching
    return KeptImages(tags, digests)
