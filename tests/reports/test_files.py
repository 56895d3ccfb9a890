"""The report files: complete or absent, and never those of another run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.records.encoding import PAUSE
from acr_cleanup.reports import files, formats
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.formats import FORMATS, Format
from tests.helpers import sample_results as samples


def test_write_creates_and_names_every_file(tmp_path: Path) -> None:
    context = files.write(samples.applied(), tmp_path, Context())

    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "plan.json", "summary.md", "report.html"}
    assert context.files == tuple(str(tmp_path / name) for name in files.names())
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["verdict"] == "applied"


def test_write_includes_an_added_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of `FORMATS` is all that a new format needs, besides its renderer."""
    added = Format("lines", "verdict.txt", lambda result, context: (f"{result.verdict}\n", context.files[-1]))
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, added))
    (tmp_path / "verdict.txt").write_text("an earlier run", encoding="utf-8")

    files.prepare(tmp_path)
    assert not (tmp_path / "verdict.txt").exists()
    context = files.write(samples.planned(), tmp_path, Context())

    path = tmp_path / "verdict.txt"
    assert path.read_text(encoding="utf-8") == f"planned\n{path}"
    assert context.file("verdict.txt") == str(path)


def test_write_unpacks_each_repository_once_for_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpacking a million tags is as expensive as writing them."""
    result = samples.planned()
    # The page lists tags with locks in front of all others.
    repositories = (plan for plan in result.plan.repositories if not plan.tally.locked_alone)
    plan = replace(result.plan, repositories=PackedPlans(map(Packed.of, repositories)))
    unpacked: list[str] = []
    unpack = Packed.unpacked

    def counted(packed: Packed) -> RepositoryPlan:
        unpacked.append(packed.tally.repository)
        return unpack(packed)

    monkeypatch.setattr(Packed, "unpacked", counted)
    lists = tuple(report_format for report_format in FORMATS if report_format.name != "markdown")
    monkeypatch.setattr(formats, "FORMATS", lists)
    files.write(replace(result, plan=plan), tmp_path, Context(), plan_file=tmp_path / "mine.json")

    assert unpacked == [tally.repository for tally in plan.tallies]
    assert (tmp_path / "mine.json").read_bytes() == (tmp_path / "plan.json").read_bytes()


@pytest.mark.parametrize("begun", [False, True])
def test_format_that_fails_does_not_stop_the_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    def fail(*_: object) -> Iterator[str]:
        if begun:
            yield "begun"
            yield PAUSE
        raise RecursionError("too deep")

    monkeypatch.setattr(formats, "FORMATS", (Format("broken", "broken.txt", fail), *FORMATS))
    with pytest.raises(RecursionError, match="too deep"):
        files.write(samples.planned(), tmp_path, Context())

    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "plan.json", "summary.md", "report.html"}


def test_formats_have_distinct_names_and_files() -> None:
    assert len({report_format.name for report_format in FORMATS}) == len(FORMATS)
    assert len(set(files.names())) == len(FORMATS)


def test_prepare_removes_the_last_report_but_not_the_plan(tmp_path: Path) -> None:
    """
    If this run is killed, the old report must not pass for its own. The plan may still be applied.
    """
    files.write(samples.planned(), tmp_path, Context())
    files.prepare(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_prepare_rejects_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(OSError, match="file"):
        files.prepare(tmp_path / "file" / "folder")
