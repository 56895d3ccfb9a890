"""Renders the result of `acr-cleanup collect`: as text, and as a Markdown summary."""

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
"""Maximum number of clusters, of blockers and of warnings; the snapshot has all of them."""


@dataclass(frozen=True)
class CollectedReport:
    """The scans in a usage snapshot, and the path of the snapshot."""

    scans: tuple[ClusterScan, ...]
    path: str

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        return tuple(blocker for scan in self.scans for blocker in scan.blockers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The waived kinds, and the notes of the scans."""
        waived = (
            f"{scan.cluster}: {blocker.kind} is waived. {blocker.seen}"
            for scan in self.scans
            for blocker in scan.waived
        )
        return (*waived, *(f"{scan.cluster}: {note}" for scan in self.scans for note in scan.notes))

    @property
    def headline(self) -> str:
        clusters = words.count(len(self.scans), "cluster")
        if blocked := sum(bool(scan.blockers) for scan in self.scans):
            return (
                f"{blocked:,} of {clusters} could not be read completely. A run with this snapshot will delete nothing."
            )
        return f"{clusters} read. Nothing was decided or deleted."

    def __str__(self) -> str:
        """Return plain lines without colour and frames."""
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
        """Render the summary."""
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
                f"- {words.code(blocker.where)}: {words.markdown(blocker.call)}<br>{words.prose(blocker.seen)}<br>"
                f"→ {words.prose(blocker.remedy)}"
                for blocker in self.blockers[:_SHOWN]
            )
            hidden = len(self.blockers) - _SHOWN
            more = [f"- … and {hidden:,} more in the snapshot"] if hidden > 0 else []
            blocks += ["### Blockers", "\n".join((*items, *more))]
        if self.warnings:
            blocks += ["### Warnings", "\n".join(f"- {words.prose(warning)}" for warning in self.warnings[:_SHOWN])]
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
            yield f"  {words.plain(blocker.seen, 1000)}"
            yield f"  → {words.plain(blocker.remedy, 1000)}"
        if (hidden := len(self.blockers) - _SHOWN) > 0:
            yield f"… and {hidden:,} more blockers in the snapshot"
        for warning in self.warnings[:_SHOWN]:
            yield ""
            yield words.plain(warning)
        yield ""
        yield f"{self.headline} The usage snapshot is {words.plain(self.path)}."
