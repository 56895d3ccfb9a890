"""What came back and what cannot, after a restore: for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from acr_cleanup.core.restoration import Restored, RestoreOutcome
from acr_cleanup.reports import words
from acr_cleanup.reports.blocks import BLANK, Block, Grid, Line, Page, fact, heading

_STYLES = {
    RestoreOutcome.LOST: "bold red",
    RestoreOutcome.FAILED: "bold red",
    RestoreOutcome.TAKEN: "bold yellow",
    RestoreOutcome.RESTORED: "bold green",
    RestoreOutcome.POSSIBLE: "bold green",
}
_ORDER = (
    RestoreOutcome.RESTORED,
    RestoreOutcome.POSSIBLE,
    RestoreOutcome.THERE,
    RestoreOutcome.TAKEN,
    RestoreOutcome.FAILED,
    RestoreOutcome.LOST,
)
_TITLES = {
    RestoreOutcome.RESTORED: "Restored",
    RestoreOutcome.POSSIBLE: "Can be restored",
    RestoreOutcome.THERE: "There already",
    RestoreOutcome.TAKEN: "Left alone: the tag names something else by now",
    RestoreOutcome.FAILED: "Failed",
    RestoreOutcome.LOST: "Cannot be restored",
}
_SHOWN_ON_SCREEN = 100
"""Rows of one kind; a log shows all of them."""


@dataclass(frozen=True)
class RestorationReport(Page):
    """What came of restoring one journal."""

    path: str
    registry: str
    started_at: datetime | None
    items: tuple[Restored, ...]
    faults: tuple[str, ...] = ()
    torn: bool = False
    dry_run: bool = False

    @property
    def complete(self) -> bool:
        """Is everything back that the journal tells of?"""
        return not self.faults and all(each.outcome.is_back for each in self.items)

    @property
    def warnings(self) -> tuple[str, ...]:
        torn = "The last line of the journal is cut off: the run was killed while it wrote it, before deleting what it names."
        return (*([torn] if self.torn else ()), *map(words.plain, self.faults))

    @property
    def headline(self) -> str:
        if not self.items:
            return "There is nothing to restore."
        done = _amount(
            each for each in self.items if each.outcome in {RestoreOutcome.RESTORED, RestoreOutcome.POSSIBLE}
        )
        there = _amount(each for each in self.items if each.outcome is RestoreOutcome.THERE)
        missing = _amount(each for each in self.items if not each.outcome.is_back)
        parts = [f"{done or 'nothing'} {'can be' if self.dry_run else 'was' if not done else ''} restored"]
        parts = [" ".join(part.split()) for part in parts]
        if there:
            parts.append(f"{there} there already")
        if missing:
            parts.append(f"{missing} not")
        text = "; ".join(parts)
        return f"{text[:1].upper()}{text[1:]}."

    def blocks(self) -> Iterator[Block]:
        """All rows."""
        yield from self._blocks(len(self.items))

    def on_screen(self) -> Iterator[Block]:
        """No more rows of one kind than anybody reads."""
        yield from self._blocks(_SHOWN_ON_SCREEN)

    def _blocks(self, limit: int) -> Iterator[Block]:
        yield fact("Registry", words.plain(self.registry))
        run = f" (the run of {words.timestamp(self.started_at)})" if self.started_at is not None else ""
        yield fact("Journal", f"{words.plain(self.path)}{run}")
        for outcome in _ORDER:
            those = [each for each in self.items if each.outcome is outcome]
            if not those:
                continue
            yield BLANK
            yield heading(f"{_TITLES[outcome]}: {_amount(those)}", _STYLES.get(outcome, "bold"))
            rows = tuple((words.plain(str(each)), words.plain(each.detail, 1000)) for each in those[:limit])
            yield Grid(rows, indent=2)
            if len(those) > limit:
                yield Line(((f"… and {len(those) - limit:,} more", "dim"),), 2)
        yield BLANK
        style = "bold green" if self.complete else "bold red"
        yield Line(((self.headline, style),))


def _amount(items: Iterable[Restored]) -> str:
    those = tuple(items)
    tags = sum(each.tag is not None for each in those)
    parts = [words.count(tags, "tag")] if tags else []
    if tags < len(those):
        parts.append(words.count(len(those) - tags, "manifest"))
    return words.listing(parts) if parts else ""
