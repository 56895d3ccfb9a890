"""What a reading of clusters into a usage snapshot found: for a terminal or a log, and as a summary in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from acr_cleanup.core.usage import Blocker, ClusterScan
from acr_cleanup.reports import words
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.tone import Tone

_HEADER = ("Cluster", "Access", "Objects", "Uses", "Blockers")
_NUMBERS = frozenset({2, 3, 4})
_SHOWN = 100
"""Clusters, blockers and warnings of each that are shown; the snapshot holds all of them."""


@dataclass(frozen=True)
class CollectedReport:
    """The scans that a snapshot was made of, and where it is."""

    scans: tuple[ClusterScan, ...]
    path: str

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        return tuple(blocker for scan in self.scans for blocker in scan.blockers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was given up, and what else should be known of these clusters."""
        waived = (f"{scan.cluster}: {each.kind} is waived. {each.seen}" for scan in self.scans for each in scan.waived)
        return (*waived, *(f"{scan.cluster}: {note}" for scan in self.scans for note in scan.notes))

    @property
    def headline(self) -> str:
        clusters = words.count(len(self.scans), "cluster")
        if blocked := sum(bool(scan.blockers) for scan in self.scans):
            what = f"{blocked:,} of {clusters} could not be read completely"
            return f"{what}: a run with this snapshot will delete nothing."
        return f"{clusters} read. Nothing was decided or deleted."

    def __str__(self) -> str:
        """Plain lines: no colour, no frames."""
        rows = [_HEADER, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
        lines = [
            "  ".join(
                f"{cell:>{width}}" if column in _NUMBERS else f"{cell:<{width}}"
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join((*lines, *self._rest()))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, title in enumerate(_HEADER):
            table.add_column(title, justify="right" if number in _NUMBERS else "left")
        for row in self._rows():
            table.add_row(*row)
        yield table
        yield from self._rest()

    def markdown(self, dialect: Dialect = GITHUB) -> str:
        """The summary of a step."""
        verdict = dialect.verdict(Tone.BAD if self.blockers else Tone.NEUTRAL, self.headline)
        cells = (
            f"| {words.code(scan.cluster)} | {words.markdown(scan.access)} | {scan.objects:,} | {len(scan.uses):,} | "
            f"{f'❌ {len(scan.blockers):,}' if scan.blockers else '0'} |"
            for scan in self.scans[:_SHOWN]
        )
        table = "\n".join((f"| {' | '.join(_HEADER)} |", "| :--- | :--- | ---: | ---: | ---: |", *cells, *self._more()))
        blocks = ["## 🧹 ACR cleanup: clusters read", verdict, table]
        if self.blockers:
            items = (
                f"- {words.code(each.where)}: {words.markdown(each.call)}<br>{words.prose(each.seen)}<br>"
                f"→ {words.prose(each.remedy)}"
                for each in self.blockers[:_SHOWN]
            )
            hidden = len(self.blockers) - _SHOWN
            more = [f"- … and {hidden:,} more in the snapshot"] if hidden > 0 else []
            blocks += ["### What could not be seen", "\n".join((*items, *more))]
        if self.warnings:
            blocks += ["### Warnings", "\n".join(f"- {words.prose(each)}" for each in self.warnings[:_SHOWN])]
        blocks.append(f"The usage snapshot is {words.code(self.path)}.")
        return dialect.broken("\n\n".join(blocks) + "\n")

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                words.plain(scan.cluster, words.NAME_LIMIT),
                words.plain(scan.access) or "-",
                f"{scan.objects:,}",
                f"{len(scan.uses):,}",
                f"{len(scan.blockers):,}",
            )
            for scan in self.scans
        ]

    def _more(self) -> list[str]:
        hidden = len(self.scans) - _SHOWN
        return [f"| … and {hidden:,} more | | | | |"] if hidden > 0 else []

    def _rest(self) -> Iterator[str]:
        for blocker in self.blockers[:_SHOWN]:
            yield ""
            yield f"{words.plain(blocker.where)}: {words.plain(blocker.call)}"
            yield f"  {words.plain(blocker.seen)}"
            yield f"  → {words.plain(blocker.remedy)}"
        if (hidden := len(self.blockers) - _SHOWN) > 0:
            yield f"… and {hidden:,} more blockers in the snapshot"
        for warning in self.warnings[:_SHOWN]:
            yield ""
            yield words.plain(warning)
        yield ""
        yield f"{self.headline} The usage snapshot is {words.plain(self.path)}."
