"""
A step of Azure Pipelines: the service connection, the result file, and the limits of the agent.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from acr_cleanup import pipeline
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.reports.dialect import PLAIN
from acr_cleanup.runtimes.azure_devops import AzureDevOps
from tests.helpers.shop_jobs import OLD, inline, setting, shop_job
from tests.helpers.task_jobs import TaskJob

pytestmark = pytest.mark.extended


@pytest.fixture
async def job(tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[TaskJob]:
    """A job that reaches the emulated services under their real names, through a proxy."""
    async with shop_job(TaskJob, World(face="proxy"), tmp_path, installed) as job:
        yield job


async def test_dry_run_has_no_annotation(job: TaskJob) -> None:
    step = await job.run(inline(job))

    assert step.log.annotations == []
    assert step.result["summary"] == str(job.summary_file)


async def test_outputs_name_report_files_by_absolute_paths(job: TaskJob) -> None:
    step = await job.run(inline(job, dry_run="false"))

    assert step.outputs["reportPath"] == step.result["report"] == str(job.workspace / "acr-cleanup" / "report.json")
    assert step.outputs["planPath"] == str(job.workspace / "acr-cleanup" / "plan.json")


async def test_summary_uses_only_simple_markdown(job: TaskJob) -> None:
    """The tab supports no alerts, charts or folds. The summary file has the same text."""
    step = await job.run(inline(job, dry_run="false"))

    for element in ("[!", "mermaid", "<details", "<summary", "<br>"):
        assert element not in step.summary
    assert "> ✅ **" in step.summary
    assert len(step.summary.encode()) <= PLAIN.budget
    assert (job.workspace / "acr-cleanup" / "summary.md").read_text("utf-8") == step.summary


async def test_secret_of_service_connection_logs_in(job: TaskJob) -> None:
    job.environment = {"AZURE_CLIENT_SECRET": job.world.directory.client_secret}
    inputs = inline(job, auth_type="environment", log_level="debug")
    step = await job.run(inputs, without=["SYSTEM_ACCESSTOKEN", "SYSTEM_OIDCREQUESTURI"])

    assert step.code == 0, step.log.text
    assert job.world.count(service="oidc") == 0
    assert job.world.directory.client_secret not in step.log.text + step.summary + json.dumps(step.result)


async def test_debug_log_shows_no_token(job: TaskJob) -> None:
    job.environment = {"SYSTEM_DEBUG": "True"}
    step = await job.run(inline(job))

    everything = step.log.text + step.summary + json.dumps(step.result) + json.dumps(step.report)
    assert "debug: " in step.log.text
    assert job.world.directory.pipelines_access_token not in everything
    assert not re.search(r"eyJ[\w-]{20,}", everything)


async def test_ids_of_azure_cli_task_are_used(job: TaskJob) -> None:
    """AzureCLI@2 exports the ids of its connection under other names."""
    directory = job.world.directory
    job.environment = {
        "AZURESUBSCRIPTION_CLIENT_ID": directory.client_id,
        "AZURESUBSCRIPTION_TENANT_ID": directory.tenant,
    }
    step = await job.run(inline(job), without=["AZURE_CLIENT_ID", "AZURE_TENANT_ID"])
    assert step.code == 0, step.log.text


async def test_collect_reads_clusters_only(job: TaskJob) -> None:
    step = await job.run(inline(job, collect="usage/snapshot.json"))

    assert step.code == 0, step.log.text
    assert step.is_complete
    assert step.result["result"] == "success"
    assert (job.workspace / "usage" / "snapshot.json").is_file()
    assert "> ℹ️ **" in step.summary
    assert not job.world.matching(service="acr", method="DELETE")


@pytest.mark.parametrize("inputs", ["", "[]", "{"])
async def test_invalid_inputs_variable_stops_the_step(job: TaskJob, inputs: str) -> None:
    job.environment = {"ACR_CLEANUP_INPUTS": inputs}
    step = await job.run({})
    assert step.code == 2
    assert step.is_complete
    assert "ACR_CLEANUP_INPUTS" in step.log.text
    assert job.world.requests == []


@pytest.mark.parametrize("kind", ["unset", "missing", "folder"])
async def test_unwritable_result_stops_step_before_reading(job: TaskJob, kind: str) -> None:
    """No run may delete without a report."""
    paths = {"unset": "", "missing": str(job.folder / "missing" / "result.json"), "folder": str(job.folder)}
    job.environment = {"ACR_CLEANUP_RESULT": paths[kind]}
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 2
    assert "ACR_CLEANUP_RESULT" in step.log.text
    assert "Nothing was read or deleted" in step.log.text
    assert job.world.requests == []


async def test_result_that_becomes_unwritable_fails_the_step(job: TaskJob) -> None:
    """Its folder disappears during the deletions. The report and the log still show them."""
    commands = job.folder / "commands"

    async def remove_folder(_: object) -> None:
        commands.rename(job.folder / "lost")

    job.world.faults.append(Fault(service="acr", method="DELETE", times=1, before=remove_folder))
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 1
    assert "could not be reported" in step.log.text
    report = json.loads((job.workspace / "acr-cleanup" / "report.json").read_text())
    assert report["counts"]["deleted"] == 2
    assert json.loads((job.folder / "lost" / "result.json").read_text())["result"] == "failed"


async def test_missing_access_token_is_explained(job: TaskJob) -> None:
    step = await job.run(inline(job, dry_run="false"), without=["SYSTEM_ACCESSTOKEN"])

    assert step.code == 3
    assert step.is_complete
    assert step.result["result"] == "failed"
    assert "System.AccessToken" in step.log.text
    assert "System.AccessToken" in step.summary
    assert any("AcrCleanup@1" in error.message for error in step.log.of("error"))


async def test_forbidden_connection_gets_place_to_permit_it(job: TaskJob) -> None:
    job.world.faults.append(Fault(service="oidc", status=403, body={"message": "The pipeline is not authorized."}))
    step = await job.run(inline(job))

    assert step.code == 3
    assert step.is_complete
    assert "The pipeline is not authorized" in step.log.text
    assert "permit this pipeline" in step.summary
    assert job.world.count(service="entra") == 0


async def test_missing_ids_are_reported_with_other_problems(job: TaskJob) -> None:
    step = await job.run(inline(job, older_than="soon"), without=["AZURE_CLIENT_ID", "AZURE_TENANT_ID"])
    assert step.code == 2
    assert {"clientId", "tenantId", "olderThan"} == {error.title for error in step.log.of("error")}
    assert "auth-type azure-pipelines" in step.log.text


async def test_long_tag_list_is_cut_between_two_tags(job: TaskJob) -> None:
    for number in range(1500):
        job.world.registry.push("shop/web", f"2024.01.01-build-{number:06}", age=OLD)
    step = await job.run(inline(job))

    assert step.code == 0, step.log.text
    assert step.is_complete
    assert 23_900 < len(step.outputs["plannedTags"]) <= 24_000
    assert step.outputs["plannedTagsTruncated"] == "true"
    assert step.outputs["plannedCount"] == "1502"
    assert len(step.planned) < 1502
    assert step.outputs["deletedTagsTruncated"] == "false"
    assert len(step.summary.encode()) <= PLAIN.budget


async def test_killed_step_leaves_a_failed_result(job: TaskJob) -> None:
    reached = asyncio.Event()
    job.world.faults.append(Fault(service="acr", hang=60, before=setting(reached)))
    step = await job.run(inline(job, dry_run="false"), interrupt=(reached, signal.SIGKILL))

    assert step.code == -signal.SIGKILL
    assert (step.result["result"], step.result["exit_code"]) == ("failed", 1)


async def test_step_runs_like_on_windows(job: TaskJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No loop handles signals, and there is no geteuid.

    The step runs in a thread of this process.
    """

    def unknown(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.unix_events._UnixSelectorEventLoop, "add_signal_handler", unknown)
    monkeypatch.delattr(os, "geteuid")
    monkeypatch.chdir(job.workspace)
    environ: Mapping[str, str] = job.variables(inline(job))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    code = await asyncio.to_thread(pipeline.run, AzureDevOps(environ=environ), environ)

    assert code == 0
    result = json.loads(job.result_file.read_text())
    assert result["exit_code"] == 0
    assert json.loads(result["outputs"]["plannedTags"]) == ["shop/web:1.0", "shop/web:1.1"]
    assert os.access(result["report"], os.R_OK)
