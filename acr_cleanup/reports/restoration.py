"""Renders the result of `acr-cleanup restore` as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from acr_cleanup.core.restoration import Restored, RestoreOutcome
from acr_cleanup.reports import words
from acr_cleanup.reports.blocks import BLANK, Block, TextPage, fact, grid, heading, line

_STYLES = {
    RestoreOutcome.LOST: "bold red",
    RestoreOutcome.FAILED: "bold red",
    RestoreOutcome.NOT_ATTEMPTED: "bold yellow",
    RestoreOutcome.TAKEN: "bold yellow",
    RestoreOutcome.RESTORED: "bold green",
    RestoreOutcome.POSSIBLE: "bold green",
}
_ORDER = (
    RestoreOutcome.RESTORED,
    RestoreOutcome.POSSIBLE,
    RestoreOutcome.THERE,
    RestoreOutcome.TAKEN,
    RestoreOutcome.NOT_ATTEMPTED,
    RestoreOutcome.FAILED,
    RestoreOutcome.LOST,
)
_TITLES = {
    RestoreOutcome.RESTORED: "Restored",
    RestoreOutcome.POSSIBLE: "Can be restored",
    RestoreOutcome.THERE: "Exists already",
    RestoreOutcome.TAKEN: "Not changed, because the tag names another manifest now",
    RestoreOutcome.NOT_ATTEMPTED: "Not attempted, because the restore was stopped",
    RestoreOutcome.FAILED: "Failed",
    RestoreOutcome.LOST: "Cannot be restored",
}
_SHOWN_ON_SCREEN = 100
"""Maximum number of rows of one kind in a terminal; a log shows all."""


@dataclass(frozen=True)
class RestorationReport(TextPage):
    """The result of restoring what a journal lists."""

    path: str
    registry: str
    started_at: datetime | None
    items: tuple[Restored, ...]
    faults: tuple[str, ...] = ()
    torn: bool = False
    """Is the last line of the journal cut off?"""
    dry_run: bool = False
    stopped: bool = False
    """Did a signal stop the restore?"""

    @property
    def complete(self) -> bool:
        """Does everything that the journal lists exist again?"""
        return not self.faults and all(item.outcome.is_back for item in self.items)

    @property
    def warnings(self) -> tuple[str, ...]:
        torn = (
            "The last line of the journal is cut off. The run was killed while it wrote the line, before it deleted anything "
            "that the line names."
        )
        return (*([torn] if self.torn else ()), *map(words.plain, self.faults))

    @property
    def headline(self) -> str:
        if not self.items:
            return "There is nothing to restore."
        done = _amount(
            item for item in self.items if item.outcome in {RestoreOutcome.RESTORED, RestoreOutcome.POSSIBLE}
        )
        there = _amount(item for item in self.items if item.outcome is RestoreOutcome.THERE)
        missing = _amount(item for item in self.items if not item.outcome.is_back)
        parts = [f"{done or 'nothing'} {'can be' if self.dry_run else 'was' if not done else ''} restored"]
        parts = [" ".join(part.split()) for part in parts]
        if there:
            parts.append(f"{there} already existed")
        if missing:
            parts.append(f"{missing} not restored")
        text = "; ".join(parts)
        text = f"{text[:1].upper()}{text[1:]}."
        if self.stopped and missing:
            return f"Stopped by a signal. {text} Restore the same journal again: it continues with the rest."
        return f"Stopped by a signal. {text}" if self.stopped else text

    def blocks(self) -> Iterator[Block]:
        """Yield all rows."""
        yield from self._blocks(len(self.items))

    def on_screen(self) -> Iterator[Block]:
        """Yield a limited number of rows of each kind."""
        yield from self._blocks(_SHOWN_ON_SCREEN)

    def _blocks(self, limit: int) -> Iterator[Block]:
        yield fact("Registry", words.plain(self.registry))
        run = f" (the run of {words.timestamp(self.started_at)})" if self.started_at is not None else ""
        yield fact("Journal", f"{words.plain(self.path)}{run}")
        for outcome in _ORDER:
            items = [item for item in self.items if item.outcome is outcome]
            if not items:
                continue
            yield BLANK
            yield heading(f"{_TITLES[outcome]}: {_amount(items)}", _STYLES.get(outcome, "bold"))
            yield from _rows(items, limit)
            if len(items) > limit:
                yield line(((f"… and {len(items) - limit:,} more", "dim"),), 2)
        yield BLANK
        style = "bold green" if self.complete else "bold red"
        yield line(((self.headline, style),))


def _rows(items: Sequence[Restored], limit: int) -> Iterator[Block]:
    """List up to `limit` items. A reason of several items is shown once, above them."""
    sizes = Counter(item.detail for item in items)
    order = {detail: number for number, detail in enumerate(sizes)}
    shown = sorted(items[:limit], key=lambda item: order[item.detail])
    for detail, group in groupby(shown, key=attrgetter("detail")):
        if sizes[detail] == 1:
            yield grid([(words.plain(str(item)), words.plain(detail, 1000)) for item in group], indent=2)
            continue
        if detail:
            yield line(((f"{words.plain(detail, 1000)} ({sizes[detail]:,})", ""),), 2)
        for item in group:
            yield line(((words.plain(str(item)), ""),), 4 if detail else 2)


def _amount(items: Iterable[Restored]) -> str:
    items = tuple(items)
    tags = sum(item.tag is not None for item in items)
    parts = [words.count(tags, "tag")] if tags else []
    if tags < len(items):
        parts.append(words.count(len(items) - tags, "manifest"))
    return words.listing(parts) if parts else ""
