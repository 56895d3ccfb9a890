"""Facts that only the caller knows: paths of the report files, and commands for the user."""

from __future__ import annotations

from dataclasses import dataclass

from acr_cleanup.reports.dialect import GITHUB, Dialect


@dataclass(frozen=True, slots=True)
class Context:
    """
    What only the caller knows of a run: where its files lie and what a user would type next.

    Everything here may be empty; then the reports do not speak of it.
    """

    files: tuple[str, ...] = ()
    """Paths of the report files, as the user would open them."""
    plan_again: str = ""
    """What to type to plan once more, e.g. `acr-cleanup plan cleanup.yaml`."""
    apply: str = ""
    """What to type to delete what the plan selects: `acr-cleanup apply cleanup.yaml`; or the input to set: `dry-run: false`."""
    apply_is_input: bool = False
    """Is `apply` an input of a pipeline, rather than a command?"""
    keep_files: str = ""
    """How to keep the files where they vanish with the run, as a sentence, e.g. "Keep them with actions/upload-artifact."."""
    dialect: Dialect = GITHUB
    """What the page can do that shows the summary."""

    @property
    def full_report(self) -> str:
        """The file that holds everything."""
        return self.file("report.json") or "report.json"

    @property
    def journal(self) -> str:
        """The file from which what a run deleted can be put back."""
        return self.full_report.removesuffix("report.json") + "journal.jsonl"

    def file(self, name: str) -> str:
        """The path of one report file, or nothing if it was not written."""
        return next((path for path in self.files if path.endswith(name)), "")
