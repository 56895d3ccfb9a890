"""What became of putting back what a run had deleted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from acr_cleanup.core.references import Digest


class Fate(StrEnum):
    """What came of one tag or manifest that was to come back."""

    RESTORED = "restored"
    POSSIBLE = "can be restored"
    """Nothing was done: it was only asked what could be."""
    THERE = "there already"
    """It was never deleted, or somebody has put it back."""
    TAKEN = "taken"
    """The tag names something else by now, and keeps doing so."""
    LOST = "cannot be restored"
    FAILED = "failed"

    @property
    def is_back(self) -> bool:
        return self in {Fate.RESTORED, Fate.POSSIBLE, Fate.THERE}


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of one tag, or (with `tag` None) of one manifest."""

    repository: str
    digest: Digest
    tag: str | None
    fate: Fate
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag is not None else f"{self.repository}@{self.digest}"
