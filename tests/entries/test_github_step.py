"""The action from its inputs to its outputs: the real entrypoint in a process of its own, on emulated worlds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.reports import outputs as report_outputs
from tests.helpers.jobs import Job, install

OLD = timedelta(days=100)
PROMPTLY = 20.0
"""Seconds. The promise is five on a machine of its own; tests share theirs, and what they wait for would take sixty."""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    return install(folder)


async def serve(world: World, folder: Path, installed: tuple[Path, Path]) -> AsyncIterator[Job]:
    registry = world.registry
    for name in ("1.0", "1.1", "2.0"):
        registry.push("shop/web", name, age=OLD)
    registry.push("shop/web", "latest", age=OLD)
    cluster = ClusterState("aks-prod")
    world.clusters["production"] = cluster
    async with Emulator(world) as emulator:
        cluster.run(build.deployment("shop", "web", [registry.image("shop/web", "2.0")]))
        job = Job(emulator, folder, *installed)
        job.trust()
        yield job


@pytest.fixture
async def job(tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[Job]:
    """A job that may log in, at a shop with two tags to delete; real host names, by proxy."""
    async for served in serve(World(face="proxy"), tmp_path, installed):
        yield served


def inline(job: Job, **more: str) -> dict[str, str]:
    """Everything by inputs."""
    cluster = job.world.clusters["production"]
    resource_id = (
        f"/subscriptions/{cluster.subscription_id}/resourceGroups/{cluster.resource_group}"
        f"/providers/Microsoft.ContainerService/managedClusters/{cluster.name}"
    )
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {**job.login(), "registry": "contoso", "clusters": f"# production\n{resource_id}\n", **named}


def complete(values: Mapping[str, str]) -> bool:
    return set(values) == set(report_outputs.NAMES)


# -- what it does ----------------------------------------------------------------------------------------------


async def test_without_further_ado_it_is_a_dry_run(job: Job) -> None:
    job.from_scratch = True
    step = await job.run(inline(job))

    assert step.code == 0, step.log.text
    assert step.outputs["result"] == "dry-run"
    assert step.planned == {"shop/web:1.0", "shop/web:1.1"}
    assert step.deleted == set()
    assert job.world.count(service="acr", method="DELETE") == 0
    assert complete(step.outputs)
    assert "dry-run: false" in step.summary
    assert [each.level for each in step.log.annotations] == ["notice"]
    assert step.log.others == []


async def test_it_deletes_when_told_to(job: Job) -> None:
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 0, step.log.text
    assert step.outputs["result"] == "success"
    assert step.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert step.outputs["deleted-count"] == "2"
    assert set(job.world.registry.repositories["shop/web"].tags) == {"2.0", "latest"}
    assert step.outputs["report-path"] == "acr-cleanup/report.json"
    assert step.outputs["plan-path"] == "acr-cleanup/plan.json"
    assert step.report["counts"]["deleted"] == 2
    assert len(step.log.groups) == 2
    assert "shop/web" in step.summary


async def test_a_file_alone_says_everything_and_its_values_hold(tmp_path: Path, installed: tuple[Path, Path]) -> None:
    """Also where the inputs arrive empty, and with endpoints that only the file can name."""
    async for job in serve(World(), tmp_path, installed):
        config = job.write_config({"exclude_tags": ["1.0"]})
        given = {"config-file": config, "exclude-tags": "", "registry": "", "clusters": "", "dry-run": "false"}
        step = await job.run(job.login() | given)

        assert step.code == 0, step.log.text
        assert step.deleted == {"shop/web:1.1"}
        assert job.world.count(service="oidc") > 0


async def test_every_token_of_entra_is_asked_for_with_a_fresh_one_of_the_job(job: Job) -> None:
    step = await job.run(inline(job))

    assert job.world.count(service="oidc") == job.world.count(service="entra", method="POST") >= 2
    assert len(set(step.log.masks)) == len(step.log.masks) >= 4
    for mask in step.log.masks:
        assert mask not in step.log.shown
        assert mask not in step.summary
        assert mask not in json.dumps(step.report)


async def test_a_service_principal_in_the_environment_is_used_when_chosen(job: Job) -> None:
    job.environment = {name: value for name, value in job.emulator.environment().items() if name.startswith("AZURE_")}
    step = await job.run(inline(job, auth_type="environment"))

    assert step.code == 0, step.log.text
    assert job.world.count(service="oidc") == 0
    assert "emulator-secret" in step.log.masks
    assert "emulator-secret" not in step.log.shown


async def test_no_other_login_is_tried_than_the_chosen_one(job: Job) -> None:
    """A secret that works is at hand, and must not be touched."""
    job.world.directory.federated.clear()
    job.environment = {name: value for name, value in job.emulator.environment().items() if name.startswith("AZURE_")}
    step = await job.run(inline(job))

    assert step.code == 3
    assert step.outputs["result"] == "failed"
    assert job.world.count(service="acr") == 0


# -- what stops it ---------------------------------------------------------------------------------------------


async def test_a_refusal_says_why_and_shows_the_plan(job: Job) -> None:
    job.world.clusters["second"] = ClusterState("aks-two", power_state="Stopped")
    stopped = job.world.clusters["second"]
    given = inline(job, dry_run="false")
    given["clusters"] += (
        given["clusters"]
        .replace("aks-prod", "aks-two")
        .replace(job.world.clusters["production"].resource_group, stopped.resource_group)
    )
    step = await job.run(given)

    assert step.code == 3
    assert step.outputs["result"] == "aborted"
    assert step.planned == {"shop/web:1.0", "shop/web:1.1"}
    assert step.deleted == set()
    assert job.world.count(service="acr", method="DELETE") == 0
    assert any("aks-two" in each.title + each.message for each in step.log.of("error"))
    assert "az aks start" in step.summary
    assert complete(step.outputs)


async def test_a_partial_failure_counts_and_fails_the_step_unless_waived(job: Job) -> None:
    digest = job.world.registry.repositories["shop/web"].tags["1.0"].digest
    job.world.faults.append(Fault(service="acr", method="DELETE", path=digest, status=403))
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 1
    assert step.outputs["result"] == "partial"
    assert step.outputs["failed-count"] == "1"
    assert step.deleted == {"shop/web:1.1"}
    assert any("shop/web:1.0" in each.title for each in step.log.of("error"))

    assert (await job.run(inline(job, dry_run="false", fail_on="none"))).code == 0


async def test_a_plan_that_selects_something_may_fail_the_step(job: Job) -> None:
    assert (await job.run(inline(job, fail_on="planned-deletions"))).code == 1
    assert (await job.run(inline(job, fail_on="planned-deletions", older_than="1000d"))).code == 0


async def test_all_wrong_inputs_are_told_at_once(job: Job) -> None:
    given = {
        "client-id": "x", "registry": "http://contoso.azurecr.io", "older-than": "soon", "dry-run": "maybe",
        "keep-last": "-1", "fail-on": "eror", "report-dir": "../elsewhere", "older_then": "30d",
    }  # fmt: skip
    step = await job.run(given)

    wrong = {"client-id", "tenant-id", "registry", "older-than", "dry-run", "keep-last", "fail-on", "report-dir"}
    assert step.code == 2
    told = {each.title for each in step.log.of("error")}
    assert wrong | {"clusters"} == told
    assert complete(step.outputs)
    assert step.outputs["result"] == "failed"
    assert step.deleted == set()
    for name in wrong:
        assert f"`{name}`" in step.summary
    assert [each.title for each in step.log.of("warning")] == ["Unknown input"]
    assert "Did you mean older-than?" in step.log.of("warning")[0].message
    assert job.world.requests == []
    assert not (job.folder / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["missing", "folder", "empty workspace"])
async def test_a_config_file_that_is_none_is_told_in_words(job: Job, kind: str) -> None:
    if kind != "empty workspace":
        (job.workspace / "folder").mkdir()
    step = await job.run({**job.login(), "config-file": "folder" if kind == "folder" else "missing.yaml"})

    assert step.code == 2
    shown = step.log.shown
    expected = {"missing": "no such file", "folder": "is a folder", "empty workspace": "actions/checkout"}[kind]
    assert expected in shown
    assert expected in step.summary


# -- the login -------------------------------------------------------------------------------------------------


async def test_a_job_without_the_permission_is_told_which(job: Job) -> None:
    step = await job.run(inline(job), without=["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])

    assert step.code == 3
    assert "id-token: write" in step.log.shown
    assert "id-token: write" in step.summary
    assert complete(step.outputs)


async def test_a_pull_request_from_a_fork_is_told_so(job: Job) -> None:
    event = job.folder / "event.json"
    sides = {"head": {"repo": {"full_name": "mallory/shop"}}, "base": {"repo": {"full_name": "contoso/shop"}}}
    event.write_text(json.dumps({"pull_request": sides}))
    job.environment = {"GITHUB_EVENT_PATH": str(event)}
    step = await job.run(inline(job), without=["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])

    assert step.code == 3
    assert "fork (mallory/shop)" in step.log.shown
    assert "fork" in step.summary


async def test_a_subject_that_nobody_trusts_is_told_with_the_command_that_helps(job: Job) -> None:
    """And with what the token says, in the log and in the summary, whole; never the token."""
    job.world.directory.github_subject = "repo:contoso/shop:environment:production"
    step = await job.run(inline(job))

    assert step.code == 3
    for text in (step.log.shown, step.summary.replace("&#58;", ":").replace("&#8203;", "").replace("&#95;", "_")):
        assert "AADSTS700213" in text
        assert "sub=repo:contoso/shop:environment:production" in text
        assert f"az ad app federated-credential create --id {job.world.directory.client_id}" in text
        assert '"subject": "repo:contoso/shop:environment:production"' in text
        assert '"audiences": ["api://AzureADTokenExchange"]}' in text
    for mask in step.log.masks:
        assert mask not in step.log.shown
        assert mask not in step.summary


async def test_an_unknown_application_is_told_by_the_name_of_its_input(job: Job) -> None:
    step = await job.run(inline(job, client_id="99999999-9999-9999-9999-999999999999"))

    assert step.code == 3
    assert "Check client-id and tenant-id" in step.log.shown


# -- what is hostile -------------------------------------------------------------------------------------------


async def test_the_workspace_is_never_imported(job: Job) -> None:
    """Nor what a leaked PYTHONPATH names."""
    job.from_scratch = True
    trap = "import pathlib; pathlib.Path(__file__).resolve().parent.joinpath('sprung').touch(); raise SystemExit(66)\n"
    leaked = job.folder / "leaked"
    for folder in (job.workspace, leaked):
        (folder / "acr_cleanup").mkdir(parents=True)
        for name in (
            "acr_cleanup/__init__.py",
            "yaml.py",
            "sitecustomize.py",
            "usercustomize.py",
            "actions_toolkit.py",
        ):
            (folder / name).write_text(trap)
    job.environment = {"PYTHONPATH": str(leaked), "PYTHONSTARTUP": str(leaked / "yaml.py")}
    step = await job.run(inline(job))

    assert step.code == 0, step.log.text
    assert not list(job.folder.rglob("sprung"))


HOSTILE = (
    "::add-mask::contoso",
    "\n::set-output name=result::success",
    "\r\n  ::error::boo",
    "##[error]boo",
    "##vso[task.setvariable variable=PATH]evil",
    "%0A::stop-commands::x",
    "\x1b[2J",
    "</details><script>alert(1)</script>",
    "| a | `b` | [x](https://evil.example)",
)


async def test_no_foreign_text_becomes_a_command(job: Job) -> None:
    """Image strings in pod templates may hold anything, and an error answer of the registry as well."""
    cluster = job.world.clusters["production"]
    for number, text in enumerate(HOSTILE):
        image = f"{job.world.registry.login_server}/shop/web:{text}"
        cluster.add(build.cronjob("shop", f"job-{number}", [image]))
    body = json.dumps({"errors": [{"code": "DENIED", "message": "".join(HOSTILE)}]})
    job.world.faults.append(Fault(service="acr", path="_tags", status=403, body=body, after=0))
    step = await job.run(inline(job, log_level="debug", dry_run="false"))

    assert step.code == 3
    assert "job-0" in step.log.shown
    assert step.log.others == []
    assert {each.level for each in step.log.annotations} <= {"error", "warning", "notice"}
    assert "contoso" not in step.log.masks
    assert step.outputs["result"] in {"aborted", "failed"}
    assert complete(step.outputs)
    assert "\x1b" not in step.log.text + step.summary
    assert "<script>" not in step.summary
    for level in ("error", "warning", "notice"):
        assert len(step.log.of(level)) <= 10
    assert "More messages" in {each.title for each in step.log.of("error")}


# -- what is missing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["output", "summary"])
async def test_a_file_of_the_runner_that_is_missing_is_told_and_the_deletions_are_still_reported(
    job: Job, missing: str
) -> None:
    (job.folder / "commands" / missing).unlink()
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 1
    assert any(each.title == "Not reported everywhere" for each in step.log.of("error"))
    report = json.loads((job.workspace / "acr-cleanup" / "report.json").read_text())
    assert report["counts"]["deleted"] == 2
    assert "shop/web" in (step.summary if missing == "output" else json.dumps(step.outputs))


async def test_a_workspace_that_cannot_be_written_to_gets_its_reports_elsewhere(job: Job) -> None:
    job.workspace.chmod(0o555)
    job.obeys_modes = True
    step = await job.run(inline(job, dry_run="false"))

    assert step.code == 0, step.log.text
    assert step.deleted == {"shop/web:1.0", "shop/web:1.1"}
    assert [each.title for each in step.log.of("warning")] == ["Report files"]
    assert step.outputs["report-path"].startswith(str(job.folder / "temp"))
    assert step.report["counts"]["deleted"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_the_report_files_belong_to_the_owner_of_the_workspace(job: Job) -> None:
    os.chown(job.workspace, 1001, 1002)
    await job.run(inline(job, report_dir="out/reports"))

    made = [job.workspace / "out", *(job.workspace / "out").rglob("*")]
    assert len(made) == 5
    assert {(each.stat().st_uid, each.stat().st_gid) for each in made} == {(1001, 1002)}


async def test_the_report_folder_never_leaves_the_workspace(job: Job) -> None:
    (job.workspace / "link").symlink_to(job.folder / "home")
    for named in ("../x", "/etc/acr-cleanup", "link/x", "a/../../x"):
        step = await job.run(inline(job, report_dir=named))
        assert step.code == 2
        assert [each.title for each in step.log.of("error")] == ["report-dir"]
    step = await job.run(inline(job, report_dir=str(job.workspace / "deep" / "er")))
    assert step.outputs["report-path"] == "deep/er/report.json"


# -- being cancelled -------------------------------------------------------------------------------------------


def event_at(event: asyncio.Event) -> Any:
    async def reached(_: object) -> None:
        event.set()

    return reached


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_cancelled_job_reports_what_it_deleted_and_starts_no_more(
    job: Job, number: signal.Signals, code: int
) -> None:
    """In the middle of deletions, one of which never gets an answer."""
    registry = job.world.registry
    for each in range(40):
        registry.push("shop/web", f"0.{each}", age=OLD)
    reached = asyncio.Event()
    job.world.faults.append(Fault(service="acr", method="DELETE", after=5, times=1, hang=60, before=event_at(reached)))
    job.world.faults.append(Fault(service="acr", method="DELETE", latency=0.2))
    step = await job.run(inline(job, dry_run="false", concurrency="2"), interrupt=(reached, number))

    assert step.code == code, step.log.text
    assert step.seconds < PROMPTLY
    left = set(registry.repositories["shop/web"].tags)
    assert step.outputs["result"] == "aborted"
    assert 5 <= len(step.deleted) < 42
    assert {f"shop/web:{tag}" for tag in left} & step.deleted == set()
    assert step.report["verdict"] == "cancelled"
    assert step.report["counts"]["deleted"] == len(step.deleted)
    assert job.world.count(service="acr", method="DELETE") < 20
    assert "ancelled" in step.summary
    assert complete(step.outputs)


@pytest.mark.parametrize("service", ["oidc", "entra", "arm", "acr"])
async def test_a_job_cancelled_while_it_reads_says_so_at_once(job: Job, service: str) -> None:
    reached = asyncio.Event()
    job.world.faults.append(Fault(service=service, hang=60, before=event_at(reached)))
    step = await job.run(inline(job, dry_run="false"), interrupt=(reached, signal.SIGTERM))

    assert step.code == 143, step.log.text
    assert step.seconds < PROMPTLY
    assert step.report["verdict"] == "cancelled"
    assert step.deleted == set()
    assert "ancelled" in step.summary
    assert complete(step.outputs)


async def test_a_job_cancelled_before_it_has_begun_says_so(job: Job) -> None:
    """While it reads its configuration, which here is long in coming."""
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
        # A signal between two instructions does not wake the reader, which no real file would keep waiting.
        await asyncio.sleep(1)
        os.close(writer)

    holding = asyncio.create_task(hold())
    step = await job.run({**job.login(), "config-file": "never.yaml"}, interrupt=(reading, signal.SIGTERM))
    await holding

    assert step.code == 143
    assert step.seconds < PROMPTLY
    assert "ancelled" in step.summary
    assert complete(step.outputs)
