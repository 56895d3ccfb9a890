"""A step of Azure Pipelines from its inputs to its result: the real entrypoint, as the task starts it, on emulated worlds."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup import pipeline
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.reports import outputs as report_outputs
from acr_cleanup.reports.dialect import PLAIN
from acr_cleanup.runtimes.azure_devops import AzureDevOps, camel_case
from tests.helpers.jobs import TaskJob, TaskStep, install

OLD = timedelta(days=100)
PROMPTLY = 20.0
"""Seconds. The agent leaves ten (7.5 after SIGINT, 2.5 after SIGTERM); tests share their machine."""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    return install(folder)


async def serve(world: World, folder: Path, installed: tuple[Path, Path]) -> AsyncIterator[TaskJob]:
    registry = world.registry
    for name in ("1.0", "1.1", "2.0", "latest"):
        registry.push("shop/web", name, age=OLD)
    cluster = ClusterState("aks-prod")
    world.clusters["production"] = cluster
    async with Emulator(world) as emulator:
        cluster.run(build.deployment("shop", "web", [registry.image("shop/web", "2.0")]))
        job = TaskJob(emulator, folder, *installed)
        job.trust()
        yield job


@pytest.fixture
async def job(tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[TaskJob]:
    """A job with a service connection, at a shop with two tags to delete; real host names, by proxy."""
    async for served in serve(World(face="proxy"), tmp_path, installed):
        yield served


def inline(job: TaskJob, **more: str) -> dict[str, str]:
    cluster = job.world.clusters["production"]
    resource_id = (
        f"/subscriptions/{cluster.subscription_id}/resourceGroups/{cluster.resource_group}"
        f"/providers/Microsoft.ContainerService/managedClusters/{cluster.name}"
    )
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {**job.login(), "registry": "contoso", "clusters": resource_id, **named}


def complete(step: TaskStep) -> bool:
    """Every output there is, and the same code on both ways."""
    return (
        set(step.outputs) == {camel_case(name) for name in report_outputs.NAMES}
        and step.result["exit_code"] == step.code
        and step.result["result"] == step.outputs["result"]
    )


# -- what it does ----------------------------------------------------------------------------------------------


async def test_without_further_ado_it_is_a_dry_run(job: TaskJob) -> None:
    job.from_scratch = True
    step = await job.task(inline(job))

    assert step.code == 0, step.log
    assert complete(step)
    assert step.result["result"] == "dry-run"
    assert step.planned == {"shop/web:1.0", "shop/web:1.1"}
    assert step.deleted == set()
    assert job.world.count(service="acr", method="DELETE") == 0
    assert step.result["annotations"] == []
    assert "dryRun: false" in step.summary
    assert step.result["summary"] == str(job.summary_file)


async def test_it_deletes_when_told_to_by_tokens_of_the_service_connection(job: TaskJob) -> None:
    step = await job.task(inline(job, dry_run="false"))

    assert step.code == 0, step.log
    assert complete(step)
    assert step.result["result"] == "success"
    assert step.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert set(job.world.registry.repositories["shop/web"].tags) == {"2.0", "latest"}
    assert job.world.count(service="oidc") == job.world.count(service="entra", method="POST") >= 2
    assert step.outputs["reportPath"] == step.result["report"] == str(job.workspace / "acr-cleanup" / "report.json")
    assert step.outputs["planPath"] == str(job.workspace / "acr-cleanup" / "plan.json")
    assert step.report["counts"]["deleted"] == 2


async def test_the_summary_is_what_the_tab_can_show(job: TaskJob) -> None:
    """No boxes, no charts, nothing to fold; the file beside the reports is the same."""
    step = await job.task(inline(job, dry_run="false"))

    for element in ("[!", "mermaid", "<details", "<summary", "<br>"):
        assert element not in step.summary
    assert "> ✅ **" in step.summary
    assert "████" in step.summary
    assert len(step.summary.encode()) <= PLAIN.budget
    assert (job.workspace / "acr-cleanup" / "summary.md").read_text("utf-8") == step.summary


async def test_a_secret_of_the_service_connection_is_used_when_it_has_one(job: TaskJob) -> None:
    job.environment = {"AZURE_CLIENT_SECRET": job.world.directory.client_secret}
    given = inline(job, auth_type="environment", log_level="debug")
    step = await job.task(given, without=["SYSTEM_ACCESSTOKEN", "SYSTEM_OIDCREQUESTURI"])

    assert step.code == 0, step.log
    assert job.world.count(service="oidc") == 0
    assert job.world.directory.client_secret not in step.log + step.summary + json.dumps(step.result)


async def test_no_token_is_shown_anywhere_even_in_a_debug_log(job: TaskJob) -> None:
    job.environment = {"SYSTEM_DEBUG": "True"}
    step = await job.task(inline(job))

    everything = step.log + step.summary + json.dumps(step.result) + json.dumps(step.report)
    assert "debug: " in step.log
    assert job.world.directory.pipelines_access_token not in everything
    assert not re.search(r"eyJ[\w-]{20,}", everything)


async def test_inside_a_step_that_logs_in_by_itself_its_own_variables_are_enough(job: TaskJob) -> None:
    """AzureCLI@2 and its kin export the ids of their connection under other names."""
    directory = job.world.directory
    job.environment = {
        "AZURESUBSCRIPTION_CLIENT_ID": directory.client_id,
        "AZURESUBSCRIPTION_TENANT_ID": directory.tenant,
    }
    step = await job.task(inline(job), without=["AZURE_CLIENT_ID", "AZURE_TENANT_ID"])
    assert step.code == 0, step.log


async def test_clusters_are_collected_and_nothing_is_decided(job: TaskJob) -> None:
    step = await job.task(inline(job, collect="usage/snapshot.json"))

    assert step.code == 0, step.log
    assert complete(step)
    assert step.result["result"] == "success"
    assert (job.workspace / "usage" / "snapshot.json").is_file()
    assert "> ℹ️ **" in step.summary
    assert job.world.count(service="acr") == 0


# -- what stops it ---------------------------------------------------------------------------------------------


async def test_a_partial_failure_is_one_that_the_task_can_tell_from_others(job: TaskJob) -> None:
    digest = job.world.registry.repositories["shop/web"].tags["1.0"].digest
    job.world.faults.append(Fault(service="acr", method="DELETE", path=digest, status=403))
    step = await job.task(inline(job, dry_run="false"))

    assert (step.code, step.result["result"]) == (1, "partial")
    assert complete(step)
    assert step.outputs["failedCount"] == "1"
    assert step.deleted == {"shop/web:1.1"}
    assert any("shop/web:1.0" in each.title for each in step.of("error"))


async def test_a_refusal_says_why(job: TaskJob) -> None:
    job.world.clusters["production"].power_state = "Stopped"
    step = await job.task(inline(job, dry_run="false"))

    assert step.code == 3
    assert complete(step)
    assert step.result["result"] in {"aborted", "failed"}
    assert any("aks-prod" in each.title + each.message for each in step.of("error"))
    assert "az aks start" in step.summary


async def test_all_wrong_inputs_are_told_at_once_by_the_names_of_the_task(job: TaskJob) -> None:
    given = {
        "auth-type": "azure-pipelines", "registry": "http://contoso.azurecr.io", "older-than": "soon",
        "keep-last": "-1", "report-dir": "../elsewhere", "older_then": "30d",
    }  # fmt: skip
    step = await job.task(given)

    assert step.code == 2
    assert complete(step)
    assert step.result["result"] == "failed"
    wrong = {"registry", "olderThan", "keepLast", "reportDir", "clusters"}
    assert {each.title for each in step.of("error")} == wrong
    assert [each.title for each in step.of("warning")] == ["Unknown input"]
    for name in wrong:
        assert f"`{name}`" in step.summary
        assert name in step.log
    assert "> ❌ **" in step.summary
    assert job.world.requests == []


async def test_a_file_that_nobody_checked_out_is_told_so(job: TaskJob) -> None:
    step = await job.task({**job.login(), "config-file": "cleanup.yaml"})
    assert step.code == 2
    assert "checkout: self" in step.log
    assert complete(step)


@pytest.mark.parametrize("inputs", ["", "[]", "{"])
async def test_inputs_that_cannot_be_read_stop_it(job: TaskJob, inputs: str) -> None:
    job.environment = {"ACR_CLEANUP_INPUTS": inputs}
    step = await job.task({})
    assert step.code == 2
    assert complete(step)
    assert "ACR_CLEANUP_INPUTS" in step.log
    assert job.world.requests == []


@pytest.mark.parametrize("kind", ["unset", "missing", "folder"])
async def test_a_result_that_cannot_be_written_stops_it_before_anything_is_read(job: TaskJob, kind: str) -> None:
    """A run that deletes must be reported."""
    named = {"unset": "", "missing": str(job.folder / "missing" / "result.json"), "folder": str(job.folder)}[kind]
    job.environment = {"ACR_CLEANUP_RESULT": named}
    step = await job.task(inline(job, dry_run="false"))

    assert step.code == 2
    assert "ACR_CLEANUP_RESULT" in step.log
    assert "Nothing was read or deleted" in step.log
    assert job.world.requests == []


async def test_a_result_that_cannot_be_written_later_is_told_and_fails_the_step(job: TaskJob) -> None:
    """In the middle of deleting, its folder goes: what was deleted is still in the report and in the log."""
    commands = job.folder / "commands"

    async def lose(_: object) -> None:
        commands.rename(job.folder / "lost")

    job.world.faults.append(Fault(service="acr", method="DELETE", times=1, before=lose))
    step = await job.task(inline(job, dry_run="false"))

    assert step.code == 1
    assert "could not be reported" in step.log
    report = json.loads((job.workspace / "acr-cleanup" / "report.json").read_text())
    assert report["counts"]["deleted"] == 2
    assert json.loads((job.folder / "lost" / "result.json").read_text())["result"] == "failed"


# -- the login -------------------------------------------------------------------------------------------------


async def test_a_job_without_its_access_token_is_told_so(job: TaskJob) -> None:
    step = await job.task(inline(job, dry_run="false"), without=["SYSTEM_ACCESSTOKEN"])

    assert step.code == 3
    assert complete(step)
    assert step.result["result"] == "failed"
    assert "System.AccessToken" in step.log
    assert "System.AccessToken" in step.summary
    assert any("AcrCleanup@1" in each.message for each in step.of("error"))


async def test_a_service_connection_without_rights_is_told_with_where_to_permit_it(job: TaskJob) -> None:
    job.world.faults.append(Fault(service="oidc", status=403, body={"message": "The pipeline is not authorized."}))
    step = await job.task(inline(job))

    assert step.code == 3
    assert complete(step)
    assert "The pipeline is not authorized" in step.log
    assert "permit this pipeline" in step.summary
    assert job.world.count(service="entra") == 0


async def test_a_subject_that_nobody_trusts_is_told_with_the_command_that_helps(job: TaskJob) -> None:
    job.world.directory.pipelines_subject = "sc://contoso/shop/renamed"
    step = await job.task(inline(job))

    assert step.code == 3
    command = f"az ad app federated-credential create --id {job.world.directory.client_id}"
    for text in (step.log, step.summary):
        assert "AADSTS700213" in text
        assert command in text
        assert '"subject": "sc://contoso/shop/renamed"' in text.replace("&#8203;", "")


async def test_no_client_id_is_told_with_the_other_mistakes(job: TaskJob) -> None:
    step = await job.task(inline(job, older_than="soon"), without=["AZURE_CLIENT_ID", "AZURE_TENANT_ID"])
    assert step.code == 2
    assert {"clientId", "tenantId", "olderThan"} == {each.title for each in step.of("error")}
    assert "auth-type azure-pipelines" in step.log


# -- what is hostile -------------------------------------------------------------------------------------------

HOSTILE = (
    "##vso[task.setvariable variable=PATH]evil",
    "\n##vso[task.complete result=Succeeded]",
    "\r\n  ##[error]boo",
    "x ##vso[task.uploadfile]/etc/passwd",
    "\x1b[2J",
    "</details><script>alert(1)</script>",
    "a<br>\n===\n# b",
    "| a | `b` | [x](https://evil.example)",
)


async def test_no_foreign_text_becomes_a_command(job: TaskJob) -> None:
    cluster = job.world.clusters["production"]
    for number, text in enumerate(HOSTILE):
        image = f"{job.world.registry.login_server}/shop/web:{text}"
        cluster.add(build.cronjob("shop", f"job-{number}", [image]))
    body = json.dumps({"errors": [{"code": "DENIED", "message": "".join(HOSTILE)}]})
    job.world.faults.append(Fault(service="acr", path="_tags", status=403, body=body, after=0))
    step = await job.task(inline(job, log_level="debug", dry_run="false"))

    assert step.code == 3
    assert complete(step)
    assert "job-0" in step.log
    everything = step.log + step.summary + job.result_file.read_text() + json.dumps(step.result, ensure_ascii=False)
    assert not re.search(r"##(vso)?\[", everything)
    assert "\x1b" not in everything
    assert "<script>" not in step.summary
    assert "\n===" not in step.summary
    assert "\n# b" not in step.summary


async def test_the_workspace_is_never_imported(job: TaskJob) -> None:
    job.from_scratch = True
    trap = "import pathlib; pathlib.Path(__file__).resolve().parent.joinpath('sprung').touch(); raise SystemExit(66)\n"
    (job.workspace / "acr_cleanup").mkdir()
    for name in ("acr_cleanup/__init__.py", "yaml.py", "sitecustomize.py"):
        (job.workspace / name).write_text(trap)
    job.environment = {"PYTHONPATH": str(job.workspace)}
    assert (await job.task(inline(job))).code == 0
    assert not list(job.folder.rglob("sprung"))


async def test_more_tags_than_a_variable_takes_are_cut_between_two(job: TaskJob) -> None:
    for number in range(1500):
        job.world.registry.push("shop/web", f"2024.01.01-build-{number:06}", age=OLD)
    step = await job.task(inline(job))

    assert step.code == 0, step.log
    assert complete(step)
    assert 23_900 < len(step.outputs["plannedTags"]) <= 24_000
    assert step.outputs["plannedTagsTruncated"] == "true"
    assert step.outputs["plannedCount"] == "1502"
    assert len(step.planned) < 1502
    assert step.outputs["deletedTagsTruncated"] == "false"
    assert len(step.summary.encode()) <= PLAIN.budget


# -- being cancelled -------------------------------------------------------------------------------------------


def event_at(event: asyncio.Event) -> Any:
    async def reached(_: object) -> None:
        event.set()

    return reached


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_cancelled_job_reports_what_it_deleted_and_starts_no_more(
    job: TaskJob, number: signal.Signals, code: int
) -> None:
    registry = job.world.registry
    for each in range(40):
        registry.push("shop/web", f"0.{each}", age=OLD)
    reached = asyncio.Event()
    job.world.faults.append(Fault(service="acr", method="DELETE", after=5, times=1, hang=60, before=event_at(reached)))
    job.world.faults.append(Fault(service="acr", method="DELETE", latency=0.2))
    step = await job.task(inline(job, dry_run="false", concurrency="2"), interrupt=(reached, number))

    assert step.code == code, step.log
    assert step.seconds < PROMPTLY
    assert complete(step)
    assert step.result["result"] == "aborted"
    assert 5 <= len(step.deleted) < 42
    assert {f"shop/web:{tag}" for tag in registry.repositories["shop/web"].tags} & step.deleted == set()
    assert step.report["counts"]["deleted"] == len(step.deleted)
    assert job.world.count(service="acr", method="DELETE") < 20
    assert "ancelled" in step.summary


@pytest.mark.parametrize("service", ["oidc", "acr"])
async def test_a_job_cancelled_while_it_reads_says_so_at_once(job: TaskJob, service: str) -> None:
    reached = asyncio.Event()
    job.world.faults.append(Fault(service=service, hang=60, before=event_at(reached)))
    step = await job.task(inline(job, dry_run="false"), interrupt=(reached, signal.SIGTERM))

    assert step.code == 143, step.log
    assert step.seconds < PROMPTLY
    assert complete(step)
    assert step.result["result"] == "aborted"
    assert step.deleted == set()


async def test_who_is_killed_has_said_that_it_failed(job: TaskJob) -> None:
    reached = asyncio.Event()
    job.world.faults.append(Fault(service="acr", hang=60, before=event_at(reached)))
    step = await job.task(inline(job, dry_run="false"), interrupt=(reached, signal.SIGKILL))

    assert step.code == -signal.SIGKILL
    assert (step.result["result"], step.result["exit_code"]) == ("failed", 1)


# -- in this process -------------------------------------------------------------------------------------------


async def test_the_same_in_this_process_and_as_if_it_were_windows(
    job: TaskJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no loop listens for signals and nobody is root; beside the emulator's own loop."""

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
