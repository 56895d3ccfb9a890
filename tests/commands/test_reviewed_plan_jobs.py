"""A plan is made by one job or command and applied by another."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.jobs import Job
from tests.helpers.reviewed_plans import change_first_digest, edit_plan
from tests.helpers.shop_jobs import inline, installed  # noqa: F401  a fixture
from tests.helpers.stage import OLD

pytestmark = pytest.mark.extended


@pytest.fixture
async def jobs(tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[tuple[Job, Job]]:  # noqa: F811
    """Make two jobs of one workflow, each with its own workspace."""
    world = World(face="proxy")
    for name in ("1.0", "1.1", "2.0"):
        world.registry.push("shop/web", name, age=OLD)
    world.clusters["production"] = cluster = ClusterState("aks-prod")
    async with Emulator(world) as emulator:
        cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", "2.0")]))
        for name in ("plan", "delete"):
            (tmp_path / name).mkdir()
        planning, deleting = (Job(emulator, tmp_path / name, *installed) for name in ("plan", "delete"))
        planning.trust()
        yield planning, deleting


def transfer_report(source: Job, target: Job) -> None:
    """Copy the report folder, as upload-artifact and download-artifact do."""
    shutil.copytree(source.workspace / "acr-cleanup", target.workspace / "acr-cleanup")


# -- in workflows --------------------------------------------------------------------------------


async def test_second_job_applies_the_plan_of_a_dry_run(jobs: tuple[Job, Job]) -> None:
    planning, deleting = jobs
    planned = await planning.run(inline(planning))
    transfer_report(planning, deleting)
    planning.world.registry.push("shop/web", "1.2", age=OLD)

    step = await deleting.run(inline(deleting, dry_run="false", apply_plan="acr-cleanup/plan.json"))

    assert step.code == 0, step.log.text
    assert step.deleted == step.planned == planned.planned == {"shop/web:1.0", "shop/web:1.1"}
    assert step.outputs["planned-count"] == "2"
    assert step.report["applied_plan"]["path"] == "acr-cleanup/plan.json"
    assert "Applies the reviewed plan `acr-cleanup/plan.json`" in step.summary
    plans = [(job.workspace / "acr-cleanup/plan.json").read_bytes() for job in jobs]
    assert plans[0] == plans[1]


async def test_job_without_its_plan_file_fails(jobs: tuple[Job, Job]) -> None:
    """The registry gets no request."""
    _, deleting = jobs

    step = await deleting.run(inline(deleting, dry_run="false", apply_plan="acr-cleanup/plan.json"))

    assert step.code == 2
    assert step.outputs["result"] == "failed"
    (annotation,) = step.log.of("error")
    assert annotation.title == "apply-plan"
    assert "does not exist" in annotation.message
    assert deleting.world.count(service="acr") == 0


async def test_job_with_an_edited_plan_is_refused(jobs: tuple[Job, Job]) -> None:
    planning, deleting = jobs
    await planning.run(inline(planning))
    transfer_report(planning, deleting)
    edit_plan(deleting.workspace / "acr-cleanup/plan.json", change_first_digest, rehash=False)

    step = await deleting.run(inline(deleting, dry_run="false", apply_plan="acr-cleanup/plan.json"))

    assert step.code == 3
    assert step.outputs["result"] == "aborted"
    assert "Reasons for the refusal" in step.summary
    # The registry was not read, so there is nothing to count.
    assert "Would delete" not in step.summary
    assert deleting.world.count(service="acr", method="DELETE") == 0


async def test_dry_run_ignores_apply_plan_with_a_notice(jobs: tuple[Job, Job]) -> None:
    planning, _ = jobs

    step = await planning.run(inline(planning, apply_plan="missing.json"))

    assert step.code == 0
    assert any("apply-plan" in notice.message for notice in step.log.of("notice"))
    assert len(step.planned) == 2


# -- on the command line -------------------------------------------------------------------------


async def acr_cleanup(job: Job, *arguments: str) -> tuple[int, str]:
    """Run the program in the workspace of a job; return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        job.python, "-I", "-m", "acr_cleanup", *arguments,
        cwd=job.workspace, env={"PATH": "/usr/bin:/bin", "HOME": str(job.folder), "COLUMNS": "150", **job.emulator.environment()},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert b"Traceback" not in out, out.decode()
    return process.returncode or 0, out.decode()


async def test_printed_command_applies_the_written_plan(jobs: tuple[Job, Job]) -> None:
    """`plan --out` prints the matching `apply --plan`, and a refused apply prints the `plan`."""
    job, _ = jobs
    job.write_config(name="acr-cleanup.json")

    code, out = await acr_cleanup(job, "plan", "--out", "monday.json")
    assert code == 0, out
    assert "apply acr-cleanup.json --plan monday.json" in out
    job.world.registry.push("shop/web", "1.2", age=OLD)
    code, out = await acr_cleanup(job, "apply", "acr-cleanup.json", "60", "--plan", "monday.json")
    assert code == 0, out
    assert set(job.world.registry.repositories["shop/web"].tags) == {"1.2", "2.0"}
    code, out = await acr_cleanup(job, "apply", "--plan", "monday.json", "--plan-max-age", "0d")
    assert code == 3, out
    assert "plan acr-cleanup.json --plan-max-age 0d --out monday.json" in out
    code, out = await acr_cleanup(job, "apply", "--plan", "tuesday.json")
    assert code == 2, out
    assert "does not exist" in out
