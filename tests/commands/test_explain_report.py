"""`acr-cleanup explain --report`: the report of an earlier run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.commands.explain import explain_report
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.runtimes.terminal import Terminal
from tests.helpers.explanations import run_explain, run_explain_report
from tests.helpers.stage import Stage


async def test_report_explains_deleted_and_kept_tags(stage: Stage) -> None:
    digest = stage.digest("1.0")
    ran = await stage.tool.apply(stage.config)
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    start = f"{ran.report['started_at'][:16].replace('T', ' ')} UTC"

    explanation = run_explain_report(stage, "contoso.azurecr.io/shop/web:1.0")
    assert (explanation.code, explanation.verdict) == (0, f"shop/web:1.0 was deleted by the run of {start}.")
    assert explanation.has_line("No rule kept it: no use was found, and it was pushed")
    assert explanation.has_line("Manifest deleted; for linux/amd64, ")
    assert explanation.has_line("Run an apply of contoso.azurecr.io, applied, from ")
    assert explanation.has_line("Policy older-than 30d; scope running")
    assert any(line.startswith("Clusters production (direct): ") and "objects" in line for line in explanation.lines)

    explanation = run_explain_report(stage, "shop/web:2.0")
    verdict = "shop/web:2.0 was kept: a workload names this tag: production/shop/Deployment/web (main)."
    assert (explanation.code, explanation.verdict) == (0, verdict)
    assert "production/shop/Deployment/web (main)" in explanation.lines

    explanation = run_explain_report(stage, f"shop/web@{digest[:19]}")
    assert (explanation.code, explanation.verdict) == (0, f"shop/web@{digest} was deleted by the run of {start}.")
    explanation = run_explain_report(stage, "shop/web")
    assert explanation.verdict == "shop/web: of 3 tags, 2 were selected and 2 deleted."
    assert "1.0 100d deleted no rule kept it" in explanation.lines


async def test_answers_name_the_shard(stage: Stage) -> None:
    """`shop/web` is in shard 2/2."""
    explanation = await run_explain(stage, "shop/web:1.0", shard="1/2")
    assert "its repository belongs to shard 2 of 2, and this run is 1" in explanation.verdict
    explanation = await run_explain(stage, "shop/web:1.0", shard="2/2")
    assert "would be deleted" in explanation.verdict
    assert any("running in production, and belongs to shard 2/2" in line for line in explanation.lines)

    await stage.tool.plan(stage.config, shard="1/2")

    explanation = run_explain_report(stage, "shop/web:1.0")
    assert explanation.code == 1
    assert "That run read shard 1/2 of the registry. The repository may be in another shard." in explanation.lines
    assert any("shard 1/2" in line for line in explanation.lines if line.startswith("Policy"))


async def test_target_missing_in_the_report_is_not_found(stage: Stage) -> None:
    await stage.tool.plan(stage.config)

    for target in ("shop/web:9.9", "team/api:1.0", "team/api", f"shop/web@sha256:{'0' * 64}"):
        explanation = run_explain_report(stage, target)
        assert explanation.code == 1, target
        assert "is not in that report" in explanation.verdict
    with pytest.raises(ConfigurationError):
        run_explain_report(stage, "ghcr.io/shop/web:1.0")


async def test_failed_deletion_is_explained_with_its_reason(stage: Stage) -> None:
    stage.world.access.assign_only("Reader", "Azure Kubernetes Service Cluster User Role")
    await stage.tool.apply(stage.config)
    explanation = run_explain_report(stage, "shop/web:1.0")

    assert explanation.verdict.startswith("shop/web:1.0 was selected, but the deletion failed (")
    assert "AcrDelete" in explanation.out or "403" in explanation.out


async def test_refused_run_is_explained_with_its_blocker(stage: Stage) -> None:
    stage.another("staging").power_state = "Stopped"
    await stage.tool.apply(stage.config)
    explanation = run_explain_report(stage, "shop/web:1.0")

    assert explanation.verdict == "shop/web:1.0 was selected, but not deleted, because the run was refused."
    assert any("the cluster is stopped" in line for line in explanation.lines)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("{", "The file is not the report of a run"),
        ("[]", "The file is not the report of a run"),
        ('{"schema_version": 1}', "The file is not the report of a run"),
        ('{"schema_version": 9, "tool_version": "99"}', "The report has version 9"),
        ("\ufffe", "The file is not the report of a run"),
        (None, "The file cannot be read"),
    ],
)
def test_invalid_report_file_is_refused(tmp_path: Path, content: str | None, seen: str) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        explain_report("shop/web:1.0", path, Terminal(stdout=io.StringIO(), stderr=io.StringIO(), environ={}))
    problem: Any = caught.value.problems[0]
    assert seen in problem.seen
    assert problem.path == str(path)


async def test_json_of_a_report_has_the_answer(stage: Stage) -> None:
    await stage.tool.apply(stage.config)
    pieces: list[str] = []
    out = io.StringIO()
    report = stage.tool.folder / "report" / "report.json"

    code = explain_report("shop/web:2.0", report, Terminal(stdout=out, stderr=out, environ={}), pieces.extend)

    answer = json.loads("".join(pieces))
    assert (code, answer["decision"], out.getvalue()) == (0, "keep", "")
    assert answer["verdict"] == run_explain_report(stage, "shop/web:2.0").verdict
    assert {"production"} == {use["cluster"] for use in answer["uses"]}
