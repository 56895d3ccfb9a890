"""A whole workflow with `uses: ./`, run by act, on Contoso."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.reports.outputs import NAMES
from tests.helpers.paths import ROOT
from tests.image.conftest import OWNER, Contoso, change_owner, program, run

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Job:
    """The files and the log of one run of tests/image/workflow.yml."""

    log: str
    code: int
    workspace: Path
    contoso: Contoso

    def outputs(self, step: str) -> Mapping[str, str]:
        return dict(json.loads((self.workspace / "reports" / f"{step}.outputs.json").read_text("utf-8")))

    def report(self, step: str) -> Any:
        return json.loads((self.workspace / "reports" / step / "report.json").read_text("utf-8"))

    def outcome(self, step: str) -> str:
        return (self.workspace / "reports" / f"{step}.outcome").read_text("utf-8").strip()


@pytest.fixture
def job(image: str, runner: str, contoso: Contoso, workspace: Path) -> Job:
    act = program("act")
    assert act is not None, "act is missing: `make image-test` installs it."
    shutil.copy(ROOT / "action.yml", workspace)
    # As in a release, so that the script is tested as well.
    subprocess.run([str(ROOT / ".github/pin-image.sh"), image, "v0"], cwd=workspace, check=True)
    workflow = workspace / ".github" / "workflows" / "action.yml"
    workflow.parent.mkdir(parents=True)
    shutil.copy(ROOT / "tests/image/workflow.yml", workflow)
    for words in (
        "init --quiet --initial-branch main",
        "add --all",
        "-c user.name=a -c user.email=a@b.c commit --quiet -m start",
    ):
        subprocess.run(["git", "-c", "safe.directory=*", *words.split()], cwd=workspace, check=True)
    (workspace / "reports").mkdir()
    change_owner(workspace)
    variables = [
        word
        for name, value in contoso.values.items()
        for word in ("--var", f"{name.replace('-', '_').upper()}={value}")
    ]
    ran = run(
        act, "push", "--bind", "--pull=false", "--rm", "--workflows", str(workflow), "-P", f"ubuntu-latest={runner}", *variables,
        cwd=workspace, timeout=500,
    )  # fmt: skip
    return Job(ran.stdout + ran.stderr, ran.returncode, workspace, contoso)


def test_action_in_a_workflow(job: Job) -> None:
    """One run of act takes most of a minute, so this test checks everything about it."""
    assert job.code == 0, job.log[-6000:]

    # Inputs have dashes and several lines; the default is a dry run.
    plan, counts = job.outputs("plan"), job.report("plan")["counts"]
    assert plan.keys() == set(NAMES)
    assert plan["result"] == "dry-run"
    assert plan["deleted-tags"] == "[]"
    assert len(json.loads(plan["planned-tags"])) == int(plan["planned-count"]) == counts["planned"] > 100
    assert plan["report-path"] == "reports/plan/report.json"

    # Only a configuration file; `dry-run: false` deletes.
    applied = job.outputs("apply")
    assert applied["result"] == "success"
    assert applied["deleted-tags"] == plan["planned-tags"]
    assert applied["failed-count"] == "0"

    # On every failure all outputs and a summary are written, and the step fails.
    for step, message in (("wrong", "not a duration"), ("denied", "id-token: write")):
        assert job.outcome(step) == "failure"
        assert job.outputs(step).keys() == set(NAMES)
        assert job.outputs(step)["result"] == "failed"
        assert message in job.log
    assert "dry-rum" in job.log
    assert "many" in job.log  # both wrong inputs are named in one run
    # act prints every file that a step writes to GITHUB_STEP_SUMMARY.
    assert job.log.count("Summary - ") == 4

    # Secrets are masked and not shown.
    assert re.search(r"⚙ +\*\*\*$", job.log, re.MULTILINE)
    assert "eyJ" not in job.log
    assert job.contoso.values["id-token-token"] not in job.log.replace("ID_TOKEN_TOKEN", "")

    # The container runs as root; its files belong to the owner of the workspace.
    folders = [job.workspace / "reports" / step for step in ("plan", "apply")]
    written = [path for folder in folders for path in (folder, *folder.iterdir())]
    assert len(written) >= 8
    assert {path.stat().st_uid for path in written} == {OWNER}

    # Modules in the workspace are never imported.
    assert "HOSTILE" not in job.log
