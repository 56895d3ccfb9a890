"""
Limits on the size of one apply.

An exceeded limit refuses the whole apply before its first deletion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from acr_cleanup.core.tally import Tally


@dataclass(frozen=True, slots=True)
class TooManyDeletions:
    """
    The plan exceeds `Limits.deletions`. tags, untagged: tags and untagged manifests to delete.
    """

    limit: int
    tags: int
    untagged: int


@dataclass(frozen=True, slots=True)
class TooLargeShare:
    """
    The plan exceeds `Limits.percent` in one repository.

    planned: tags to delete.
    tags: all tags of the repository.
    """

    limit: float
    repository: str
    planned: int
    tags: int


LimitRefusal = TooManyDeletions | TooLargeShare
"""An exceeded limit. `reports.plan_words` writes it as a sentence."""


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The most that one apply may delete. A limit never shortens a plan: it refuses the whole plan.

    deletions: tags and untagged manifests, over the whole run. None: no limit.
    percent: tags, as a percentage of the tags of each repository. None: no limit.
    """

    deletions: int | None = 500
    percent: float | None = None

    def exceeded_by(self, tallies: Sequence[Tally]) -> tuple[LimitRefusal, ...]:
        """
        Every limit that this plan exceeds; empty if it exceeds none.

        Tags of a reviewed plan that no longer exist are not counted: nothing can delete them.
        """
        return tuple(self._exceeded_by(tallies))

    def _exceeded_by(self, tallies: Sequence[Tally]) -> Iterator[LimitRefusal]:
        tags = sum(tally.deletable for tally in tallies)
        untagged = sum(tally.untagged for tally in tallies)
        if self.deletions is not None and tags + untagged > self.deletions:
            yield TooManyDeletions(self.deletions, tags, untagged)
        if self.percent is not None:
            for tally in tallies:
                present = tally.tags - tally.vanished
                if tally.deletable * 100 > self.percent * present:
                    yield TooLargeShare(self.percent, tally.repository, tally.deletable, present)
