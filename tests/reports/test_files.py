"""The report files: whole or not there, and never those of another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acr_cleanup.reports import files
from acr_cleanup.reports.context import Context
from tests.helpers import sample_results as samples


def test_all_files_are_written_and_named(tmp_path: Path) -> None:
    context = files.write(samples.applied(), tmp_path, Context())

    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "plan.json", "summary.md"}
    assert context.files == tuple(str(tmp_path / name) for name in files.NAMES)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["verdict"] == "applied"


def test_a_new_run_begins_without_the_report_of_the_last(tmp_path: Path) -> None:
    """Should it be killed, nobody takes the old report for its own. A plan may still be wanted."""
    files.write(samples.planned(), tmp_path, Context())
    files.prepare(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_a_folder_that_cannot_be_is_said_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(OSError, match="file"):
        files.prepare(tmp_path / "file" / "folder")
