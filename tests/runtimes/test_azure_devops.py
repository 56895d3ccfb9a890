"""What the task of Azure Pipelines is told, and that nothing else could be taken for a command."""

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


class Task:
    """The task's side: what it hands to its child, and what it reads."""

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
def task(tmp_path: Path) -> Task:
    return Task(tmp_path)


def test_it_is_a_runtime(task: Task) -> None:
    known: Runtime = task.runtime()
    known.finish()


# -- what the pipeline says ------------------------------------------------------------------------------------


def test_inputs_have_the_names_of_the_action_and_are_text(tmp_path: Path) -> None:
    task = Task(
        tmp_path, dry_run=False, keep_last=3, clusters=["a", "b"], registry=" contoso ", waive=None, backup=True
    )
    runtime = task.runtime()
    given = {name: runtime.input(name) for name in runtime.input_names()}

    assert given == {
        "dry-run": "false", "keep-last": "3", "clusters": "a\nb", "registry": "contoso", "waive": "", "backup": "true"
    }  # fmt: skip
    assert runtime.input("older-than") == ""


@pytest.mark.parametrize("text", ["", "  ", "{", "[]", "7", "null", '{"a": 1', "[" * 100_000])
def test_inputs_that_are_none_are_told_before_anything_is_done(task: Task, text: str) -> None:
    runtime = task.runtime(ACR_CLEANUP_INPUTS=text)
    assert runtime.begin().keys() == {"ACR_CLEANUP_INPUTS"}
    assert runtime.input_names() == ()


@pytest.mark.parametrize(("said", "meant"), [("True", True), ("true", True), ("False", False), ("", False)])
def test_debugging_is_what_the_pipeline_says(task: Task, said: str, meant: bool) -> None:
    assert task.runtime(SYSTEM_DEBUG=said).is_debugged is meant


def test_what_outlives_the_step_is_the_folder_of_the_job_or_of_the_result(task: Task, tmp_path: Path) -> None:
    (tmp_path / "temp").mkdir()
    assert task.runtime(AGENT_TEMPDIRECTORY=str(tmp_path / "temp")).temporary == tmp_path / "temp"
    assert task.runtime(AGENT_TEMPDIRECTORY=str(tmp_path / "elsewhere")).temporary == tmp_path
    assert AzureDevOps(environ={}).temporary is None


async def test_there_is_no_token_of_a_job_without_a_service_connection(task: Task) -> None:
    with pytest.raises(NoIdToken) as caught:
        await task.runtime().id_token("x")
    assert "azureSubscription" in caught.value.remedy


# -- what the task is told -------------------------------------------------------------------------------------


def test_from_the_beginning_there_is_a_result_which_says_that_it_failed(task: Task) -> None:
    """Whoever is killed has told that much."""
    assert task.runtime().begin() == {}
    assert task.result == {
        "schema_version": 1, "result": "failed", "exit_code": 1, "outputs": {"result": "failed"},
        "annotations": [], "summary": "", "report": "",
    }  # fmt: skip


def test_outputs_are_told_at_once_and_the_exit_code_at_last(task: Task) -> None:
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
    assert {each.name for each in task.result_file.parent.iterdir()} == {"result.json", "ACR cleanup.md"}


def test_a_good_result_is_no_issue(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    """The page of a run knows errors and warnings: what is neither is in the log."""
    runtime = task.runtime()
    runtime.annotate(Level.INFO, "ACR cleanup", "Deleted 3 tags.")
    runtime.end(0)
    assert task.result["annotations"] == []
    assert capsys.readouterr().out == "ACR cleanup: Deleted 3 tags.\n"


def test_many_annotations_stay_a_short_file_and_are_all_in_the_log(
    task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = task.runtime()
    for number in range(250):
        runtime.annotate(Level.ERROR, f"title {number}", "x" * 9000)
    for number in range(100):
        runtime.annotate(Level.WARNING, f"title {number}", "text")
    runtime.end(1)
    found = task.result["annotations"]
    errors = [each for each in found if each["level"] == "error"]

    assert len(errors) == 100
    assert errors[-1]["text"].startswith("There are 151 more")
    assert len(found) - len(errors) == 100
    assert found[-1]["title"] == "title 99", "a hundred fit"
    assert all(len(each["text"]) <= azure_devops.MAX_MESSAGE for each in found)
    assert "error: title 249: xxx" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["unset", "no folder", "a folder"])
def test_a_result_that_cannot_be_written_is_told_and_nothing_is_raised(task: Task, tmp_path: Path, kind: str) -> None:
    path = {"unset": "", "no folder": str(tmp_path / "missing" / "file"), "a folder": str(tmp_path)}[kind]
    runtime = task.runtime(ACR_CLEANUP_RESULT=path, ACR_CLEANUP_SUMMARY=path)
    assert runtime.begin().keys() == {"ACR_CLEANUP_RESULT"}
    for fault in (runtime.outputs({"result": "success"}), runtime.summary("text"), runtime.end(0)):
        assert path in fault
        assert fault
    runtime.finish()
    assert not [each for each in tmp_path.iterdir() if each.name.endswith(".part")]


def test_a_result_that_was_written_stays_whole_when_the_next_cannot_be(task: Task, monkeypatch: Any) -> None:
    runtime = task.runtime()
    runtime.outputs({"result": "success"})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert "No space left" in runtime.end(0)
    assert task.result["result"] == "success"


# -- what is printed -------------------------------------------------------------------------------------------


def test_nothing_that_leaves_us_is_a_command(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert not any(COMMAND.search(each["title"] + each["text"]) for each in task.result["annotations"])


def test_secrets_are_taken_out_of_everything(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody masks for us what we print, and a mask that we asked for would be a command that shows the secret."""
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


def test_the_level_decides(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = task.runtime()
    runtime.log(Level.DEBUG, "unheard")
    runtime.log(Level.INFO, "heard")
    runtime.level = Level.DEBUG
    runtime.log(Level.DEBUG, "now heard")
    assert capsys.readouterr().out == "heard\ndebug: now heard\n"


def test_nobody_who_listens_is_no_reason_to_stop(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    runtime = task.runtime()
    monkeypatch.setattr("sys.stdout", Gone())
    runtime.log(Level.ERROR, "x")
    runtime.annotate(Level.ERROR, "x", "y")
    runtime.show("x")
    runtime.finish()
    assert runtime.end(1) == ""
    assert len(task.result["annotations"]) == 1
