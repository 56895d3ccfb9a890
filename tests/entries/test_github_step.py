"""A step of GitHub Actions: permissions, the runner's files, and the workspace."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from acr_cleanup.emulator import World
from tests.helpers.jobs import Job
from tests.helpers.shop_jobs import PROMPTLY, inline, shop_job

pytestmark = pytest.mark.extended


@pytest.fixture
async def job(tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[Job]:
    """A job that reaches the emulated services under their real names, through a proxy."""
    async with shop_job(Job, World(face="proxy"), tmp_path, installed) as job:
        yield job


async def test_dry_run_has_one_notice(job: Job) -> None:
    step = await job.run(inline(job))

    assert [annotation.level for annotation in step.log.annotations] == ["notice"]
    assert step.log.others == []


async def test_outputs_name_report_files_relative_to_workspace(job: Job) -> None:
    step = await job.run(inline(job, dry_run="false"))

    assert step.outputs["report-path"] == "acr-cleanup/report.json"
    assert step.outputs["plan-path"] == "acr-cleanup/plan.json"
    assert len(step.log.groups) == 2


async def test_values_of_file_survive_empty_inputs(tmp_path: Path, installed: tuple[Path, Path]) -> None:
    """The file also names endpoints, which no input can."""
    async with shop_job(Job, World(), tmp_path, installed) as job:
        config = job.write_config({"exclude_tags": ["1.0"]})
        inputs = {"config-file": config, "exclude-tags": "", "registry": "", "clusters": "", "dry-run": "false"}
        step = await job.run(job.login() | inputs)

        assert step.code == 0, step.log.text
        assert step.deleted == {"shop/web:1.1"}
        assert job.world.count(service="oidc") > 0


async def test_every_token_is_masked_and_never_shown(job: Job) -> None:
    step = await job.run(inline(job))

    assert len(set(step.log.masks)) == len(step.log.masks) >= 4
    for mask in step.log.masks:
        assert mask not in step.log.shown
        assert mask not in step.summary
        assert mask not in json.dumps(step.report)


async def test_service_principal_in_environment_logs_in(job: Job) -> None:
    job.environment = {name: value for name, value in job.emulator.environment().items() if name.startswith("AZURE_")}
    step = await job.run(inline(job, auth_type="environment"))

    assert step.code == 0, step.log.text
    assert job.world.count(service="oidc") == 0
    assert "emulator-secret" in step.log.masks
    assert "emulator-secret" not in step.log.shown


async def test_no_login_but_the_chosen_one_is_tried(job: Job) -> None:
    """A valid secret in the environment is not used."""
    job.world.directory.federated.clear()
    job.environment = {name: value for name, value in job.emulator.environment().items() if name.startswith("AZURE_")}
    step = await job.run(inline(job))

    assert step.code == 3
    assert step.outputs["result"] == "failed"
    assert job.world.count(service="acr") == 0


async def test_planned_deletions_can_fail_the_step(job: Job) -> None:
    assert (await job.run(inline(job, fail_on="planned-deletions"))).code == 1
    assert (await job.run(inline(job, fail_on="planned-deletions", older_than="1000d"))).code == 0


@pytest.mark.parametrize(("name", "seen"), [("missing.yaml", "no such file"), ("folder", "is a folder")])
async def test_unreadable_config_file_is_explained(job: Job, name: str, seen: str) -> None:
    (job.workspace / "folder").mkdir()
    step = await job.run({**job.login(), "config-file": name})

    assert step.code == 2
    assert seen in step.log.shown
    assert seen in step.summary


async def test_missing_permission_is_named(job: Job) -> None:
    step = await job.run(inline(job), without=["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])

    assert step.code == 3
    assert "id-token: write" in step.log.shown
    assert "id-token: write" in step.summary
    assert step.is_complete


async def test_pull_request_from_fork_is_explained(job: Job) -> None:
    event = job.folder / "event.json"
    sides = {"head": {"repo": {"full_name": "mallory/shop"}}, "base": {"repo": {"full_name": "contoso/shop"}}}
    event.write_text(json.dumps({"pull_request": sides}))
    job.environment = {"GITHUB_EVENT_PATH": str(event)}
    step = await job.run(inline(job), without=["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])

    assert step.code == 3
    assert "fork (mallory/shop)" in step.log.shown
    assert "fork" in step.summary


async def test_unknown_application_is_reported_by_input_names(job: Job) -> None:
    step = await job.run(inline(job, client_id="99999999-9999-9999-9999-999999999999"))

    assert step.code == 3
    assert "Check client-id and tenant-id" in step.log.shown


@pytest.mark.parametrize("missing", ["output", "summary"])
async def test_missing_runner_file_still_reports_deletions(job: Job, missing: str) -> None:
    (job.folder / "commands" / missing).unlink()
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 1
    assert any(error.title == "Report incomplete" for error in step.log.of("error"))
    report = json.loads((job.workspace / "acr-cleanup" / "report.json").read_text())
    assert report["counts"]["deleted"] == 2
    assert "shop/web" in (step.summary if missing == "output" else json.dumps(step.outputs))


async def test_read_only_workspace_gets_reports_in_temporary_folder(job: Job) -> None:
    job.workspace.chmod(0o555)
    job.obeys_modes = True
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 0, step.log.text
    assert step.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert [warning.title for warning in step.log.of("warning")] == ["Report files"]
    assert step.outputs["report-path"].startswith(str(job.folder / "temp"))
    assert step.report["counts"]["deleted"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_report_files_belong_to_owner_of_workspace(job: Job) -> None:
    os.chown(job.workspace, 1001, 1002)
    await job.run(inline(job, report_dir="out/reports"))

    paths = [job.workspace / "out", *(job.workspace / "out").rglob("*")]
    assert len(paths) == 6
    assert {(path.stat().st_uid, path.stat().st_gid) for path in paths} == {(1001, 1002)}


async def test_report_folder_outside_workspace_is_refused(job: Job) -> None:
    (job.workspace / "link").symlink_to(job.folder / "home")
    for folder in ("../x", "/etc/acr-cleanup", "link/x", "a/../../x"):
        step = await job.run(inline(job, report_dir=folder))
        assert step.code == 2
        assert [error.title for error in step.log.of("error")] == ["report-dir"]
    step = await job.run(inline(job, report_dir=str(job.workspace / "deep" / "er")))
    assert step.outputs["report-path"] == "deep/er/report.json"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_ledger_belongs_to_owner_of_workspace(job: Job) -> None:
    """A dry run writes it, and a later step saves it."""
    os.chown(job.workspace, 1001, 1002)
    await job.run(inline(job, ledger="hand/on/ledger.json"))

    paths = [job.workspace / "hand", *(job.workspace / "hand").rglob("*")]
    assert [path.name for path in paths] == ["hand", "on", "ledger.json"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in paths} == {(1001, 1002)}


async def test_ledger_outside_workspace_is_refused(job: Job) -> None:
    step = await job.run(inline(job, ledger="../ledger.json"))

    assert step.code == 2
    assert [error.title for error in step.log.of("error")] == ["ledger"]


async def test_step_cancelled_while_loading_config_reports_it(job: Job) -> None:
    """The configuration is a pipe that delivers nothing."""
    pipe = job.workspace / "never.yaml"
    os.mkfifo(pipe)
    reading = asyncio.Event()

    async def hold() -> None:
        writer = None
        while writer is None:
            await asyncio.sleep(0.01)
            with suppress(OSError):
                writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        reading.set()
        # A signal between two instructions does not wake the reader. A real file would not block
        # it.
        await asyncio.sleep(1)
        os.close(writer)

    holding = asyncio.create_task(hold())
    step = await job.run({**job.login(), "config-file": "never.yaml"}, interrupt=(reading, signal.SIGTERM))
    await holding

    assert step.code == 143
    assert step.seconds < PROMPTLY
    assert "ancelled" in step.summary
    assert step.is_complete
