"""Renders the result of `acr-cleanup collect`: as text, and as a Markdown summary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from acr_cleanup.core.usage import Blocker, ClusterScan
from acr_cleanup.reports import words
from acr_cleanup.reports.blocks import BLANK, Block, TextPage, grid, line
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.markdown_tables import markdown_table
from acr_cleanup.reports.tone import Tone

_HEADER = ("Cluster", "Access", "Objects", "Uses", "Blockers")
_NUMBERS = frozenset({2, 3, 4})
_SHOWN = 100
"""Maximum number of clusters, of blockers and of warnings; the snapshot has all of them."""


@dataclass(frozen=True)
class CollectedReport(TextPage):
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

    def blocks(self) -> Iterator[Block]:
        yield grid(self._rows(), _HEADER, numbers=_NUMBERS)
        for blocker in self.blockers[:_SHOWN]:
            yield BLANK
            yield line([(f"{words.plain(blocker.where)}: {words.plain(blocker.call)}", "bold red")])
            yield line([(words.plain(blocker.seen, 1000), "")], 2)
            yield line([("→ ", "cyan"), (words.plain(blocker.remedy, 1000), "")], 2)
        if (hidden := len(self.blockers) - _SHOWN) > 0:
            yield line([(f"… and {hidden:,} more blockers in the snapshot", "dim")])
        for warning in self.warnings[:_SHOWN]:
            yield BLANK
            yield line([(words.plain(warning), "yellow")])
        yield BLANK
        yield line([(f"{self.headline} The usage snapshot is {words.plain(self.path)}.", "bold")])

    def markdown(self, dialect: Dialect = GITHUB) -> str:
        """Render the summary."""
        verdict = dialect.verdict(Tone.BAD if self.blockers else Tone.NEUTRAL, self.headline)
        rows = [
            [
                words.code(scan.cluster),
                words.markdown(scan.access),
                f"{scan.objects:,}",
                f"{len(scan.uses):,}",
                f"❌ {len(scan.blockers):,}" if scan.blockers else "0",
            ]
            for scan in self.scans[:_SHOWN]
        ]
        if (hidden := len(self.scans) - _SHOWN) > 0:
            rows.append([f"… and {hidden:,} more", *[""] * 4])
        table = "\n".join(markdown_table(_HEADER, rows, _NUMBERS))
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
