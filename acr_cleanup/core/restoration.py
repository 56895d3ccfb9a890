"""The outcomes of restoring what a run deleted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from acr_cleanup.core.references import Digest


class RestoreOutcome(StrEnum):
    """The result of restoring one tag or manifest."""

    RESTORED = "restored"
    POSSIBLE = "can be restored"
    """Nothing was restored: the run only checked whether it could be."""
    THERE = "there already"
    """It was never deleted, or was restored before."""
    TAKEN = "taken"
    """The tag names another manifest now. It is left unchanged."""
    LOST = "cannot be restored"
    FAILED = "failed"
    NOT_ATTEMPTED = "not attempted"
    """A signal stopped the restore before its turn."""

    @property
    def is_back(self) -> bool:
        """Does it exist again, or could it?"""
        return self in {RestoreOutcome.RESTORED, RestoreOutcome.POSSIBLE, RestoreOutcome.THERE}


@dataclass(frozen=True, slots=True)
class Restored:
    """The result for one tag or, if `tag` is None, one manifest."""

    repository: str
    digest: Digest
    tag: str | None
    outcome: RestoreOutcome
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag is not None else f"{self.repository}@{self.digest}"
