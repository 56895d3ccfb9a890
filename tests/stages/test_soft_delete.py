"""Before anything is deleted, the run says whether the registry could bring it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from acr_cleanup.emulator.world import Face
from tests.helpers.stage import shorten_pauses, staged


@pytest.mark.parametrize("face", ["proxy", "direct"])
async def test_soft_delete_that_is_on_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Face) -> None:
    """On every face, in the log before the first deletion, in the report and in the summary."""
    async with staged(tmp_path, monkeypatch, face) as stage:
        stage.registry.soft_delete, stage.registry.soft_delete_days = True, 14
        ran = await stage.tool.apply(stage.config)

        said = "Soft delete is on: deleted manifests can be restored for 14 days."
        assert said in ran.err
        assert said in ran.out
        assert said in (tmp_path / "report" / "summary.md").read_text()
        (asked,) = stage.world.matching(service="arm", path="Microsoft.ContainerRegistry")
        first = stage.world.matching(service="acr", method="DELETE")[0]
        assert stage.world.requests.index(asked) < stage.world.requests.index(first)


async def test_soft_delete_that_is_off_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        assert "is off: a deleted manifest is gone unless backup is true" in (await stage.tool.plan(stage.config)).out
        assert "the journal keeps" in (await stage.tool.plan(stage.config, backup="true")).out


async def test_soft_delete_registry_on_a_later_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch, "direct") as stage:
        link = (
            f"{stage.tool.emulator.resource_manager}/subscriptions/{stage.registry.subscription_id}"
            f"/resourceGroups/{stage.registry.resource_group}/providers/Microsoft.ContainerRegistry/registries"
            "?api-version=2023-11-01-preview"
        )
        empty = {"value": [], "nextLink": link}
        stage.fault(service="arm", path="ContainerRegistry", times=1, status=200, body=empty)
        assert "Soft delete is off" in (await stage.tool.plan(stage.config)).out


async def test_what_cannot_be_looked_up_is_unknown_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        stage.registry.is_visible = False
        hidden = await stage.tool.plan(stage.config)
        fault = stage.fault(
            service="arm",
            path="ContainerRegistry",
            status=403,
            body={"error": {"code": "AuthorizationFailed", "message": "no"}},
        )
        forbidden = await stage.tool.plan(stage.config)
        fault.status, fault.body = 200, b"<html>"
        nonsense = await stage.tool.plan(stage.config)
        stage.settings(container_registry={"url": stage.registry.login_server})
        unset = await stage.tool.apply(stage.config)

        for ran in (hidden, forbidden, nonsense, unset):
            assert ran.code == 0
            assert "Whether soft delete is on is not known" in ran.out
        assert "Reader" in forbidden.out
        assert "subscription_id" in unset.out
        assert set(stage.repository.tags) == {"2.0"}


async def test_a_retention_of_no_days_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.retention_days = 0
        ran = await stage.tool.plan(stage.config)
        assert any("deletes untagged manifests at once" in each for each in ran.report["warnings"])


async def test_where_nothing_would_go_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        ran = await stage.tool.plan(stage.config, **{"older-than": "1000d"})
        assert "oft delete" not in ran.out
        assert not stage.world.matching(service="arm", path="Microsoft.ContainerRegistry")
