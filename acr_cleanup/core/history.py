"""
The records of earlier runs: past uses, and since when a tag or manifest has been a candidate.

A cluster is read at one moment, so a job that runs at night is not seen by day. A past use keeps its
tag like a use, for a time. It brings no repository into scope.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.references import Digest


@dataclass(frozen=True, slots=True, order=True)
class PastUse:
    """When an earlier run saw an image in use, and by whom."""

    seen_at: datetime
    by: str

    def __str__(self) -> str:
        return f"used on {self.seen_at:%Y-%m-%d} by {self.by}"


@dataclass(frozen=True, slots=True)
class PastUses:
    """The last use of each tag and digest of a repository. `of_any`: a use that does not say which image."""

    by_tag: Mapping[str, PastUse] = field(default_factory=dict)
    by_digest: Mapping[Digest, PastUse] = field(default_factory=dict)
    of_any: PastUse | None = None

    def within(self, time: timedelta, now: datetime) -> PastUses:
        """The uses less than this time ago."""

        def is_recent(use: PastUse) -> bool:
            return now - use.seen_at < time

        return PastUses(
            {tag: use for tag, use in self.by_tag.items() if is_recent(use)},
            {digest: use for digest, use in self.by_digest.items() if is_recent(use)},
            self.of_any if self.of_any is not None and is_recent(self.of_any) else None,
        )

    def of_tags(self, inventory: RepositoryInventory) -> Iterator[tuple[Tag, PastUse]]:
        """
        The tags that were used, each with its last use. A use of a digest is one of its index family.
        """
        if not (self.by_tag or self.by_digest or self.of_any):
            return
        by_family: dict[Digest, PastUse] = {}
        for digest, use in self.by_digest.items():
            for member in inventory.family(digest):
                by_family[member] = max(use, by_family.get(member, use))
        for tag in inventory.tags:
            uses = (self.by_tag.get(tag.name), by_family.get(tag.digest), self.of_any)
            if latest := max((use for use in uses if use is not None), default=None):
                yield tag, latest


NO_USES = PastUses()


class History(Protocol):
    """The records of earlier runs."""

    @property
    def since(self) -> datetime | None:
        """The first run without a gap before this one; None without one."""
        ...

    @property
    def last_run(self) -> datetime | None:
        """When the last run decided; None if it is not known."""
        ...

    def uses(self, repository: str) -> PastUses:
        """All past uses of a repository, of any age."""
        ...

    def candidate_since(self, repository: str, item: Tag | Manifest) -> datetime | None:
        """
        The first of the runs that all found this tag or untagged manifest to be a candidate.

        None if the last run did not, or if the tag was moved or pushed since then.
        """
        ...


class NoHistory:
    """The history of a run that has no records. Implements `History`."""

    since: datetime | None = None
    last_run: datetime | None = None

    def uses(self, _: str) -> PastUses:
        return NO_USES

    def candidate_since(self, _: str, __: Tag | Manifest) -> datetime | None:
        return None
