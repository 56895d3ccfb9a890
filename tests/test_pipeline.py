"""A step of a pipeline that comes to no result says so wherever it can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import RenderableType

from acr_cleanup import pipeline
from acr_cleanup.reports import outputs as report_outputs
from acr_cleanup.runtimes.base import Level
from acr_cleanup.settings import Settings

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
COMPLETE = {
    "auth-type": "environment",
    "registry": "contoso",
    "clusters": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks",
}


class Job:
    """A `PipelineRuntime` that remembers what it was told."""

    level = Level.INFO
    apply_hint = "dry-run: false"
    keep_hint = ""
    is_debugged = False
    temporary = None

    def __init__(self, workspace: Path, **inputs: str) -> None:
        self.workspace = workspace
        self.inputs = {name.replace("_", "-"): value for name, value in inputs.items()}
        self.told: list[str] = []
        self.given: Mapping[str, str] = {}
        self.shown = ""

    def input(self, name: str) -> str:
        return self.inputs.get(name, "")

    def input_names(self) -> tuple[str, ...]:
        return tuple(self.inputs)

    def progress(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        pass

    def log(self, level: Level, text: str) -> None:
        if level >= self.level:
            self.told.append(text)

    def show(self, content: RenderableType) -> None:
        self.told.append(str(content))

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        yield

    def annotate(self, level: Level, title: str, text: str) -> None:
        self.told.append(f"{level.word}: {title}: {text}")

    def mask(self, secret: str) -> None:
        pass

    async def id_token(self, audience: str) -> str:
        raise AssertionError

    def outputs(self, values: Mapping[str, str]) -> str:
        self.given = values
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


@pytest.mark.parametrize(("dry_run", "said"), [("true", "Nothing was deleted"), ("false", "in the log")])
def test_what_nobody_foresaw_is_told_without_a_traceback(
    job: Job, monkeypatch: pytest.MonkeyPatch, dry_run: str, said: str
) -> None:
    async def main(*_: object, **__: object) -> int:
        raise ZeroDivisionError("whatever")

    monkeypatch.setattr("acr_cleanup.main.main", main)
    job.inputs["dry-run"] = dry_run

    assert pipeline.run(job, {}) == 1
    assert any("ZeroDivisionError: whatever" in each for each in job.told)
    assert said in job.shown
    assert set(job.given) == set(report_outputs.NAMES)
    assert job.given["result"] == "failed"


def test_a_run_gets_what_the_inputs_say(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, Path]] = []

    async def main(settings: Settings, *_: object, dry_run: bool, **__: object) -> int:
        seen.append((dry_run, settings.report_dir))
        return 7

    monkeypatch.setattr("acr_cleanup.main.main", main)
    assert pipeline.run(job, {}) == 7
    job.inputs["dry-run"] = "false"
    assert pipeline.run(job, {}) == 7
    assert seen == [(True, Path("acr-cleanup")), (False, Path("acr-cleanup"))]


@pytest.mark.parametrize("summary", ["", "true", "false", "False"])
def test_a_summary_that_nobody_wants_is_not_shown(job: Job, summary: str) -> None:
    job.inputs |= {"summary": summary, "keep-last": "many"}

    assert pipeline.run(job, {}) == 2
    assert bool(job.shown) is (summary.lower() != "false")


def test_a_report_folder_that_is_a_file_is_a_problem(job: Job) -> None:
    (job.workspace / "taken").touch()
    job.inputs["report-dir"] = "taken"

    assert pipeline.run(job, {}) == 2
    assert any(each.startswith("error: report-dir: ") for each in job.told)


def test_no_folder_that_can_be_written_to_stops_before_anything_is_read(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("acr_cleanup.pipeline.files.prepare", denied)
    monkeypatch.setattr("acr_cleanup.pipeline.tempfile.mkdtemp", denied)

    assert pipeline.run(job, {}) == 2
    assert any("must be reported" in each for each in job.told)
