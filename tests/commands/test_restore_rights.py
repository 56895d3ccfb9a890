"""`acr-cleanup restore` without all rights, and with a soft delete that cannot be listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.emulator.roles import LOCKS, REGISTRIES, SOFT_DELETE
from tests.commands.test_restore import run_restore
from tests.helpers.stage import REPOSITORY, shorten_pauses, staged

UNDELETED = f"{REGISTRIES}/deleted/read and {REGISTRIES}/deleted/restore/action"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": {"manifests": [{"digest": 1}]}},
    ],
)
async def test_unlistable_soft_delete_is_a_failure(
    fault: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result does not say that the content is lost: soft delete may still have it."""
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        stage.registry.soft_delete = True
        await stage.tool.apply(stage.config)
        listing = stage.fault(service="acr", path="_deleted/", **fault)
        run = await run_restore(stage)
        assert run.code == 1
        text = " ".join(run.out.split())
        assert "the journal has no backup of its content; soft delete could not be read:" in text
        assert "was not kept" not in text

        stage.world.faults.remove(listing)
        assert (await run_restore(stage)).code == 0
        assert {"1.0", "1.1"} <= stage.repository.tags.keys()


async def test_unlistable_soft_delete_does_not_prevent_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        await stage.tool.apply(stage.config, backup="true")
        stage.fault(service="acr", path="_deleted/", status=500)
        run = await run_restore(stage)
        assert run.code == 0, run.out
        assert "from the backup" in run.out


async def test_disabled_soft_delete_is_not_a_failure_to_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config)
        run = await run_restore(stage)
        assert run.code == 1
        assert "its content was not kept" in run.out
        assert "could not be read" not in run.out


@pytest.mark.parametrize("abac", [False, True])
async def test_missing_soft_delete_role_is_named(abac: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No role for repositories includes it, also not on a registry with ABAC."""
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        stage.registry.soft_delete, stage.registry.abac = True, abac
        await stage.tool.apply(stage.config)
        roles = ("AcrPush", "Container Registry Repository Contributor")
        stage.world.access.assign_only(*roles)
        run = await run_restore(stage)
        assert run.code == 1
        assert UNDELETED in " ".join(run.out.split())

        stage.world.access.assign_only(*roles, SOFT_DELETE)
        assert (await run_restore(stage)).code == 0


async def test_lock_that_cannot_be_restored_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tag is restored, but unlocked. A second restore with the right locks it."""
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        stage.registry.lock(REPOSITORY, "1.0")
        await stage.tool.apply(stage.config, backup="true", **{"include-locked": "true"})
        stage.world.access.assign_only("AcrPush")
        run = await run_restore(stage)
        assert run.code == 1
        assert "could not be locked again" in run.out
        assert f"{REGISTRIES}/metadata/write" in " ".join(run.out.split())
        assert not stage.repository.tags["1.0"].attributes.locked

        stage.world.access.assign_only("AcrPush", LOCKS)
        assert (await run_restore(stage)).code == 0
        assert stage.repository.tags["1.0"].attributes.locked
