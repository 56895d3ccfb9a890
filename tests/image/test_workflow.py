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
from tests.image.conftest import OWNER, Contoso, give_away, program, run

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Job:
    """What a run of tests/image/workflow.yml left behind."""

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
    assert act is not None, "act is not here: `make image-test` brings it."
    shutil.copy(ROOT / "action.yml", workspace)
    # As a release does it, so that this is tested as well.
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
    give_away(workspace)
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


def test_the_action_in_a_workflow(job: Job) -> None:
    """One run of act, which takes most of a minute, and everything that it proves."""
    assert job.code == 0, job.log[-6000:]

    # Inputs have dashes and lines; a first run deletes nothing.
    plan, counts = job.outputs("plan"), job.report("plan")["counts"]
    assert plan.keys() == set(NAMES)
    assert plan["result"] == "dry-run"
    assert plan["deleted-tags"] == "[]"
    assert len(json.loads(plan["planned-tags"])) == int(plan["planned-count"]) == counts["planned"] > 100
    assert plan["report-path"] == "reports/plan/report.json"

    # A configuration file alone; `dry-run: false` deletes.
    applied = job.outputs("apply")
    assert applied["result"] == "success"
    assert applied["deleted-tags"] == plan["planned-tags"]
    assert applied["failed-count"] == "0"

    # Every path has every output, a summary of its own, and fails the step.
    for step, message in (("wrong", "not a duration"), ("denied", "id-token: write")):
        assert job.outcome(step) == "failure"
        assert job.outputs(step).keys() == set(NAMES)
        assert job.outputs(step)["result"] == "failed"
        assert message in job.log
    assert "dry-rum" in job.log
    assert "many" in job.log  # both wrong inputs are named in one run
    # act shows every file that a step wrote to GITHUB_STEP_SUMMARY.
    assert job.log.count("Summary - ") == 4

    # Secrets are masked before they could be shown, and are not shown.
    assert re.search(r"⚙ +\*\*\*$", job.log, re.MULTILINE)
    assert "eyJ" not in job.log
    assert job.contoso.values["id-token-token"] not in job.log.replace("ID_TOKEN_TOKEN", "")

    # The container is root; what it writes belongs to the workspace's owner.
    folders = [job.workspace / "reports" / step for step in ("plan", "apply")]
    written = [path for folder in folders for path in (folder, *folder.iterdir())]
    assert len(written) >= 8
    assert {path.stat().st_uid for path in written} == {OWNER}

    # What lies in the workspace is never imported.
    assert "HOSTILE" not in job.log
