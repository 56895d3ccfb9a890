"""The runtime of the Azure Pipelines task: the result file, and no text that the agent obeys."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.runtimes import azure_devops
from acr_cleanup.runtimes.azure_devops import AzureDevOps
from acr_cleanup.runtimes.base import Level, NoIdToken, Runtime

HOSTILE = "a\n##vso[task.setvariable variable=PATH]evil\r\n ##[error]z x ##vso[task.complete]\x1b[2J\u2028##[section]b"
COMMAND = re.compile(r"##(vso)?\[")


class FakeTask:
    """The task's side: the environment that it gives us, and the files that it reads."""

    def __init__(self, folder: Path, **inputs: Any) -> None:
        self.result_file = folder / "result.json"
        self.summary_file = folder / "ACR cleanup.md"
        self.environ = {
            "ACR_CLEANUP_INPUTS": json.dumps({name.replace("_", "-"): value for name, value in inputs.items()}),
            "ACR_CLEANUP_RESULT": str(self.result_file),
            "ACR_CLEANUP_SUMMARY": str(self.summary_file),
        }

    def runtime(self, **more: str) -> AzureDevOps:
        return AzureDevOps(environ=self.environ | more)

    @property
    def result(self) -> Any:
        return json.loads(self.result_file.read_text("utf-8"))


@pytest.fixture
def task(tmp_path: Path) -> FakeTask:
    return FakeTask(tmp_path)


def test_azure_devops_implements_the_protocol(task: FakeTask) -> None:
    runtime: Runtime = task.runtime()
    runtime.finish()


# -- inputs --------------------------------------------------------------------------------------


def test_inputs_are_text_by_their_action_names(tmp_path: Path) -> None:
    task = FakeTask(
        tmp_path, dry_run=False, keep_last=3, clusters=["a", "b"], registry=" contoso ", waive=None, backup=True
    )
    runtime = task.runtime()
    inputs = {name: runtime.input(name) for name in runtime.input_names()}

    assert inputs == {
        "dry-run": "false", "keep-last": "3", "clusters": "a\nb", "registry": "contoso", "waive": "", "backup": "true"
    }  # fmt: skip
    assert runtime.input("older-than") == ""


@pytest.mark.parametrize("text", ["", "  ", "{", "[]", "7", "null", '{"a": 1', "[" * 100_000])
def test_malformed_inputs_are_reported_at_the_start(task: FakeTask, text: str) -> None:
    runtime = task.runtime(ACR_CLEANUP_INPUTS=text)
    assert runtime.begin().keys() == {"ACR_CLEANUP_INPUTS"}
    assert runtime.input_names() == ()


@pytest.mark.parametrize(("variable", "debugged"), [("True", True), ("true", True), ("False", False), ("", False)])
def test_is_debugged_follows_system_debug(task: FakeTask, variable: str, debugged: bool) -> None:
    assert task.runtime(SYSTEM_DEBUG=variable).is_debugged is debugged


def test_temporary_folder_is_the_jobs_or_the_results(task: FakeTask, tmp_path: Path) -> None:
    (tmp_path / "temp").mkdir()
    assert task.runtime(AGENT_TEMPDIRECTORY=str(tmp_path / "temp")).temporary == tmp_path / "temp"
    assert task.runtime(AGENT_TEMPDIRECTORY=str(tmp_path / "elsewhere")).temporary == tmp_path
    assert AzureDevOps(environ={}).temporary is None


async def test_id_token_without_service_connection_raises(task: FakeTask) -> None:
    with pytest.raises(NoIdToken) as caught:
        await task.runtime().id_token("x")
    assert "azureSubscription" in caught.value.remedy


# -- result.json ---------------------------------------------------------------------------------


def test_first_result_says_failed(task: FakeTask) -> None:
    """A run that is killed leaves this result."""
    assert task.runtime().begin() == {}
    assert task.result == {
        "schema_version": 1, "result": "failed", "exit_code": 1, "outputs": {"result": "failed"},
        "annotations": [], "summary": "", "report": "",
    }  # fmt: skip


def test_result_has_outputs_first_and_exit_code_last(task: FakeTask) -> None:
    runtime = task.runtime()
    runtime.begin()
    assert runtime.outputs({"result": "partial", "deleted-tags-truncated": "false", "report-path": "/w/r.json"}) == ""
    assert (task.result["result"], task.result["exit_code"]) == ("partial", 1)
    assert runtime.summary("# Töpfe \ud800\n") == ""
    runtime.annotate(Level.WARNING, "title", "two\nlines")
    runtime.finish()
    assert task.result["annotations"] == [{"level": "warning", "title": "title", "text": "two\nlines"}]
    assert runtime.end(143) == ""

    assert task.result == {
        "schema_version": 1, "result": "partial", "exit_code": 143,
        "outputs": {"result": "partial", "deletedTagsTruncated": "false", "reportPath": "/w/r.json"},
        "annotations": [{"level": "warning", "title": "title", "text": "two\nlines"}],
        "summary": str(task.summary_file), "report": "/w/r.json",
    }  # fmt: skip
    assert task.summary_file.read_text("utf-8") == "# Töpfe \\ud800\n"
    assert {path.name for path in task.result_file.parent.iterdir()} == {"result.json", "ACR cleanup.md"}


