"""The input `check` of either CI system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from acr_cleanup.emulator import World
from tests.helpers.jobs import Job
from tests.helpers.shop_jobs import inline, shop_job
from tests.helpers.task_jobs import TaskJob

pytestmark = pytest.mark.extended


@pytest.fixture(params=[Job, TaskJob], ids=["github", "azure-devops"])
async def job(request: pytest.FixtureRequest, tmp_path: Path, installed: tuple[Path, Path]) -> AsyncIterator[Job]:
    """A job that reaches the emulated services under their real names, through a proxy."""
    async with shop_job(request.param, World(face="proxy"), tmp_path, installed) as job:
        yield job


async def test_check_step_deletes_nothing_and_publishes_the_page(job: Job) -> None:
    """`check` wins over `dry-run: false`."""
    step = await job.run(inline(job, check="true", dry_run="false"))
    assert step.code == 0, step.log.text
    assert step.output("result") == "success"
    assert "ACR cleanup: check" in step.summary
    assert "Logged in as" in step.summary
    assert not job.world.matching(service="acr", method="DELETE")

    job.world.access.assign_only("Reader")
    refused = await job.run(inline(job, check="true", dry_run="false"))
    assert refused.code == 3, refused.log.text
    assert refused.output("result") == "aborted"
    assert "az role assignment create" in refused.summary
    assert any("artifacts/delete" in note.message for note in refused.log.annotations)
