"""Facts about a run that only its caller knows: report paths, and commands to run next."""

from __future__ import annotations

from dataclasses import dataclass

from acr_cleanup.reports.dialect import GITHUB, Dialect


@dataclass(frozen=True, slots=True)
class Context:
    """
    Paths of the report files, and commands for the user.

    Every text may be empty. The reports then omit it.
    """

    files: tuple[str, ...] = ()
    """Paths of the report files, as the user would open them."""
    plan_again: str = ""
    """The command that plans again, such as `acr-cleanup plan cleanup.yaml`."""
    apply: str = ""
    """The command that deletes, or the input that must be set for it, such as `dry-run: false`."""
    apply_is_input: bool = False
    """Is `apply` an input of a pipeline instead of a command?"""
    keep_files: str = ""
    """A sentence about keeping report files that a CI system discards after the job."""
    artifact: str = ""
    """The name of the artifact in which the CI system keeps the report files."""
    dialect: Dialect = GITHUB
    """The Markdown of the page that shows the summary."""

    @property
    def full_report(self) -> str:
        """The path of `report.json`."""
        return self.file("report.json") or "report.json"

    @property
    def journal(self) -> str:
        """The path of the journal, which `acr-cleanup restore` reads."""
        return self.full_report.removesuffix("report.json") + "journal.jsonl"

    def file(self, name: str) -> str:
        """Return the path of a report file, or "" if it was not written."""
        return next((path for path in self.files if path.endswith(name)), "")