def test_info_annotation_is_only_logged(task: FakeTask, capsys: pytest.CaptureFixture[str]) -> None:
    """The page of a run shows only errors and warnings."""
    runtime = task.runtime()
    runtime.annotate(Level.INFO, "ACR cleanup", "Deleted 3 tags.")
    runtime.end(0)
    assert task.result["annotations"] == []
    assert capsys.readouterr().out == "ACR cleanup: Deleted 3 tags.\n"


def test_annotations_are_bounded_but_all_are_logged(task: FakeTask, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = task.runtime()
    for number in range(250):
        runtime.annotate(Level.ERROR, f"title {number}", "x" * 9000)
    for number in range(100):
        runtime.annotate(Level.WARNING, f"title {number}", "text")
    runtime.end(1)
    annotations = task.result["annotations"]
    errors = [annotation for annotation in annotations if annotation["level"] == "error"]

    assert len(errors) == 100
    assert errors[-1]["text"].startswith("There are 151 more")
    assert len(annotations) - len(errors) == 100
    assert annotations[-1]["title"] == "title 99", "100 fit"
    assert all(len(annotation["text"]) <= azure_devops.MAX_MESSAGE for annotation in annotations)
    assert "error: title 249: xxx" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["unset", "no folder", "a folder"])
def test_unwritable_result_is_returned_as_fault(task: FakeTask, tmp_path: Path, kind: str) -> None:
    path = {"unset": "", "no folder": str(tmp_path / "missing" / "file"), "a folder": str(tmp_path)}[kind]
    runtime = task.runtime(ACR_CLEANUP_RESULT=path, ACR_CLEANUP_SUMMARY=path)
    assert runtime.begin().keys() == {"ACR_CLEANUP_RESULT"}
    for fault in (runtime.outputs({"result": "success"}), runtime.summary("text"), runtime.end(0)):
        assert path in fault
        assert fault
    runtime.finish()
    assert not list(tmp_path.glob("*.part"))


def test_result_survives_a_failed_replacement(task: FakeTask, monkeypatch: Any) -> None:
    runtime = task.runtime()
    runtime.outputs({"result": "success"})

    def raise_disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", raise_disk_full)
    assert "No space left" in runtime.end(0)
    assert task.result["result"] == "success"


# -- printed text --------------------------------------------------------------------------------


def test_no_output_is_a_command(task: FakeTask, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = task.runtime(SYSTEM_DEBUG="true")
    runtime.level = Level.DEBUG
    with runtime.group(HOSTILE):
        for level in Level:
            runtime.log(level, HOSTILE)
        runtime.progress(HOSTILE, 1, 2, HOSTILE)
        runtime.show(HOSTILE)
    for level in Level:
        runtime.annotate(level, HOSTILE, HOSTILE)
    runtime.finish()
    runtime.end(0)
    out, err = capsys.readouterr()

    assert err == ""
    assert "evil" in out
    assert not COMMAND.search(out)
    assert "\x1b" not in out
    assert "\u2028" not in out
    assert not COMMAND.search(task.result_file.read_text())
    assert not any(COMMAND.search(shown["title"] + shown["text"]) for shown in task.result["annotations"])


def test_secrets_are_masked_in_all_output(task: FakeTask, capsys: pytest.CaptureFixture[str]) -> None:
    """The agent does not mask our output unless asked, and that request would show the secret."""
    runtime = task.runtime()
    for secret in ("hunter2", "hunter2-and-more", "", " ", "abc", "-----BEGIN KEY-----\nfirst line\n"):
        runtime.mask(secret)
    text = "hunter2 hunter2-and-more abc first line"
    runtime.log(Level.INFO, text)
    runtime.show(text)
    runtime.progress(text, 0, 1)
    runtime.annotate(Level.ERROR, text, text)
    runtime.summary(text)
    runtime.end(1)

    everything = capsys.readouterr().out + task.result_file.read_text() + task.summary_file.read_text()
    assert "hunter2" not in everything
    assert "and-more" not in everything
    assert "first line" not in everything
    assert task.summary_file.read_text() == "*** *** abc ***"


def test_log_respects_the_level(task: FakeTask, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = task.runtime()
    runtime.log(Level.DEBUG, "hidden")
    runtime.log(Level.INFO, "shown")
    runtime.level = Level.DEBUG
    runtime.log(Level.DEBUG, "now shown")
    assert capsys.readouterr().out == "shown\ndebug: now shown\n"


def test_closed_stdout_does_not_stop_the_run(task: FakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    class ClosedPipe:
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    runtime = task.runtime()
    monkeypatch.setattr("sys.stdout", ClosedPipe())
    runtime.log(Level.ERROR, "x")
    runtime.annotate(Level.ERROR, "x", "y")
    runtime.show("x")
    runtime.finish()
    assert runtime.end(1) == ""
    assert len(task.result["annotations"]) == 1
