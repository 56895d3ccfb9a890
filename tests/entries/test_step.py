"""
A step of either CI system, from its inputs to its outputs: the real entrypoint as a process, on
emulated worlds.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.runtimes.azure_devops import camel_case
from tests.helpers.jobs import Job
from tests.helpers.shop_jobs import HOSTILE, OLD, PROMPTLY, inline, setting, shop_job
from tests.helpers.task_jobs import TaskJob


@pytest.fixture(params=[Job, TaskJob], ids=["github", "azure-devops"])
async def job(request: pytest.FixtureRequest, tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[Job]:
    """A job that reaches the emulated services under their real names, through a proxy."""
    async with shop_job(request.param, World(face="proxy"), tmp_path, installed) as job:
        yield job


def written(job: Job, name: str) -> str:
    """Return the name of an input as a workflow of this CI system writes it."""
    return camel_case(name) if isinstance(job, TaskJob) else name


@pytest.mark.extended
async def test_step_without_dry_run_input_deletes_nothing(job: Job) -> None:
    job.from_scratch = True
    step = await job.run(inline(job))

    assert step.code == 0, step.log.text
    assert step.is_complete
    assert step.output("result") == "dry-run"
    assert step.planned == {"shop/web:1.0", "shop/web:1.1"}
    assert step.deleted == set()
    assert job.world.count(service="acr", method="DELETE") == 0
    assert f"{written(job, 'dry-run')}: false" in step.summary


async def test_step_deletes_if_dry_run_is_false(job: Job) -> None:
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 0, step.log.text
    assert step.is_complete
    assert step.output("result") == "success"
    assert step.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert step.output("deleted-count") == "2"
    assert set(job.world.registry.repositories["shop/web"].tags) == {"2.0", "latest"}
    assert step.report["counts"]["deleted"] == 2
    assert "shop/web" in step.summary


@pytest.mark.extended
async def test_each_entra_request_uses_a_new_job_token(job: Job) -> None:
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 0, step.log.text
    assert job.world.count(service="oidc") == job.world.count(service="entra", method="POST") >= 2


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.extended
async def test_refused_step_names_cluster_and_remedy(job: Job) -> None:
    """The plan is shown, and nothing is deleted."""
    job.world.clusters["second"] = ClusterState("aks-two", power_state="Stopped")
    stopped = job.world.clusters["second"]
    inputs = inline(job, dry_run="false")
    inputs["clusters"] += (
        inputs["clusters"]
        .replace("aks-prod", "aks-two")
        .replace(job.world.clusters["production"].resource_group, stopped.resource_group)
    )
    step = await job.run(inputs)

    assert step.code == 3
    assert step.is_complete
    assert step.output("result") == "aborted"
    assert step.planned == {"shop/web:1.0", "shop/web:1.1"}
    assert step.deleted == set()
    assert job.world.count(service="acr", method="DELETE") == 0
    assert any("aks-two" in error.title + error.message for error in step.log.of("error"))
    assert "az aks start" in step.summary


@pytest.mark.extended
async def test_only_cluster_stopped_refuses_the_step(job: Job) -> None:
    job.world.clusters["production"].power_state = "Stopped"
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 3
    assert step.is_complete
    assert step.output("result") in {"aborted", "failed"}
    assert any("aks-prod" in error.title + error.message for error in step.log.of("error"))
    assert "az aks start" in step.summary


@pytest.mark.extended
async def test_partial_failure_counts_and_fails_the_step(job: Job) -> None:
    """With `fail-on: none` the step succeeds."""
    digest = job.world.registry.repositories["shop/web"].tags["1.0"].digest
    job.world.faults.append(Fault(service="acr", method="DELETE", path=digest, status=403))
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 1
    assert step.is_complete
    assert step.output("result") == "partial"
    assert step.output("failed-count") == "1"
    assert step.deleted == {"shop/web:1.1"}
    assert any("shop/web:1.0" in error.title for error in step.log.of("error"))

    assert (await job.run(inline(job, dry_run="false", fail_on="none"))).code == 0


@pytest.mark.extended
async def test_all_invalid_inputs_are_reported_at_once(job: Job) -> None:
    """Each is reported by its name in the workflow."""
    invalid = {
        "registry": "http://contoso.azurecr.io", "older-than": "soon", "dry-run": "maybe",
        "keep-last": "-1", "fail-on": "eror", "report-dir": "../elsewhere",
    }  # fmt: skip
    # The task takes the ids from the service connection, so only the action can have invalid ones.
    login, ids = (job.login(), set()) if isinstance(job, TaskJob) else ({"client-id": "x"}, {"client-id", "tenant-id"})
    step = await job.run({**invalid, **login, "older_then": "30d"})

    names = {written(job, name) for name in invalid.keys() | ids}
    assert step.code == 2
    assert step.is_complete
    assert step.output("result") == "failed"
    assert {error.title for error in step.log.of("error")} == names | {"clusters"}
    for name in names:
        assert f"`{name}`" in step.summary
        assert name in step.log.text
    (warning,) = step.log.of("warning")
    assert warning.title == "Unknown input"
    assert "Did you mean older-than?" in warning.message
    assert step.deleted == set()
    assert job.world.requests == []
    assert not (job.folder / "elsewhere").exists()


@pytest.mark.extended
async def test_missing_config_file_in_empty_workspace_suggests_checkout(job: Job) -> None:
    step = await job.run({**job.login(), "config-file": "missing.yaml"})

    checkout = "checkout: self" if isinstance(job, TaskJob) else "actions/checkout"
    assert step.code == 2
    assert step.is_complete
    assert checkout in step.log.text
    assert checkout in step.summary


@pytest.mark.extended
async def test_untrusted_subject_gets_claims_and_command(job: Job) -> None:
    """The log and the summary show both in full, but never the token."""
    subject = "sc://contoso/shop/renamed" if isinstance(job, TaskJob) else "repo:contoso/shop:environment:production"
    job.world.directory.github_subject = job.world.directory.pipelines_subject = subject
    step = await job.run(inline(job))

    assert step.code == 3
    assert step.is_complete
    shown = step.log.text if isinstance(job, TaskJob) else step.log.shown
    for text in (shown, step.summary.replace("&#58;", ":").replace("&#8203;", "").replace("&#95;", "_")):
        assert "AADSTS700213" in text
        assert f"sub={subject}" in text
        assert f"az ad app federated-credential create --id {job.world.directory.client_id}" in text
        assert f'"subject": "{subject}"' in text
        assert '"audiences": ["api://AzureADTokenExchange"]}' in text
    for mask in step.log.masks:
        assert mask not in shown
        assert mask not in step.summary


# -- hostile text ----------------------------------------------------------------------------------


@pytest.mark.extended
async def test_workspace_is_never_imported(job: Job) -> None:
    """Folders in a leaked PYTHONPATH are not imported either."""
    job.from_scratch = True
    trap = "import pathlib; pathlib.Path(__file__).resolve().parent.joinpath('sprung').touch(); raise SystemExit(66)\n"
    leaked = job.folder / "leaked"
    modules = ("acr_cleanup/__init__.py", "yaml.py", "sitecustomize.py", "usercustomize.py", "actions_toolkit.py")
    for folder in (job.workspace, leaked):
        (folder / "acr_cleanup").mkdir(parents=True)
        for name in modules:
            (folder / name).write_text(trap)
    job.environment = {"PYTHONPATH": f"{leaked}:{job.workspace}", "PYTHONSTARTUP": str(leaked / "yaml.py")}
    step = await job.run(inline(job))

    assert step.code == 0, step.log.text
    assert not list(job.folder.rglob("sprung"))


@pytest.mark.extended
async def test_foreign_text_never_becomes_a_command(job: Job) -> None:
    """Image texts in pod templates may be hostile, and so may error answers of the registry."""
    cluster = job.world.clusters["production"]
    for number, text in enumerate(HOSTILE):
        image = f"{job.world.registry.login_server}/shop/web:{text}"
        cluster.add(build.cronjob("shop", f"job-{number}", [image]))
    body = json.dumps({"errors": [{"code": "DENIED", "message": "".join(HOSTILE)}]})
    job.world.faults.append(Fault(service="acr", path="_tags", status=403, body=body, after=0))
    step = await job.run(inline(job, log_level="debug", dry_run="false"))

    assert step.code == 3
    assert step.is_complete
    assert "job-0" in step.log.shown
    assert step.output("result") in {"aborted", "failed"}
    assert "<script>" not in step.summary
    step.assert_no_foreign_command()
    if not isinstance(job, TaskJob):
        # GitHub shows ten annotations of each level.
        for level in ("error", "warning", "notice"):
            assert len(step.log.of(level)) <= 10
        assert "More messages" in {error.title for error in step.log.of("error")}


# -- cancellation ----------------------------------------------------------------------------------


@pytest.mark.extended
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
async def test_cancelled_step_reports_deletions_and_starts_no_more(job: Job, number: signal.Signals, code: int) -> None:
    """The signal arrives during the deletions, one of which never gets an answer."""
    registry = job.world.registry
    for patch in range(40):
        registry.push("shop/web", f"0.{patch}", age=OLD)
    reached = asyncio.Event()
    job.world.faults.append(Fault(service="acr", method="DELETE", after=5, times=1, hang=60, before=setting(reached)))
    job.world.faults.append(Fault(service="acr", method="DELETE", latency=0.2))
    step = await job.run(inline(job, dry_run="false", concurrency="2"), interrupt=(reached, number))

    assert step.code == code, step.log.text
    assert step.seconds < PROMPTLY
    assert step.is_complete
    assert step.output("result") == "aborted"
    assert 5 <= len(step.deleted) < 42
    assert {f"shop/web:{tag}" for tag in registry.repositories["shop/web"].tags} & step.deleted == set()
    assert step.report["verdict"] == "cancelled"
    assert step.report["counts"]["deleted"] == len(step.deleted)
    assert job.world.count(service="acr", method="DELETE") < 20
    assert "ancelled" in step.summary


@pytest.mark.extended
@pytest.mark.parametrize("service", ["oidc", "entra", "arm", "acr"])
async def test_step_cancelled_while_reading_ends_at_once(job: Job, service: str) -> None:
    reached = asyncio.Event()
    job.world.faults.append(Fault(service=service, hang=60, before=setting(reached)))
    step = await job.run(inline(job, dry_run="false"), interrupt=(reached, signal.SIGTERM))

    assert step.code == 143, step.log.text
    assert step.seconds < PROMPTLY
    assert step.is_complete
    assert step.output("result") == "aborted"
    assert step.report["verdict"] == "cancelled"
    assert step.deleted == set()
    assert "ancelled" in step.summary
