"""A step of a pipeline that ends early reports it in the log, the summary and the outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import RenderableType

from acr_cleanup import pipeline
from acr_cleanup.core.usage import Blocker, ClusterScan
from acr_cleanup.records.names import RegistryNames
from acr_cleanup.reports import outputs as report_outputs
from acr_cleanup.runtimes.base import Level
from acr_cleanup.settings import Settings

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
COMPLETE = {
    "auth-type": "environment",
    "registry": "contoso",
    "clusters": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks",
}

LOGIN = {"AZURE_CLIENT_ID": SUBSCRIPTION, "AZURE_TENANT_ID": SUBSCRIPTION, "AZURE_CLIENT_SECRET": "x"}


class Job:
    """A `PipelineRuntime` that records what the step reports."""

    level = Level.INFO
    apply_hint = "dry-run: false"
    keep_hint = ""
    checkout_hint = ""
    plain_summary = False
    absolute_paths = False
    is_debugged = False
    temporary = None

    def __init__(self, workspace: Path, **inputs: str) -> None:
        self.workspace = workspace
        self.inputs = {name.replace("_", "-"): value for name, value in inputs.items()}
        self.reports: list[str] = []
        self.values: Mapping[str, str] = {}
        self.shown = ""

    def begin(self) -> Mapping[str, str]:
        return {}

    def end(self, code: int) -> str:
        self.ended = code
        return ""

    def name_of(self, name: str) -> str:
        return name

    def input(self, name: str) -> str:
        return self.inputs.get(name, "")

    def input_names(self) -> tuple[str, ...]:
        return tuple(self.inputs)

    def progress(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        pass

    def log(self, level: Level, text: str) -> None:
        if level >= self.level:
            self.reports.append(text)

    def show(self, content: RenderableType) -> None:
        self.reports.append(str(content))

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        yield

    def annotate(self, level: Level, title: str, text: str) -> None:
        self.reports.append(f"{level.word}: {title}: {text}")

    def mask(self, secret: str) -> None:
        pass

    async def id_token(self, audience: str) -> str:
        raise AssertionError

    def outputs(self, values: Mapping[str, str]) -> str:
        self.values = values
        return ""

    def summary(self, markdown: str) -> str:
        self.shown = markdown
        return ""

    def finish(self) -> None:
        pass


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.chdir(tmp_path)
    return Job(tmp_path, **{name.replace("-", "_"): value for name, value in COMPLETE.items()})


@pytest.mark.parametrize(("dry_run", "words"), [("true", "Nothing was deleted"), ("false", "The log lists")])
def test_unexpected_error_is_reported_without_traceback(
    job: Job, monkeypatch: pytest.MonkeyPatch, dry_run: str, words: str
) -> None:
    async def main(*_: object, **__: object) -> int:
        raise ZeroDivisionError("unexpected")

    monkeypatch.setattr("acr_cleanup.commands.run.run", main)
    job.inputs["dry-run"] = dry_run

    assert pipeline.run(job, {}) == 1
    assert any("ZeroDivisionError: unexpected" in report for report in job.reports)
    assert words in job.shown
    assert set(job.values) == set(report_outputs.NAMES)
    assert job.values["result"] == "failed"


def test_run_gets_dry_run_and_report_folder(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, Path]] = []

    async def main(settings: Settings, *_: object, dry_run: bool, **__: object) -> int:
        calls.append((dry_run, settings.report_dir))
        return 7

    monkeypatch.setattr("acr_cleanup.commands.run.run", main)
    assert pipeline.run(job, {}) == 7
    job.inputs["dry-run"] = "false"
    assert pipeline.run(job, {}) == 7
    assert calls == [(True, Path("acr-cleanup")), (False, Path("acr-cleanup"))]


@pytest.mark.parametrize("summary", ["", "true", "false", "False"])
def test_summary_false_publishes_no_summary(job: Job, summary: str) -> None:
    job.inputs |= {"summary": summary, "keep-last": "many"}

    assert pipeline.run(job, {}) == 2
    assert bool(job.shown) is (summary.lower() != "false")


def test_report_folder_that_is_a_file_is_refused(job: Job) -> None:
    (job.workspace / "taken").touch()
    job.inputs["report-dir"] = "taken"

    assert pipeline.run(job, {}) == 2
    assert any(report.startswith("error: report-dir: ") for report in job.reports)


def test_unwritable_folders_stop_step_before_reading(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("acr_cleanup.pipeline.files.prepare", denied)
    monkeypatch.setattr("acr_cleanup.pipeline.tempfile.mkdtemp", denied)

    assert pipeline.run(job, {}) == 2
    assert any("without a report" in report for report in job.reports)


# -- collect ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def registry_without_names(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_repositories(*_: object) -> frozenset[str]:
        return frozenset()

    async def read(*_: object) -> RegistryNames:
        return RegistryNames("contoso.azurecr.io", datetime.now(UTC), ())

    monkeypatch.setattr("acr_cleanup.commands.collect.read_repository_names", no_repositories)
    monkeypatch.setattr("acr_cleanup.commands.collect.read_registry_names", read)


async def scanned(*_: object, **__: object) -> tuple[ClusterScan, ...]:
    return (ClusterScan("aks", access="direct", objects=3),)


async def blocked(*_: object, **__: object) -> tuple[ClusterScan, ...]:
    return (ClusterScan("aks", blockers=(Blocker("aks", "list pods", "403 Forbidden.", "Give the role.", "pods"),)),)


def has_no_decision(values: Mapping[str, str]) -> bool:
    """Do the values have every output, and no tag?"""
    empty = {"[]", "0", "", "false"}
    return set(values) == set(report_outputs.NAMES) and {values[name] for name in values if name != "result"} <= empty


@pytest.mark.parametrize(("read", "code", "result"), [(scanned, 0, "success"), (blocked, 3, "aborted")])
def test_collect_reads_clusters_only(
    job: Job, monkeypatch: pytest.MonkeyPatch, read: object, code: int, result: str
) -> None:
    """Even with `dry-run: false`. There are no report files, since nothing is planned."""
    monkeypatch.setattr("acr_cleanup.stages.read.ConfiguredClusters.scan", read)
    job.inputs |= {"collect": "usage/snapshot.json", "dry-run": "false"}

    assert pipeline.run(job, LOGIN) == code
    (cluster,) = json.loads((job.workspace / "usage" / "snapshot.json").read_text("utf-8"))["clusters"]
    assert cluster["cluster"] == "aks"
    assert bool(cluster["blockers"]) is (code == 3)
    assert job.values["result"] == result
    assert has_no_decision(job.values)
    assert "clusters read" in job.shown
    assert any(report.startswith("error: aks: list pods") for report in job.reports) is (code == 3)
    assert not (job.workspace / "acr-cleanup").exists()


def test_collect_with_summary_false_publishes_no_summary(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acr_cleanup.stages.read.ConfiguredClusters.scan", scanned)
    job.inputs |= {"collect": "usage.json", "summary": "false"}

    pipeline.run(job, LOGIN)
    assert job.shown == ""
    assert (job.workspace / "usage.json").exists()


@pytest.mark.parametrize("path", ["../usage.json", "/tmp/usage.json", ".", "folder", "out/usage.json", "nul\0"])
def test_unusable_snapshot_path_is_refused(job: Job, path: str) -> None:
    (job.workspace / "folder").mkdir()
    (job.workspace / "out").symlink_to("/tmp")
    job.inputs["collect"] = path

    assert pipeline.run(job, {}) == 2
    assert any(report.startswith("error: collect: ") for report in job.reports)
    assert job.values["result"] == "failed"
    assert has_no_decision(job.values)


def test_unexpected_error_in_collect_has_no_traceback(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("unexpected")

    monkeypatch.setattr("acr_cleanup.stages.read.ConfiguredClusters.scan", broken)
    job.inputs["collect"] = "usage.json"

    assert pipeline.run(job, LOGIN) == 1
    assert any("ZeroDivisionError: unexpected" in report for report in job.reports)
    assert "Nothing was deleted" in job.shown
    assert job.values["result"] == "failed"
    assert not (job.workspace / "usage.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_snapshot_belongs_to_owner_of_workspace(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acr_cleanup.stages.read.ConfiguredClusters.scan", scanned)
    os.chown(job.workspace, 1001, 1001)
    job.inputs["collect"] = "a/b/usage.json"

    pipeline.run(job, LOGIN)
    for name in ("a", "a/b", "a/b/usage.json"):
        assert (job.workspace / name).stat().st_uid == 1001
